"""What is put around the command, and has run before it: opentelemetry-instrument, ddtrace-run, a sitecustomize.

They start threads in the master before it is one, and are to be in every worker.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest
from support.family import Family, stat_of
from support.project import Project
from support.server import IS_ORACLE, Server, poll, title_of
from support.wire import Wire

FLASK = """
import os
from flask import Flask
app = Flask(__name__)

@app.get("/<path:anything>")
def answer(anything):
    return str(os.getpid())
"""
FASTAPI = """
import os
from fastapi import FastAPI, Response
app = FastAPI()

@app.get("/{anything:path}")
async def answer(anything: str):
    return Response(str(os.getpid()))
"""
# A thread in every interpreter that starts with it, as wrappers have one.
SITECUSTOMIZE = """
import signal, sys, threading
# And a timer, as profilers have one. What it does to a program that does not handle it is to end it.
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
sys.from_before = "yes"
threading.Thread(target=threading.Event().wait, name="from-before", daemon=True).start()
"""
APPS = {"wsgi": (FLASK, "wsgi", ()), "asgi": (FASTAPI, "asgi", ()), "preload": (FLASK, "wsgi", ("--preload",))}
WORKERS = 2
# What a wrapper and a framework take to start on a machine that does other things.
SECONDS = 40.0


class Collector:
    """Stands where spans are sent to: an OTLP collector and a Datadog agent at once."""

    def __init__(self) -> None:
        bodies = self.bodies = []

        class Handler(BaseHTTPRequestHandler):
            def take(self) -> None:
                bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_POST = do_PUT = take

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def wait_for(self, text: str) -> None:
        """Both protocols carry texts as they are."""
        poll(lambda: any(text.encode() in body for body in self.bodies), f"a span of {text}", SECONDS)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def family(project: Project) -> Iterator[Family]:
    family = Family(project)
    yield family
    family.kill()


class Wrapped:
    """A server inside a wrapper, with two workers and files for its logs."""

    def __init__(self, project: Project, collector: Collector, wrapper: str, kind: str) -> None:
        source, interface, arguments = APPS[kind]
        project.write("app.py", source)
        self.access_log = project.directory / "access.txt"
        self.collector = collector
        self.preload = kind == "preload"
        command = Path(sys.executable).parent / wrapper
        assert command.exists(), f"{command} does not exist: install tests/requirements.txt"
        options = ("--pid", "pid", "--access-logfile", str(self.access_log), "--workers", str(WORKERS), *arguments)
        self.server: Server = project.start(
            *options, interface=interface, launcher=(str(command),), environment=variables(collector.url)
        )
        poll(lambda: len(self.workers()) == WORKERS, "the workers", SECONDS)

    def workers(self) -> list[int]:
        """Gunicorn's are the children of the master; a helper of ddtrace's may be one too."""
        pids = self.server.workers()
        return [pid for pid in pids if "crashtracker" not in title_of(pid)] if IS_ORACLE else pids

    def ask(self) -> int:
        """The worker that answers a request, whose span arrives."""
        mark = f"mark-{uuid4().hex}"
        with Wire(self.server.connect()) as wire:
            pid = int(wire.get(f"/{mark}", "Connection: close").text)
        self.collector.wait_for(mark)
        return pid

    def has_started_again(self, old: list[int]) -> None:
        poll(lambda: len(self.workers()) == WORKERS and not set(old) & set(self.workers()), "new workers", SECONDS)


def variables(url: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "DD_TRACE_AGENT_URL": url,
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_TRACE_WRITER_INTERVAL_SECONDS": "0.1",
    }


@pytest.fixture(params=["opentelemetry-instrument", "ddtrace-run"])
def wrapper(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", APPS)
def test_signals_and_deaths_are_as_without_a_wrapper_and_spans_arrive(project, collector, wrapper, kind):
    wrapped = Wrapped(project, collector, wrapper, kind)
    server, old = wrapped.server, wrapped.workers()
    assert wrapped.ask() in old

    server.signal(signal.SIGTTIN)
    poll(lambda: len(wrapped.workers()) == WORKERS + 1, "one worker more", SECONDS)
    server.signal(signal.SIGTTOU)
    poll(lambda: len(wrapped.workers()) == WORKERS, "one worker less", SECONDS)

    killed = wrapped.workers()[0]
    os.kill(killed, signal.SIGKILL)
    poll(lambda: killed not in wrapped.workers() and len(wrapped.workers()) == WORKERS, "another worker", SECONDS)
    assert stat_of(killed)[0] == "X"

    wrapped.access_log.rename(wrapped.access_log.with_suffix(".old"))
    server.signal(signal.SIGUSR1)
    poll(wrapped.access_log.exists, "the new access log", SECONDS)

    old = wrapped.workers()
    server.signal(signal.SIGHUP)
    wrapped.has_started_again(old)
    assert wrapped.ask() in wrapped.workers()
    assert server.stop() == 0


@pytest.mark.timeout(240)
def test_a_new_master_has_the_wrapper_too(project, family, collector, wrapper):
    wrapped = Wrapped(project, collector, wrapper, "wsgi")
    wrapped.server.clean_stop = False
    wrapped.server.signal(signal.SIGUSR2)
    new = family.pid_in("pid.2")
    poll(lambda: len(family.workers(new)) >= WORKERS, "the new master's workers", SECONDS)
    assert wrapped.server.stop() == 0
    assert wrapped.ask() in family.workers(new)
    os.kill(new, signal.SIGTERM)
    family.gone(new)


@pytest.mark.indrik_only
def test_what_a_sitecustomize_does_is_in_the_workers_and_its_thread_not_in_the_master(project):
    project.write("early/sitecustomize.py", SITECUSTOMIZE)
    project.write(
        "app.py",
        """
        import sys
        def app(environ, start_response):
            start_response("200 OK", [])
            return [sys.from_before.encode()]
        """,
    )
    paths = os.pathsep.join([str(project.directory / "early"), project.environment["PYTHONPATH"]])
    server = project.start(environment={"PYTHONPATH": paths})
    with Wire(server.connect()) as wire:
        assert wire.get("/", "Connection: close").text == "yes"
    # The process is the one that was started, and has no thread but the server's own.
    assert title_of(server.process.pid).startswith("indrik: master")
    names = {(task / "comm").read_text().strip() for task in Path(f"/proc/{server.process.pid}/task").iterdir()}
    assert not [name for name in names if not name.startswith("indrik")], names
