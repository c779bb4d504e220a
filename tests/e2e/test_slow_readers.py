"""Clients that take their answers slowly, or not at all for now: they hold up nobody, and get every byte."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from support.control import ctl
from support.http2 import Http2
from support.pki import Pki
from support.server import Server, poll
from support.wire import Wire

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "apps"))
from slow_app import content  # noqa: E402

pytestmark = pytest.mark.indrik_only

BLOCKS = 128  # of 64 KiB each: more than any window, and than the front holds in memory of one answer
READERS = 20
STREAMS = 100
STREAM_BLOCKS = 16

KINDS = {
    "sync": ("slow_app:app", "--worker-class", "sync"),
    "gthread": ("slow_app:app", "--worker-class", "gthread", "--threads", "4"),
    "asgi": ("slow_app:asgi", "--worker-class", "asgi"),
}


@pytest.fixture(params=KINDS)
def arguments(request) -> list[str]:
    return [*KINDS[request.param], "--workers", "1"]


def request_all(wires: list[Wire]) -> None:
    for seed, wire in enumerate(wires):
        # Half of them in one piece, half of them as they are made.
        path = "/whole" if seed % 2 else "/pieces"
        wire.send(f"GET {path}?seed={seed}&blocks={BLOCKS} HTTP/1.1\r\nHost: test\r\n\r\n")
        wire.buffer = wire.socket.recv(1)


def read_all(wires: list[Wire]) -> None:
    for seed, wire in enumerate(wires):
        assert wire.read_answer().body == content(seed, BLOCKS), f"reader {seed} got something else"


def test_readers_that_do_not_read_hold_up_nobody_and_get_all_of_it_later(arguments, start, connect):
    server = start(*arguments)
    pid = connect(server).get("/pid").text
    wires = [connect(server, 30) for _ in range(READERS)]
    request_all(wires)
    # While nobody has read anything: without the files this waits for `write_timeout`, and in vain.
    assert connect(server).get("/pid").text == pid
    read_all(wires)
    assert connect(server).get("/pid").text == pid


def test_the_same_holds_with_tls(arguments, start, connect, pki: Pki):
    server = start(*arguments, *pki.flags())
    context = pki.client()

    def secured() -> Wire:
        plain = socket.create_connection(server.address, 30)
        return Wire(context.wrap_socket(plain, server_hostname="localhost"), 30)

    with secured() as bystander:
        pid = bystander.get("/pid").text
    wires = [secured() for _ in range(READERS)]
    request_all(wires)
    with secured() as bystander:
        assert bystander.get("/pid").text == pid
    read_all(wires)
    for wire in wires:
        wire.socket.close()


def test_one_connection_of_a_hundred_answers_that_takes_nothing_holds_up_nobody(arguments, start, pki: Pki):
    server = start(*arguments, *pki.flags(), "--http-protocols", "h2,h1")

    def open_http2(**options: bool) -> Http2:
        context = pki.client()
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(server.address, 30)
        return Http2(context.wrap_socket(plain, server_hostname="localhost"), 30, **options)

    with open_http2() as bystander:
        pid = bystander.get("/pid").body
    with open_http2(acknowledges=False) as greedy:
        numbers = [greedy.request(f"/whole?seed={seed}&blocks={STREAM_BLOCKS}") for seed in range(STREAMS)]
        for number in numbers:
            greedy.read_head(number)
        with open_http2() as bystander:
            assert bystander.get("/pid").body == pid
        # It wakes up: what it has read counts no more, and every answer is whole.
        greedy.acknowledges = True
        greedy.h2.increment_flow_control_window(2**30)
        for number in numbers:
            greedy.h2.increment_flow_control_window(2**30, number)
        greedy.flush()
        for seed, number in enumerate(numbers):
            assert greedy.answer(number).body == content(seed, STREAM_BLOCKS)


def test_where_nothing_can_be_written_the_log_says_so_and_nothing_is_lost(start, connect, tmp_path):
    spools = tmp_path / "spools"
    spools.mkdir()
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(f"tmp_upload_dir = {str(spools)!r}\n")
    server = start("slow_app:app", "--worker-class", "sync", "--workers", "1", "-c", str(config))
    assert connect(server).get("/pid").status == 200
    spools.rmdir()
    wires = [connect(server, 30) for _ in range(2)]
    for seed, wire in enumerate(wires):
        wire.send(f"GET /pieces?seed={seed}&blocks={BLOCKS} HTTP/1.1\r\nHost: test\r\n\r\n")
        # One after the other: there is one worker, and it waits with its client.
        assert wire.read_answer().body == content(seed, BLOCKS)
    wire = connect(server, 30)
    wire.send(f"GET /pieces?seed=7&blocks={BLOCKS} HTTP/1.1\r\nHost: test\r\n\r\n")
    server.wait_for_log(f"cannot be written to {spools}")
    assert wire.read_answer().body == content(7, BLOCKS)


def test_waiting_for_a_client_is_not_the_applications_time(start, connect):
    """Without files the worker waits with its client, longer than `timeout`, and is not ended for it."""
    server = start(
        *("slow_app:app", "--worker-class", "sync", "--workers", "2", "--timeout", "1"),
        *("--response-spool-max", "0", "--write-timeout", "0"),
    )
    slow = connect(server, 30)
    slow.send(f"GET /pieces?seed=1&blocks={BLOCKS} HTTP/1.1\r\nHost: test\r\n\r\n")
    head = slow.socket.recv(1)
    # Another request runs out of its time after the first one has waited for as long.
    assert connect(server, 30).get("/sleep?seconds=60").status == 504
    slow.buffer = head
    assert slow.read_answer().body == content(1, BLOCKS)


@pytest.mark.parametrize("size", [65_536, 65_537, 300_000, 1_048_576, 3_000_000])
def test_what_is_kept_of_a_request_is_still_its_own_when_others_have_come(start_kept, connect, size):
    """`wsgi.input` that outlives its request, while other bodies lie where its body lay."""
    first = bytes(os.urandom(size))
    wire = connect(start_kept, 30)
    assert wire.get("/keep", method="POST", body=first).text == str(size // 3)
    for _ in range(5):
        assert wire.get("/read", method="POST", body=os.urandom(size)).status == 200
    assert wire.get("/kept").body == first[size // 3 :]


@pytest.fixture(scope="module", params=["sync", "gthread"])
def start_kept(request, start_shared) -> Server:
    return start_shared("kept_app:app", "--worker-class", request.param, "--workers", "1")


def test_a_body_is_read_into_the_applications_own_memory(start_kept, connect):
    body = os.urandom(700_001)
    assert connect(start_kept, 30).get("/readinto", method="POST", body=body).body == body


@pytest.mark.parametrize(("memory", "readers", "threads"), [(64, 100, 64), (32, 60, 64), (16, 30, 16)])
def test_where_memory_is_small_answers_wait_in_files_and_none_is_cut(memory, readers, threads, start):
    server = start(
        *("slow_app:app", "--worker-class", "gthread", "--workers", "2", "--threads", str(threads)),
        *("--front-memory-max", f"{memory}MiB", "--connection-memory-max", f"{memory}MiB"),
        *("--write-timeout", "0"),
    )

    def open_slow() -> Wire:
        client = socket.socket()
        # So that most of it does not lie in the kernel.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.settimeout(30)
        client.connect(server.address)
        return Wire(client, 30)

    wires = [open_slow() for _ in range(readers)]
    request_all(wires)
    # The front has all of it, and nobody has read anything.
    poll(lambda: ctl(server, "show", "stats")["requests_in_flight"] == 0, "workers that are free", 60)
    read_all(wires)
    stats = ctl(server, "show", "stats")
    assert stats["front_memory"]["connections_cut"] == 0
    for wire in wires:
        wire.socket.close()


def test_a_quarter_of_what_clients_have_in_descriptors_is_for_answers_that_wait(start):
    """Not a number of its own, beyond which slow readers hold workers although there is room."""
    stats = ctl(start("slow_app:app", "--workers", "1"), "show", "stats")
    assert stats["files"]["responses"]["files_max"] == stats["descriptors"]["clients_max"] // 4
