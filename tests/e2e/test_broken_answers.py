"""Applications that fail in the middle of an answer: what they gave goes out, then the connection or the stream is
cut; where nothing went out, the client gets a 500 and not an empty end."""

from __future__ import annotations

import pytest
from support.http2 import Http2
from support.wire import Wire

KINDS = {
    "sync": ("broken_app:wsgi", "--worker-class", "sync"),
    "gthread": ("broken_app:wsgi", "--threads", "2"),
    "gevent": ("broken_app:wsgi", "--worker-class", "gevent"),
    "asgi": ("broken_app:asgi",),
}
GIVEN = 200_000
TURNS = 20


@pytest.fixture(params=KINDS)
def server(request, start, pki):
    app, *flags = KINDS[request.param]
    interface = "asgi" if request.param == "asgi" else "wsgi"
    return start(app, "--workers", "1", *flags, interface=interface)


def broken_off(wire: Wire) -> tuple[int, bytes]:
    """Status and body of an answer that must not look whole."""
    head = wire.read_head()
    if head.header("transfer-encoding") is None:
        return head.status, wire.read_to_end()
    body = b""
    with pytest.raises((EOFError, ConnectionResetError, ValueError)):
        while True:
            body += wire.read_chunk()
    return head.status, body


class TestHttp1:
    @pytest.mark.parametrize("length", ["", f"&length={GIVEN + 100}"])
    def test_what_was_given_goes_out_before_the_cut(self, server, connect, length):
        for _ in range(TURNS):
            wire = connect(server)
            wire.send(f"GET /raises?given={GIVEN}{length} HTTP/1.1\r\nHost: t\r\n\r\n")
            assert broken_off(wire) == (200, b"x" * GIVEN)
        server.wait_for_log("RuntimeError: raised midway")

    def test_a_single_small_piece_goes_out_too(self, server, connect):
        for _ in range(TURNS):
            wire = connect(server)
            wire.send("GET /raises?given=3 HTTP/1.1\r\nHost: t\r\n\r\n")
            assert broken_off(wire) == (200, b"xxx")

    @pytest.mark.indrik_only
    def test_where_nothing_was_given_it_is_a_500(self, server, connect):
        for _ in range(TURNS):
            answer = connect(server).get("/raises?given=0")
            assert (answer.status, answer.reason) == (500, "Internal Server Error")

    @pytest.mark.indrik_only
    def test_an_answer_that_is_short_of_its_length_is_never_an_empty_end(self, server, connect):
        for _ in range(TURNS):
            wire = connect(server)
            wire.send("GET /short?given=3&length=10 HTTP/1.1\r\nHost: t\r\n\r\n")
            head = wire.read_head()
            # Unless its first bytes were on their way already.
            assert head.status == 500 or wire.read_to_end() == b"xxx"

    def test_written_bytes_go_out_too(self, start, connect):
        server = start("broken_app:wsgi")
        wire = connect(server)
        wire.send(f"GET /raises-after-write?given={GIVEN} HTTP/1.1\r\nHost: t\r\n\r\n")
        assert broken_off(wire) == (200, b"x" * GIVEN)


@pytest.mark.parametrize("app", ["wsgi", "asgi"])
def test_in_http_2_the_stream_is_reset_behind_what_was_given(start, pki, app):
    flags = ("--http-protocols", "h2,h1", "--http2-cleartext", "prior-knowledge", "--forwarded-allow-ips", "*")
    server = start(f"broken_app:{app}", "--workers", "1", *flags, interface=app)
    with Http2(server.connect()) as client:
        for _ in range(TURNS):
            for given in (3, GIVEN):
                answer = client.get(f"/raises?given={given}")
                assert (answer.status, len(answer.body), answer.ended) == (200, given, False)
                assert answer.reset == 2
            assert client.get("/raises?given=0").status == 500


@pytest.mark.indrik_only
class TestShort:
    @pytest.fixture
    def server(self, start):
        return start("broken_app:wsgi")

    def test_a_file_that_is_too_short_is_a_500(self, server, connect):
        for _ in range(TURNS):
            answer = connect(server).get("/short-file?length=100000")
            assert (answer.status, answer.header("connection")) == (500, "close")
        server.wait_for_log("short of its Content-Length")

    @pytest.mark.parametrize("path", ["short-write", "short-memory"])
    def test_written_or_wrapped_bytes_that_are_too_few_are_never_an_empty_end(self, server, connect, path):
        for _ in range(TURNS):
            wire = connect(server)
            wire.send(f"GET /{path}?given=3&length=10 HTTP/1.1\r\nHost: t\r\n\r\n")
            head = wire.read_head()
            assert head.status == 500 or wire.read_to_end() == b"xxx"

    def test_a_file_that_says_it_is_empty_is_read(self, server, connect):
        assert connect(server).get("/proc").body.count(b" ") > 40
