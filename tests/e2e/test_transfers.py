"""A gigabyte either way: the worker's memory is bounded by the window, not by the transfer."""

from __future__ import annotations

import hashlib
import json
import os
import socket

import pytest
from support.gate import Gate
from support.server import Server, status_kib

MIB = 1024 * 1024
MEGABYTES = int(os.environ.get("INDRIK_TEST_MEGABYTES", "1024"))
GROWTH_KIB_MAX = 16 * 1024

pytestmark = pytest.mark.indrik_only


@pytest.fixture(scope="module", params=["sync", "gthread", "asgi"])
def server(request, start_shared) -> Server:
    kind = request.param
    arguments = ["--threads", "2"] if kind == "gthread" else []
    interface = "asgi" if kind == "asgi" else "wsgi"
    limit = str(MEGABYTES * MIB)
    return start_shared(
        *(f"{interface}_app:app", "--workers", "1", "--body-size-max", limit, *arguments),
        *("--timeout", "120"),
        interface=interface,
    )


def test_a_streamed_download_leaves_the_worker_small(connect, server):
    wire = connect(server, 60)
    wire.get("/stream?megabytes=1")
    before = status_kib(server.workers()[0], "VmHWM")
    wire.send(f"GET /stream?megabytes={MEGABYTES} HTTP/1.0\r\n\r\n")
    wire.read_head()
    length = len(wire.buffer) + drain(wire.socket)
    assert length == MEGABYTES * MIB
    assert status_kib(server.workers()[0], "VmHWM") - before < GROWTH_KIB_MAX


def test_an_upload_leaves_worker_and_front_small(connect, server):
    wire = connect(server, 60)
    wire.get("/upload", method="POST", body=b"x" * MIB)
    worker = server.workers()[0]
    before = status_kib(worker, "VmHWM"), status_kib(server.process.pid, "VmHWM")
    block, digest = os.urandom(MIB), hashlib.sha256()
    wire.send(f"POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: {MEGABYTES * MIB}\r\n\r\n")
    for _ in range(MEGABYTES):
        wire.send(block)
        digest.update(block)
    answer = json.loads(wire.read_answer().body)
    assert answer["bytes"] == MEGABYTES * MIB
    assert answer["sha256"] == digest.hexdigest()
    after = status_kib(worker, "VmHWM"), status_kib(server.process.pid, "VmHWM")
    assert after[0] - before[0] < GROWTH_KIB_MAX
    assert after[1] - before[1] < GROWTH_KIB_MAX


def test_a_slow_reader_makes_the_application_wait(connect, server):
    """Nobody reads: neither the worker nor the front may take in the whole download."""
    wire = connect(server, 60)
    before = status_kib(server.process.pid, "VmRSS")
    wire.send(f"GET /stream?megabytes={MEGABYTES} HTTP/1.0\r\n\r\n")
    wire.read_head()
    for _ in range(200):
        wire.socket.recv(65536)
    assert status_kib(server.process.pid, "VmRSS") - before < GROWTH_KIB_MAX


@pytest.mark.parametrize("server", ["sync", "gthread"], indirect=True, scope="module")
def test_a_file_of_a_gigabyte_is_sent_by_the_front(connect, server):
    wire = connect(server, 60)
    wire.send(f"GET /spool?megabytes={MEGABYTES} HTTP/1.0\r\n\r\n")
    wire.read_head()
    assert len(wire.buffer) + drain(wire.socket) == MEGABYTES * MIB


def test_a_download_under_way_does_not_hold_a_file_worker(start, connect, gate: Gate):
    """The front sends the file; the sync worker is free as soon as it has handed it over."""
    server = start("wsgi_app:app", "--worker-class", "sync", "--workers", "1")
    slow = connect(server)
    slow.send("GET /spool?megabytes=64 HTTP/1.1\r\nHost: t\r\n\r\n")
    slow.read_head()
    assert connect(server).get("/hello").text == "hello"


@pytest.mark.indrik_only
def test_clients_that_do_not_read_a_page_hold_no_sync_worker(start, connect, tmp_path):
    """A streamed megabyte is more than the window; the front takes it all the same."""
    # Over loopback TCP the kernel alone would take more than a megabyte.
    bind = f"unix:{tmp_path / 'socket'}"
    server = start("wsgi_app:app", "--worker-class", "sync", "--workers", "1", bind=bind)
    for _ in range(8):
        slow = connect(server)
        slow.send("GET /stream?megabytes=1 HTTP/1.1\r\nHost: t\r\n\r\n")
        slow.read_head()
    assert connect(server).get("/hello").text == "hello"


@pytest.mark.indrik_only
def test_what_the_front_took_of_a_page_is_sent_in_the_end(start, connect):
    server = start("wsgi_app:app", "--worker-class", "sync", "--workers", "1")
    slow = connect(server)
    slow.send("GET /stream?megabytes=8 HTTP/1.0\r\n\r\n")
    slow.read_head()
    assert len(slow.buffer) + drain(slow.socket) == 8 * MIB


def drain(connection: socket.socket) -> int:
    length, buffer = 0, bytearray(MIB)
    while received := connection.recv_into(buffer):
        length += received
    return length
