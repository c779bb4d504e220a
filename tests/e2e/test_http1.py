"""HTTP/1.1 on the wire: keep-alive, pipelining, framing both ways, 100-continue, smuggling, hygiene."""

from __future__ import annotations

import json

import pytest
from support.gate import Gate
from support.server import IS_ORACLE, Server


@pytest.fixture(scope="module")
def server(start_shared) -> Server:
    return start_shared("wsgi_app:app", "--threads", "4")


@pytest.fixture(scope="module")
def asgi_server(start_shared) -> Server:
    return start_shared("asgi_app:app", interface="asgi")


@pytest.fixture
def wire(connect, server):
    return connect(server)


class TestKeepAlive:
    def test_http_1_1_keeps_the_connection(self, wire):
        for _ in range(20):
            assert wire.get("/hello").text == "hello"

    def test_connection_close_closes(self, wire):
        answer = wire.get("/hello", "Connection: close")
        assert answer.header("connection") == "close"
        wire.assert_closed()

    def test_http_1_0_closes(self, wire):
        wire.send("GET /hello HTTP/1.0\r\n\r\n")
        assert wire.read_answer().text == "hello"
        wire.assert_closed()

    def test_http_1_0_with_keep_alive_keeps(self, wire):
        for _ in range(2):
            wire.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = wire.read_answer()
            assert answer.text == "hello"
            assert (answer.header("connection") or "").lower() == "keep-alive"

    def test_a_post_then_a_get(self, wire):
        assert json.loads(wire.get("/upload", method="POST", body=b"x" * 10).body)["bytes"] == 10
        assert wire.get("/hello").text == "hello"

    def test_two_thousand_requests_on_one_connection(self, wire):
        for _ in range(2000):
            assert wire.get("/hello").status == 200


class TestPipelining:
    def test_answers_come_in_order(self, wire):
        paths = ["/status?body=1", "/status?body=2", "/status?body=3", "/hello"]
        wire.send("".join(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n" for path in paths))
        assert [wire.read_answer().text for _ in paths] == ["1", "2", "3", "hello"]

    def test_requests_with_bodies(self, wire):
        wire.send(
            "POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello"
            "POST /upload HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\nabc\r\n0\r\n\r\n"
            "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n"
        )
        assert json.loads(wire.read_answer().body)["bytes"] == 5
        assert json.loads(wire.read_answer().body)["bytes"] == 3
        assert wire.read_answer().text == "hello"

    def test_a_hundred_at_once(self, wire):
        wire.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n" * 100)
        assert [wire.read_answer().text for _ in range(100)] == ["hello"] * 100

    def test_byte_by_byte(self, wire):
        for byte in b"POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc":
            wire.send(bytes([byte]))
        assert json.loads(wire.read_answer().body)["bytes"] == 3

    def test_nothing_after_connection_close_is_answered(self, wire):
        wire.send("GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        wire.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
        assert wire.read_answer().text == "hello"
        wire.assert_closed()


class TestResponseFraming:
    def test_an_answer_without_length_is_chunked(self, wire):
        answer = wire.get("/write")
        assert answer.header("transfer-encoding") == "chunked"

    def test_http_1_0_gets_no_chunks(self, wire):
        wire.send("GET /write HTTP/1.0\r\n\r\n")
        answer = wire.read_answer()
        assert answer.header("transfer-encoding") is None
        assert answer.text == "written twice then returned"

    def test_head_has_the_headers_and_no_body(self, wire):
        answer = wire.get("/hello", method="HEAD")
        assert (answer.status, answer.header("content-length")) == (200, "5")
        assert wire.get("/hello").text == "hello"

    def test_head_of_a_stream_has_no_body(self, wire):
        assert wire.get("/stream?megabytes=1", method="HEAD").status == 200
        assert wire.get("/hello").text == "hello"

    @pytest.mark.parametrize("code", ["204 No Content", "304 Not Modified"])
    def test_no_body_with_204_and_304(self, wire, code):
        target = f"/status?line={code.replace(' ', '%20')}&body=forbidden"
        answer = wire.get(target)
        assert answer.header("transfer-encoding") is None
        if code.startswith("204"):
            assert answer.header("content-length") is None
        assert wire.get("/hello").text == "hello"

    def test_more_than_content_length_is_not_sent(self, wire):
        assert wire.get("/status?length=3&body=abcdef").text == "abc"

    @pytest.mark.indrik_only
    def test_less_than_content_length_closes_the_connection(self, wire, server):
        wire.send("GET /status?length=10&body=abc HTTP/1.1\r\nHost: t\r\n\r\n")
        rest = wire.read_to_end()
        assert rest.startswith(b"HTTP/1.1 500") or (rest.startswith(b"HTTP/1.1 200") and rest.endswith(b"\r\n\r\nabc"))
        server.wait_for_log("(?i)content-length")

    @pytest.mark.indrik_only
    def test_less_than_content_length_closes_the_connection_asgi(self, connect, asgi_server):
        wire = connect(asgi_server)
        wire.send("GET /status?code=200&length=10&body=abc HTTP/1.1\r\nHost: t\r\n\r\n")
        rest = wire.read_to_end()
        assert rest.startswith(b"HTTP/1.1 500") or rest.endswith(b"\r\n\r\nabc")
        asgi_server.wait_for_log("(?i)content-length")

    def test_a_date_and_a_server_header(self, wire):
        answer = wire.get("/hello")
        assert answer.header("date")
        assert answer.header("server")


class TestExpect:
    HEAD = "POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

    def test_100_continue_comes_before_the_body(self, wire):
        wire.send(self.HEAD)
        assert wire.read_answer(skip_interim=False).status == 100
        wire.send("hello")
        assert json.loads(wire.read_answer().body)["bytes"] == 5

    def test_100_continue_comes_before_the_body_asgi(self, connect, asgi_server):
        wire = connect(asgi_server)
        wire.send(self.HEAD)
        assert wire.read_answer(skip_interim=False).status == 100
        wire.send("hello")
        assert json.loads(wire.read_answer().body)["bytes"] == 5

    def test_an_asgi_application_that_does_not_read_gets_no_100(self, connect, asgi_server):
        wire = connect(asgi_server)
        wire.send(self.HEAD.replace("/upload", "/answer-early"))
        assert wire.read_answer(skip_interim=False).text == "early"

    @pytest.mark.indrik_only
    @pytest.mark.parametrize("target", ["/answer-early", "/answer-within"])
    @pytest.mark.parametrize("length", [70_000, 900_000])
    @pytest.mark.parametrize("chunked", [True, False])
    def test_an_answer_before_the_body_was_read_keeps_the_connection(
        self, connect, asgi_server, target, length, chunked
    ):
        wire = connect(asgi_server)
        body = b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n" * (length // 37)
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
        framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
        for _ in range(5):
            wire.send(f"POST {target} HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n".encode() + framed)
            answer = wire.read_answer()
            assert (answer.text, answer.header("connection")) == ("early", None)
        assert wire.get("/hello").text == "hello"

    @pytest.mark.indrik_only
    def test_an_answer_before_a_long_body_was_read_closes_the_connection(self, connect, asgi_server):
        wire = connect(asgi_server)
        wire.send("POST /answer-early HTTP/1.1\r\nHost: t\r\nContent-Length: 2000000\r\n\r\n" + "x" * 70_000)
        assert wire.read_answer().header("connection") == "close"

    @pytest.mark.indrik_only
    def test_the_rest_of_a_body_that_comes_late_is_not_read_as_a_request(self, connect, asgi_server):
        wire = connect(asgi_server)
        wire.send("POST /answer-early HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert wire.read_answer().text == "early"
        smuggled = "GET /describe HTTP/1.1\r\nHost: t\r\n\r\n"
        wire.send(f"{len(smuggled):x}\r\n{smuggled}\r\n0\r\n\r\n")
        assert wire.get("/hello").text == "hello"

    def test_another_expectation_is_a_417(self, wire):
        wire.send("GET /hello HTTP/1.1\r\nHost: t\r\nExpect: a-miracle\r\n\r\n")
        assert wire.read_answer().status == 417

    def test_http_1_0_never_gets_a_100(self, wire):
        wire.send(self.HEAD.replace("HTTP/1.1", "HTTP/1.0") + "hello")
        assert wire.read_answer(skip_interim=False).status == 200


SMUGGLING = {
    "length and chunked": "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a list of lengths": "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5, 5\r\n\r\nhello",
    "a signed length": "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: +5\r\n\r\nhello",
    "a negative length": "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n",
    "a huge length": f"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {'9' * 30}\r\n\r\n",
    "chunked not last": "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    "chunked twice": "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked on 1.0": "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before the colon": "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a vertical tab before chunked": "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded header": "GET / HTTP/1.1\r\nHost: t\r\nX-A: b\r\n c\r\n\r\n",
    "a bare line feed": "GET / HTTP/1.1\nHost: t\n\n",
    "a bare carriage return": "GET / HTTP/1.1\r\nHost: t\r\nX-A: b\rX-B: c\r\n\r\n",
    "a null byte": "GET / HTTP/1.1\r\nHost: t\r\nX-A: b\0c\r\n\r\n",
    "a chunk size with a sign": "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    "+5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with a prefix": "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    "0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk size that overflows": "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    f"{'f' * 17}\r\nhello\r\n0\r\n\r\n",
    "a chunk without its line end": "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    "5\r\nhelloX\r\n0\r\n\r\n",
    "a chunk line ended by a line feed": "POST / HTTP/1.1\r\nHost: t\r\n"
    "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    "a length in the trailers": "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    "0\r\nContent-Length: 5\r\n\r\n",
}


class TestSmuggling:
    @pytest.mark.parametrize("attempt", SMUGGLING)
    def test_is_a_400_and_a_close(self, wire, attempt):
        if IS_ORACLE and attempt in ("a huge length", "a chunk size that overflows"):
            pytest.skip("Gunicorn waits for that many bytes")
        wire.send(SMUGGLING[attempt])
        # A second request rides behind; it must never be answered.
        wire.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
        answer = wire.read_answer()
        assert answer.status == 400, answer.text
        wire.assert_closed()

    def test_an_unknown_transfer_coding_is_a_501(self, wire):
        wire.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: zip, chunked\r\n\r\n0\r\n\r\n")
        assert wire.read_answer().status == 501
        wire.assert_closed()


@pytest.mark.indrik_only
class TestHost:
    """RFC 9112 section 3.2; Gunicorn lets these pass."""

    @pytest.mark.parametrize(
        "lines",
        ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nHost: b\r\n", "Host:\r\n", "Host: u@h\r\n"]
        + ["Host: h/path\r\n", "Host: a b\r\n", "Host: a:port\r\n", "Host: [::1\r\n"],
    )
    def test_none_several_empty_or_malformed_is_a_400(self, wire, lines):
        wire.send(f"GET /hello HTTP/1.1\r\n{lines}\r\n")
        assert wire.read_answer().status == 400
        wire.assert_closed()

    @pytest.mark.parametrize("host", ["a", "a.example:80", "127.0.0.1:1", "[::1]", "[::1]:80", "a_b"])
    def test_a_sound_one_passes(self, wire, host):
        wire.send(f"GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n")
        assert wire.read_answer().status == 200

    def test_http_1_0_needs_none(self, wire):
        wire.send("GET /hello HTTP/1.0\r\n\r\n")
        assert wire.read_answer().status == 200


INJECTIONS = {
    "line end in a value": [["X-A", "b\r\nX-Evil: 1"]],
    "line feed in a value": [["X-A", "b\nX-Evil: 1"]],
    "carriage return in a value": [["X-A", "b\rX-Evil: 1"]],
    "null in a value": [["X-A", "b\0c"]],
    "line end in a name": [["X-A\r\nX-Evil", "1"]],
    "space in a name": [["X A", "1"]],
    "an empty name": [["", "1"]],
    "colon in a name": [["X:A", "1"]],
}


@pytest.mark.indrik_only
class TestBrokenBehindSound:
    """What cannot be read does not spoil what came before it in the same packet."""

    def test_a_request_in_front_of_a_broken_one_is_answered(self, wire):
        wire.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\nGET /hello HTTP/1.1\nHost: t\n\n")
        assert wire.read_answer().text == "hello"
        assert wire.read_answer().status == 400
        wire.assert_closed()

    def test_the_end_of_a_body_in_front_of_a_broken_request_is_kept(self, wire):
        wire.send("POST /input?how=read HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n")
        wire.send("hello\nGET /hello HTTP/1.1\n\n")
        answer = wire.read_answer()
        assert "hello" in answer.text
        assert wire.read_answer().status == 400
        wire.assert_closed()

    @pytest.mark.parametrize("last", ["0;a=\r\n\r\n", "0\r\nHost: a\r\n\r\n", "0\n\r\n", "zz\r\n"])
    def test_a_broken_chunked_body_never_counts_as_whole_however_it_is_cut(self, connect, server, last):
        head = "POST /upload HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        for cut in range(len(last)):
            wire = connect(server)
            wire.send(head + last[:cut])
            wire.send(last[cut:])
            assert wire.read_answer().status == 400
            wire.assert_closed()


class TestHygiene:
    @pytest.mark.parametrize("kind", INJECTIONS)
    def test_an_injected_header_is_a_500_and_a_log_line(self, wire, server, kind):
        answer = wire.get("/headers", method="POST", body=json.dumps(INJECTIONS[kind]).encode())
        assert answer.status == 500
        assert answer.header("x-evil") is None
        server.wait_for_log("(?i)header")

    @pytest.mark.indrik_only
    @pytest.mark.parametrize("kind", INJECTIONS)
    def test_an_injected_header_is_a_500_and_a_log_line_asgi(self, connect, asgi_server, kind):
        body = json.dumps(INJECTIONS[kind]).encode()
        answer = connect(asgi_server).get("/headers", method="POST", body=body)
        assert answer.status == 500
        assert answer.header("x-evil") is None
        asgi_server.wait_for_log("(?i)header")

    @pytest.mark.parametrize("name", ["Connection", "Keep-Alive", "TE", "Trailers", "Transfer-Encoding", "Upgrade"])
    def test_hop_by_hop_headers_of_the_application_are_dropped(self, wire, name):
        body = json.dumps([[name, "forged"], ["X-Kept", "yes"]]).encode()
        answer = wire.get("/headers", method="POST", body=body)
        assert (answer.status, answer.text, answer.header("x-kept")) == (200, "body", "yes")
        assert "forged" not in str(answer.headers)

    def test_several_set_cookie_headers_stay_apart(self, wire):
        pairs = [["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"]]
        answer = wire.get("/headers", method="POST", body=json.dumps(pairs).encode())
        cookies = [value for name, value in answer.headers if name.lower() == "set-cookie"]
        assert cookies == ["a=1", "b=2"]

    def test_latin1_values_pass(self, wire):
        body = json.dumps([["X-Name", "caf\xe9"]]).encode()
        assert wire.get("/headers", method="POST", body=body).header("x-name") == "caf\xe9"


@pytest.mark.indrik_only
def test_a_large_upload_that_is_refused_early_gets_its_answer(connect, asgi_server):
    wire = connect(asgi_server)
    wire.send("POST /answer-early HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n")
    assert wire.read_answer().text == "early"


def test_a_disconnect_before_the_answer_does_not_hurt_others(connect, server, gate: Gate):
    wire = connect(server)
    wire.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
    gate.arrived()
    wire.socket.close()
    gate.release()
    assert connect(server).get("/hello").text == "hello"
