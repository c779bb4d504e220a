"""The logs: what stands in them, where they go, and what a hostile client can do to them."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
from pathlib import Path

import pytest
from support.logs import get, wait_for
from support.project import Project
from support.server import IS_ORACLE, Server, poll
from support.wire import Wire

APP = """
import logging
import sys

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise ValueError("on purpose")
    if path == "/print":
        print("printed by the app", flush=True)
        print("complained by the app", file=sys.stderr, flush=True)
        environ["wsgi.errors"].write("wsgi.errors by the app\\n")
    if path == "/log":
        logging.getLogger("app.module").warning("logged by the app")
    environ["app.user"] = "ada"
    status = "503 Busy" if path == "/busy" else "200 OK"
    headers = [("Content-Type", "text/plain"), ("X-Twice", "a"), ("X-Twice", "b"), ("Content-Length", "5")]
    start_response(status, headers)
    return [b"hello"]
"""
ENTRY = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[(\d+)\] \[([A-Z]+)\] (.*)")
NUMBER = re.compile(r"(?<=pid: )\d+|(?<=pid:)\d+|(?<=\()\d+(?=\))|(?<=127\.0\.0\.1:)\d+")


@pytest.fixture
def logged(project: Project) -> Project:
    """A project whose application has a path for each thing that reaches a log."""
    project.write("app.py", APP)
    return project


def entries(server: Server) -> list[tuple[str, str]]:
    """Level and text of every entry of the error log on standard error; numbers of processes are N."""
    found = [match.groups() for line in server.stderr.lines if (match := ENTRY.fullmatch(line))]
    return [(level, NUMBER.sub("N", text)) for _, level, text in found]


class Receiver:
    """A datagram socket that a server under test sends to."""

    def __init__(self, family: int, address: object) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind(address)  # type: ignore[arg-type]
        self.socket.settimeout(10)
        self.seen: list[str] = []

    @property
    def port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port

    def wait_for(self, pattern: str) -> re.Match[str]:
        for seen in self.seen:
            if match := re.search(pattern, seen):
                return match
        while True:
            try:
                data = self.socket.recv(65_536)
            except TimeoutError:
                raise AssertionError(f"no {pattern!r} in {self.seen}") from None
            self.seen.append(data.rstrip(b"\0\n").decode("utf-8", "replace"))
            if match := re.search(pattern, self.seen[-1], re.DOTALL):
                return match


@pytest.fixture
def udp() -> Receiver:
    return Receiver(socket.AF_INET, ("127.0.0.1", 0))


@pytest.fixture
def unix(tmp_path: Path) -> tuple[Receiver, Path]:
    path = tmp_path / "receiver"
    return Receiver(socket.AF_UNIX, str(path)), path


# --- the error log ---


def test_a_whole_life_is_told_in_gunicorns_words(logged):
    server = logged.start("--workers", "2")
    get(server, "/raise")
    server.wait_for_log(r"ValueError: on purpose")
    for number, words, workers in (
        (0, "", 2),
        (signal.SIGTTIN, "ttin", 3),
        (signal.SIGTTOU, "ttou", 2),
        (signal.SIGUSR1, "usr1", 2),
    ):
        if number:
            server.signal(number)
            server.wait_for_log(rf"\[INFO\] Handling signal: {words}$")
        poll(lambda workers=workers: len(server.workers()) == workers, f"{workers} workers")
    victim = server.workers()[0]
    os.kill(victim, signal.SIGKILL)
    # Gunicorn guesses. Indrik asks the kernel, and guesses only where there is nothing to ask.
    guess = r"Perhaps out of memory\?"
    why = guess if IS_ORACLE else rf"({guess}|Somebody else did: the kernel's OOM killer did not)"
    server.wait_for_log(rf"\[ERROR\] Worker \(pid:{victim}\) was sent SIGKILL! {why}$")
    poll(lambda: len(server.workers()) == 2, "two workers")
    old = set(server.workers())
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(old, 2)
    for pid in old:
        server.wait_for_log(rf"\[{pid}\] \[INFO\] Worker exiting \(pid: {pid}\)$")
    assert server.stop() == 0
    said = entries(server)
    for expected in [
        ("INFO", "Listening at: http://127.0.0.1:N (N)"),
        ("INFO", "Using worker: sync"),
        ("ERROR", "Error handling request GET /raise"),
        ("INFO", "Handling signal: hup"),
        ("INFO", "Hang up: Master"),
        ("INFO", "Handling signal: term"),
    ]:
        assert said.count(expected) == 1, (expected, said)
    assert said.count(("INFO", "Booting worker with pid: N")) == 2 + 1 + 1 + 2
    assert said.count(("INFO", "Worker exiting (pid: N)")) == 1 + 2 + 2
    name = "gunicorn 27.0.1" if IS_ORACLE else "indrik "
    assert said[0][1].startswith(f"Starting {name}")
    assert said[-1] == ("INFO", "Shutting down: Master")


def test_the_pid_of_an_entry_is_that_of_the_process_it_is_about(logged):
    server = logged.start("--workers", "1")
    (worker,) = server.workers()
    server.wait_for_log(rf"\[{server.process.pid}\] \[INFO\] Listening at: http://127\.0\.0\.1:{server.port} ")
    server.wait_for_log(rf"\[{worker}\] \[INFO\] Booting worker with pid: {worker}$")
    get(server, "/raise")
    server.wait_for_log(rf"\[{worker}\] \[ERROR\] Error handling request GET /raise$")


def test_a_worker_that_hangs_is_named(project):
    project.write("app.py", "import threading\ndef app(environ, start_response):\n    threading.Event().wait()\n")
    server = project.start("--workers", "1", "--timeout", "1")
    (worker,) = server.workers()
    wire = Wire(server.connect())
    wire.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
    server.wait_for_log(rf"\[CRITICAL\] WORKER TIMEOUT \(pid:{worker}\)$")
    server.clean_stop = False


def test_a_request_that_cannot_be_read_is_a_warning(logged):
    server = logged.start("--workers", "1")
    with Wire(server.connect()) as wire:
        wire.send("GET / HTTP/1.1\r\nHost: t\r\nno field\r\n\r\n")
        wire.read_to_end()
    server.wait_for_log(r"\[WARNING\] Invalid request from ip=127\.0\.0\.1: ")


@pytest.mark.parametrize("level", ["debug", "warning", "error"])
def test_loglevel_decides_what_is_written(logged, level):
    server = logged.start("--workers", "1", "--log-level", level, says_ready=level == "debug")
    get(server, "/raise")
    server.wait_for_log(r"\[ERROR\] Error handling request GET /raise")
    assert server.stop() == 0
    levels = {level for level, _ in entries(server)}
    assert ("INFO" in levels) == (level == "debug")
    assert ("DEBUG" in levels) == (level == "debug")


def test_errorlog_is_a_file(logged):
    server = logged.start("--workers", "1", "--error-logfile", "error.log")
    get(server, "/raise")
    path = logged.directory / "error.log"
    wait_for(path, r"\[INFO\] Listening at: ")
    wait_for(path, r"\[ERROR\] Error handling request GET /raise")
    wait_for(path, r"ValueError: on purpose")
    assert server.stop() == 0
    wait_for(path, r"\[INFO\] Shutting down: Master")
    assert "Listening at" not in server.log()


def test_what_the_application_prints_stays_where_it_was(logged):
    server = logged.start("--workers", "1", "--error-logfile", "error.log")
    get(server, "/print")
    server.stdout.wait_for("^printed by the app$", 10)
    server.stderr.wait_for("^complained by the app$", 10)
    wait_for(logged.directory / "error.log", "^wsgi.errors by the app$")


def test_capture_output_puts_what_is_printed_into_the_error_log(logged):
    server = logged.start("--workers", "1", "--error-logfile", "error.log", "--capture-output")
    get(server, "/print")
    get(server, "/log")
    path = logged.directory / "error.log"
    for line in ("printed by the app", "complained by the app", "wsgi.errors by the app", "logged by the app"):
        wait_for(path, f"^{line}$")
    assert server.stop() == 0
    assert "by the app" not in server.log() + server.stdout.text()


def test_capture_output_without_a_file_changes_nothing(logged):
    server = logged.start("--workers", "1", "--capture-output")
    get(server, "/print")
    server.stdout.wait_for("^printed by the app$", 10)


def test_usr1_opens_all_files_anew(logged):
    files = ["--error-logfile", "error.log", "--access-logfile", "access.log"]
    server = logged.start("--workers", "1", *files, "--capture-output")
    error, access = logged.directory / "error.log", logged.directory / "access.log"
    get(server, "/before")
    wait_for(access, "/before")
    for path in (error, access):
        path.rename(path.with_suffix(".old"))
    server.signal(signal.SIGUSR1)
    poll(lambda: error.exists() and access.exists(), "new files")

    def is_in_new_file() -> bool:
        # The signal reaches supervisor and worker one after the other.
        get(server, "/raise?after")
        get(server, "/print")
        texts = error.read_text()
        return all(words in texts for words in ("Error handling request GET /raise", "printed", "complained"))

    poll(is_in_new_file, "the worker's new file")
    wait_for(access, "/raise\\?after")
    old = error.with_suffix(".old").read_text()
    assert "Handling signal: usr1" in old + error.read_text()
    assert "/raise" not in access.with_suffix(".old").read_text()


def test_a_reload_takes_other_logs(logged):
    logged.config("errorlog = 'one.log'\naccesslog = 'a.log'\nworkers = 1\n")
    server = logged.start()
    old = server.workers()
    get(server, "/one")
    wait_for(logged.directory / "a.log", "/one")
    logged.config("errorlog = 'two.log'\naccesslog = 'b.log'\naccess_log_format = 'NEW %(r)s'\nworkers = 1\n")
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(old, 1)
    get(server, "/two")
    get(server, "/raise")
    wait_for(logged.directory / "b.log", "^NEW GET /two HTTP/1.1$")
    wait_for(logged.directory / "two.log", "Error handling request GET /raise")
    assert server.stop() == 0
    wait_for(logged.directory / "two.log", "Shutting down: Master")
    assert "/two" not in (logged.directory / "a.log").read_text()


@pytest.mark.indrik_only
def test_a_reload_that_cannot_open_its_log_keeps_the_old_ones(logged):
    logged.config("errorlog = 'one.log'\naccesslog = 'a.log'\nworkers = 1\n")
    server = logged.start()
    (worker,) = server.workers()
    logged.config("errorlog = 'one.log'\naccesslog = 'missing/b.log'\nworkers = 1\n")
    server.signal(signal.SIGHUP)
    wait_for(logged.directory / "one.log", r"\[ERROR\] .*missing/b\.log")
    get(server, "/still")
    wait_for(logged.directory / "a.log", "/still")
    assert server.workers() == [worker]


@pytest.mark.parametrize("flag", ["--error-logfile", "--access-logfile"])
def test_a_log_file_that_cannot_be_written_ends_the_start_with_one_error(logged, flag):
    done = logged.run(flag, "missing/dir/x.log", "--bind", "127.0.0.1:0", "app:app")
    assert done.code == 1
    assert "missing/dir/x.log" in done.output
    if not IS_ORACLE:
        assert "Traceback" not in done.output
        assert len([line for line in done.stderr.splitlines() if "[ERROR]" in line]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_log_files_belong_to_the_workers_user(logged):
    os.chmod(logged.directory, 0o777)
    for parent in list(logged.directory.parents)[:3]:
        os.chmod(parent, 0o755)
    # It imports nothing: that user may not be allowed to read Python's library.
    logged.write("app.py", "def app(environ, start_response):\n    start_response('200 OK', [])\n    return []\n")
    files = ["--error-logfile", "error.log", "--access-logfile", "access.log"]
    logged.start("--workers", "1", *files, "--user", "nobody", "--group", "nogroup")
    for name in ("error.log", "access.log"):
        status = os.stat(logged.directory / name)
        assert (status.st_uid, status.st_gid) == (65534, 65534), name
        assert stat.S_ISREG(status.st_mode)


# --- the access log ---


def test_accesslog_is_a_file_or_nothing(logged):
    server = logged.start("--workers", "1", "--access-logfile", "access.log")
    get(server, "/here")
    wait_for(logged.directory / "access.log", r'"GET /here HTTP/1\.1" 200 5 ')
    assert "/here" not in server.stdout.text() + server.log()
    silent = logged.start("--workers", "1")
    get(silent, "/silent")
    assert silent.stop() == 0
    assert "/silent" not in silent.stdout.text() + silent.log()


def access_line(project: Project, form: str, target: str, *headers: str, **options: object) -> str:
    server = project.start("--workers", "1", "--access-logfile", "-", "--access-logformat", f"LINE {form}", **options)
    get(server, target, *headers)
    return server.wait_for_access_line("^LINE (.*)")[1]


def test_every_atom(logged):
    form = "%(h)s|%(l)s|%(u)s|%(m)s|%(U)s|%(q)s|%(H)s|%(s)s|%(b)s|%(B)s|%(f)s|%(a)s|%(r)s|%(zz)s"
    line = access_line(
        *(logged, form, "/a%20b?x=1"),
        *("Authorization: Basic YWRhOnNlY3JldA==", "Referer: http://from/", "User-Agent: ua/1"),
    )
    wanted = "127.0.0.1|-|ada|GET|/a b|x=1|HTTP/1.1|200|5|5|http://from/|ua/1|GET /a%20b?x=1 HTTP/1.1|-"
    assert line == wanted


def test_times_and_the_workers_pid(logged):
    server = logged.start("-w1", "--access-logfile", "-", "--access-logformat", "%(t)s %(T)s %(M)s %(D)s %(L)s %(p)s")
    (worker,) = server.workers()
    get(server, "/")
    line = server.wait_for_access_line(r"^\[.*")[0]
    found = re.fullmatch(
        r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] (\d+) (\d+) (\d+) (\d+\.\d{6}) <(\d+)>", line
    )
    assert found, line
    seconds, millis, micros, decimal, pid = found.groups()
    assert int(micros) // 1000 == int(millis) and int(micros) // 1_000_000 == int(seconds)
    assert float(decimal) == int(micros) / 1_000_000
    assert int(pid) == worker


def test_the_time_is_in_the_zone_of_the_server(logged):
    line = access_line(logged, "%(t)s", "/", environment={"TZ": "Asia/Kolkata"})
    assert line.endswith(" +0530]")


def test_headers_and_variables(logged):
    names = "{X-Id}i {x-none}i {Content-Type}o {x-twice}o {server}o {REMOTE_ADDR}e {wsgi.url_scheme}e {http_x_id}e"
    form = "|".join(f"%({name})s" for name in names.split())
    line = access_line(logged, form, "/", "X-Id: one")
    assert line == "one|-|text/plain|b|-|127.0.0.1|http|one"


def test_variables_of_the_application_stay_in_the_worker(logged):
    assert access_line(logged, "%({app.user}e)s", "/") == ("ada" if IS_ORACLE else "-")


def test_values_are_padded_as_python_does(logged):
    line = access_line(logged, "%(m)6s|%(m)-6s|%(U).3s|%(s)s%%", "/path")
    assert line == "   GET|GET   |/pa|200%"


def test_what_is_absent_is_a_hyphen_and_an_empty_answer_a_zero(project):
    project.write("app.py", "def app(e, s):\n    s('204 No Content', [])\n    return []\n")
    assert access_line(project, "%(u)s %(f)s %(a)s %(b)s %(B)s [%(q)s]", "/") == "- - - 0 0 []"


@pytest.mark.parametrize(
    ("sent", "gunicorn", "indrik"),
    [
        ('a" 200 "b', 'a\\" 200 \\"b', 'a\\" 200 \\"b'),
        ("back\\slash", "back\\slash", "back\\\\slash"),
        ("tab\there", "tab\there", "tab\\x09here"),
    ],
)
def test_what_a_client_sends_cannot_forge_a_line(logged, sent, gunicorn, indrik):
    line = access_line(logged, '"%(a)s"', "/", f"User-Agent: {sent}")
    assert line == f'"{gunicorn if IS_ORACLE else indrik}"'


@pytest.mark.indrik_only
def test_no_control_byte_reaches_the_file(logged):
    server = logged.start("--workers", "1", "--access-logfile", "access.log")
    junk = bytes(byte for byte in range(1, 256) if byte not in b"\r\n")
    for byte in junk:
        with Wire(server.connect()) as wire:
            wire.send(b"GET /%02x HTTP/1.1\r\nHost: t\r\nConnection: close\r\nUser-Agent: <%c>\r\n\r\n" % (byte, byte))
            wire.read_to_end()
    get(server, "/last")
    path = logged.directory / "access.log"
    wait_for(path, "/last")
    data = path.read_bytes()
    assert not [byte for byte in data if byte < 0x20 and byte != 0x0A or byte == 0x7F]
    assert b"<\\xe9>" in data
    data.decode("utf-8")


# --- JSON ---


@pytest.mark.indrik_only
def test_both_logs_are_json(logged):
    import json

    files = ["--access-logfile", "-", "--access-logformat", "%({x-id}i)s %({content-type}o)s %({remote_port}e)s"]
    server = logged.start("--workers", "1", "--log-format", "json", *files)
    (worker,) = server.workers()
    get(server, "/x%0Ay?q=1", 'User-Agent: "ua"', "X-Id: 7")
    line = json.loads(server.wait_for_access_line('"log":"access"').string)
    assert {
        "log": "access",
        "pid": worker,
        "client": "127.0.0.1",
        "user": None,
        "method": "GET",
        "path": "/x\ny",
        "query": "q=1",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 5,
        "referer": None,
        "user_agent": '"ua"',
        "request_line": "GET /x%0Ay?q=1 HTTP/1.1",
        "request_headers": {"x-id": "7"},
        "response_headers": {"content-type": "text/plain"},
    }.items() <= line.items()
    assert line["environ"]["remote_port"].isdigit() and line["duration_us"] >= 0
    get(server, "/raise")
    server.wait_for_log("on purpose")
    assert server.stop() == 0
    entries = [json.loads(line) for line in server.stderr.lines]
    assert {entry["log"] for entry in entries} == {"error"}
    (failed,) = [entry for entry in entries if entry["level"] == "ERROR"]
    assert failed["pid"] == worker and failed["message"] == "Error handling request GET /raise"
    assert failed["details"].startswith("Traceback") and failed["details"].endswith("ValueError: on purpose")
    assert any(entry["message"] == "Shutting down: Master" for entry in entries)


@pytest.mark.indrik_only
def test_what_hooks_log_is_json_too(logged):
    import json

    logged.config("""
        log_format = "json"
        workers = 1

        def post_fork(server, worker):
            worker.log.info("forked as %s", worker.age)
            try:
                1 / 0
            except ZeroDivisionError:
                worker.log.exception("went wrong")
    """)
    server = logged.start()
    (worker,) = server.workers()
    server.wait_for_log("went wrong")
    entries = [json.loads(line) for line in server.stderr.lines]
    (forked,) = [entry for entry in entries if entry["message"].startswith("forked as ")]
    assert (forked["pid"], forked["level"], forked["log"]) == (worker, "INFO", "error")
    (wrong,) = [entry for entry in entries if entry["message"] == "went wrong"]
    assert wrong["details"].endswith("ZeroDivisionError: division by zero")


@pytest.mark.indrik_only
def test_json_is_valid_whatever_a_client_sends(logged):
    import json

    server = logged.start("--workers", "1", "--log-format", "json", "--access-logfile", "access.log")
    for byte in range(0x80, 0x100):
        with Wire(server.connect()) as wire:
            head = b'GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\nUser-Agent: "\\%c\r\n\r\n' % byte
            wire.send(head)
            wire.read_to_end()
    get(server, "/last")
    path = logged.directory / "access.log"
    wait_for(path, "/last")
    lines = [json.loads(line) for line in path.read_bytes().decode("utf-8").splitlines()]
    assert len(lines) >= 0x80
    assert lines[0]["user_agent"] == '"\\\ufffd'


# --- what is left out ---


@pytest.mark.indrik_only
def test_paths_are_left_out_unless_they_fail(logged):
    patterns = ["--access-log-exclude", "/health", "--access-log-exclude", "/static/*", "--access-log-exclude", "/busy"]
    server = logged.start("--workers", "1", "--access-logfile", "-", *patterns)
    for target in ("/health?x=1", "/static/a/b.css", "/healthz", "/busy", "/static", "/last"):
        get(server, target)
    server.wait_for_access_line('"GET /last ')
    logged_paths = [line.split('"')[1].split()[1] for line in server.stdout.lines]
    assert logged_paths == ["/healthz", "/busy", "/static", "/last"]


# --- syslog ---


def test_syslog_over_udp(logged, udp):
    server = logged.start("--workers", "1", "--log-syslog", "--log-syslog-to", f"udp://127.0.0.1:{udp.port}")
    (worker,) = server.workers()
    get(server, "/raise")
    udp.wait_for(rf"^<14>gunicorn\.app\.app\.error: \[{worker}\] Booting worker with pid: {worker}$")
    udp.wait_for(rf"^<11>gunicorn\.app\.app\.error: \[{worker}\] Error handling request GET /raise\nTraceback")
    udp.wait_for(rf'^<14>gunicorn\.app\.app\.access: \[{worker}\] 127\.0\.0\.1 - - .* "GET /raise HTTP/1\.1" 500 ')
    server.wait_for_log("Error handling request GET /raise")


def test_syslog_has_a_facility_and_a_prefix(logged, udp):
    to = ["--log-syslog", "--log-syslog-to", f"udp://localhost:{udp.port}"]
    logged.start("--workers", "1", *to, "--log-syslog-facility", "LOCAL3", "--log-syslog-prefix", "shop")
    udp.wait_for(r"^<158>gunicorn\.shop\.error: \[\d+\] Booting worker")


@pytest.mark.parametrize("kind", ["", "#dgram"])
def test_syslog_over_a_unix_socket(logged, unix, kind):
    receiver, path = unix
    logged.start("--workers", "1", "--log-syslog", "--log-syslog-to", f"unix://{path}{kind}")
    receiver.wait_for(r"^<14>gunicorn\.app\.app\.error: \[\d+\] Booting worker")


def test_syslog_over_tcp(logged):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        port = listener.getsockname()[1]
        server = logged.start("--workers", "1", "--log-syslog", "--log-syslog-to", f"tcp://127.0.0.1:{port}")
        get(server, "/tcp")
        received = b""
        connections = [listener.accept()[0]]
        # Gunicorn has a connection for each log.
        if IS_ORACLE:
            connections.append(listener.accept()[0])
        for connection in connections:
            connection.settimeout(10)
        while b"GET /tcp" not in received or b"Booting worker" not in received:
            for connection in connections:
                connection.settimeout(1)
                try:
                    received += connection.recv(65_536)
                except TimeoutError:
                    continue
        messages = re.split(rb"[\0\n](?=<)", received)
        assert all(re.match(rb"<1[46]>gunicorn\.app\.app\.(error|access): \[", message) for message in messages)
        for connection in connections:
            connection.close()


def test_the_access_log_may_be_kept_out_of_syslog(logged, udp):
    to = ["--log-syslog", "--log-syslog-to", f"udp://127.0.0.1:{udp.port}"]
    server = logged.start("--workers", "1", *to, "--disable-redirect-access-to-syslog")
    get(server, "/secret")
    get(server, "/raise")
    udp.wait_for("Error handling request GET /raise")
    assert not [line for line in udp.seen if ".access: " in line]


@pytest.mark.indrik_only
@pytest.mark.parametrize("to", ["unix:///nowhere/log", "tcp://127.0.0.1:1", "udp://127.0.0.1:1", "udp://host.invalid"])
def test_syslog_that_cannot_be_reached_stops_nothing(logged, to):
    server = logged.start("--workers", "1", "--log-syslog", "--log-syslog-to", to)
    for _ in range(50):
        assert get(server, "/") == 200
    server.wait_for_log(r"\[WARNING\] Cannot reach the syslog server at ")
    assert server.log().count("Cannot reach the syslog server at ") == 1
    assert server.stop() == 0


# --- statsd ---


def statsd(project: Project, receiver: Receiver, *arguments: str, **options: object) -> Server:
    return project.start("--workers", "1", "--statsd-host", f"127.0.0.1:{receiver.port}", *arguments, **options)


def test_requests_are_measured(logged, udp):
    server = statsd(logged, udp)
    get(server, "/")
    get(server, "/raise")
    udp.wait_for(r"^gunicorn\.request\.duration:\d+\.\d+\|ms$")
    udp.wait_for(r"^gunicorn\.requests:1\|c\|@1\.0$")
    udp.wait_for(r"^gunicorn\.request\.status\.200:1\|c\|@1\.0$")
    udp.wait_for(r"^gunicorn\.request\.status\.500:1\|c\|@1\.0$")


def test_workers_and_log_entries_are_counted(logged, udp):
    server = statsd(logged, udp)
    udp.wait_for(r"^gunicorn\.workers:1\|g$")
    server.signal(signal.SIGTTIN)
    udp.wait_for(r"^gunicorn\.workers:2\|g$")
    get(server, "/raise")
    udp.wait_for(r"^gunicorn\.log\.exception:1\|c\|@1\.0$")
    with Wire(server.connect()) as wire:
        wire.send("GET / HTTP/1.1\r\nno field\r\n\r\n")
        wire.read_to_end()
    udp.wait_for(r"^gunicorn\.log\.warning:1\|c\|@1\.0$")
    os.kill(server.workers()[0], signal.SIGKILL)
    udp.wait_for(r"^gunicorn\.log\.error:1\|c\|@1\.0$")


def test_statsd_prefix_and_tags(logged, udp):
    server = statsd(logged, udp, "--statsd-prefix", "shop", "--dogstatsd-tags", "env:test,zone:a")
    get(server, "/")
    udp.wait_for(r"^shop\.gunicorn\.requests:1\|c\|@1\.0\|#env:test,zone:a$")
    udp.wait_for(r"^shop\.gunicorn\.workers:1\|g\|#env:test,zone:a$")


def test_statsd_over_a_unix_socket(logged, unix):
    receiver, path = unix
    server = logged.start("--workers", "1", "--statsd-host", f"unix://{path}")
    get(server, "/")
    receiver.wait_for(r"^gunicorn\.requests:1\|c\|@1\.0$")


def test_the_backlog_is_measured(logged, udp):
    statsd(logged, udp, "--enable-backlog-metric")
    udp.wait_for(r"^gunicorn\.backlog:0\|h$")


def test_hooks_send_metrics_of_their_own(logged, udp):
    logged.config("""
        def post_worker_init(worker):
            for kind in ("gauge", "counter", "histogram", "timer"):
                worker.log.info("", extra={"metric": f"shop.{kind}", "value": 3, "mtype": kind})
    """)
    statsd(logged, udp)
    for name, end in (("gauge", "g"), ("counter", r"c\|@1\.0"), ("histogram", "h"), ("timer", "ms")):
        udp.wait_for(rf"^shop\.{name}:3\|{end}$")


def test_statsd_that_nobody_listens_to_stops_nothing(logged):
    server = logged.start("--workers", "1", "--statsd-host", "127.0.0.1:1")
    for _ in range(50):
        assert get(server, "/") == 200
