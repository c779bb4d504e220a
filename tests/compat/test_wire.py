"""What a WSGI application sees of a request and what its answer looks like, byte by byte."""

from __future__ import annotations

import json

import pytest
from support.configured import configured as configured
from support.server import IS_ORACLE, Server
from support.wire import Answer, Wire


@pytest.fixture
def server(configured) -> Server:
    return configured(app="wire_app:app")


@pytest.fixture
def wire(server, connect) -> Wire:
    return connect(server)


def seen(answer: Answer) -> dict[str, str]:
    assert answer.status == 200, answer.text
    environ: dict[str, str] = json.loads(answer.body)
    return environ


class TestEnviron:
    def test_the_keys_are_these(self, wire):
        environ = seen(wire.get("/describe"))
        keys = {
            "HTTP_HOST",
            "PATH_INFO",
            "QUERY_STRING",
            "RAW_URI",
            "REMOTE_ADDR",
            "REMOTE_PORT",
            "REQUEST_METHOD",
            "SCRIPT_NAME",
            "SERVER_NAME",
            "SERVER_PORT",
            "SERVER_PROTOCOL",
            "SERVER_SOFTWARE",
            "wsgi.early_hints",
            "wsgi.errors",
            "wsgi.file_wrapper",
            "wsgi.input",
            "wsgi.input_terminated",
            "wsgi.multiprocess",
            "wsgi.multithread",
            "wsgi.run_once",
            "wsgi.url_scheme",
            "wsgi.version",
        }
        # A worker of Indrik has no client's socket to give.
        assert set(environ) == keys | ({"gunicorn.socket"} if IS_ORACLE else set())

    def test_fields_of_the_connection_are_headers_too(self, wire):
        wire.send(
            "POST /describe HTTP/1.1\r\nHost: a:8\r\nConnection: keep-alive\r\n"
            "Transfer-Encoding: chunked\r\nTE: trailers\r\n\r\n0\r\n\r\n"
        )
        environ = seen(wire.read_answer())
        assert environ["HTTP_HOST"] == "a:8"
        assert environ["HTTP_CONNECTION"] == "keep-alive"
        assert environ["HTTP_TRANSFER_ENCODING"] == "chunked"
        assert environ["HTTP_TE"] == "trailers"
        assert "CONTENT_LENGTH" not in environ

    def test_the_content_headers_are_there_only_if_sent(self, wire):
        environ = seen(wire.get("/describe", "Content-Type: a/b", "Content-Length: 0"))
        assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("a/b", "0")
        environ = seen(wire.get("/describe"))
        assert not {"CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_CONTENT_TYPE"} & set(environ)

    def test_trailers_are_no_headers(self, wire):
        wire.send("POST /describe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Late: 1\r\n\r\n")
        assert "HTTP_X_LATE" not in seen(wire.read_answer())

    def test_the_server_is_where_the_client_connected_not_what_it_says(self, wire, server):
        environ = seen(wire.get("/describe"))
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", str(server.port))

    @pytest.mark.parametrize(
        "host, expected",
        [("example.org", ("example.org", "80")), ("example.org:81", ("example.org", "81")), (None, None)],
    )
    def test_on_a_unix_socket_it_is_what_the_client_says(self, configured, tmp_path_factory, host, expected):
        path = tmp_path_factory.mktemp("unix") / "s"
        server = configured(app="wire_app:app", bind=f"unix:{path}")
        with Wire(server.connect()) as wire:
            wire.send("GET /describe HTTP/1.0\r\n" + (f"Host: {host}\r\n" if host else "") + "\r\n")
            environ = seen(wire.read_answer())
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (expected or (str(path), ""))
        assert environ["REMOTE_ADDR"] == ""
        assert "REMOTE_PORT" not in environ

    def test_a_fragment_belongs_to_no_part(self, wire):
        environ = seen(wire.get("/describe?x=1#part"))
        assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/describe", "x=1")
        # The parser drops it before anybody sees it.
        assert environ["RAW_URI"] == ("/describe?x=1#part" if IS_ORACLE else "/describe?x=1")

    def test_an_absolute_target_is_kept_in_raw_uri(self, wire):
        wire.send("GET http://other.example:81/describe?x HTTP/1.1\r\nHost: other.example:81\r\n\r\n")
        environ = seen(wire.read_answer())
        assert environ["RAW_URI"] == "http://other.example:81/describe?x"
        assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/describe", "x")
        assert environ["HTTP_HOST"] == "other.example:81"

    @pytest.mark.parametrize("length", ["+1", "1, 1", "0x1", "١"])
    def test_a_length_that_is_no_plain_number_is_a_400(self, wire, length):
        wire.send(f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\na".encode())
        assert wire.read_answer().status == 400


class TestHints:
    def test_they_come_before_the_answer_and_late_ones_do_not(self, wire):
        wire.send("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n")
        first, second = wire.read_answer(skip_interim=False), wire.read_answer(skip_interim=False)
        assert (first.status, first.reason) == (103, "Early Hints")
        assert first.header("link") == "</a.css>; rel=preload"
        assert (second.header("link"), second.header("x-bytes")) == ("</b.js>; rel=preload", "yes")
        answer = wire.read_answer(skip_interim=False)
        assert (answer.status, answer.body) == (200, b"done")
        assert wire.get("/describe").status == 200

    def test_http_1_0_gets_none(self, wire):
        wire.send("GET /hints HTTP/1.0\r\n\r\n")
        assert wire.read_answer(skip_interim=False).status == 200

    def test_invalid_ones_are_refused(self, wire):
        assert wire.get("/bad_hints").body == b"2"


class TestAnswers:
    def test_the_server_s_own_fields_are_the_server_s(self, wire):
        answer = wire.get("/own_fields")
        assert answer.header("x-mine") == "kept"
        assert answer.header("server") != "mine"
        assert "GMT" in (answer.header("date") or "")
        for name in ("keep-alive", "te", "trailers", "transfer-encoding", "upgrade"):
            assert answer.header(name) is None, name
        assert answer.body == b"ok"

    def test_every_item_is_a_chunk_and_empty_ones_are_none(self, wire):
        answer = wire.get("/items")
        # What is ready together is sent together.
        assert answer.chunks == ([b"one", b"two"] if IS_ORACLE else answer.chunks)
        assert answer.body == b"onetwo"

    def test_http_1_0_gets_the_items_and_a_close(self, wire):
        wire.send("GET /items HTTP/1.0\r\n\r\n")
        answer = wire.read_answer()
        assert answer.header("transfer-encoding") is None
        assert answer.body == b"onetwo"

    def test_204_has_neither_body_nor_length(self, wire):
        answer = wire.get("/no_content")
        assert (answer.status, answer.header("content-length")) == (204, None)
        assert wire.get("/describe").status == 200

    def test_304_has_no_body(self, wire):
        answer = wire.get("/not_modified")
        # RFC 9110 section 15.4.5 asks for no length there.
        assert (answer.status, answer.header("content-length")) == (304, "3" if IS_ORACLE else None)
        assert wire.get("/describe").status == 200

    def test_a_status_needs_no_reason(self, wire):
        assert wire.get("/bare_status").status == 299

    def test_an_exception_is_a_page_that_tells_nothing(self, wire):
        answer = wire.get("/broken")
        assert (answer.status, answer.reason) == (500, "Internal Server Error")
        assert (answer.header("content-type") or "").startswith("text/html")
        assert b"<h1><p>Internal Server Error</p></h1>" in answer.body
        assert b"secret" not in answer.body


class TestRefusals:
    @pytest.mark.parametrize(
        "request_, status, reason",
        [
            ("GET / HTTP/1.1\r\nHost: a\r\nA b: c\r\n\r\n", 400, "Bad Request"),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "Bad Request"),
            ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Bad Request"),
            ("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, "Expectation Failed"),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: " + "y" * 8190 + "\r\n\r\n", 431, "Request Header Fields Too Large"),
            ("GET /" + "y" * 9000 + " HTTP/1.1\r\nHost: a\r\n\r\n", 414, "URI Too Long"),
        ],
    )
    def test_a_refusal_closes_and_says_why(self, wire, request_, status, reason):
        wire.send(request_)
        answer = wire.read_answer()
        assert (answer.status, answer.reason) == (status, reason)
        assert answer.header("connection") == "close"
        wire.assert_closed()

    @pytest.mark.parametrize(
        "request_", ["GET / HTTP/1.1\r\nHost: a\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"]
    )
    def test_it_is_a_page_and_a_line_in_the_log(self, start, connect, request_):
        server = start("wire_app:app", "--threads", "2")
        wire = connect(server)
        wire.send(request_)
        answer = wire.read_answer()
        assert (answer.header("content-type") or "").startswith("text/html")
        assert f"<h1><p>{answer.reason}</p></h1>".encode() in answer.body
        server.wait_for_log(r"\[WARNING\] Invalid request from ip=127\.0\.0\.1: ")

    def test_a_client_that_leaves_within_a_head_gets_silence(self, start, connect):
        server = start("wire_app:app", "--threads", "2")
        wire = connect(server)
        wire.send("GET / HTTP/1.1\r\nHos")
        wire.half_close()
        wire.assert_closed()
        assert "Invalid request" not in server.log()

    def test_requests_in_front_of_a_refused_one_are_answered_first(self, wire):
        wire.send("GET /items HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nBad Name: x\r\n\r\n")
        assert wire.read_answer().body == b"onetwo"
        assert wire.read_answer().status == 400
        wire.assert_closed()
