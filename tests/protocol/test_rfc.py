"""Rows of RFC 9110 and RFC 9112 where the RFC wins over Gunicorn, beyond e2e/test_http1.py."""

from __future__ import annotations

import json

import pytest
from support.server import Server

pytestmark = pytest.mark.indrik_only


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def server(request, start_shared) -> Server:
    return start_shared(f"{request.param}_app:app", "--threads", "2", interface=request.param)


@pytest.fixture
def wire(connect, server):
    return connect(server)


REFUSED = {
    # RFC 9112 section 3.2
    "no host": "GET /hello HTTP/1.1\r\n\r\n",
    "two hosts": "GET /hello HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "an empty host": "GET /hello HTTP/1.1\r\nHost:\r\n\r\n",
    "a host with userinfo": "GET /hello HTTP/1.1\r\nHost: user@a\r\n\r\n",
    "a host with a path": "GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a host list": "GET /hello HTTP/1.1\r\nHost: a, b\r\n\r\n",
    # section 2.2 and 3
    "two spaces after the method": "GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab in the request line": "GET\t/hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space before the first header": "GET /hello HTTP/1.1\r\n Host: a\r\n\r\n",
    # Stricter than RFC 9110 section 2.5 asks, see docs/compat/requests.md
    "a later minor version": "GET /hello HTTP/1.9\r\nHost: a\r\n\r\n",
    "a lower-case protocol": "GET /hello http/1.1\r\nHost: a\r\n\r\n",
    "no protocol": "GET /hello\r\n\r\n",
    "a control character in the target": "GET /he\x01llo HTTP/1.1\r\nHost: a\r\n\r\n",
    "a relative target": "GET hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "an asterisk with GET": "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    # section 5
    "a header without colon": "GET /hello HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    "a header without name": "GET /hello HTTP/1.1\r\nHost: a\r\n: value\r\n\r\n",
    "a space in a header name": "GET /hello HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n",
    "a delimiter in a header name": "GET /hello HTTP/1.1\r\nHost: a\r\nX(Y): 1\r\n\r\n",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_is_a_400_and_a_close(wire, kind):
    wire.send(REFUSED[kind])
    wire.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.read_answer().status == 400
    wire.assert_closed()


PASSED = {
    "one empty line before the request": "\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "white space around a value": "GET /hello HTTP/1.1\r\nHost: \t a \t\r\n\r\n",
    "an empty value": "GET /hello HTTP/1.1\r\nHost: a\r\nX-Empty:\r\n\r\n",
    "every token character in a name": "GET /hello HTTP/1.1\r\nHost: a\r\nX!#$%&'*+-.^`|~1: 1\r\n\r\n",
    "obs-text in a value": "GET /hello HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n",
    "a request line of 8000 bytes": f"GET /hello?{'x' * 7900} HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute form": "GET http://a/hello HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("kind", PASSED)
def test_passes(wire, kind):
    wire.send(PASSED[kind])
    assert wire.read_answer().text == "hello"


@pytest.mark.parametrize("ending", ["half-close", "close", "garbage"])
def test_a_short_or_broken_body_never_counts_as_a_whole_one(connect, server, ending):
    wire = connect(server)
    wire.send("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    if ending == "half-close":
        wire.half_close()
    elif ending == "garbage":
        wire.send("what?\r\n\r\n")
    else:
        wire.socket.close()
        assert connect(server).get("/hello").text == "hello"
        return
    assert not wire.read_to_end().startswith(b"HTTP/1.1 200")


def test_chunk_extensions_and_trailers_are_read_past(wire):
    wire.send("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send('5;name=value;quoted="a;b"\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n')
    assert json.loads(wire.read_answer().body)["bytes"] == 5
    assert wire.get("/hello").text == "hello"


def test_options_with_an_asterisk_reaches_the_application(wire):
    wire.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.read_answer().status == 200
