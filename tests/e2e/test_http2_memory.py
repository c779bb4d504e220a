"""What the front is charged for over HTTP/2 is what it holds: all of it while it is held, and nothing afterwards."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

import pytest
from support.control import ctl
from support.http2 import Http2
from support.http2_raw import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GET_HELLO,
    HEADERS,
    PING,
    RST_STREAM,
    WINDOW_UPDATE,
    RawHttp2,
    field,
    frame,
    get,
)
from support.server import Server, poll, status_kib
from websockets.frames import Frame, Opcode

pytestmark = pytest.mark.indrik_only

KIB = 1024
MIB = 1024 * KIB
CLEAR = ("--http-protocols", "h2,h1", "--http2-cleartext", "prior-knowledge", "--workers", "1")
# Changes of a buffer that are smaller than this are not passed on; a connection has a few buffers.
INEXACT = 16 * KIB
POST = b"\x83" + GET_HELLO[1:]
VERSION = ("sec-websocket-version", "13")
STREAMS = range(1, 201, 2)
NO_WINDOW = struct.pack("!HI", 4, 0)
# Of one answer, as the manual says: for the socket, and a piece for which the client has no room.
ANSWER_BYTES_MAX = (128 + 256) * KIB
# What a stream is charged beside its bodies.
STREAM_BYTES = 4 * KIB


@pytest.fixture(scope="module")
def server(start_shared) -> Server:
    return start_shared("asgi_app:app", *CLEAR, interface="asgi")


@pytest.fixture(scope="module")
def wsgi(start_shared) -> Server:
    return start_shared("wsgi_app:app", *CLEAR, "--write-timeout", "0")


def held(server: Server) -> int:
    return int(ctl(server, "show", "stats")["front_memory"]["held_bytes"])


@contextlib.contextmanager
def base(server: Server, client: Http2) -> Iterator[None]:
    """What is held for a connection that has served a request; it is held again, and no more, in the end."""
    assert client.get("/hello").body == b"hello"
    before = held(server)
    yield
    assert client.get("/hello").body == b"hello"
    poll(lambda: held(server) <= before + INEXACT, f"memory that is given back: {held(server)} and not {before}")


def test_uploads_are_given_back(server):
    with Http2(server.connect()) as client, base(server, client):
        numbers = [client.request("/upload", method="POST", end=False) for _ in range(5)]
        for number in numbers:
            client.send(number, bytes(700_000), end=True)
        for number in numbers:
            assert b"700000" in client.answer(number).body


def test_padding_is_given_back(server):
    with Http2(server.connect()) as client, base(server, client):
        number = client.request("/upload", method="POST", end=False)
        for _ in range(2_000):
            while client.h2.local_flow_control_window(number) < 600:
                assert client.read()
            client.h2.send_data(number, bytes(300), pad_length=255)
            client.flush()
        client.send(number, b"x", end=True)
        assert b"600001" in client.answer(number).body


def test_a_body_whose_stream_is_reset_within_it_is_given_back(server):
    with Http2(server.connect()) as client, base(server, client):
        for _ in range(40):
            number = client.request("/upload", method="POST", end=False)
            client.send(number, bytes(60_000))
            client.reset(number)


def test_a_body_for_a_stream_that_is_over_is_not_held(server):
    """The frames were on their way when the server had said that it wants nothing more."""
    with Http2(server.connect()) as client, RawHttp2(server.connect()) as raw, base(server, client):
        for number in range(1, 101, 2):
            raw.send(get(number, POST, end=False) + frame(RST_STREAM, 0, number, struct.pack("!I", 8)))
            raw.send(frame(DATA, 0, number, bytes(16_000)))
        raw.send(frame(PING, 0, 0, bytes(8)))
        for kind, _flags, _stream, _payload in raw.frames():
            if kind == PING:
                break


def test_the_bodies_of_streams_that_are_refused_are_not_held(server, gate):
    """More streams than were agreed on; what is sent on them before the client hears of it is thrown away."""
    post = POST[:8] + field(b":path", f"/upload-at-gate?gate={gate.path}".encode())
    with Http2(server.connect()) as client, base(server, client):
        before = held(server)
        with RawHttp2(server.connect()) as raw:
            raw.send(b"".join(get(number, post, end=False) for number in range(1, 301, 2)))
            raw.send(b"".join(frame(DATA, 0, number, bytes(16_000)) for number in range(201, 301, 2)))
            raw.send(frame(PING, 0, 0, bytes(8)))
            refused = 0
            for kind, _flags, _stream, _payload in raw.frames():
                refused += kind == RST_STREAM
                if kind == PING:
                    break
            assert refused >= 50
            assert held(server) - before <= 100 * 2 * STREAM_BYTES + 2 * INEXACT
        gate.release(100)


def test_answers_that_are_reset_within_them_are_given_back(wsgi):
    with Http2(wsgi.connect()) as client, base(wsgi, client):
        client.acknowledges = False
        for turn in range(200):
            path = ("/page", "/stream?megabytes=1", "/spool?megabytes=1", "/hello")[turn % 4]
            number = client.request(path)
            if turn % 3:
                client.read_head(number)
            client.reset(number)
        client.acknowledges = True
        client.h2.increment_flow_control_window(2**29)
        client.flush()


def test_a_body_that_nobody_reads_is_charged_until_its_client_has_gone(server, gate):
    with Http2(server.connect()) as client, base(server, client):
        before = held(server)
        with Http2(server.connect()) as other:
            for _ in range(10):
                number = other.request(f"/upload-at-gate?gate={gate.path}", method="POST", end=False)
                other.send(number, bytes(60_000))
            poll(lambda: held(server) > before + 10 * 60_000, "bodies that are charged")
        gate.release(10)


def test_what_comes_up_a_websocket_is_given_back_while_that_is_open(server):
    with Http2(server.connect()) as client, base(server, client):
        number = client.tunnel("/echo", VERSION)
        client.read_head(number)
        opened = held(server)
        message = Frame(Opcode.BINARY, bytes(100_000)).serialize(mask=True)
        for count in range(1, 31):
            client.send(number, message)
            while len(client.streams[number].body) < count * 100_000:
                assert client.read()
        poll(lambda: held(server) <= opened + INEXACT, "memory of a WebSocket that is given back")
        client.reset(number)


def test_small_frames_that_wait_for_their_application_end_nothing(server, gate):
    with Http2(server.connect()) as client:
        number = client.request(f"/upload-at-gate?gate={gate.path}", method="POST", end=False)
        client.send(number, b"x")
        gate.arrived()
        for _ in range(5_000):
            client.h2.send_data(number, b"x")
        client.h2.end_stream(number)
        client.flush()
        assert client.get("/hello").body == b"hello"
        gate.release()
        answer = client.answer(number)
        assert (answer.status, answer.reset) == (200, None)


@pytest.mark.parametrize("leaves", ["reset", "close"])
def test_a_websocket_that_is_not_read_is_given_back_when_its_client_has_gone(start, leaves):
    """Nobody reads its stream meanwhile, and so nobody would hear of it."""
    server = start("memory_app:app", *CLEAR, interface="asgi")
    before = held(server)
    message = Frame(Opcode.BINARY, bytes(60_000)).serialize(mask=True)
    begin = Frame(Opcode.TEXT, b"begin").serialize(mask=True)
    with Http2(server.connect()) as client:
        numbers = [client.tunnel("/ignores", VERSION) for _ in range(5)]
        for number in numbers:
            client.read_head(number)
            client.send(number, begin)
            client.socket.settimeout(0.3)
            # Until there is no window left.
            with contextlib.suppress(TimeoutError):
                for _ in range(20):
                    client.send(number, message)
            client.socket.settimeout(30)
        poll(lambda: held(server) > before + 5 * 60_000, "messages that wait")
        if leaves == "reset":
            for number in numbers:
                client.reset(number)
            poll(lambda: held(server) <= before + 6 * INEXACT, "what is held for streams that were reset")
    poll(lambda: held(server) <= before + INEXACT, f"what is held for a client that has gone: {held(server)}")


def test_what_came_with_a_websocket_that_is_refused_is_given_back(server):
    with Http2(server.connect()) as client, base(server, client):
        for _ in range(20):
            number = client.tunnel("/deny", VERSION)
            client.send(number, bytes(60_000))
            assert client.answer(number).status == 401


def test_answers_that_nobody_has_room_for_are_charged_and_bounded(wsgi):
    """A client with windows of no bytes. What is whole when its head is sent lies here; a file stays one."""
    for path, least, most in [
        ("/page", 200_000, ANSWER_BYTES_MAX),
        ("/spool?megabytes=1", 0, 0),
    ]:
        with Http2(wsgi.connect()) as client, base(wsgi, client):
            before, resident = held(wsgi), status_kib(wsgi.process.pid, "VmRSS")
            with contextlib.ExitStack() as stack:
                others = [stack.enter_context(RawHttp2(wsgi.connect(), NO_WINDOW)) for _ in range(2)]
                for raw in others:
                    read_heads(raw, path)
                streams = len(others) * len(STREAMS)
                more = held(wsgi) - before
                assert more >= streams * least
                assert more <= streams * (most + 2 * STREAM_BYTES)
                grown = (status_kib(wsgi.process.pid, "VmRSS") - resident) * KIB
                # Nothing of it is beside the account: what a file's streams take of threads and pages is little.
                assert grown <= more + 12 * MIB
        assert ctl(wsgi, "show", "stats")["front_memory"]["connections_cut"] == 0


def test_answers_that_the_socket_does_not_take_are_charged_and_bounded(wsgi):
    """The client has room for all of it, and does not read."""
    with Http2(wsgi.connect()) as client, base(wsgi, client):
        before = held(wsgi)
        with RawHttp2(wsgi.connect(), struct.pack("!HI", 4, 2**30)) as raw:
            raw.send(frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 2**30)))
            raw.send(b"".join(get(number, request("/spool?megabytes=1")) for number in STREAMS))
            # More than a socket takes.
            poll(lambda: held(wsgi) - before > 8 * MIB, "answers that are charged")
            assert held(wsgi) - before <= len(STREAMS) * (ANSWER_BYTES_MAX + STREAM_BYTES)
            got = bytes_of_bodies(raw, len(STREAMS))
            assert got == len(STREAMS) * MIB


@pytest.mark.parametrize(
    ("interface", "path", "window"), [("wsgi", "/close?mark=/dev/null", 6), ("asgi", "/trailers", 4)]
)
def test_the_end_of_an_answer_needs_no_room(start, interface, path, window):
    """The client's window is as large as the answer, and is not given back before the answer is whole."""
    server = start(f"{interface}_app:app", *CLEAR, "--write-timeout", "1", interface=interface)
    with RawHttp2(server.connect(), struct.pack("!HI", 4, window)) as raw:
        raw.send(get(1, request(path)))
        body = 0
        for kind, flags, stream, payload in raw.frames():
            assert kind != RST_STREAM
            body += len(payload) if kind == DATA else 0
            if stream == 1 and flags & END_STREAM:
                break
        assert body == window


def test_an_answer_that_has_not_begun_is_waited_for_by_a_client_without_a_window(start, gate):
    """`write_timeout` is about bytes that are there and are not taken."""
    server = start("wsgi_app:app", *CLEAR, "--threads", "2", "--write-timeout", "1")
    with RawHttp2(server.connect(), struct.pack("!HI", 4, 5)) as raw, Http2(server.connect()) as other:
        raw.send(get(1, request(f"/stream-at-gate?gate={gate.path}")))
        # The first piece fills the window; then another client is given up, which takes as long.
        frames = raw.frames()
        assert any(kind == DATA for kind, _flags, _stream, _payload in frames)
        other.acknowledges = False
        stuck = other.request("/stream?megabytes=1")
        while other.streams[stuck].reset is None:
            assert other.read()
        raw.send(frame(WINDOW_UPDATE, 0, 1, struct.pack("!I", 100)))
        gate.release()
        assert all(kind != RST_STREAM for kind in rest(frames, 1))


def request(path: str) -> bytes:
    return GET_HELLO[:8] + field(b":path", path.encode())


def read_heads(raw: RawHttp2, path: str) -> None:
    """Ask for a path on every stream; until all heads have come, and what is to wait does."""
    raw.send(b"".join(get(number, request(path)) for number in STREAMS))
    heads: set[int] = set()
    for kind, flags, stream, _payload in raw.frames():
        assert kind not in (DATA, RST_STREAM)
        if kind == HEADERS and flags & END_HEADERS:
            heads.add(stream)
        if len(heads) == len(STREAMS):
            return


def bytes_of_bodies(raw: RawHttp2, streams: int) -> int:
    total = 0
    for kind, flags, _stream, payload in raw.frames():
        assert kind != RST_STREAM
        total += len(payload) if kind == DATA else 0
        streams -= 1 if kind in (DATA, HEADERS) and flags & END_STREAM else 0
        if streams == 0:
            return total
    raise AssertionError("the connection ended within answers")


def rest(frames: Iterator[tuple[int, int, int, bytes]], number: int) -> Iterator[int]:
    """What kinds of frames come for a stream until its end."""
    for kind, flags, stream, _payload in frames:
        if stream == number:
            yield kind
            if kind == RST_STREAM or flags & END_STREAM:
                return
