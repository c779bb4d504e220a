"""Configuration files as varied projects have them (`configs/`): each boots, serves, and runs its hooks in order."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from support.project import ASGI_APP, SOFTWARE_APP, Project
from support.server import IS_ORACLE, TESTS, Server, free_port, poll, title_of
from support.wire import Wire

CONFIGS = TESTS / "compat" / "configs"
RECORD_ALL_HOOKS = "\nimport recorder as _recorder\n_recorder.record_all_hooks(globals())\n"
MASTER_HOOKS = {"nworkers_changed", "on_starting", "when_ready", "pre_fork", "child_exit", "on_reload", "on_exit"}
PROMETHEUS_APP = """
from prometheus_client import Counter, Gauge

requests = Counter("requests", "Requests")
live = Gauge("live", "Workers", multiprocess_mode="liveall")

def app(environ, start_response):
    requests.inc()
    live.set(1)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
TELEMETRY = """
import os
import threading

exporter = None

def start(**attributes):
    global exporter
    exporter = (os.getpid(), threading.Thread(target=threading.Event().wait, daemon=True), attributes)
    exporter[1].start()
"""
TELEMETRY_APP = """
import os
import telemetry

def app(environ, start_response):
    pid, thread, attributes = telemetry.exporter
    assert pid == os.getpid() and thread.is_alive() and attributes["service"] == "shop"
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
CONNECTIONS = """
import os

opened_by = os.getpid()

def close_all():
    global opened_by
    opened_by = None

def open_new():
    global opened_by
    assert opened_by is None
    opened_by = os.getpid()
"""
CONNECTIONS_APP = """
import os
import connections

def app(environ, start_response):
    assert connections.opened_by == os.getpid()
    assert os.environ["DJANGO_SETTINGS_MODULE"] == "shop.settings"
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
WSGI_IN_A_PACKAGE = """
import os

def application(environ, start_response):
    body = f"{os.environ['SHOP_SETTINGS']} {os.environ['GREETING']}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
FACTORY_APP = """
def create_app(name="shop"):
    def app(environ, start_response):
        body = name.encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    return app
"""
DATABASE_APP = """
import os
import sqlite3

def app(environ, start_response):
    with sqlite3.connect(os.environ["DATABASE"]) as database:
        (body,) = database.execute("select name from migrations").fetchone()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body.encode()]
"""
GEVENT_APP = """
from gevent import monkey

def app(environ, start_response):
    body = str(monkey.is_module_patched("threading")).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@dataclass
class Case:
    """One file of `configs/`, and what a project around it has."""

    name: str
    workers: int = 1
    arguments: list[str] = field(default_factory=list)
    app: str = "app:app"
    files: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    # Uvicorn's worker calls no hook of a request and dies of TERM before worker_exit; ours does as every other.
    all_hooks: bool = True

    def start(self, project: Project, trailer: str = "", **options: Any) -> Server:
        for name, text in self.files.items():
            project.write(name, text)
        (project.directory / "gunicorn.conf.py").write_text((CONFIGS / f"{self.name}.py").read_text() + trailer)
        places = {name: value.format(here=project.directory) for name, value in self.environment.items()}
        environment = places | options.pop("environment", {})
        arguments = [*self.arguments, *options.pop("arguments", [])]
        return project.start(*arguments, app=self.app, environment=environment, **options)


CASES = [
    Case(
        "prometheus_multiproc",
        workers=2,
        files={"app.py": PROMETHEUS_APP},
        environment={"PROMETHEUS_MULTIPROC_DIR": "{here}/metrics"},
    ),
    Case("prometheus_when_ready", workers=2, environment={"METRICS_PORT": "0"}),
    Case("telemetry_post_fork", workers=2, files={"app.py": TELEMETRY_APP, "telemetry.py": TELEMETRY}),
    Case(
        "heroku_nginx",
        workers=2,
        environment={
            "NGINX_SOCKET": "{here}/nginx.socket",
            "APP_INITIALIZED": "{here}/app-initialized",
            "WEB_CONCURRENCY": "2",
        },
    ),
    Case("computed_workers", workers=2, environment={"MAX_WORKERS": "2"}),
    Case(
        "environment_driven",
        workers=2,
        environment={"GUNICORN_WORKERS": "2", "GUNICORN_TIMEOUT": "77", "GUNICORN_PRELOAD_APP": "true"},
    ),
    Case("health_check_filter"),
    Case("json_logging"),
    Case("hide_server"),
    Case("gevent_patched", files={"app.py": GEVENT_APP}),
    Case(
        "wsgi_app_raw_env",
        workers=2,
        app="",
        files={"shop/__init__.py": "", "shop/wsgi.py": WSGI_IN_A_PACKAGE},
    ),
    Case("stack_dumps"),
    Case(
        "migrate_on_starting",
        workers=2,
        files={"app.py": DATABASE_APP},
        environment={"DATABASE": "{here}/shop.db"},
    ),
    Case("recycle"),
    Case("uvicorn_workers", workers=2, files={"app.py": ASGI_APP}, all_hooks=False),
    Case("dead_names"),
    Case(
        "django_like",
        workers=2,
        files={"app.py": CONNECTIONS_APP, "connections.py": CONNECTIONS},
    ),
    Case("netbox_like", workers=3),
    Case("flock_scheduler", workers=3, environment={"SCHEDULER_LOCK": "{here}/scheduler.lock"}),
    Case("container_image", workers=2, environment={"MAX_WORKERS": "2"}),
    Case("custom_worker"),
    Case(
        "superset_like",
        workers=2,
        app="app:create_app(name='superset')",
        files={"app.py": FACTORY_APP},
        arguments=[
            *("--workers", "2", "--worker-class", "gthread", "--threads", "20", "--timeout", "60"),
            *("--keep-alive", "2", "--max-requests", "0", "--max-requests-jitter", "0"),
            *("--limit-request-line", "0", "--limit-request-field_size", "0"),
            *("--access-logfile", "-", "--error-logfile", "-", "--statsd-host", "127.0.0.1:8125"),
        ],
    ),
]
BY_NAME = {case.name: case for case in CASES}


def hooks_of_workers(project: Project) -> list[list[str]]:
    """The hooks each worker ran, in order; the hooks of the master left out."""
    by_pid: dict[int, list[str]] = {}
    for pid, hook in project.recorded():
        if hook not in MASTER_HOOKS:
            by_pid.setdefault(pid, []).append(hook)
    return list(by_pid.values())


def get(server: Server, target: str = "/", *headers: str):
    with Wire(server.connect()) as wire:
        return wire.get(target, *headers)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_boots_serves_stops_and_runs_its_hooks_in_gunicorns_order(case, project):
    server = case.start(project, RECORD_ALL_HOOKS, bind=socket_of(case, project))
    project.wait_for_records(*["post_worker_init"] * case.workers)
    assert get(server).status == 200
    assert server.stop() == 0
    master = [hook for _, hook in project.recorded() if hook in MASTER_HOOKS]
    forks, exits = ["pre_fork"] * case.workers, ["child_exit"] * case.workers
    assert master == ["nworkers_changed", "on_starting", "when_ready", *forks, *exits, "on_exit"]
    workers = hooks_of_workers(project)
    assert len(workers) == case.workers
    idle = ["post_fork", "post_worker_init", "worker_exit"]
    served = ["post_fork", "post_worker_init", "pre_request", "post_request", "worker_exit"]
    if IS_ORACLE and not case.all_hooks:
        idle = served = ["post_fork", "post_worker_init"]
    assert sorted(workers) == sorted([idle] * (case.workers - 1) + [served])


def socket_of(case: Case, project: Project) -> str | None:
    return f"unix:{project.directory}/nginx.socket" if case.name == "heroku_nginx" else None


class TestMetrics:
    def test_files_of_a_worker_that_is_gone_are_removed_by_child_exit(self, project):
        server = BY_NAME["prometheus_multiproc"].start(project)
        directory = project.directory / "metrics"
        assert get(server).status == 200
        # The file of one of the workers; the other one may have made its own, or not yet.
        live = next(directory.glob("gauge_liveall_*.db"))
        pid = int(live.stem.rpartition("_")[2])
        assert pid in server.workers()
        os.kill(pid, signal.SIGTERM)
        poll(lambda: not live.exists(), f"the end of {live}")
        assert list(directory.glob(f"counter_{pid}.db"))

    def test_a_metrics_server_started_by_when_ready_answers_beside_the_application(self, project):
        port = free_port()
        server = BY_NAME["prometheus_when_ready"].start(project, environment={"METRICS_PORT": str(port)})
        server.wait_for_log(f"metrics at port {port}")
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert b"python_info" in answer.read()
        assert get(server).status == 200


class TestSockets:
    def test_a_unix_socket_and_a_marker_file_serve_an_nginx_beside(self, project):
        path = project.directory / "nginx.socket"
        server = BY_NAME["heroku_nginx"].start(project, bind=f"unix:{path}", say_bind=False)
        poll((project.directory / "app-initialized").exists, "the marker of when_ready")
        assert get(server, "/page", "X-Forwarded-Proto: https").text.endswith(" /page")
        poll(lambda: len(server.workers()) == 2, "two workers")
        assert server.stop() == 0
        assert not path.exists()

    def test_host_and_port_may_come_from_the_environment(self, project):
        port = free_port()
        server = BY_NAME["container_image"].start(
            project, environment={"HOST": "127.0.0.1", "PORT": str(port)}, port=port, say_bind=False
        )
        assert get(server).status == 200
        line = server.stdout.wait_for(r'"loglevel"', 10).string
        assert json.loads(line)["workers"] == 2
        server.wait_for_access_line(r'"GET / HTTP/1.1" 200')


class TestNumbers:
    def test_workers_may_be_computed(self, project):
        server = BY_NAME["computed_workers"].start(project, environment={"MAX_WORKERS": "3", "WORKERS_PER_CORE": "9"})
        poll(lambda: len(server.workers()) == 3, "three workers")

    def test_strings_from_the_environment_are_numbers_and_switches(self, project):
        server = BY_NAME["environment_driven"].start(project, environment={"GUNICORN_WORKERS": "3"})
        poll(lambda: len(server.workers()) == 3, "three workers")
        done = project.run(
            "--print-config", "app:app", environment={"GUNICORN_TIMEOUT": "77", "GUNICORN_PRELOAD_APP": "true"}
        )
        assert re.search(r"(?m)^timeout\s*= 77$", done.stdout)
        assert re.search(r"(?m)^preload_app\s*= True$", done.stdout)


class TestLogs:
    def test_a_filter_of_the_access_log_leaves_the_probes_out(self, project):
        server = BY_NAME["health_check_filter"].start(project)
        for target in ("/health", "/page"):
            assert get(server, target).status == 200
        server.wait_for_access_line("GET /page")
        assert "/health" not in server.stdout.text()

    def test_both_logs_are_json_when_the_configuration_says_so(self, project):
        server = BY_NAME["json_logging"].start(project)
        get(server, "/page?x=1", 'User-Agent: a "quoted" one')
        line = json.loads(server.wait_for_access_line("/page").string)
        assert line | {"agent": None} == {
            "logger": "gunicorn.access",
            "level": "INFO",
            "status": 200,
            "path": "/page",
            "method": "GET",
            "agent": None,
        }
        assert "quoted" in line["agent"]
        booting = json.loads(server.wait_for_log("Booting worker").string)
        assert booting["logger"] == "gunicorn.error"
        assert server.stop() == 0
        for line in [*server.stderr.lines, *server.stdout.lines]:
            json.loads(line)

    def test_a_custom_format_of_the_access_log_names_a_request_header(self, project):
        server = BY_NAME["django_like"].start(project)
        get(server, "/", "X-Forwarded-For: 192.0.2.7")
        server.wait_for_access_line(r'^192\.0\.2\.7 "GET / HTTP/1\.1" 200 \d+\.\d{6}$')
        assert (project.directory / "shop.pid").read_text().strip() == str(server.process.pid)
        assert server.stop() == 0
        assert not (project.directory / "shop.pid").exists()


class TestGunicornsNames:
    def test_the_server_header_can_be_changed(self, project):
        project.write("app.py", SOFTWARE_APP)
        answer = get(BY_NAME["hide_server"].start(project))
        assert answer.header("server") == "shop"
        assert answer.text == "shop/1"

    def test_gevent_patched_by_the_configuration_runs_greenlets(self, project):
        server = BY_NAME["gevent_patched"].start(project)
        assert get(server).text == "True"
        server.wait_for_log("patched: True")

    def test_names_that_do_nothing_do_nothing(self, project):
        server = BY_NAME["dead_names"].start(project)
        assert get(server).status == 200
        assert len(server.workers()) == 1

    @pytest.mark.indrik_only
    def test_names_that_do_nothing_are_said_with_what_was_meant(self, project):
        server = BY_NAME["dead_names"].start(project)
        assert get(server).status == 200
        for wrong, meant in {"PRELOAD_APP": "preload_app", "keep_alive": "keepalive", "log_level": "loglevel"}.items():
            server.wait_for_log(rf"gunicorn\.conf\.py:\d+: {wrong} is not a setting.*{meant}")
        assert "helper" not in server.log()

    def test_a_worker_class_of_ones_own_serves(self, project):
        server = BY_NAME["custom_worker"].start(project)
        assert get(server).status == 200

    def test_the_application_may_be_a_call_on_the_command_line(self, project):
        assert get(BY_NAME["superset_like"].start(project)).text == "superset"

    def test_the_application_and_its_environment_may_stand_in_the_file(self, project):
        case = BY_NAME["wsgi_app_raw_env"]
        assert get(case.start(project)).text == "shop.settings one=two"

    def test_control_socket_none_does_not_break_the_start(self, project):
        """Gunicorn passes --check-config with it and crashes at the start; to us it means: none."""
        project.config((CONFIGS / "no_control_socket.py").read_text())
        if IS_ORACLE:
            server = Server("app:app", log_directory=project.directory, cwd=project.directory)
            at = server.command.index("--control-socket")
            del server.command[at : at + 2]
            server.start()
            assert server.wait_for_exit() != 0
            server.kill()
        else:
            assert get(project.start()).status == 200

    @pytest.mark.parametrize("production", ["", "yes"])
    def test_a_hook_of_none_is_no_hook(self, project, production):
        """Gunicorn: "Value is not callable", exit 1."""
        project.config((CONFIGS / "hooks_none.py").read_text())
        if IS_ORACLE:
            assert project.run("app:app", environment={"PRODUCTION": production}).code == 1
            return
        server = project.start(environment={"PRODUCTION": production})
        assert get(server).status == 200
        if production:
            server.wait_for_log("in production")


class TestProcesses:
    def test_an_interrupt_dumps_the_stacks_of_the_worker(self, project):
        server = BY_NAME["stack_dumps"].start(project)
        assert get(server).status == 200
        server.signal(signal.SIGINT)
        assert server.wait_for_exit() == 0
        server.wait_for_log("worker received INT or QUIT signal")
        server.wait_for_log("MainThread")

    def test_migrations_have_run_before_the_first_worker_is_there(self, project):
        database = project.directory / "shop.db"
        server = BY_NAME["migrate_on_starting"].start(project)
        assert get(server).text == "0001"
        with sqlite3.connect(database) as connection:
            assert connection.execute("select count(*) from migrations").fetchone() == (1,)
        server.wait_for_log("Booting worker")
        lines = server.log()
        assert lines.index("migrating") < lines.index("Booting worker")

    def test_a_worker_goes_after_its_requests_and_another_comes(self, project):
        server = BY_NAME["recycle"].start(project, RECORD_ALL_HOOKS)
        (first,) = server.workers()
        for _ in range(3):
            assert get(server).status == 200
        server.wait_for_log("worker 1 goes after 3 requests")
        server.wait_for_new_workers([first])
        project.wait_for_records("post_worker_init", "post_worker_init", "child_exit")
        assert get(server).status == 200
        first_hooks = hooks_of_workers(project)[0]
        requests = ["pre_request", "post_request"] * 3
        assert first_hooks == ["post_fork", "post_worker_init", *requests, "worker_exit"]

    def test_one_worker_of_several_runs_the_scheduler(self, project):
        server = BY_NAME["flock_scheduler"].start(project)
        runs = int(server.wait_for_log(r"scheduler runs in (\d+)").group(1))
        poll(lambda: len(server.workers()) == 3, "three workers")
        assert runs in server.workers()
        os.kill(runs, signal.SIGTERM)
        server.wait_for_log("scheduler ended")
        assert server.stop() == 0
        assert server.log().count("scheduler runs in") <= 2

    def test_uvicorns_worker_class_serves_asgi(self, project):
        server = BY_NAME["uvicorn_workers"].start(project)
        assert get(server).text == "hello"

    def test_a_monitor_sees_ready_workers_by_their_titles_and_scales_with_signals(self, project, tmp_path):
        package = project.write("airflow_like/gunicorn_config.py", (CONFIGS / "airflow_like.py").read_text())
        (package.parent / "__init__.py").touch()
        pid_file = project.directory / "monitor.pid"
        server = project.start(
            *("--workers", "2", "--worker-class", "sync", "--timeout", "120", "--name", "airflow-webserver"),
            *("--pid", str(pid_file), "--config", "python:airflow_like.gunicorn_config"),
        )
        ready = lambda: [pid for pid in server.processes() if title_of(pid).startswith("[ready]")]  # noqa: E731
        poll(lambda: len(ready()) == 2, "two ready workers")
        master = int(pid_file.read_text())
        assert master == server.process.pid
        os.kill(master, signal.SIGTTIN)
        poll(lambda: len(ready()) == 3, "three ready workers")
        os.kill(master, signal.SIGTTOU)
        poll(lambda: len(ready()) == 2, "two ready workers again")
        server.wait_for_log("starting for webserver")


def test_every_configuration_is_tested():
    tested = set(BY_NAME) | {"no_control_socket", "hooks_none", "airflow_like"}
    assert tested == {path.stem for path in Path(CONFIGS).glob("*.py")}
