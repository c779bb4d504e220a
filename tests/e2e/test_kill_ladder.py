"""Requests that run too long: answered in time, told to stop, and what becomes of their workers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.gate import Gate
from support.project import Project
from support.server import Server, poll
from support.wire import Wire

pytestmark = pytest.mark.indrik_only

FLASK = """
    import itertools, os, threading, time
    from flask import Flask, request
    from gates import wait_at_gate

    app = Flask(__name__)
    # What is tested is a request that sleeps for too long.
    nap = time.sleep

    def stuck(kind):
        if kind == "sleep":
            nap(60)
        elif kind == "busy":
            while True:
                pass
        elif kind == "busy_in_c":
            sum(itertools.repeat(0, 10**13))
        elif kind == "deadlock":
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        elif kind == "caught":
            try:
                nap(60)
            except Exception:
                return "swallowed"

    @app.get("/stuck/<kind>")
    def view(kind):
        return stuck(kind)

    @app.get("/pid")
    def pid():
        return str(os.getpid())

    @app.route("/gate", methods=["GET", "POST"])
    def gate():
        wait_at_gate(request.args["gate"])
        return str(os.getpid())

    @app.get("/stream")
    def stream():
        def pieces():
            yield "begun "
            wait_at_gate(gate_path)
            yield "done"
        gate_path = request.args["gate"]
        return app.response_class(pieces())
"""

FASTAPI = """
    import asyncio, os
    from fastapi import FastAPI
    from gates import mark, wait_at_gate
    from site_flask import stuck

    app = FastAPI()

    @app.get("/waits")
    async def waits():
        await asyncio.Event().wait()

    @app.get("/thread")
    def thread(path: str):
        try:
            stuck("busy")
        finally:
            mark(path, "stopped")

    @app.get("/stuck/{kind}")
    async def view(kind: str):
        stuck(kind)

    @app.get("/pid")
    async def pid():
        return os.getpid()

    @app.get("/gate")
    async def gate(gate: str):
        wait_at_gate(gate)
        return os.getpid()
"""

Serve = Callable[..., Server]


@pytest.fixture
def serve(start, tmp_path: Path) -> Iterator[Serve]:
    """Starts the Flask or the FastAPI application; its stuck workers may outlive a graceful stop."""
    project = Project(tmp_path / "project", start)
    project.write("site_flask.py", FLASK)
    project.write("site_fastapi.py", FASTAPI)
    apps = Path(__file__).parent.parent / "apps"
    project.write("gates.py", (apps / "gates.py").read_text())

    def serve(app: str, *arguments: str) -> Server:
        return project.start("--graceful-timeout", "2", *arguments, app=f"site_{app}:app")

    yield serve


def block(server: Server, pattern: str) -> str:
    """Waits for several lines of the log that match together."""
    found: list[str] = []

    def look() -> bool:
        found[:] = [match.group() for match in re.finditer(pattern, server.log())][:1]
        return bool(found)

    poll(look, pattern, 15)
    return found[0]


def gate_request(gate: Gate, method: str = "GET", path: str = "/gate") -> str:
    return f"{method} {path}?gate={gate.path} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n"


def times_out(wire: Wire, path: str) -> None:
    assert wire.get(path).status == 504


def replaced(connect, server: Server, pid: str) -> None:
    poll(lambda: connect(server).get("/pid").text != pid, "another worker", 20)


CLASSES = {
    "sync": ((), ["sleep", "busy", "deadlock", "caught"]),
    "gthread": (("--threads", "2"), ["busy"]),
    "gevent": (("--worker-class", "gevent"), ["sleep", "caught"]),
    "eventlet": (("--worker-class", "eventlet"), ["sleep"]),
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_request_that_runs_too_long_is_a_504_and_its_worker_lives_on(serve: Serve, connect, name: str):
    arguments, kinds = CLASSES[name]
    server = serve("flask", "--workers", "1", "--request-timeout", "300ms", *arguments)
    wire = connect(server, 30)
    pid = wire.get("/pid").text
    for kind in kinds:
        times_out(wire, f"/stuck/{kind}")
        server.wait_for_log(rf"Request timed out after 0.3 s: GET /stuck/{kind} \(client 127.0.0.1\)")
        block(server, rf"GET /stuck/{kind}\nTraceback(.*\n)+?.*in stuck\n(.*\n)+?indrik.RequestTimeout")
        assert wire.get("/pid").text == pid
    assert "WORKER TIMEOUT" not in server.log()


def test_a_coroutine_that_waits_too_long_is_cancelled(serve: Serve, connect):
    server = serve("fastapi", "--workers", "1", "--request-timeout", "300ms")
    wire = connect(server, 30)
    pid = wire.get("/pid").text
    times_out(wire, "/waits")
    block(server, r"\(GET /waits\)\nTraceback(.*\n)+?.*in waits\n(.*\n)+?asyncio.*CancelledError")
    assert wire.get("/pid").text == pid


def test_the_thread_of_a_request_that_was_cancelled_is_stopped_as_well(serve: Serve, connect, tmp_path: Path):
    server = serve("fastapi", "--workers", "1", "--request-timeout", "300ms")
    marks = tmp_path / "marks"
    times_out(connect(server, 30), f"/thread?path={marks}")
    poll(marks.exists, "the end of the thread")


@pytest.mark.parametrize(("app", "arguments"), [("flask", ()), ("flask", ("--threads", "2")), ("fastapi", ())])
def test_a_worker_that_keeps_the_interpreters_lock_is_replaced(serve: Serve, connect, app: str, arguments):
    server = serve(app, "--workers", "1", "--request-timeout", "300ms", *arguments)
    wire = connect(server, 30)
    pid = wire.get("/pid").text
    times_out(wire, "/stuck/busy_in_c?token=1")
    # One entry: the requests, then the stacks of all threads.
    request = r"GET /stuck/busy_in_c\?token=1 from 127.0.0.1, for [0-9.]+ s, answered 504"
    stacks = r"(  .*\n|Thread.*\n|Current.*\n|\n)*?.* in stuck\n"
    block(server, rf"What worker \(pid:{pid}\) was doing:\n(  .*\n)*?  {request}\n{stacks}")
    assert wire.get("/pid").text != pid
    server.wait_for_log(rf"Worker 1 \(pid:{pid}\) of generation 1 ended: timeout")


def test_a_thread_that_cannot_be_stopped_costs_the_others_nothing(serve: Serve, connect, gate: Gate):
    server = serve(
        *("flask", "--workers", "1", "--threads", "3", "--request-timeout", "300ms"),
        *("--request-timeout-paths", "/gate=0", "--graceful-timeout", "60"),
    )
    other, wire = connect(server, 30), connect(server, 30)
    other.send(gate_request(gate, "POST"))
    pid = str(gate.arrived())
    times_out(wire, "/stuck/sleep")
    server.wait_for_log(rf"WORKER TIMEOUT \(pid:{pid}\): a request does not end, others go on")
    block(server, rf"What worker \(pid:{pid}\) was doing:(.*\n)+?  POST /gate(.*\n)+?.*in stuck\n")
    replaced(connect, server, pid)
    gate.release()
    assert other.read_answer().text == pid
    server.wait_for_log(rf"Worker 1 \(pid:{pid}\) of generation 1 ended: timeout")


def test_what_a_blocked_event_loop_has_not_started_is_answered_by_another_worker(serve: Serve, connect, gate: Gate):
    server = serve("fastapi", "--workers", "2")
    held = connect(server, 30)
    held.send(gate_request(gate))
    pid = gate.arrived()
    wires = [connect(server, 30) for _ in range(20)]
    for wire in wires:
        wire.send("GET /pid HTTP/1.1\r\nHost: t\r\n\r\n")
    assert str(pid) not in {wire.read_answer().text for wire in wires}
    gate.release()
    assert held.read_answer().text == str(pid)


def test_an_answer_that_has_begun_may_take_its_time(serve: Serve, connect, gate: Gate):
    server = serve("flask", "--workers", "2", "--request-timeout", "300ms")
    streaming, clock = connect(server, 30), connect(server, 30)
    streaming.send(gate_request(gate, path="/stream"))
    gate.arrived()
    times_out(clock, "/stuck/busy")
    gate.release()
    assert streaming.read_answer().text == "begun done"


def test_a_request_runs_on_while_no_other_one_waits_if_so_set(serve: Serve, connect, gate: Gate):
    server = serve("flask", "--workers", "1", "--request-timeout", "200ms", "--timeout-only-if-queued")
    alone, other = connect(server, 30), connect(server, 30)
    alone.send(gate_request(gate))
    pid = str(gate.arrived())
    assert gate.nobody_arrives(0.6)
    assert "timed out" not in server.log()
    other.send("GET /pid HTTP/1.1\r\nHost: t\r\n\r\n")
    assert alone.read_answer().status == 504
    assert other.read_answer().text == pid


def test_a_worker_in_which_nobody_gets_the_interpreters_lock_is_replaced(serve: Serve, connect):
    server = serve("flask", "--workers", "1", "--deadlock-timeout", "300ms")
    wire = connect(server, 30)
    pid = wire.get("/pid").text
    times_out(wire, "/stuck/busy_in_c")
    server.wait_for_log(rf"WORKER DEADLOCK \(pid:{pid}\)")
    block(server, rf"What worker \(pid:{pid}\) was doing:(.*\n)+?.*in stuck\n")
    assert wire.get("/pid").text != pid
    server.wait_for_log(rf"Worker 1 \(pid:{pid}\) of generation 1 ended: deadlock")


def test_a_limit_that_cannot_be_read_is_refused(tmp_path: Path, start):
    project = Project(tmp_path, start)
    done = project.run("--check-config", "--request-timeout-paths", "/a=1,/b=soon", "app:app")
    assert done.code == 1
    assert "request_timeout_paths: '/b=soon' is not PREFIX=SECONDS" in done.output
