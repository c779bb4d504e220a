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
from support.control import ctl
from support.server import Server, poll
from support.wire import Wire

pytestmark = pytest.mark.indrik_only

IDLE_CLIENTS = 400


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


@pytest.mark.parametrize("limit", [64, 128, 256])
@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHo"], ids=["idle", "half-heads"])
def test_many_idle_clients_leave_room_for_everything_else(start, idle, limit, begun):
    server = start("wsgi_app:app", "--workers", "1", launcher=limited(limit))
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


def test_uploads_count_as_well(start, idle, tmp_path: Path):
    server = start("wsgi_app:app", "--workers", "1", "--body-buffer-max", "1000", launcher=limited(96))
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
    descriptors = ctl(server, "show", "stats")["descriptors"]
    # One more: a file may take the last place while the socket waits for a connection that it has found room for.
    assert descriptors["connections"] + descriptors["files"] <= descriptors["clients_max"] + 1
    assert "Too many open files" not in server.log()
    for one in idle:
        with contextlib.suppress(OSError):
            one.sendall(b"x")
    is_served(server)
