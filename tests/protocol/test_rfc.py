"""Rows of RFC 9110 and RFC 9112 where the RFC wins over Gunicorn, beyond e2e/test_http1.py."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import pytest
from support.control import ctl
from support.server import Server, poll
from support.wire import Wire

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
    "a host that ends within an escape": "GET /hello HTTP/1.1\r\nHost: a%\r\n\r\n",
    "a host with a broken escape": "GET /hello HTTP/1.1\r\nHost: a%zz\r\n\r\n",
    "brackets without an address": "GET /hello HTTP/1.1\r\nHost: [zz]\r\n\r\n",
    "a port beyond 65535": "GET /hello HTTP/1.1\r\nHost: a:65536\r\n\r\n",
    # section 3.2.2, and RFC 9110 sections 4.2.4 and 7.1
    "an absolute form that Host contradicts": "GET http://b/hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute form with another port than Host": "GET http://a:81/hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute form without a host": "GET http:///hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute form with userinfo": "GET http://user@a/hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute form without Host": "GET http://a/hello HTTP/1.1\r\n\r\n",
    "an absolute form of another scheme": "GET ftp://a/hello HTTP/1.1\r\nHost: a\r\n\r\n",
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
    "a control character in a value": "GET /hello HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
    "a delimiter in a method": "G(T /hello HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_is_a_400_and_a_close(wire, kind):
    wire.send(REFUSED[kind])
    wire.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = wire.read_answer()
    assert (answer.status, answer.header("content-type")) == (400, "text/html; charset=utf-8")
    assert "Bad Request" in answer.text
    wire.assert_closed()


@pytest.mark.parametrize("version", ["2.0", "3.0", "0.9"])
def test_another_major_version_is_a_505(wire, version):
    wire.send(f"GET /hello HTTP/{version}\r\nHost: a\r\n\r\n")
    assert wire.read_answer().status == 505
    wire.assert_closed()


PASSED = {
    "one empty line before the request": "\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "white space around a value": "GET /hello HTTP/1.1\r\nHost: \t a \t\r\n\r\n",
    "an empty value": "GET /hello HTTP/1.1\r\nHost: a\r\nX-Empty:\r\n\r\n",
    "every token character in a name": "GET /hello HTTP/1.1\r\nHost: a\r\nX!#$%&'*+-.^`|~1: 1\r\n\r\n",
    "obs-text in a value": "GET /hello HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n",
    "a request line of 8000 bytes": f"GET /hello?{'x' * 7900} HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute form": "GET http://a/hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute form with the scheme's port": "GET http://A:80/hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute form without Host in HTTP/1.0": "GET http://a/hello HTTP/1.0\r\n\r\n",
    "an escape in a host": "GET /hello HTTP/1.1\r\nHost: a%2d\r\n\r\n",
}


@pytest.mark.parametrize("kind", PASSED)
def test_passes(wire, kind):
    wire.send(PASSED[kind])
    assert wire.read_answer().text == "hello"


@pytest.mark.parametrize("host", ["", "Host: B:80\r\n"])
def test_the_host_of_an_absolute_form_is_the_one_that_counts(wire, host):
    wire.send(f"GET http://b/describe HTTP/1.0\r\n{host}\r\n")
    assert seen_of(json.loads(wire.read_answer().body))["host"] == "b"


@pytest.mark.parametrize("cut", [0, 9])
def test_odd_characters_pass_in_path_and_query_as_they_were_sent(wire, cut):
    request = 'GET /describe/"<>`?"<>` HTTP/1.1\r\nHost: a\r\n\r\n'
    wire.send(request[:cut])
    wire.send(request[cut:])
    seen = seen_of(json.loads(wire.read_answer().body))
    assert (seen["path"], seen["query"]) == ('/describe/"<>`', '"<>`')


def seen_of(described: dict[str, Any]) -> dict[str, Any]:
    """What the test applications say of a request, by one name each."""
    if "PATH_INFO" in described:
        return {
            "path": described["PATH_INFO"],
            "query": described["QUERY_STRING"],
            "host": described.get("HTTP_HOST"),
        }
    host = dict(described["headers"]).get("host")
    return {"path": described["path"], "query": described["query_string"], "host": host}


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
    wire.send('0000000000000000000005;name=value;quoted="a;b"\r\nhello\r\n000\r\nX-Trailer: 1\r\n\r\n')
    assert json.loads(wire.read_answer().body)["bytes"] == 5
    assert wire.get("/hello").text == "hello"


def test_options_with_an_asterisk_reaches_the_application(wire):
    wire.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.read_answer().status == 200


class TestEnds:
    """How a connection ends, and what its last answer says of it."""

    @pytest.fixture
    def wsgi(self, start_shared, connect) -> Wire:
        return connect(start_shared("wsgi_app:app", "--threads", "2"))

    def test_http_1_0_without_a_length_says_close_and_nothing_beside_it(self, wire):
        wire.send("GET /stream?megabytes=1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = wire.read_answer()
        assert (answer.header("connection"), len(answer.body)) == ("close", 1 << 20)

    def test_http_1_0_with_a_length_stays(self, wire):
        for _ in range(3):
            wire.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = wire.read_answer()
            assert (answer.header("connection"), answer.text) == ("keep-alive", "hello")

    def test_a_refusal_to_http_1_0_says_close_only(self, wire):
        wire.send("G / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = wire.read_answer()
        assert (answer.status, answer.header("connection")) == (400, "close")
        wire.assert_closed()

    @pytest.mark.parametrize("request_line", ["HEAD /hello HTTP/3.0", "HEAD * HTTP/1.1", "HEAD /a HTTP/1.1"])
    def test_a_refusal_of_head_has_no_body(self, wire, request_line):
        wire.send(f"{request_line}\r\nHost: a%\r\n\r\n")
        answer = wire.read_answer(head_only=True)
        assert answer.status in (400, 505)
        assert int(answer.header("content-length") or 0) > 0
        wire.assert_closed()

    def test_a_refusal_in_front_of_the_parser_looks_like_one_behind_it(self, connect, server):
        names = []
        for request in ["GET /hello HTTP/1.1\r\nHost: a%\r\n\r\n", "GET hello HTTP/1.1\r\nHost: a\r\n\r\n"]:
            wire = connect(server)
            wire.send(request)
            answer = wire.read_answer()
            assert "<h1><p>Bad Request</p></h1>" in answer.text
            names.append(sorted(name for name, _ in answer.headers))
        assert names[0] == names[1]
        assert "date" in names[0]

    @pytest.mark.parametrize("size", [0, 200_000])
    def test_a_client_of_wsgi_that_closes_its_direction_gets_its_answer(self, wsgi, size):
        head = f"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
        wsgi.send(head.encode() + b"x" * size)
        wsgi.half_close()
        assert json.loads(wsgi.read_answer().body)["bytes"] == size
        wsgi.assert_closed()

    def test_they_get_the_answers_to_all_they_sent(self, start_shared, connect):
        """Many at once: whether the last answer is out before or after the socket is read for the last time differs."""
        server = start_shared("wsgi_app:app", "--threads", "2")
        clients = [connect(server) for _ in range(64)]
        for client in clients:
            client.send("GET /page HTTP/1.1\r\nHost: a\r\n\r\n" * 3 + "GET /hel")
            client.half_close()
        for client in clients:
            for _ in range(3):
                assert len(client.read_answer().body) == 200_000
            client.assert_closed()

    def test_a_reset_after_it_is_leaving(self, start, connect, gate):
        server = start("wsgi_app:app", "--workers", "1")

        def connections() -> int:
            return ctl(server, "show", "stats")["connections"]

        with connect(server) as wire:
            wire.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: a\r\n\r\n")
            gate.arrived()
            assert connections() == 1
            wire.half_close()
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        poll(lambda: connections() == 0, "the connection is given up while the application still works")
        gate.release()
        assert connect(server).get("/hello").text == "hello"

    def test_a_refusal_has_a_line_in_the_access_log(self, start, connect):
        server = start("wsgi_app:app", "--access-logfile", "-")
        for request in ["GET /odd HTTP/1.1\r\nnonsense\r\n\r\n", "HEAD hello HTTP/1.0\r\n\r\n"]:
            connect(server).send(request)
        server.wait_for_access_line(r'^127\.0\.0\.1 - - \[.*\] "GET /odd HTTP/1\.1" 400 [1-9]\d* "-" "-"$')
        server.wait_for_access_line(r'"HEAD hello HTTP/1\.0" 400 0 "-" "-"$')
