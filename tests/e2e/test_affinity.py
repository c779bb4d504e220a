"""Requests that belong together go to the same worker, while it is there."""

from __future__ import annotations

import os
import signal

import pytest
import socketio
from support.control import all_ready
from support.server import Server, poll

WORKERS = 4
TURNS = 12


def started(start, app: str, *flags: str, **options) -> Server:
    server: Server = start(app, "--workers", str(WORKERS), *flags, **options)
    return all_ready(server)


def pids(connect, server, *headers: str, target: str = "/pid") -> list[str]:
    """Who answers, on a connection of its own each time."""
    return [connect(server).get(target, *headers).text for _ in range(TURNS)]


@pytest.mark.parametrize(
    ("affinity", "how"),
    [("header:X-Session", "X-Session: {}"), ("query:sid", "/pid?a=b&sid={}")],
    ids=["header", "query"],
)
def test_a_key_has_one_worker_and_keys_have_several(start, connect, affinity, how):
    server = started(start, "wsgi_app:app", "--affinity", affinity)
    found = set()
    for number in range(20):
        said = how.format(number)
        mine = pids(connect, server, target=said) if said[0] == "/" else pids(connect, server, said)
        assert len(set(mine)) == 1
        found.update(mine)
    # An idle worker that was used last is taken first, so it may be one; with a busy one it is not.
    assert found <= {str(pid) for pid in server.workers()}


def test_different_keys_use_the_workers_that_are_free(start, connect, gate):
    server = started(start, "wsgi_app:app", "--affinity", "header:x-session")
    wires = [connect(server) for _ in range(WORKERS)]
    for number, wire in enumerate(wires):
        wire.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\nX-Session: {number}\r\n\r\n")
    held = [gate.arrived() for _ in wires]
    assert len(set(held)) == WORKERS
    gate.release(WORKERS)
    first = [wire.read_answer().text for wire in wires]
    for number, pid in enumerate(first):
        assert set(pids(connect, server, f"X-Session: {number}")) == {pid}


def test_a_cookie_is_set_once_and_leads_back(start, connect):
    server = started(start, "wsgi_app:app", "--affinity", "cookie")
    answer = connect(server).get("/pid")
    cookie, *attributes = (answer.header("set-cookie") or "").split("; ")
    assert cookie.startswith("indrik_affinity=")
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Lax"]
    for _ in range(TURNS):
        again = connect(server).get("/pid", f"Cookie: a=b; {cookie}")
        assert (again.text, again.header("set-cookie")) == (answer.text, None)


def test_an_address_has_one_worker(start, connect):
    server = started(start, "wsgi_app:app", "--affinity", "ip")
    assert len(set(pids(connect, server))) == 1


def test_when_the_worker_is_gone_another_one_has_the_key(start, connect):
    server = started(start, "wsgi_app:app", "--affinity", "header:X-Session")
    (mine,) = set(pids(connect, server, "X-Session: a"))
    os.kill(int(mine), signal.SIGKILL)
    poll(lambda: int(mine) not in server.workers(), "the end of the worker")
    (other,) = set(pids(connect, server, "X-Session: a"))
    assert other != mine


def test_a_wrong_setting_is_named(tmp_path):
    server = Server("wsgi_app:app", "--affinity", "sid", log_directory=tmp_path / "logs", says_ready=False)
    server.start()
    assert server.wait_for_exit() != 0
    assert "affinity" in server.log() and "query:NAME" in server.log()
    server._forget()


class TestFlaskSocketIO:
    """Its sessions are in the memory of one worker; the first answer announces their names."""

    @pytest.fixture
    def server(self, start) -> Server:
        # A worker that is to leave has a poll that waits for up to 25 seconds.
        flags = ("--threads", "16", "--affinity", "query:sid", "--graceful-timeout", "2")
        return started(start, "sockets_app:app", *flags)

    def test_polling_finds_its_session_again(self, server):
        clients = [socketio.SimpleClient() for _ in range(6)]
        try:
            for client in clients:
                client.connect(server.url, transports=["polling"], wait_timeout=10)
            for number in range(10):
                for client in clients:
                    assert client.call("echo", number, timeout=10) == number
        finally:
            for client in clients:
                client.disconnect()
        assert "Invalid session" not in server.log()

    def test_the_upgrade_finds_its_session_too(self, server):
        for _ in range(4):
            with socketio.SimpleClient() as client:
                client.connect(server.url, wait_timeout=10)
                assert client.transport == "websocket"
                assert client.call("echo", "up", timeout=10) == "up"

    def test_after_a_reload_clients_connect_again(self, server):
        connected = []
        client = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2)
        client.on("connect", lambda: connected.append(1))
        client.connect(server.url, transports=["polling"], wait_timeout=10)
        assert client.call("echo", "before", timeout=10) == "before"
        before = server.workers()
        server.signal(signal.SIGHUP)
        server.wait_for_new_workers(before)
        poll(lambda: not set(before) & set(server.workers()), "the end of the old workers")
        poll(lambda: len(connected) > 1, "the second connection", 30)
        assert client.call("echo", "after", timeout=10) == "after"
        client.disconnect()
