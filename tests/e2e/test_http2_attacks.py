"""HTTP/2 attacks: each is ended or bounded, memory stays flat, and bystanders are served."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import pytest
from support.control import ctl
from support.http2 import Http2
from support.http2_raw import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GET_HELLO,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    RawHttp2,
    field,
    frame,
    get,
)
from support.server import Server, status_kib

CLEAR = ("--http-protocols", "h2,h1", "--http2-cleartext", "prior-knowledge")
# What the front may grow by under an attack, allocators and all.
GROWTH_KIB_MAX = 16 * 1024
# An attack that is not ended by then is not ended at all.
FLOOD_BYTES_MAX = 30_000_000
# Requests of a connection at a time.
STREAMS = 100
# Frames that are sent together.
BATCH = 200


@pytest.fixture(scope="module")
def server(start_shared) -> Server:
    server = start_shared(
        "wsgi_app:app", *CLEAR, "--workers", "1", "--write-timeout", "1", "--header-read-timeout", "1"
    )
    # What is allocated once is not an attack's.
    for _ in range(3):
        bystander(server)
        with RawHttp2(server.connect()) as client:
            client.send(b"".join(get(number) for number in range(1, 101, 2)) + frame(PING, 0, 0, bytes(4)))
            client.read_to_end()
    return server


@pytest.fixture
def flat(server) -> Iterator[Server]:
    """The server; its memory is looked at before and after, and a bystander's request is answered."""
    before = status_kib(server.process.pid, "VmRSS")
    yield server
    bystander(server)
    assert status_kib(server.process.pid, "VmRSS") - before < GROWTH_KIB_MAX


def bystander(server: Server) -> None:
    with Http2(server.connect()) as client:
        assert client.get("/hello").body == b"hello"


def streams() -> Iterator[int]:
    return itertools.count(1, 2)


def repeated(*frames: bytes) -> Iterator[bytes]:
    return itertools.repeat(b"".join(frames) * BATCH)


# One frame, sent over and over again behind an open request for which a body is awaited.
FLOODS = {
    "pings": frame(PING, 0, 0, bytes(8)),
    "answers to pings that nobody sent": frame(PING, 1, 0, bytes(8)),
    "settings": frame(SETTINGS, 0, 0, struct.pack("!HI", 3, 100)),
    "empty settings": frame(SETTINGS, 0, 0),
    "priorities": frame(PRIORITY, 0, 1, struct.pack("!IB", 3, 10)),
    "priorities of streams that are not there": frame(PRIORITY, 0, 1001, struct.pack("!IB", 3, 10)),
    "frames of no known type": frame(0x42, 0, 1, b"x"),
    "windows of the connection, one byte more": frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 1)),
    "windows of a stream, one byte more": frame(WINDOW_UPDATE, 0, 1, struct.pack("!I", 1)),
    "bodies of no bytes": frame(DATA, 0, 1),
    "bodies of padding": frame(DATA, 0x8, 1, b"\x05" + bytes(5)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_frames_that_carry_nothing_ends(flat, name):
    with RawHttp2(flat.connect()) as client:
        client.send(get(1, b"\x83" + GET_HELLO[1:], end=False))
        client.flood(repeated(FLOODS[name]), FLOOD_BYTES_MAX)
        assert client.ended, f"{client.sent} bytes were taken"


@pytest.mark.parametrize("name", ["pings", "settings", "priorities", "frames of no known type"])
def test_it_is_told_to_calm_down_under_tls_too(start, pki, name):
    server = start("wsgi_app:app", *pki.flags(), "--http-protocols", "h2")
    context = pki.client()
    context.set_alpn_protocols(["h2"])
    connection = context.wrap_socket(server.connect(), server_hostname="localhost")
    with RawHttp2(connection) as client:
        # More than the first allowance, and less than a socket holds: the word is not lost.
        client.send(FLOODS[name] * 1_500)
        client.read_to_end()
        assert client.goaway == ENHANCE_YOUR_CALM
    server.wait_for_log("too many HTTP/2 control frames")


def test_a_flood_of_a_client_that_reads_nothing_is_not_kept(flat):
    """It waits in the sockets, until the client is cut off as one that takes nothing."""
    with RawHttp2(flat.connect()) as client:
        client.flood(repeated(FLOODS["pings"]), FLOOD_BYTES_MAX, reads=False)
        assert client.ended


def test_requests_that_are_reset_at_once_end(flat):
    def rapid() -> Iterator[bytes]:
        for number in streams():
            yield get(number) + frame(RST_STREAM, 0, number, struct.pack("!I", 8))

    with RawHttp2(flat.connect()) as client:
        client.flood(rapid(), FLOOD_BYTES_MAX)
        assert client.ended
        assert client.sent < 1_000_000


def test_requests_that_make_the_server_reset_end(flat):
    """A window that grows by nothing is an error of the stream."""

    def provoke() -> Iterator[bytes]:
        for number in streams():
            yield get(number) + frame(WINDOW_UPDATE, 0, number, struct.pack("!I", 0))

    with RawHttp2(flat.connect()) as client:
        client.flood(provoke(), FLOOD_BYTES_MAX)
        assert client.ended


def test_a_head_without_end_is_not_kept(flat):
    with RawHttp2(flat.connect()) as client:
        client.send(frame(HEADERS, END_STREAM, 1, GET_HELLO))
        client.flood(repeated(frame(CONTINUATION, 0, 1, field(b"x-a", b"b" * 100))), FLOOD_BYTES_MAX)
        assert client.ended


def test_a_head_without_end_in_frames_without_bytes_is_not_kept(flat):
    with RawHttp2(flat.connect()) as client:
        client.send(frame(HEADERS, END_STREAM, 1, GET_HELLO))
        client.flood(repeated(frame(CONTINUATION, 0, 1)), FLOOD_BYTES_MAX)
        assert client.ended


def test_a_head_that_stops_in_the_middle_has_the_time_of_a_head(flat):
    with RawHttp2(flat.connect()) as client:
        client.send(frame(HEADERS, END_STREAM, 1, GET_HELLO))
        client.read_to_end()


def test_a_connection_that_says_nothing_has_the_time_of_a_head(start, pki):
    server = start("wsgi_app:app", *pki.flags(), "--http-protocols", "h2", "--header-read-timeout", "1")
    context = pki.client()
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(server.connect(), server_hostname="localhost") as connection:
        connection.settimeout(10)
        while connection.recv(1000):
            pass


def test_a_bomb_of_compressed_fields_is_refused(flat):
    """4,000 bytes in the table, named once for each byte sent."""
    value = b"v" * 3_900
    entry = b"\x40\x01x" + b"\x7f" + bytes([0x80 | (len(value) - 127) & 0x7F, (len(value) - 127) >> 7]) + value
    with RawHttp2(flat.connect()) as client:
        client.send(get(1, GET_HELLO + entry))
        block = GET_HELLO + b"\xbe" * 16_000
        bomb = (get(number, block) for number in itertools.count(3, 2))
        client.flood(bomb, FLOOD_BYTES_MAX)
        assert client.ended


def test_bodies_of_one_byte_are_bounded(flat):
    with RawHttp2(flat.connect()) as client:
        client.send(b"".join(get(number, b"\x83" + GET_HELLO[1:], end=False) for number in range(1, 101, 2)))
        pieces = (frame(DATA, 0, number, b"x") for number in itertools.cycle(range(1, 101, 2)))
        client.flood((b"".join(itertools.islice(pieces, BATCH)) for _ in itertools.count()), 5_000_000)


def test_more_streams_than_were_agreed_on_are_refused(flat):
    with RawHttp2(flat.connect()) as client:
        post = b"\x83" + GET_HELLO[1:]
        client.flood((get(number, post, end=False) for number in itertools.islice(streams(), 20_000)), 1_000_000)
        assert client.ended
        assert set(client.resets.values()) <= {7}, "REFUSED_STREAM"


@pytest.mark.parametrize(
    ("path", "held_max"),
    [
        # A file: nothing of it is read for a client that has no room.
        (b"/spool?megabytes=1", STREAMS * 8 * 1024),
        # In the front's memory, or in files from the half of what a connection may have.
        (b"/stream?megabytes=1", 64 * 1024 * 1024),
        # Whole when its head is sent.
        (b"/page", STREAMS * (256 + 8) * 1024),
    ],
)
def test_answers_that_nobody_takes_are_given_up_while_the_connection_goes_on(start, path, held_max):
    """Windows of no bytes: neither workers are held for them, nor more memory than the manual says."""
    server = start("wsgi_app:app", *CLEAR, "--workers", "1", "--write-timeout", "1")
    bystander(server)
    before = ctl(server, "show", "stats")["front_memory"]["peak_bytes"]
    with RawHttp2(server.connect(), struct.pack("!HI", 4, 0)) as client:
        block = GET_HELLO[:8] + field(b":path", path)
        client.send(b"".join(get(number, block) for number in range(1, 2 * STREAMS, 2)))
        seen = set()
        for kind, _flags, stream, _payload in client.frames():
            assert kind != DATA
            if kind == RST_STREAM:
                seen.add(stream)
            if len(seen) == STREAMS:
                break
        assert len(seen) == STREAMS
        memory = ctl(server, "show", "stats")["front_memory"]
        assert memory["peak_bytes"] - before <= held_max
        assert memory["connections_cut"] == 0
        last = 2 * STREAMS + 1
        client.send(get(last))
        assert any(
            kind == HEADERS and flags & END_HEADERS for kind, flags, stream, _ in client.frames() if stream == last
        )
    bystander(server)


def test_windows_that_open_by_one_byte_do_not_make_the_server_send_for_ever(flat):
    settings = struct.pack("!HI", 4, 0)
    with RawHttp2(flat.connect(), settings) as client:
        client.send(get(1))
        client.flood(repeated(frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 1))), FLOOD_BYTES_MAX)
        assert client.ended
