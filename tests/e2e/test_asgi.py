"""ASGI 3: the http scope, receive and send, state and lifespan, extensions, disconnects."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gate import Gate
from support.server import IS_ORACLE, Server, poll
from support.wire import Wire


@pytest.fixture(scope="module")
def server(start_shared) -> Server:
    return start_shared("asgi_app:app", "--workers", "1", interface="asgi")


@pytest.fixture
def wire(connect, server):
    return connect(server)


@pytest.fixture(scope="module", params=["asyncio", "installed"])
def on_loop(request, start_shared, tmp_path_factory) -> Iterator[Wire]:
    """One connection to a server on asyncio's own loop, one to a server on uvloop if it is there."""
    environment = {}
    if request.param == "asyncio":
        hidden = tmp_path_factory.mktemp("hidden")
        (hidden / "uvloop.py").write_text("raise ImportError('hidden by the test')\n")
        environment["PYTHONPATH"] = str(hidden)
    server = start_shared("asgi_app:app", "--workers", "1", interface="asgi", environment=environment)
    wire = Wire(server.connect(), 10.0)
    if request.param == "asyncio":
        assert wire.get("/loop").text == "asyncio"
    yield wire
    wire.socket.close()


def marks(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


class TestScope:
    def test_it_has_what_the_specification_asks_for(self, wire, server):
        target = "/describe/a%20b?x=1&y=%20"
        scope = json.loads(wire.get(target, "X-Some: Thing").body)
        assert scope["type"] == "http"
        assert scope["asgi"]["version"] == "3.0"
        assert float(scope["asgi"]["spec_version"]) >= 2.3
        assert scope["http_version"] == "1.1"
        assert scope["method"] == "GET"
        assert scope["scheme"] == "http"
        assert scope["path"] == "/describe/a b"
        assert scope["raw_path"] == "/describe/a%20b"
        assert scope["query_string"] == "x=1&y=%20"
        assert scope["root_path"] == ""
        assert scope["server"] == ["127.0.0.1", server.port]
        assert scope["client"] == ["127.0.0.1", wire.socket.getsockname()[1]]

    def test_its_types(self, wire):
        types = json.loads(wire.get("/describe").body)["types"]
        assert types["path"] == "str"
        assert types["raw_path"] == types["query_string"] == "bytes"
        assert types["headers"] in ("list", "tuple")
        assert types["client"] in ("list", "tuple")

    def test_header_names_are_lower_case_and_repeats_are_kept_in_order(self, wire):
        scope = json.loads(wire.get("/describe", "X-Many: 1", "Accept: a", "x-mANY: 2").body)
        assert ["accept", "a"] in scope["headers"]
        mine = [pair for pair in scope["headers"] if pair[0] == "x-many"]
        assert mine == [["x-many", "1"], ["x-many", "2"]]

    def test_the_path_is_decoded_utf8(self, wire):
        scope = json.loads(wire.get("/describe/%C3%A9").body)
        assert scope["path"] == "/describe/é"
        assert scope["raw_path"] == "/describe/%C3%A9"

    @pytest.mark.parametrize("path", ["/api/x", "/x", "/apix", "/%C3%A9"])
    def test_a_root_path_changes_nothing_of_the_path_that_was_received(self, start, connect, path):
        server = start("asgi_app:app", "--workers", "1", "--root-path", "/api", interface="asgi")
        scope = json.loads(connect(server).get(path).body)
        assert (scope["path"], scope["raw_path"]) == (path.replace("%C3%A9", "é"), path)
        assert scope["root_path"] == "/api"

    def test_the_method_is_upper_case_and_http_1_0_is_named(self, wire):
        wire.send("POST /describe HTTP/1.0\r\nContent-Length: 2\r\n\r\nab")
        scope = json.loads(wire.read_answer().body)
        assert (scope["method"], scope["http_version"], scope["body"]) == ("POST", "1.0", "ab")

    @pytest.mark.indrik_only
    def test_the_extensions_are_announced(self, wire):
        extensions = json.loads(wire.get("/describe").body)["extensions"]
        assert "http.response.pathsend" in extensions
        assert "http.response.early_hint" in extensions
        assert "http.response.trailers" in extensions


class TestSend:
    def test_a_body_in_parts_is_sent_as_it_comes(self, wire, gate: Gate):
        wire.send(f"GET /stream-at-gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
        assert wire.read_head().header("transfer-encoding") == "chunked"
        assert wire.read_chunk() == b"first"
        gate.arrived()
        gate.release()
        assert wire.read_chunk() == b"second"
        assert wire.read_until(b"\r\n\r\n") == b"0\r\n\r\n"

    def test_an_exception_before_the_start_is_a_500_with_a_traceback_in_the_log(self, wire, server):
        answer = wire.get("/raise")
        assert answer.status == 500
        assert "Traceback" not in answer.text
        server.wait_for_log("RuntimeError: raised on purpose")

    def test_an_exception_midway_breaks_the_connection(self, wire, server):
        with pytest.raises((EOFError, ConnectionResetError)):
            wire.get("/raise-midway")
        server.wait_for_log("RuntimeError: raised midway")

    def test_returning_without_a_response_is_a_500(self, wire):
        assert wire.get("/no-response").status == 500

    @pytest.mark.indrik_only
    def test_returning_in_the_middle_of_a_response_breaks_the_connection(self, wire):
        with pytest.raises((EOFError, ConnectionResetError)):
            wire.get("/half-response")

    @pytest.mark.indrik_only
    @pytest.mark.parametrize("code", [204, 205, 304])
    def test_an_answer_without_a_body_says_no_length_that_it_has_not(self, wire, code):
        answer = wire.get(f"/status?code={code}&body=text&length=4")
        assert answer.header("content-length") in ((None,) if code != 205 else ("0",))
        assert answer.body == b""
        assert wire.get("/hello").text == "hello"

    @pytest.mark.indrik_only
    def test_a_status_without_a_usual_reason_has_none(self, wire):
        answer = wire.get("/status?code=299&body=text")
        assert (answer.status, answer.reason, answer.text) == (299, "", "text")

    @pytest.mark.indrik_only
    def test_a_body_before_the_start_raises_in_send(self, wire):
        assert wire.get("/wrong-order").text != "nothing"

    def test_background_work_does_not_hold_the_connection(self, wire, gate: Gate):
        assert wire.get(f"/background?gate={gate.path}").text == "answered"
        gate.arrived()
        assert wire.get("/hello").text == "hello"
        gate.release()


class TestConcurrency:
    def test_twenty_requests_run_at_once_on_one_loop(self, connect, server):
        wires = [connect(server) for _ in range(20)]
        for wire in wires:
            wire.send("GET /concurrent HTTP/1.1\r\nHost: t\r\n\r\n")
        assert [wire.read_answer().text for wire in wires] == ["together"] * 20

    def test_threads_of_clients_get_their_own_answers(self, connect, server):
        wrong: list[str] = []

        def client(number: int) -> None:
            wire = connect(server)
            for turn in range(50):
                text = f"{number}-{turn}"
                got = json.loads(wire.get(f"/describe?{text}").body)["query_string"]
                if got != text:
                    wrong.append(f"{text} got {got}")

        threads = [threading.Thread(target=client, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


class TestDisconnect:
    def test_receive_gives_http_disconnect_and_send_raises(self, connect, server, tmp_path):
        path = tmp_path / "marks"
        wire = connect(server)
        wire.send(f"GET /until-disconnect?mark={path} HTTP/1.1\r\nHost: t\r\n\r\n")
        poll(lambda: "http.request" in marks(path), "the request")
        wire.socket.close()
        poll(lambda: len(marks(path)) >= 4, "http.disconnect and send")
        assert marks(path)[:3] == ["start", "http.request", "http.disconnect"]
        # Servers differ on whether `send` raises at once; the spec (2.4) says it should.
        assert marks(path)[3] == "send raised OSError" or IS_ORACLE

    @pytest.mark.indrik_only
    def test_send_raises_while_streaming_to_a_client_that_left(self, connect, server, tmp_path):
        path = tmp_path / "marks"
        wire = connect(server)
        wire.send(f"GET /send-until-gone?mark={path} HTTP/1.1\r\nHost: t\r\n\r\n")
        wire.read_head()
        wire.socket.close()
        poll(lambda: marks(path) == ["send raised OSError"], "the exception in send")
        assert connect(server).get("/hello").text == "hello"


class TestCancellation:
    """A task that waits in `receive` is cancelled and awaited, on either event loop."""

    def test_the_task_ends_as_cancelled(self, on_loop):
        wanted = " ".join(["CancelledError"] * 3 + ["TimeoutError"] * 20)
        for _ in range(3):
            assert on_loop.get("/cancel-receive").text == wanted

    def test_a_listener_that_is_cancelled_after_the_answer_hinders_no_later_request(self, on_loop):
        for _ in range(20):
            assert on_loop.get("/listen-meanwhile").text == "answered"

    def test_a_cancelled_receive_takes_nothing_of_the_body(self, on_loop, tmp_path):
        path = tmp_path / "marks"
        fields = "Host: t\r\nContent-Length: 5\r\nExpect: 100-continue"
        on_loop.send(f"POST /receive-after-cancel?mark={path} HTTP/1.1\r\n{fields}\r\n\r\n")
        poll(lambda: marks(path) == ["CancelledError"], "the cancelled task")
        on_loop.send("whole")
        assert on_loop.read_answer().text == "whole"


@pytest.mark.indrik_only
class TestExtensions:
    def test_pathsend_sends_the_file(self, wire, tmp_path):
        (tmp_path / "file").write_bytes(bytes(range(256)) * 4096)
        answer = wire.get(f"/pathsend?path={tmp_path / 'file'}")
        assert answer.body == bytes(range(256)) * 4096
        assert wire.get("/hello").text == "hello"

    def test_pathsend_announces_the_length(self, wire, tmp_path):
        (tmp_path / "file").write_bytes(b"x" * 300_000)
        assert wire.get(f"/pathsend?path={tmp_path / 'file'}").header("content-length") == "300000"
        answer = wire.get(f"/pathsend?path={tmp_path / 'file'}", method="HEAD")
        assert answer.header("content-length") == "300000"
        assert wire.get("/hello").text == "hello"

    @pytest.mark.parametrize(
        ("name", "error"), [("none", "FileNotFoundError"), ("", "IsADirectoryError"), ("pipe", "regular files only")]
    )
    def test_pathsend_of_no_file_is_the_error_that_open_would_raise(self, wire, server, tmp_path, name, error):
        os.mkfifo(tmp_path / "pipe")
        assert wire.get(f"/pathsend?path={tmp_path / name}").status == 500
        assert wire.get("/hello").text == "hello"
        server.wait_for_log(error)

    def test_an_application_may_answer_something_else_when_there_is_no_file(self, wire, tmp_path):
        answer = wire.get(f"/pathsend-or-not?path={tmp_path / 'none'}")
        assert (answer.status, answer.text) == (200, "FileNotFoundError")

    def test_pathsend_takes_a_relative_path_from_the_worker_s_directory(self, start, connect, tmp_path):
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "file").write_text("of the worker")
        server = start("asgi_app:app", "--worker-class", "asgi")
        assert connect(server).get(f"/pathsend?path=file&directory={tmp_path / 'here'}").text == "of the worker"

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give its rights up")
    def test_pathsend_sends_nothing_that_the_worker_itself_may_not_read(self, start, connect, tmp_path):
        """The front has kept the rights that the server was started with."""
        secret = tmp_path / "secret"
        secret.write_text("of root")
        secret.chmod(0o600)
        arguments = ("--worker-class", "asgi", "--asgi-loop", "asyncio", "--preload", "--user", "nobody")
        server = start("rights_app:app", *arguments)
        assert connect(server).get("/").text != str(os.getuid())
        assert connect(server).get(f"/?{secret}").text == "PermissionError"

    def test_early_hints_come_before_the_answer(self, wire):
        wire.send("GET /early-hints HTTP/1.1\r\nHost: t\r\n\r\n")
        hints = wire.read_answer(skip_interim=False)
        assert (hints.status, hints.header("link")) == (103, "</style.css>; rel=preload")
        assert wire.read_answer().text == "after the hints"

    def test_http_1_0_gets_no_early_hints(self, wire):
        wire.send("GET /early-hints HTTP/1.0\r\n\r\n")
        assert wire.read_answer(skip_interim=False).text == "after the hints"

    def test_trailers_follow_the_body(self, wire):
        answer = wire.get("/trailers", "TE: trailers")
        assert answer.text == "body"
        assert ("x-checksum", "abc") in [(n.lower(), v) for n, v in answer.trailers]

    @pytest.mark.parametrize("length", ["", "4"])
    def test_trailers_that_the_application_did_not_name_in_the_head_are_named_there(self, wire, length):
        """And the length it gave makes place for the framing that has room for them."""
        answer = wire.get(f"/trailers-in-two?length={length}", "TE: trailers")
        assert (answer.text, answer.header("content-length")) == ("body", None)
        assert answer.header("trailer") == "x-first, x-second"
        assert [(n.lower(), v) for n, v in answer.trailers] == [("x-first", "1"), ("x-second", "2")]

    def test_where_trailers_have_no_room_the_answer_is_whole_without_them(self, wire, connect, server):
        wire.send("GET /trailers-in-two?length=4 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = wire.read_answer()
        assert (answer.text, answer.header("content-length")) == ("body", "4")
        assert wire.get("/trailers-in-two", "TE: trailers", method="HEAD").status == 200
        assert wire.get("/hello").text == "hello"

    def test_a_client_that_did_not_ask_still_gets_a_sound_answer(self, wire):
        assert wire.get("/trailers").text == "body"
        assert wire.get("/hello").text == "hello"


class TestLifespan:
    def test_state_is_shared_by_reference_and_copied_per_request(self, start, connect):
        wire = connect(start("asgi_app:app", "--workers", "1", interface="asgi"))
        assert wire.get("/state").text == "from lifespan 1 absent"
        assert wire.get("/state").text == "from lifespan 2 absent"

    def test_startup_and_shutdown_run_once_per_worker(self, start, connect, tmp_path):
        path = tmp_path / "marks"
        server = start(
            "asgi_app:app",
            "--workers",
            "2",
            interface="asgi",
            environment={"TEST_MARKS": str(path)},
        )
        poll(lambda: len(marks(path)) == 2, "two startups")
        # One that has not begun to serve is stopped at once, without the lifespan's end.
        assert connect(server).get("/hello").status == 200
        assert server.stop() == 0
        started = {line.split()[1] for line in marks(path) if line.startswith("startup")}
        stopped = {line.split()[1] for line in marks(path) if line.startswith("shutdown")}
        assert started == stopped
        assert len(started) == 2

    def test_an_application_without_lifespan_is_served(self, start, connect):
        server = start("asgi_app:app", interface="asgi", environment={"TEST_LIFESPAN": "unsupported"})
        assert connect(server).get("/hello").text == "hello"

    @pytest.mark.indrik_only
    def test_a_failed_startup_stops_the_server_with_the_message(self, tmp_path):
        server = Server(
            "asgi_app:app",
            log_directory=tmp_path / "logs",
            interface="asgi",
            environment={"TEST_LIFESPAN": "fail"},
        )
        server.start()
        assert server.wait_for_exit() == 3
        assert "the database is away" in server.log()
        server.assert_nothing_left()
        server._forget()


class TestApplications:
    @pytest.mark.parametrize("name", ["asgi_app:make()", "asgi_app:instance"])
    def test_factories_and_instances_are_served(self, start, connect, name):
        assert connect(start(name, interface="asgi")).get("/hello").text == "hello"


@pytest.mark.indrik_only
class TestBackPressure:
    def test_an_upload_waits_for_the_application(self, connect, server, gate: Gate):
        """The application took one part only: most of the body stays in the client."""
        wire = connect(server, 30)
        length = 64 * 1024 * 1024
        wire.send(f"POST /upload-at-gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n")
        wire.socket.setblocking(False)
        sent, quiet = 0, threading.Event()
        block = b"x" * 65536
        idle_turns = 0
        while sent < length and idle_turns < 25:
            try:
                sent += wire.socket.send(block[: length - sent])
                idle_turns = 0
            except BlockingIOError:
                idle_turns += 1
                quiet.wait(0.02)
        assert sent < length / 2, f"{sent} bytes were taken though nobody read them"
        wire.socket.settimeout(30)
        gate.release()
        while sent < length:
            sent += wire.socket.send(block[: length - sent])
        assert wire.read_answer().text == str(length)
