"""WSGI (PEP 3333): environ, start_response, write, close, file_wrapper, input, errors, streaming.

Every test runs against a `sync` and a `gthread` server.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from support.gate import Gate
from support.server import IS_ORACLE, Server, poll

KINDS = {
    "sync": ["--worker-class", "sync", "--workers", "1"],
    "gthread": ["--threads", "4", "--workers", "1"],
}


@pytest.fixture(scope="module", params=KINDS)
def server(request, start_shared) -> Server:
    return start_shared("wsgi_app:app", *KINDS[request.param])


@pytest.fixture
def wire(connect, server):
    return connect(server)


def seen(wire, target, *headers, method="GET", body=b"") -> dict:
    answer = wire.get(target, *headers, method=method, body=body)
    assert answer.status == 200, answer.text
    return json.loads(answer.body)


class TestEnviron:
    def test_it_has_every_key_the_pep_asks_for(self, wire, server):
        environ = seen(wire, "/describe/a%20b?x=1&y=%20")
        assert environ["REQUEST_METHOD"] == "GET"
        assert environ["SCRIPT_NAME"] == ""
        assert environ["PATH_INFO"] == "/describe/a b"
        assert environ["QUERY_STRING"] == "x=1&y=%20"
        assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
        assert environ["SERVER_NAME"] == "127.0.0.1"
        assert environ["SERVER_PORT"] == str(server.port)
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert environ["RAW_URI"] == "/describe/a%20b?x=1&y=%20"
        assert environ["wsgi.version"] == [1, 0]
        assert environ["wsgi.url_scheme"] == "http"
        assert environ["wsgi.run_once"] is False
        assert environ["wsgi.input_terminated"] is True
        assert environ["types"]["wsgi.version"] == "tuple"

    def test_remote_port_is_the_client_s_port_as_a_string(self, wire):
        port = wire.socket.getsockname()[1]
        assert seen(wire, "/describe")["REMOTE_PORT"] == str(port)

    def test_it_is_a_plain_dict_of_plain_strings(self, wire):
        types = seen(wire, "/describe", "X-Some: thing")["types"]
        for name in types:
            if name.isupper():
                assert types[name] == "str", name

    def test_process_environment_is_not_merged_in(self, wire):
        environ = seen(wire, "/describe")
        assert "PATH" not in environ
        assert "HOME" not in environ

    def test_headers_become_http_keys(self, wire):
        environ = seen(wire, "/describe", "X-Request-Id: 7", "Accept: */*")
        assert environ["HTTP_X_REQUEST_ID"] == "7"
        assert environ["HTTP_ACCEPT"] == "*/*"
        assert environ["HTTP_HOST"] == "test"

    def test_content_headers_have_no_http_prefix(self, wire):
        environ = seen(wire, "/describe", "Content-Type: text/x", method="POST", body=b"abc")
        assert environ["CONTENT_TYPE"] == "text/x"
        assert environ["CONTENT_LENGTH"] == "3"
        assert "HTTP_CONTENT_TYPE" not in environ
        assert "HTTP_CONTENT_LENGTH" not in environ
        assert environ["body"] == "abc"

    def test_repeated_headers_are_joined_with_a_comma(self, wire):
        environ = seen(wire, "/describe", "X-Many: 1", "Accept: a", "X-Many: 2", "x-many: 3")
        assert environ["HTTP_X_MANY"].replace(" ", "") == "1,2,3"

    @pytest.mark.indrik_only
    def test_repeated_cookies_are_joined_with_a_semicolon(self, wire):
        assert seen(wire, "/describe", "Cookie: a=1", "Cookie: b=2")["HTTP_COOKIE"] == "a=1; b=2"

    def test_header_names_with_an_underscore_are_dropped(self, wire):
        """`X_User` would be indistinguishable from `X-User`, which a proxy may have vetted."""
        environ = seen(wire, "/describe", "X_User: forged", "X-User: real")
        assert environ["HTTP_X_USER"] == "real"

    def test_proxy_header_cannot_forge_http_proxy_of_a_cgi_library(self, wire):
        """HTTP_PROXY is per the mapping; it must not reach os.environ (see above)."""
        assert seen(wire, "/describe", "Proxy: evil")["HTTP_PROXY"] == "evil"

    def test_header_values_are_latin1(self, wire):
        wire.send(b"GET /describe HTTP/1.1\r\nHost: test\r\nX-Name: caf\xe9\r\n\r\n")
        assert json.loads(wire.read_answer().body)["HTTP_X_NAME"] == "caf\xe9"

    def test_path_bytes_are_latin1_strings(self, wire):
        environ = seen(wire, "/describe/%C3%A9%FF")
        assert environ["PATH_INFO"] == "/describe/\xc3\xa9\xff"
        assert environ["RAW_URI"] == "/describe/%C3%A9%FF"

    def test_double_slashes_and_dots_in_the_path_are_kept(self, wire):
        assert seen(wire, "//a//b/../c/./")["PATH_INFO"] == "//a//b/../c/./"

    def test_an_encoded_slash_is_decoded(self, wire):
        assert seen(wire, "/a%2Fb")["PATH_INFO"] == "/a/b"

    def test_absolute_form_gives_the_path_and_keeps_the_raw_target(self, wire):
        wire.send("GET http://test/describe?q=1 HTTP/1.1\r\nHost: test\r\n\r\n")
        environ = json.loads(wire.read_answer().body)
        assert environ["PATH_INFO"] == "/describe"
        assert environ["QUERY_STRING"] == "q=1"
        assert environ["RAW_URI"] == "http://test/describe?q=1"

    def test_no_content_length_key_without_the_header(self, wire):
        assert not seen(wire, "/describe").get("CONTENT_LENGTH")

    def test_http_1_0_is_named_in_server_protocol(self, wire):
        wire.send("GET /describe HTTP/1.0\r\n\r\n")
        assert json.loads(wire.read_answer().body)["SERVER_PROTOCOL"] == "HTTP/1.0"

    @pytest.mark.indrik_only
    def test_one_request_s_changes_are_not_seen_by_the_next(self, wire):
        assert "HTTP_X_FIRST" in seen(wire, "/describe", "X-First: 1")
        assert "HTTP_X_FIRST" not in seen(wire, "/describe")

    def test_multithread_says_what_the_server_does(self, wire, request):
        environ = seen(wire, "/describe")
        threaded = request.node.callspec.params["server"] == "gthread"
        assert environ["wsgi.multithread"] is threaded
        assert environ["wsgi.multiprocess"] is False or not IS_ORACLE

    def test_sync_runs_the_application_on_the_main_thread(self, wire, request):
        if request.node.callspec.params["server"] == "sync":
            assert seen(wire, "/describe")["thread"] is True


class TestStartResponse:
    def test_write_comes_before_what_is_returned(self, wire):
        assert wire.get("/write").text == "written twice then returned"

    def test_write_alone_is_enough(self, wire):
        assert wire.get("/write-only").text == "only written"

    def test_a_generator_may_start_the_response_late(self, wire):
        answer = wire.get("/lazy-start")
        assert (answer.status, answer.reason, answer.text) == (201, "Made Late", "late")

    @pytest.mark.indrik_only
    def test_exc_info_replaces_headers_that_are_not_sent(self, wire):
        answer = wire.get("/exc-info-before")
        assert (answer.status, answer.reason) == (503, "Changed")
        assert answer.header("x-first") is None
        assert answer.header("x-second") == "yes"

    def test_exc_info_after_the_headers_breaks_the_connection(self, wire, server):
        with pytest.raises(EOFError):
            wire.get("/exc-info-after")
        server.wait_for_log("too late to change the status")

    def test_calling_it_twice_without_exc_info_is_a_500(self, wire, server):
        assert wire.get("/start-twice").status == 500
        server.wait_for_log("(?i)start_response|headers already set|already")

    @pytest.mark.indrik_only
    def test_never_calling_it_is_a_500_and_a_log_line(self, wire, server):
        assert wire.get("/never-start").status == 500
        server.wait_for_log("(?i)start_response|Error handling request")

    def test_an_exception_is_a_500_with_the_traceback_in_the_log_only(self, wire, server):
        answer = wire.get("/raise")
        assert answer.status == 500
        assert "Traceback" not in answer.text
        server.wait_for_log("RuntimeError: raised on purpose")

    def test_an_exception_midway_ends_the_connection_without_the_last_chunk(self, wire, server):
        with pytest.raises((EOFError, ConnectionResetError)):
            wire.get("/raise-midway")
        server.wait_for_log("RuntimeError: raised midway")

    @pytest.mark.indrik_only
    def test_sys_exit_in_a_request_is_a_500_and_others_are_served(self, connect, server):
        assert connect(server).get("/exit").status == 500
        assert connect(server).get("/hello").text == "hello"

    @pytest.mark.parametrize("line", ["299 Own Reason", "200 All (really) fine!", "404 N"])
    def test_the_reason_phrase_is_kept(self, wire, line):
        answer = wire.get(f"/status?line={quote(line)}&body=x")
        assert f"{answer.status} {answer.reason}" == line

    @pytest.mark.parametrize("line", ["OK", "20 OK", "2000 OK", "200\r\nX: y", "abc OK"])
    def test_a_malformed_status_is_a_500(self, connect, server, line):
        assert connect(server).get(f"/status?line={quote(line)}").status == 500

    @pytest.mark.indrik_only
    def test_fields_may_run_code_that_answers_while_they_are_read(self, wire):
        wire.send("GET /nested HTTP/1.1\r\nHost: t\r\n\r\n")
        answers = [wire.read_answer(skip_interim=False) for _ in range(3)]
        assert [(answer.status, answer.header("link")) for answer in answers[:2]] == [
            (103, "</inner>"),
            (103, "</outer>"),
        ]
        assert (answers[2].status, answers[2].text) == (200, "nested")


class TestClose:
    def marks(self, path: Path) -> list[str]:
        return path.read_text().split() if path.exists() else []

    def test_it_is_called_once_after_the_last_item(self, wire, tmp_path):
        assert wire.get(f"/close?mark={tmp_path / 'm'}").text == "onetwo"
        poll(lambda: self.marks(tmp_path / "m") == ["closed"], "close()")

    def test_it_is_called_for_head(self, wire, tmp_path):
        wire.get(f"/close?mark={tmp_path / 'm'}", method="HEAD")
        poll(lambda: self.marks(tmp_path / "m") == ["closed"], "close()")

    def test_it_is_called_when_iteration_raises(self, connect, server, tmp_path):
        wire = connect(server)
        wire.send(f"GET /close-after-raise?mark={tmp_path / 'm'} HTTP/1.1\r\nHost: test\r\n\r\n")
        wire.read_head()
        poll(lambda: self.marks(tmp_path / "m") == ["closed"], "close()")

    def test_it_is_called_when_the_client_leaves(self, connect, server, tmp_path):
        wire = connect(server)
        wire.send(f"GET /close-endless?mark={tmp_path / 'm'} HTTP/1.1\r\nHost: test\r\n\r\n")
        wire.read_head()
        wire.socket.close()
        poll(lambda: self.marks(tmp_path / "m") == ["closed"], "close()")

    def test_the_worker_serves_on_after_a_client_left(self, connect, server, tmp_path):
        self.test_it_is_called_when_the_client_leaves(connect, server, tmp_path)
        assert connect(server).get("/hello").text == "hello"


class TestFileWrapper:
    @pytest.fixture
    def path(self, tmp_path) -> Path:
        (tmp_path / "file").write_bytes(bytes(range(256)) * 1024)
        return tmp_path / "file"

    def test_a_file_is_sent_whole(self, wire, path):
        assert wire.get(f"/file?path={path}").body == path.read_bytes()

    def test_a_file_is_sent_from_where_it_stands(self, wire, path):
        assert wire.get(f"/file?path={path}&offset=1000").body == path.read_bytes()[1000:]

    @pytest.mark.indrik_only
    def test_no_more_than_content_length_is_sent(self, wire, path):
        assert wire.get(f"/file?path={path}&length=100").body == path.read_bytes()[:100]
        assert wire.get("/hello").text == "hello"

    def test_an_empty_file_is_an_empty_body(self, wire, tmp_path):
        (tmp_path / "empty").touch()
        assert wire.get(f"/file?path={tmp_path / 'empty'}").body == b""

    @pytest.mark.indrik_only
    def test_head_sends_no_file(self, wire, path):
        answer = wire.get(f"/file?path={path}&length=262144", method="HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert wire.get("/hello").text == "hello"

    def test_something_like_a_file_is_read(self, wire):
        assert wire.get("/file-like").text == "like a file"

    def test_the_file_is_closed(self, wire, tmp_path):
        assert wire.get(f"/file-closes?mark={tmp_path / 'm'}").text == "content"
        poll(lambda: (tmp_path / "m").exists(), "close() of the file")


BODY = b"first\nsecond line\nlast"
READS = {
    "read": [BODY],
    "read-sized": [BODY[:4], b"", BODY[4:], b""],
    "read-none": [BODY, b""],
    "read-negative": [BODY],
    "readline": [b"first\n", b"sec", b"ond line\n"],
    "readlines": [b"first\n", b"second line\n", b"last"],
    "iterate": [b"first\n", b"second line\n", b"last"],
    "mixed": [b"first\n", b"se", b"cond line\n", b"last"],
    "none": [],
}


class TestInput:
    @pytest.mark.parametrize("how", READS)
    def test_a_body_with_a_length(self, wire, how):
        got = json.loads(wire.get(f"/input?how={how}", method="POST", body=BODY).body)
        assert [part.encode() for part in got] == READS[how]

    @pytest.mark.parametrize("how", READS)
    def test_a_chunked_body(self, wire, how):
        wire.send(f"POST /input?how={how} HTTP/1.1\r\nHost: test\r\n")
        wire.send(b"Transfer-Encoding: chunked\r\n\r\n")
        for block in (BODY[:3], BODY[3:10], BODY[10:]):
            wire.send(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        wire.send(b"0\r\n\r\n")
        assert [part.encode() for part in json.loads(wire.read_answer().body)] == READS[how]

    def test_readlines_with_a_hint_returns_at_least_one_line(self, wire):
        got = json.loads(wire.get("/input?how=readlines-hint", method="POST", body=BODY).body)
        assert got[0] == "first\n"
        assert "".join(got).encode() in (BODY, b"first\n")

    @pytest.mark.parametrize("how", ["read", "iterate", "readlines", "readline"])
    def test_no_body_is_the_end_at_once(self, wire, how):
        assert "".join(json.loads(wire.get(f"/input?how={how}").body)) == ""

    @pytest.mark.indrik_only
    def test_a_body_that_is_not_read_does_not_become_the_next_request(self, wire):
        assert wire.get("/input?how=none", method="POST", body=b"GET /evil HTTP/1.1\r\n\r\n").body
        assert wire.get("/hello").text == "hello"

    @pytest.mark.indrik_only
    def test_a_body_read_in_part_does_not_become_the_next_request(self, wire):
        assert wire.get("/partly-read", method="POST", body=BODY).text == "fir"
        assert wire.get("/hello").text == "hello"

    @pytest.mark.indrik_only
    def test_a_short_body_never_reaches_the_application_as_a_whole_one(self, connect, server):
        wire = connect(server)
        wire.send("POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nshort")
        wire.half_close()
        left = wire.read_to_end()
        assert left == b"" or left.startswith(b"HTTP/1.1 400")

    @pytest.mark.indrik_only
    def test_a_broken_chunk_never_reaches_the_application_as_an_end(self, connect, server):
        wire = connect(server)
        wire.send("POST /upload HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send("5\r\nhello\r\nzz\r\n")
        assert wire.read_answer().status == 400
        wire.assert_closed()


class TestStreaming:
    def test_items_are_sent_as_they_are_yielded(self, wire, gate: Gate):
        wire.send(f"GET /stream-at-gate?gate={gate.path} HTTP/1.1\r\nHost: test\r\n\r\n")
        assert wire.read_head().header("transfer-encoding") == "chunked"
        assert wire.read_chunk() == b"first"
        gate.arrived()
        gate.release()
        assert wire.read_chunk() == b"second"
        assert wire.read_until(b"\r\n\r\n") == b"0\r\n\r\n"

    def test_http_1_0_gets_the_stream_without_chunks(self, wire, gate: Gate):
        wire.send(f"GET /stream-at-gate?gate={gate.path} HTTP/1.0\r\n\r\n")
        assert wire.read_head().header("transfer-encoding") is None
        assert wire.read_exactly(5) == b"first"
        gate.release()
        assert wire.read_to_end() == b"second"


def test_errors_go_to_the_error_log(wire, server):
    assert wire.get("/errors").status == 200
    server.wait_for_log("written to wsgi.errors")
    server.wait_for_log("lines to wsgi.errors")


@pytest.mark.indrik_only
def test_the_stream_of_errors_has_what_a_stream_has(wire):
    """Whoever writes colours, redirects descriptors or wraps streams asks for these."""
    seen = json.loads(wire.get("/errors-stream").body)
    assert seen == {
        "closed": False,
        "isatty": False,
        "readable": False,
        "writable": True,
        "seekable": False,
        "encoding": "utf-8",
        "errors": "backslashreplace",
        "mode": "w",
        "name": "<wsgi.errors>",
        "is_open": True,
        "after close": 1,
    }


@pytest.mark.parametrize("size", ["1 << 70", "-(1 << 70)", "None", "-1", "True and 9"])
@pytest.mark.parametrize("method", ["read", "readline", "readlines"])
def test_any_integer_is_a_size_to_read(connect, server, size, method):
    wire = connect(server)
    answer = wire.get(f"/read?method={method}&size={quote(size)}", method="POST", body=b"a line\n")
    assert (answer.status, answer.text) == (200, "a line\n")


def test_multiprocess_is_true_with_several_workers(start, connect):
    server = start("wsgi_app:app", "--workers", "2")
    assert seen(connect(server), "/describe")["wsgi.multiprocess"] is True


def test_multiprocess_is_false_with_one_worker(start, connect):
    server = start("wsgi_app:app", "--workers", "1")
    assert seen(connect(server), "/describe")["wsgi.multiprocess"] is False
