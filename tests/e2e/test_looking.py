"""Looking at a running server: status, requests, events, logs, and top on a real terminal."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess

import pytest
from support import control
from support.commands import answer, begin, run
from support.gate import Gate
from support.screen import Screen
from support.server import COMMAND, Server, poll

pytestmark = pytest.mark.indrik_only
needs_tmux = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")

BLOCKING = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/blocks":
        open("blocks", "w").close()
        open("go-on").read()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
"""


def held(connect, server: Server, gate: Gate, more: str = ""):
    wire = connect(server, 60)
    wire.send(f"GET /gate?gate={gate.path}{more} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
    gate.arrived()
    return wire


def test_a_server_that_is_well_is_told_so_first(start):
    server = start("wsgi_app:app", "--workers", "2")
    lines = run(server, "status").stdout.splitlines()
    assert lines[0] == "nothing is wrong"
    assert lines[2].startswith(f"wsgi_app:app at http://127.0.0.1:{server.port}, pid {server.process.pid}")
    assert "requests/s, 0 running, 0 waiting, busy 0 %" in lines[3]
    assert len(lines) == 8, lines
    told = answer(server, "status")
    assert (told["findings"], told["health"]["ready"], len(told["workers"])) == ([], True, 2)


def test_an_event_loop_that_stands_still_is_named_with_its_worker_and_its_request(start, connect, tmp_path):
    (tmp_path / "blocking.py").write_text(BLOCKING)
    os.mkfifo(tmp_path / "go-on")
    server = start("blocking:app", "--workers", "1", "--timeout", "0", interface="asgi", chdir=tmp_path)
    wire = connect(server, 60)
    wire.send("GET /blocks HTTP/1.1\r\nHost: t\r\n\r\n")
    poll((tmp_path / "blocks").exists, "the request")
    # It is not ready either, after a while.
    findings = lambda: [finding["cause"] for finding in answer(server, "status", code=None)["findings"]]  # noqa: E731
    poll(lambda: "blocked_loop" in findings(), "a finding", 20)
    told = run(server, "status", code=None).stdout
    assert "! the event loop of worker 1" in told and "GET /blocks" in told and "indrik stacks 1" in told
    (tmp_path / "go-on").write_text("")
    assert wire.read_answer().text == "done"


def test_requests_in_flight_are_listed_with_their_worker_and_nothing_of_them_reaches_the_terminal(
    start, connect, gate: Gate
):
    server = start("wsgi_app:app", "--workers", "2")
    first, other = held(connect, server, gate), held(connect, server, gate, "&x=%1b[2J")
    told = answer(server, "requests", "--sort", "age")
    assert told["in_flight"] == 2
    assert [request["method"] for request in told["requests"]] == ["GET", "GET"]
    assert {request["worker"] for request in told["requests"]} == {1, 2}
    text = run(server, "requests", "--limit", "1").stdout
    assert "1 of 2 requests in flight" in text and "\x1b" not in text
    gate.release(2)
    assert [first.read_answer().status, other.read_answer().status] == [200, 200]


def test_events_and_logs_tell_what_happened_and_are_followed_to_the_end_of_the_server(start):
    server = start("wsgi_app:app", "--workers", "1")
    followed = begin(server, "logs", "-f", "-n", "3")
    run(server, "scale", "2")
    assert "scale" in run(server, "events").stdout
    entries = [json.loads(line) for line in run(server, "events", "--json").stdout.splitlines()]
    assert "scale" in [entry["kind"] for entry in entries]
    server.wait_for_log("of generation 1 started: scale")
    assert len(run(server, "logs", "-n", "2").stdout.splitlines()) == 2
    assert followed.stdout and followed.stderr
    assert any("started: scale" in line for line in followed.stdout)
    server.signal(signal.SIGTERM)
    assert server.wait_for_exit() == 0
    assert followed.wait(30) == 3
    assert "ended" in followed.stderr.read()


@needs_tmux
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50)])
def test_top_shows_everything_and_its_keys_work(start, connect, gate: Gate, columns, rows):
    server = start("wsgi_app:app", "--workers", "2")
    waits = held(connect, server, gate)
    with Screen(*COMMAND, "top", "--pid", str(server.process.pid), columns=columns, rows=rows) as screen:
        shown = screen.shows(
            "indrik top", "requests/s", "nothing is wrong", "▮", "▯", "IN FLIGHT by age", "GET", "ROUTES", "EVENTS"
        )
        assert all(len(line) <= columns for line in shown.splitlines())
        screen.press("?")
        screen.shows("KEYS", "pause [--max SECONDS]")
        screen.press("?")
        screen.press("w")
        screen.shows("IN FLIGHT by worker")
        screen.press("/")
        screen.press("nothing-has-this", "Enter")
        screen.shows("with nothing-has-this")
        screen.press(":")
        screen.press("scale 3", "Enter")
        screen.shows("3 workers are wanted, 2 were before")
        screen.shows("3:▯")
        screen.press(":")
        screen.press("frobnicate", "Enter")
        screen.shows("there is no command frobnicate")
        screen.resize(60, 20)
        screen.shows("IN FLIGHT")
        gate.release()
        assert waits.read_answer().status == 200
        screen.press("q")
        screen.shows("ended with 0", "echo")
        assert "-echo" not in screen.text()


@needs_tmux
def test_top_tells_that_the_server_is_gone_and_gives_the_terminal_back_when_it_is_ended(start, gate: Gate):
    server = start("wsgi_app:app")
    with Screen(*COMMAND, "top", "--pid", str(server.process.pid), columns=80, rows=24) as screen:
        screen.shows("nothing is wrong")
        server.stop()
        screen.shows("the server has not answered for")
        screen.press("C-c")
        screen.shows("ended with 0", "echo")


def test_top_is_plain_text_where_there_is_no_terminal(start):
    server = start("wsgi_app:app")
    text = subprocess.run(
        [*COMMAND, "top", "--pid", str(server.process.pid)], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    assert text.startswith("nothing is wrong") and "\x1b" not in text
    assert control.ctl(server, "show", "look")["server"]["application"] == "wsgi_app:app"
