"""WebSocket: RFC 6455 with a real client, the ASGI messages, denial, limits, back-pressure."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from support.gate import Gate
from support.server import IS_ORACLE, Server, poll
from support.wire import Wire
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}"]
VERSION = "Sec-WebSocket-Version: 13"


@pytest.fixture(scope="module")
def server(start_shared) -> Server:
    return start_shared(
        *("asgi_app:app", "--workers", "1", "--websocket-max-message-size", "1000000"),
        interface="asgi",
    )


@pytest.fixture
def client(server):
    """Open WebSocket connections; all are closed at the end of the test."""
    with contextlib.ExitStack() as opened:

        def client(path: str, **options) -> ClientConnection:
            url = server.url.replace("http", "ws", 1) + path
            return opened.enter_context(connect(url, open_timeout=10, close_timeout=5, **options))

        yield client


def closing(socket_: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed):
        while True:
            socket_.recv(10)
    return socket_.close_code, socket_.close_reason


class TestHandshake:
    def test_the_accept_key_is_the_one_of_the_rfc(self, connect, server):
        answer = connect(server).get("/echo", *UPGRADE, VERSION)
        assert answer.status == 101
        assert answer.header("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert (answer.header("upgrade") or "").lower() == "websocket"

    @pytest.mark.indrik_only
    def test_another_version_is_a_426_that_names_ours(self, connect, server):
        answer = connect(server).get("/echo", *UPGRADE, "Sec-WebSocket-Version: 8")
        assert answer.status == 426
        assert answer.header("sec-websocket-version") == "13"

    @pytest.mark.indrik_only
    def test_a_missing_or_bad_key_is_a_400(self, connect, server):
        lines = ["Upgrade: websocket", "Connection: Upgrade", VERSION]
        assert connect(server).get("/echo", *lines).status == 400
        assert connect(server).get("/echo", *lines, "Sec-WebSocket-Key: short").status == 400

    def test_the_scope(self, client, server):
        scope = json.loads(client("/some%20where?x=1").recv(10))
        assert scope["type"] == "websocket"
        assert scope["scheme"] == "ws"
        assert scope["path"] == "/some where"
        assert scope["query_string"] == "x=1"
        assert scope["server"] == ["127.0.0.1", server.port]
        assert scope["subprotocols"] == []

    def test_the_application_chooses_a_subprotocol(self, client):
        socket_ = client("/subprotocol", subprotocols=["one", "two"])
        assert socket_.subprotocol == "two"
        assert socket_.recv(10) == "one,two"
        assert socket_.response.headers["x-own"] == "1"

    @pytest.mark.parametrize("said", ["key=two", "header=two", "key=two&header=two"])
    def test_a_subprotocol_among_the_fields_is_the_same_as_the_key(self, client, said):
        assert client(f"/choose?{said}", subprotocols=["one", "two"]).subprotocol == "two"

    @pytest.mark.indrik_only
    @pytest.mark.parametrize("said", ["key=three", "header=three"])
    @pytest.mark.parametrize("offers", [["one", "two"], None])
    def test_a_subprotocol_that_was_not_offered_is_an_error_for_the_application(self, client, said, offers):
        socket_ = client(f"/choose?{said}", subprotocols=offers)
        assert socket_.subprotocol is None
        error = socket_.recv(10)
        assert 'does not offer the subprotocol "three"' in error
        assert ('offers "one", "two"' if offers else "offers none") in error

    @pytest.mark.indrik_only
    def test_two_different_subprotocols_are_an_error_for_the_application(self, client):
        socket_ = client("/choose?key=one&header=two", subprotocols=["one", "two"])
        assert "differ" in socket_.recv(10)

    def test_a_rejection_is_a_403(self, client):
        with pytest.raises(InvalidStatus) as refused:
            client("/reject")
        assert refused.value.response.status_code == 403

    @pytest.mark.indrik_only
    def test_the_denial_response_extension_sends_the_application_s_answer(self, client):
        with pytest.raises(InvalidStatus) as refused:
            client("/deny")
        assert refused.value.response.status_code == 401
        assert refused.value.response.body == b"who are you"

    def test_an_exception_before_accept_is_a_refusal(self, client):
        with pytest.raises(InvalidStatus) as refused:
            client("/raise-before")
        assert refused.value.response.status_code in (403, 500)


class TestMessages:
    def test_text_and_bytes_come_back(self, client):
        socket_ = client("/echo")
        for message in ("text", "ünïcödé", b"", b"\0\xff", "", "x" * 70_000, b"y" * 500_000):
            socket_.send(message)
            assert socket_.recv(10) == message

    @pytest.mark.parametrize("compression", ["deflate", None])
    def test_with_and_without_compression(self, client, compression):
        socket_ = client("/echo", compression=compression)
        for _ in range(20):
            socket_.send("compressible " * 1000)
            assert socket_.recv(10) == "compressible " * 1000

    @pytest.mark.indrik_only
    def test_compression_is_agreed(self, client):
        socket_ = client("/echo", compression="deflate")
        assert "permessage-deflate" in socket_.response.headers["Sec-WebSocket-Extensions"]

    def test_fragments_are_joined(self, client):
        socket_ = client("/echo")
        socket_.send(["one ", "two ", "three"])
        assert socket_.recv(10) == "one two three"

    def test_a_ping_is_answered_with_its_payload(self, client):
        assert client("/echo").ping(b"payload").wait(10)

    def test_a_thousand_messages_keep_their_order(self, client):
        socket_ = client("/echo")
        sender = threading.Thread(target=lambda: [socket_.send(str(number)) for number in range(1000)])
        sender.start()
        assert [socket_.recv(10) for _ in range(1000)] == [str(n) for n in range(1000)]
        sender.join()

    def test_fifty_connections_at_once(self, client):
        sockets = [client("/echo") for _ in range(50)]
        for number, socket_ in enumerate(sockets):
            socket_.send(f"mine {number}")
        assert [s.recv(10) for s in sockets] == [f"mine {n}" for n in range(50)]


class TestClosing:
    @pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4321, "because"), (1001, "away")])
    def test_the_application_s_code_and_reason_arrive(self, client, code, reason):
        assert closing(client(f"/close?code={code}&reason={reason}")) == (code, reason)

    @pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4001, "bye")])
    def test_the_client_s_code_and_reason_reach_the_application(self, client, tmp_path, code, reason):
        path = tmp_path / "marks"
        client(f"/echo?mark={path}").close(code, reason)
        poll(path.exists, "the close in the application")
        assert path.read_text().startswith(f"websocket.disconnect {code}")
        if reason and not IS_ORACLE:
            assert reason in path.read_text()

    def test_a_client_that_vanishes_is_a_1006(self, client, tmp_path):
        path = tmp_path / "marks"
        client(f"/echo?mark={path}").socket.shutdown(socket.SHUT_RDWR)
        poll(path.exists, "the close in the application")
        assert path.read_text().startswith(("websocket.disconnect 1006", "websocket.disconnect 1005"))

    def test_an_exception_is_a_1011(self, client, server):
        assert closing(client("/raise"))[0] == 1011
        server.wait_for_log("raised in a socket")

    @pytest.mark.indrik_only
    def test_returning_without_close_closes(self, client):
        assert closing(client("/return"))[0] in (1000, 1006, 1011)

    def test_a_message_over_the_limit_is_a_1009(self, client):
        socket_ = client("/echo", compression=None)
        socket_.send("x" * 1_000_001)
        assert closing(socket_)[0] == 1009

    @pytest.mark.indrik_only
    def test_a_compressed_message_over_the_limit_is_a_1009(self, client):
        """The limit counts what comes out, not what came over the wire."""
        socket_ = client("/echo")
        socket_.send("x" * 5_000_000)
        assert closing(socket_)[0] == 1009


@pytest.mark.indrik_only
class TestProtocolErrors:
    """Frames no client library would send, after a hand-made handshake."""

    FRAMES = {
        "unmasked": (b"\x81\x02hi", 1002),
        "a reserved opcode": (b"\x83\x80\0\0\0\0", 1002),
        "a reserved bit": (b"\xf1\x80\0\0\0\0", 1002),
        "a fragmented ping": (b"\x09\x80\0\0\0\0", 1002),
        "a continuation of nothing": (b"\x80\x80\0\0\0\0", 1002),
        "broken UTF-8": (b"\x81\x82\0\0\0\0\xc3\x28", 1007),
        "a close code of one byte": (b"\x88\x81\0\0\0\0\x03", 1002),
        "a reserved close code": (b"\x88\x82\0\0\0\0\x03\xed", 1002),
        "an oversized ping": (b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126, 1002),
    }

    @pytest.mark.parametrize("kind", FRAMES)
    def test_is_answered_with_its_close_code(self, connect, server, kind):
        frame, code = self.FRAMES[kind]
        wire = connect(server)
        assert wire.get("/echo", *UPGRADE, VERSION).status == 101
        wire.send(frame)
        rest = wire.read_to_end()
        assert rest[:1] == b"\x88", rest[:40]
        assert int.from_bytes(rest[2:4]) == code


@pytest.mark.indrik_only
class TestBackPressure:
    def test_a_client_that_does_not_read_makes_send_wait(self, connect, server):
        before = memory(server)
        wire = connect(server)
        assert wire.get("/flood?megabytes=512", *UPGRADE, VERSION).status == 101
        quiet = threading.Event()
        for _ in range(20):
            quiet.wait(0.02)
            assert memory(server) - before < 48 * 1024

    def test_a_worker_that_does_not_read_makes_the_client_wait(self, client, gate: Gate):
        socket_ = client(f"/slow-reader?gate={gate.path}", compression=None)
        gate.arrived()
        count = 400
        sender = threading.Thread(
            target=lambda: [socket_.send(b"x" * 65536) for _ in range(count)] + [socket_.send("end")]
        )
        sender.start()
        gate.release()
        assert socket_.recv(30) == str(count * 65536)
        sender.join()


def memory(server: Server) -> int:
    """What all processes of the server hold together, in KiB."""
    pages = 0
    for pid in server.processes():
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def test_term_closes_sockets_with_1001_or_1012_and_exits(start):
    server = start("asgi_app:app", "--graceful-timeout", "2", interface="asgi")
    with connect(server.url.replace("http", "ws", 1) + "/echo") as socket_:
        socket_.send("here")
        assert socket_.recv(10) == "here"
        assert server.stop() == 0
        assert closing(socket_)[0] in (1001, 1012) or IS_ORACLE


@pytest.mark.indrik_only
@pytest.mark.parametrize(
    ("form", "line"), [("text", r"^101 \d+ \d+[.]\d+ 4001 /echo$"), ("json", '"close_code":4001,')]
)
def test_a_line_of_the_access_log_says_how_a_socket_ended(start, form, line):
    """With what was sent on it, how long it was open, and its close code."""
    text = "%(s)s %(b)s %(L)s %(close_code)s %(U)s"
    server = start(
        *("asgi_app:app", "--access-logfile", "-", "--access-logformat", text, "--log-format", form),
        interface="asgi",
    )
    with connect(server.url.replace("http", "ws", 1) + "/echo", compression=None) as socket_:
        socket_.send("x" * 1000)
        assert len(socket_.recv(10)) == 1000
        socket_.close(4001, "enough")
    found = server.wait_for_access_line(line).string
    sent = json.loads(found)["bytes"] if form == "json" else int(found.split()[1])
    assert 1000 < sent < 1100


@pytest.mark.indrik_only
def test_a_socket_that_is_opened_while_the_server_drains_does_not_say_close(start, gate):
    """The 101 ends HTTP; who has the connection then says when it closes."""
    server = start("asgi_app:app", "--graceful-timeout", "5", interface="asgi")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = "\r\n".join([f"GET /accept-at-gate?gate={gate.path} HTTP/1.1", "Host: a", *UPGRADE, VERSION])
        connection.sendall(f"{head}\r\n\r\n".encode())
        gate.arrived()
        server.signal(signal.SIGTERM)
        server.wait_for_log("Handling signal: term")
        gate.release()
        with Wire(connection) as wire:
            answer = wire.read_answer()
    assert (answer.status, (answer.header("connection") or "").lower()) == (101, "upgrade")


@pytest.mark.indrik_only
def test_a_request_waits_behind_few_messages_however_many_clients_send_them(start, tmp_path):
    server = start("asgi_app:app", "--workers", "1", interface="asgi")
    gate = Gate(tmp_path / "gate")
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(server.connect(), 20)) for _ in range(10)]
        *floods, blocker, other = wires
        for wire in floods:
            assert wire.get("/sink", *UPGRADE, VERSION).status == 101
        blocker.send(f"GET /block?gate={gate.path} HTTP/1.1\r\nHost: x\r\n\r\n")
        gate.arrived()
        # The event loop stands still; more tiny messages than the windows of all of them take.
        for wire in floods:
            wire.send(b"\x81\x81\0\0\0\0x" * 2_000)
        for _ in range(20):
            # The front comes to everybody in turn; this needs no worker.
            with Wire(server.connect(), 20) as turn:
                turn.send("GET nonsense\r\n\r\n")
                assert turn.read_answer().status == 400
        other.send("GET /sunk-since HTTP/1.1\r\nHost: x\r\n\r\n")
        gate.release()
        assert blocker.read_answer().text == "went through"
        # 128 may wait in the worker's ring, and as many follow while it handles these.
        assert int(other.read_answer().text) <= 256
