"""The log of slow requests: at the threshold, once, with where the time went and what the worker does just then."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.server import Server
from websockets.sync.client import connect as connect_socket

pytestmark = pytest.mark.indrik_only

SOON = ("--slow-request-log", "100ms")


def slow(server: Server) -> list[str]:
    return re.findall(r"Slow request: .*", server.log())


def at_gate(gate: Any, name: str = "") -> str:
    return f"GET /gate?gate={gate.path}&{name} HTTP/1.1\r\nHost: a\r\n\r\n"


def test_a_slow_request_is_told_of_while_it_runs_with_what_its_worker_does(connect, start, gate):
    server = start("wsgi_app:app", *SOON, "--request-id", "--worker-class", "gthread", "--threads", "2")
    wire = connect(server)
    wire.send(at_gate(gate, "x=%1b[0m"))
    worker = gate.arrived()
    said = server.wait_for_log(
        r"\[WARNING\] Slow request: GET /gate\S+x=%1b\[0m from 127\.0\.0\.1 "
        r"\(id [0-9a-f]{32}\) takes 0\.\d{3} s so far: "
        rf"body 0\.\d{{3}} s, queue 0\.\d{{3}} s, application 0\.\d{{3}} s; worker \(pid:{worker}\)$"
    )
    assert f"[{worker}]" in said.string
    # Its stack, as it is at the threshold.
    server.wait_for_log(r'File ".*gates\.py", line \d+ in wait_at_gate')
    gate.release()
    assert wire.read_answer().status == 200
    # At the end it is not told of again.
    assert connect(server).get("/hello").status == 200
    assert len(slow(server)) == 1


def test_what_waits_for_a_worker_is_told_so(connect, start, gate):
    server = start("wsgi_app:app", *SOON, "--worker-class", "sync", "--workers", "1", "--timeout", "0")
    first, second = connect(server), connect(server)
    first.send(at_gate(gate, "first"))
    gate.arrived()
    second.send(at_gate(gate, "second"))
    server.wait_for_log(
        r"Slow request: GET /gate\S+&second from .* (in the queue|waits behind others of its worker) for 0\."
    )
    gate.release(2)
    assert [wire.read_answer().status for wire in (first, second)] == [200, 200]


def test_a_client_that_sends_slowly_is_told_so(connect, start):
    server = start("wsgi_app:app", *SOON)
    wire = connect(server)
    wire.send("POST /hello?slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1")
    server.wait_for_log(r"Slow request: POST /hello\?slow from .* so far: the client is still sending it")
    wire.send("2")
    assert wire.read_answer().status == 200


def test_paths_may_have_thresholds_of_their_own_and_websockets_have_none(connect, start, gate):
    server = start("asgi_app:app", *SOON, "--slow-request-paths", "/upload=0,/upload-at-gate=100ms", interface="asgi")
    with connect_socket(f"ws://127.0.0.1:{server.port}/echo") as socket:
        unlogged, logged = connect(server), connect(server)
        unlogged.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1")
        socket.send("a")
        assert socket.recv() == "a"
        # All that is older than this one is slow by the time that it is.
        logged.send(f"POST /upload-at-gate?gate={gate.path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1")
        server.wait_for_log("Slow request: POST /upload-at-gate")
        unlogged.send("2")
        logged.send("2")
        gate.release(3)
        assert [wire.read_answer().status for wire in (unlogged, logged)] == [200, 200]
    assert len(slow(server)) == 1


def test_many_at_once_are_counted_and_not_all_told_of(connect, start, gate):
    server = start("wsgi_app:app", *SOON, "--worker-class", "gthread", "--threads", "30")
    wires = [connect(server) for _ in range(30)]
    for wire in wires:
        wire.send(at_gate(gate))
    for _ in wires:
        gate.arrived()
    found = server.wait_for_log(r"Slow requests: (\d+) more are not shown")
    gate.release(30)
    assert {wire.read_answer().status for wire in wires} == {200}
    assert int(found[1]) > 0 and len(slow(server)) < 30


def test_nothing_is_told_of_where_it_is_not_asked_for(connect, start, gate):
    quiet, told = start("wsgi_app:app"), start("wsgi_app:app", *SOON)
    wires = [connect(quiet), connect(told)]
    for wire in wires:
        wire.send(at_gate(gate))
        gate.arrived()
    told.wait_for_log("Slow request: ")
    gate.release(2)
    assert {wire.read_answer().status for wire in wires} == {200}
    assert not slow(quiet)
