"""Clients cannot take the descriptors that supervision needs (RLIMIT_NOFILE)."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.admin import Admin
from support.control import ctl
from support.http2_raw import ACK, PREFACE, SETTINGS, frame
from support.server import Server, poll
from support.wire import Wire

pytestmark = pytest.mark.indrik_only

IDLE_CLIENTS = 400
STARTING_CLIENTS_MAX = 10


def limited(number: int) -> tuple[str, ...]:
    """A launcher that sets the limit and becomes the server."""
    code = (
        "import os, resource, sys;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({number}, {number}));"
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    return (sys.executable, "-c", code)


@pytest.fixture
def idle(request) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        stack.callback(lambda: [one.close() for one in sockets])
        yield sockets


def connect_idle(server: Server, sockets: list[socket.socket], first: bytes = b"") -> None:
    for _ in range(IDLE_CLIENTS):
        one = socket.socket()
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            one.connect(server.address)
        sockets.append(one)
    if first:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.send(first)


def is_served(server: Server) -> None:
    with Wire(socket.create_connection(server.address, 20), 20) as wire:
        assert wire.get("/pid").status == 200


def open_now(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


# Each thread of the front has descriptors of its own.
@pytest.mark.parametrize(("limit", "threads"), [(64, 1), (128, 1), (256, 1), (160, 16)])
@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHo"], ids=["idle", "half-heads"])
def test_many_idle_clients_leave_room_for_everything_else(start, idle, limit, threads, begun):
    flags = ("--workers", "1", "--io-threads", str(threads))
    server = start("wsgi_app:app", *flags, launcher=limited(limit))
    connect_idle(server, idle, begun)
    is_served(server)
    # A worker dies.
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    server.wait_for_new_workers(before, 1)
    is_served(server)
    # A reload.
    before = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(before, 1)
    is_served(server)
    # The control socket.
    stats = ctl(server, "show", "stats")
    descriptors = stats["descriptors"]
    assert descriptors["limit"] == limit
    assert descriptors["connections"] <= descriptors["connections_max"]
    assert descriptors["connections_shed"] > 0
    assert stats["workers_ready"] == 1
    assert open_now(server) < limit
    assert len(re.findall("Clients have all", server.log())) == 1
    assert "Too many open files" not in server.log()


def test_connections_that_linger_are_closed_for_new_ones_all_the_same(start, idle):
    """A client of HTTP/2 that is told of the end, and keeps its socket."""
    server = start(
        *("wsgi_app:app", "--workers", "1", "--http-protocols", "h2,h1", "--http2-cleartext", "both"),
        launcher=limited(128),
    )
    connect_idle(server, idle, PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))
    before = clients(server)
    with contextlib.ExitStack() as stack:
        # As many as there are places for, one after the other: each takes the place of one that lingers.
        for _ in range(before["connections_max"]):
            wire = Wire(socket.create_connection(server.address, 20), 20)
            stack.callback(wire.socket.close)
            assert wire.get("/pid").status == 200
    every_connection_was_shed_once(server, IDLE_CLIENTS + before["connections_max"])


def test_half_done_handshakes_are_closed_for_new_connections(start, idle, pki):
    server = start("wsgi_app:app", "--workers", "1", *pki.flags(), launcher=limited(128))
    # A record of a handshake that has begun.
    connect_idle(server, idle, b"\x16\x03\x01\x02\x00\x01")
    with (
        socket.create_connection(server.address, 20) as plain,
        pki.client().wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        assert Wire(wrapped, 20).get("/pid").status == 200
    every_connection_was_shed_once(server, IDLE_CLIENTS + 1)


def clients(server: Server) -> dict[str, int]:
    descriptors: dict[str, int] = ctl(server, "show", "stats")["descriptors"]
    return descriptors


def every_connection_was_shed_once(server: Server, came: int) -> None:
    """No more than have come, those that waited for the start included, although the clients are still there."""
    descriptors = clients(server)
    assert 0 < descriptors["connections_shed"] <= came + STARTING_CLIENTS_MAX
    assert descriptors["connections"] <= descriptors["connections_max"]


def test_operators_have_places_beside_clients_that_take_all(start, idle):
    admin = Admin()
    server = start("wsgi_app:app", "--workers", "1", *admin.option, launcher=limited(128))
    connect_idle(server, idle)
    is_served(server)
    taken = [socket.create_connection(("127.0.0.1", admin.port), 20) for _ in range(40)]
    idle.extend(taken)
    statuses = []
    for one in taken:
        one.settimeout(20)
        with contextlib.suppress(OSError):
            one.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            statuses.append(one.recv(12))
    # A sixteenth of the limit, of which one is for the own user; the rest is turned away, and nothing is lacking.
    assert statuses.count(b"HTTP/1.1 200") >= 7
    assert set(statuses) <= {b"HTTP/1.1 200", b"HTTP/1.1 503", b""}
    before = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(before, 1)
    within_the_limits(server, 128)


def test_uploads_count_as_well(start, idle, tmp_path: Path):
    server = start("wsgi_app:app", "--workers", "1", "--body-buffer-max", "1000", launcher=limited(116))
    head = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n"
    for _ in range(60):
        one = socket.create_connection(server.address, 20)
        idle.append(one)
        # All of it but a byte: a file in the front that waits.
        one.sendall(head + bytes(100_000))
    poll(lambda: ctl(server, "show", "stats")["descriptors"]["files"] > 5, "files of bodies", 20)
    before = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(before, 1)
    within_the_limits(server, 116)
    for one in idle:
        with contextlib.suppress(OSError):
            one.sendall(b"x")
    is_served(server)


def within_the_limits(server: Server, limit: int) -> None:
    descriptors = ctl(server, "show", "stats")["descriptors"]
    assert descriptors["connections"] <= descriptors["connections_max"]
    assert descriptors["connections"] + descriptors["files"] <= descriptors["clients_max"]
    assert open_now(server) < limit
    assert "Too many open files" not in server.log()


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_files_that_applications_send_wait_for_a_place_and_are_refused_by_name(start, idle, tmp_path, interface):
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(8_000_000)
    if interface == "wsgi":
        app, target, arguments = "files_app:app", "/large", ("--worker-class", "gthread", "--threads", "32")
    else:
        app, target, arguments = "asgi_app:app", f"/pathsend?path={large}", ("--worker-class", "asgi")
    server = start(app, "--workers", "1", *arguments, "--queue-timeout", "1", launcher=limited(128))
    places = ctl(server, "show", "stats")["descriptors"]["connections_max"]
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(socket.create_connection(server.address, 30), 30)) for _ in range(places)]
        for wire in wires:
            wire.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
        poll(lambda: "no file descriptor was free in time for a file" in server.log(), "the reason in the log", 20)
        within_the_limits(server, 128)
        # Supervision has what it needs meanwhile.
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        server.wait_for_new_workers(before, 1)
        statuses = [int(wire.socket.recv(12).split()[1]) for wire in wires]
    assert set(statuses) == {200, 503}

    def is_sent() -> bool:
        with Wire(socket.create_connection(server.address, 30), 30) as wire:
            answer = wire.get(target)
            return (answer.status, len(answer.body)) == (200, 8_000_000)

    poll(is_sent, "what the clients give back as they go serves others", 20)


def test_sockets_of_wsgi_applications_count_with_every_end(start, idle):
    pytest.importorskip("flask_sock")
    server = start(
        *("sockets_app:app", "--workers", "1", "--worker-class", "gthread", "--threads", "64"),
        *("--queue-timeout", "1"),
        launcher=limited(128),
    )
    upgrade = (
        b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    places = ctl(server, "show", "stats")["descriptors"]["clients_max"]
    # Each is a connection and a socket's end; before it is answered, the application's end as well.
    room = (places - 1) // 2
    statuses = []
    for _ in range(room + 1):
        one = socket.create_connection(server.address, 20)
        idle.append(one)
        one.sendall(upgrade)
        one.settimeout(20)
        statuses.append(int(one.recv(12).split()[1]))
        within_the_limits(server, 128)
    assert statuses == [101] * room + [503]
    # And supervision has what it needs.
    before = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(before, 1)
    within_the_limits(server, 128)
    assert "no file descriptor was free in time for the socket of a WebSocket" in server.log()


def test_a_drain_takes_a_long_queue_with_the_descriptors_that_there_are(start, idle):
    server = start("wsgi_app:app", "--workers", "1", launcher=limited(128))
    is_served(server)
    server.signal(signal.SIGSTOP)
    connect_idle(server, idle, b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGCONT)
    statuses = set()
    for one in idle:
        one.settimeout(30)
        statuses.add(one.recv(12))
    assert statuses == {b"HTTP/1.1 200"}
    assert server.wait_for_exit() == 0
    assert "[ERROR]" not in server.log()
