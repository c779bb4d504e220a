"""Logs that a Python logger writes: `logger_class`, `logconfig`, `logconfig_dict`, `logconfig_json`."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest
from support.logs import get, wait_for
from support.project import ASGI_APP, Project
from support.server import IS_ORACLE, poll, title_of
from support.wire import Wire

APP = """
import logging

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise ValueError("on purpose")
    if path == "/log":
        logging.getLogger("shop").warning("logged by the app")
    environ["app.user"] = "ada"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]
"""
FILES = """
logconfig_dict = {
    "handlers": {
        "error_file": {"class": "logging.FileHandler", "filename": "error.txt", "formatter": "plain"},
        "access_file": {"class": "logging.FileHandler", "filename": "access.txt", "formatter": "plain"},
    },
    "formatters": {"plain": {"format": "%(process)d %(levelname)s %(name)s: %(message)s"}},
    "root": {"level": "INFO", "handlers": []},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["error_file"], "propagate": False},
        "gunicorn.access": {"level": "INFO", "handlers": ["access_file"], "propagate": False},
    },
}
"""


@pytest.fixture
def logged(project: Project) -> Project:
    project.write("app.py", APP)
    return project


# --- logger_class ---


def test_a_logger_class_writes_all_of_both_logs(logged):
    logged.config("""
        from gunicorn import glogging

        class Logger(glogging.Logger):
            error_fmt = "MINE [%(process)d] [%(levelname)s] %(message)s"
            access_fmt = "ACCESS %(message)s"

            def now(self):
                return "NOW"

            def atoms(self, resp, req, environ, request_time):
                atoms = super().atoms(resp, req, environ, request_time)
                atoms["id"] = "request-" + req.method.lower()
                return atoms

        logger_class = Logger
        accesslog = "-"
        access_log_format = "%(id)s %(t)s %(s)s %(m)s %(U)s %({app.user}e)s %({content-type}o)s %({x-id}i)s %(D)s"
        workers = 1
    """)
    server = logged.start()
    (worker,) = server.workers()
    master = server.process.pid
    server.wait_for_log(rf"^MINE \[{master}\] \[INFO\] Starting ")
    server.wait_for_log(rf"^MINE \[{master}\] \[INFO\] Listening at: http://127\.0\.0\.1:{server.port} \({master}\)$")
    server.wait_for_log(rf"^MINE \[{worker}\] \[INFO\] Booting worker with pid: {worker}$")
    get(server, "/path?q", "X-Id: 7")
    server.wait_for_access_line(r"^ACCESS request-get NOW 200 GET /path ada text/plain 7 \d+$")
    get(server, "/raise")
    server.wait_for_log(rf"^MINE \[{worker}\] \[ERROR\] Error handling request GET /raise$")
    server.wait_for_log("^ValueError: on purpose$")
    assert server.stop() == 0
    assert "[INFO] Shutting down: Master" in server.log()
    assert [line for line in server.stderr.lines if line.startswith("[20")] == []


def test_a_logger_class_may_be_named_by_its_path(logged):
    logged.write(
        "mylogs.py",
        """
        from gunicorn.glogging import Logger

        class Quiet(Logger):
            def access(self, resp, req, environ, request_time):
                if environ["PATH_INFO"] != "/health":
                    super().access(resp, req, environ, request_time)
        """,
    )
    server = logged.start("-w1", "--access-logfile", "-", "--logger-class", "mylogs.Quiet", "--pythonpath", ".")
    get(server, "/health")
    get(server, "/other")
    server.wait_for_access_line('"GET /other ')
    assert '"GET /health ' not in server.stdout.text()


def test_the_access_method_is_given_what_gunicorn_gives(logged):
    logged.config("""
        from gunicorn.glogging import Logger
        import recorder

        class Mine(Logger):
            def access(self, resp, req, environ, request_time):
                recorder.record(
                    resp.status, resp.sent, resp.headers[0], req.method, req.uri, req.path, req.query,
                    dict(req.headers)["X-ID"], environ["app.user"], type(request_time).__name__,
                    request_time.total_seconds() < 5,
                )

        logger_class = Mine
        accesslog = "-"
        workers = 1
    """)
    server = logged.start()
    get(server, "/a/b?c=d", "X-Id: 7")
    logged.wait_for_records(
        "200 OK 5 ('Content-Type', 'text/plain') GET /a/b?c=d /a/b c=d 7 ada timedelta True",
    )


def test_a_logger_that_raises_does_not_break_the_answer(logged):
    logged.config("""
        from gunicorn.glogging import Logger

        class Broken(Logger):
            def atoms(self, *arguments):
                return {"one": 1 / 1, **super().atoms(*arguments)}

        logger_class = Broken
        accesslog = "-"
        access_log_format = "%(D)s %(U)d"
        workers = 1
    """)
    server = logged.start()
    assert [get(server, "/") for _ in range(3)] == [200, 200, 200]


def test_hooks_write_through_the_same_logger(logged):
    logged.config("""
        from gunicorn.glogging import Logger

        class Mine(Logger):
            error_fmt = "MINE %(message)s"

        logger_class = Mine
        workers = 1

        def when_ready(server):
            server.log.info("ready to go with %s", type(server.log).__name__)

        def post_fork(server, worker):
            worker.log.warning("forked")
    """)
    server = logged.start()
    server.wait_for_log("^MINE ready to go with Mine$")
    server.wait_for_log("^MINE forked$")


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_usr1_opens_the_loggers_files_anew(logged, interface):
    logged.config(FILES + "workers = 1\n")
    if interface == "asgi":
        logged.write("app.py", ASGI_APP)
    server = logged.start(interface=interface)
    error, access = logged.directory / "error.txt", logged.directory / "access.txt"
    get(server, "/before")
    wait_for(access, "/before")
    for path in (error, access):
        path.rename(path.with_suffix(".old"))
    server.signal(signal.SIGUSR1)

    def is_in_new_files() -> bool:
        get(server, "/raise")
        texts = [path.read_text() if path.exists() else "" for path in (error, access)]
        return "on purpose" in texts[0] and "/raise" in texts[1]

    poll(is_in_new_files, "the new files")
    assert server.stop() == 0
    assert "Shutting down: Master" in error.read_text()


# --- logconfig ---


def test_logconfig_dict_decides_where_everything_goes(logged):
    logged.config(FILES + "workers = 1\n")
    server = logged.start()
    (worker,) = server.workers()
    error, access = logged.directory / "error.txt", logged.directory / "access.txt"
    wait_for(error, rf"^{server.process.pid} INFO gunicorn\.error: Listening at: ")
    wait_for(error, rf"^{worker} INFO gunicorn\.error: Booting worker with pid: {worker}$")
    get(server, "/here")
    wait_for(access, rf'^{worker} INFO gunicorn\.access: 127\.0\.0\.1 - - .* "GET /here HTTP/1\.1" 200 5 ')
    assert server.stop() == 0
    wait_for(error, "Shutting down: Master$")
    if not IS_ORACLE:
        assert "Listening at" not in server.log()


def test_what_logconfig_dict_leaves_out_has_gunicorns_defaults(logged):
    logged.config("""
        logconfig_dict = {"formatters": {"generic": {"format": "MINE %(name)s %(levelname)s %(message)s"}}}
        workers = 1
    """)
    server = logged.start()
    get(server, "/log")
    server.wait_for_log(r"^MINE gunicorn\.error INFO Booting worker with pid: \d+$")
    server.wait_for_access_line(r"^MINE shop WARNING logged by the app$")
    server.wait_for_access_line(r'^MINE gunicorn\.access INFO 127\.0\.0\.1 - - .* "GET /log HTTP/1\.1" 200 5 ')
    # The loggers pass what they get on to the root logger, which has a handler of its own.
    server.wait_for_access_line(r"^MINE gunicorn\.error INFO Booting worker with pid: \d+$")


def test_a_formatter_finds_the_atoms_in_the_record(logged):
    logged.write(
        "formatters.py",
        """
        import json
        import logging

        class Access(logging.Formatter):
            def format(self, record):
                atoms = record.args
                return json.dumps({
                    "client": atoms["h"], "status": atoms["s"], "path": atoms["U"], "line": atoms["r"],
                    "id": atoms["{X-Id}i"], "none": atoms["{nothing}i"], "ms": atoms["M"],
                    "sent": atoms["B"], "scheme": atoms["{wsgi.url_scheme}e"],
                })
        """,
    )
    logged.config("""
        logconfig_dict = {
            "handlers": {
                "json": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"},
                "error_console": {"class": "logging.StreamHandler", "formatter": "generic"},
                "console": {"class": "logging.NullHandler"},
            },
            "formatters": {
                "json": {"()": "formatters.Access"},
                "generic": {"format": "%(message)s"},
            },
            "loggers": {
                "gunicorn.error": {"level": "INFO", "handlers": ["error_console"], "propagate": False},
                "gunicorn.access": {"level": "INFO", "handlers": ["json"], "propagate": False},
            },
        }
        workers = 1
    """)
    server = logged.start()
    get(server, "/a?b", "X-Id: 7")
    line = json.loads(server.wait_for_access_line("^{.*}$")[0])
    assert line.pop("ms") in range(5000)
    assert line == {
        "client": "127.0.0.1",
        "status": "200",
        "path": "/a",
        "line": "GET /a?b HTTP/1.1",
        "id": "7",
        "none": "-",
        "sent": 5,
        "scheme": "http",
    }


INI = """
[loggers]
keys = root, gunicorn.error, gunicorn.access

[handlers]
keys = error, access

[formatters]
keys = plain

[logger_root]
level = INFO
handlers =

[logger_gunicorn.error]
level = INFO
handlers = error
propagate = 0
qualname = gunicorn.error

[logger_gunicorn.access]
level = INFO
handlers = access
propagate = 0
qualname = gunicorn.access

[handler_error]
class = StreamHandler
formatter = plain
args = (sys.stderr,)

[handler_access]
class = FileHandler
formatter = plain
args = ("%(here)s/access.txt",)

[formatter_plain]
format = INI %(name)s %(message)s
"""


def test_logconfig_is_an_ini_file(logged):
    path = logged.write("logging.ini", INI)
    server = logged.start("-w1", "--log-config", str(path))
    server.wait_for_log(r"^INI gunicorn\.error Booting worker with pid: \d+$")
    get(server, "/ini")
    wait_for(logged.directory / "access.txt", r'^INI gunicorn\.access 127.*"GET /ini HTTP/1\.1" 200 5')


def test_logconfig_json_is_laid_over_the_defaults(logged):
    config = {"formatters": {"generic": {"format": "JSON %(name)s %(message)s"}}}
    path = logged.write("logging.json", json.dumps(config))
    server = logged.start("-w1", "--log-config-json", str(path))
    server.wait_for_log(r"^JSON gunicorn\.error Booting worker with pid: \d+$")
    get(server, "/json")
    server.wait_for_access_line(r'^JSON gunicorn\.access 127.*"GET /json HTTP/1\.1" 200 5')


def test_the_dict_beats_the_json_file_and_that_beats_the_ini_file(logged):
    ini = logged.write("logging.ini", INI)
    config = {"formatters": {"generic": {"format": "JSON %(message)s"}}}
    path = logged.write("logging.json", json.dumps(config))
    both = ["-w1", "--log-config", str(ini), "--log-config-json", str(path)]
    logged.start(*both).wait_for_log(r"^JSON Booting worker")
    logged.config("""
        logconfig_dict = {"formatters": {"generic": {"format": "DICT %(message)s"}}}
    """)
    logged.start(*both).wait_for_log(r"^DICT Booting worker")


# --- mistakes ---

BROKEN = 'logconfig_dict = {"handlers": {"console": {"class": "no.such.Handler"}}}\nworkers = 1\n'


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (BROKEN, "Unable to configure handler 'console'"),
        ("logconfig = 'missing.ini'\n", "missing.ini"),
        ("logger_class = 'missing.module.Logger'\n", "missing"),
    ],
)
def test_a_configuration_that_is_wrong_ends_the_start(logged, config, words):
    logged.config(config)
    done = logged.run("--bind", "127.0.0.1:0", "app:app")
    assert done.code == 1
    assert words in done.output
    if not IS_ORACLE:
        assert len(re.findall(r"\[ERROR\]", done.output)) == 1


def test_a_configuration_that_is_wrong_at_hup_keeps_the_old_logger(logged):
    logged.config(FILES + "workers = 1\n")
    server = logged.start()
    (worker,) = server.workers()
    error = logged.directory / "error.txt"
    logged.config(BROKEN)
    server.signal(signal.SIGHUP)
    wait_for(error, "keeping the previous one" if IS_ORACLE else "Generation 2 is given up")
    get(server, "/after")
    wait_for(logged.directory / "access.txt", "/after")
    assert IS_ORACLE or server.workers() == [worker]


def test_a_configuration_may_change_at_hup(logged):
    logged.config(FILES + "workers = 1\n")
    server = logged.start()
    wait_for(logged.directory / "error.txt", "Booting worker")
    old = server.workers()
    logged.config(FILES.replace("error.txt", "new.txt").replace("access.txt", "newaccess.txt") + "workers = 1\n")
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(old, 1)
    get(server, "/new")
    wait_for(logged.directory / "newaccess.txt", "/new")
    assert server.stop() == 0
    wait_for(logged.directory / "new.txt", "Shutting down: Master")


@pytest.mark.indrik_only
def test_a_reload_may_give_the_logs_to_python_and_take_them_back(logged):
    def reload(config: str) -> None:
        old = server.workers()
        logged.config(config)
        server.signal(signal.SIGHUP)
        server.wait_for_new_workers(old, 1)

    plain = "accesslog = 'plain.txt'\nerrorlog = 'plainerror.txt'\nworkers = 1\n"
    logged.config(plain)
    server = logged.start()
    reload(FILES + plain)
    get(server, "/python")
    wait_for(logged.directory / "access.txt", "INFO gunicorn.access: .*/python")
    server.signal(signal.SIGTTIN)
    wait_for(logged.directory / "error.txt", "INFO gunicorn.error: Handling signal: ttin")
    poll(lambda: len(server.workers()) == 2, "two workers")
    server.signal(signal.SIGTTOU)
    poll(lambda: len(server.workers()) == 1, "one worker")
    reload(plain)
    get(server, "/plain")
    wait_for(logged.directory / "plain.txt", "/plain")
    assert server.stop() == 0
    wait_for(logged.directory / "plainerror.txt", "Shutting down: Master")
    assert "/plain" not in (logged.directory / "access.txt").read_text()


@pytest.mark.indrik_only
def test_no_entry_is_lost_when_the_process_with_the_logger_dies(logged):
    logged.config(FILES + "workers = 1\n")
    server = logged.start()
    error = logged.directory / "error.txt"
    wait_for(error, "Ready")
    (zygote,) = [pid for pid in server.processes() if title_of(pid).startswith("indrik: zygote")]
    os.kill(zygote, signal.SIGKILL)
    server.wait_for_log(r"\[ERROR\] The zygote of generation 1 died; its workers go on, a new one is started$")
    again = lambda: [pid for pid in server.processes() if title_of(pid).startswith("indrik: zygote gen")]  # noqa: E731
    poll(lambda: again() and zygote not in again(), "a new zygote")
    server.signal(signal.SIGTTIN)
    poll(lambda: len(server.workers()) == 2, "two workers")
    everything = lambda: error.read_text() + server.log()  # noqa: E731
    poll(lambda: "Handling signal: ttin" in everything(), "the entry")
    server.signal(signal.SIGTTOU)
    wait_for(error, "Handling signal: ttou$")


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_threads_and_greenlets_write_their_lines(logged, worker_class):
    logged.config(FILES + f"workers = 1\nthreads = 4\nworker_class = {worker_class!r}\n")
    server = logged.start()
    (worker,) = server.workers()
    wires = [Wire(server.connect()) for _ in range(8)]
    for number, wire in enumerate(wires):
        wire.send(f"GET /number/{number} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
    for wire in wires:
        assert wire.read_answer().status == 200
    path = logged.directory / "access.txt"
    poll(lambda: path.exists() and path.read_text().count("\n") >= 8, "eight lines")
    lines = re.findall(r'(?m)^(\d+) INFO gunicorn.access: .*"GET /number/(\d+) HTTP', path.read_text())
    assert sorted(lines) == sorted((str(worker), str(number)) for number in range(8))


@pytest.mark.indrik_only
def test_paths_are_left_out_of_a_python_log_as_well(logged):
    logged.config(FILES + "workers = 1\naccess_log_exclude = ['/health', '/static/*']\n")
    server = logged.start()
    for target in ("/health?x", "/static/a/b", "/healthz", "/last"):
        get(server, target)
    path = logged.directory / "access.txt"
    wait_for(path, '"GET /last ')
    assert re.findall(r'"GET (\S+) HTTP', path.read_text()) == ["/healthz", "/last"]


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_every_request_has_one_line(logged, interface):
    logged.config(FILES + f"workers = {1 if os.cpu_count() == 1 else 2}\n")
    if interface == "asgi":
        logged.write("app.py", ASGI_APP)
    server = logged.start(interface=interface)
    for number in range(20):
        get(server, f"/number/{number}")
    path = logged.directory / "access.txt"
    poll(lambda: path.exists() and path.read_text().count("\n") >= 20, "twenty lines")
    targets = re.findall(r'"GET /number/(\d+) HTTP', path.read_text())
    assert sorted(map(int, targets)) == list(range(20))
