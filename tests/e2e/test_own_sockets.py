"""WebSockets that WSGI applications speak themselves: Flask-SocketIO, Flask-Sock, gevent-websocket, the bare socket."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import socketio
import websocket
from support.server import Server, poll

KINDS = {
    "threading": ("--threads", "16"),
    "gevent": ("--worker-class", "gevent"),
    "eventlet": ("--worker-class", "eventlet"),
    "gevent-websocket": ("--worker-class", "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"),
}
SECONDS = 10
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.fixture(scope="module", params=KINDS)
def server(request, start_shared) -> Server:
    mode = request.param.split("-")[0]
    server: Server = start_shared(
        "sockets_app:app", "--workers", "1", *KINDS[request.param], environment={"TEST_ASYNC_MODE": mode}
    )
    return server


def open_socket(server: Server, path: str, **options) -> websocket.WebSocket:
    return websocket.create_connection(f"ws://127.0.0.1:{server.port}{path}", timeout=SECONDS, **options)


class TestFlaskSock:
    def test_messages_of_every_size_come_back(self, server):
        client = open_socket(server, "/echo")
        for text in ("", "a", "é" * 100, "x" * 70_000):
            client.send(text)
            assert client.recv() == text
        client.send_binary(bytes(range(256)) * 2_000)
        assert client.recv() == bytes(range(256)) * 2_000
        client.close()

    def test_a_handler_that_returns_closes_with_1000(self, server):
        client = open_socket(server, "/once?name=you")
        assert client.recv() == "hello you"
        opcode, data = client.recv_data()
        assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1000)

    def test_a_handler_that_raises_ends_its_connection_and_no_other(self, server):
        other = open_socket(server, "/echo")
        client = open_socket(server, "/raises")
        assert client.recv() == "before"
        with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
            client.recv()
        server.wait_for_log("RuntimeError: raised in a socket of WSGI")
        other.send("still here")
        assert other.recv() == "still here"

    def test_many_at_once_get_their_own_messages(self, server):
        clients = [open_socket(server, "/echo") for _ in range(10)]
        for turn in range(5):
            for number, client in enumerate(clients):
                client.send(f"{number} {turn}")
        for number, client in enumerate(clients):
            assert [client.recv() for _ in range(5)] == [f"{number} {turn}" for turn in range(5)]
            client.close()

    def test_an_ordinary_answer_to_a_handshake_is_the_answer(self, server, connect):
        wire = connect(server)
        # Flask's own: the view is not one for WebSockets.
        assert wire.get("/plain", *UPGRADE).status == 400
        assert wire.get("/plain").text == "plain"


class TestFlaskSocketIO:
    @pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]])
    def test_calls_and_events_pass_by_every_transport(self, server, transports):
        with socketio.SimpleClient() as client:
            client.connect(server.url, transports=transports, wait_timeout=SECONDS)
            assert client.transport == transports[-1]
            for number in range(20):
                assert client.call("echo", {"number": number}, timeout=SECONDS) == {"number": number}
            client.emit("shout", "loud")
            assert client.receive(timeout=SECONDS) == ["heard", "LOUD"]

    def test_the_library_runs_in_the_mode_of_the_worker(self, server, connect):
        mode = json.loads(connect(server).get("/library").body)["mode"]
        assert mode in server.command or mode in {"threading", "gevent"}


@pytest.fixture
def marks(tmp_path) -> Path:
    (tmp_path / "marks").touch()
    return tmp_path / "marks"


@pytest.fixture
def bare(start, marks) -> Server:
    server: Server = start(
        "sockets_app:bare", "--workers", "1", "--threads", "8", environment={"TEST_MARKS": str(marks)}
    )
    return server


class TestTheSocket:
    def test_only_a_handshake_has_one(self, bare, connect):
        wire = connect(bare)
        assert wire.get("/has").text == "False"
        assert wire.get("/has", *UPGRADE).text == "True"
        assert wire.get("/has", *UPGRADE, method="POST", body=b"x").text == "False"
        assert wire.get("/has", "Upgrade: h2c", "Connection: Upgrade").text == "False"

    def test_the_head_is_sent_as_written_and_bytes_pass_both_ways(self, bare, connect):
        wire = connect(bare)
        wire.send("\r\n".join(["GET /echo-bytes HTTP/1.1", "Host: t", *UPGRADE, "", ""]) + "early")
        head = wire.read_head()
        assert (head.status, head.reason, head.header("upgrade")) == (101, "Own", "websocket")
        assert wire.read_exactly(13) == b"at once early"
        block = os.urandom(300_000)
        wire.send(block)
        assert wire.read_exactly(len(block)) == block
        wire.half_close()
        wire.assert_closed()

    @pytest.mark.parametrize("path", ["/silent", "/garbage", "/wrong-key"])
    def test_what_is_no_answer_is_a_500_and_a_log_line(self, bare, connect, path):
        assert connect(bare).get(path, *UPGRADE).status == 500
        bare.wait_for_log("returned no response" if path == "/silent" else "wrote into its socket")

    def test_another_answer_in_the_socket_is_passed_on(self, bare, connect):
        answer = connect(bare).get("/refuses", *UPGRADE)
        assert (answer.status, answer.reason, answer.text) == (418, "Short And Stout", "tea")
        assert (answer.header("x-a"), answer.header("connection")) == ("b", "close")

    def test_who_does_not_read_stops_the_application(self, bare, connect, marks):
        wire = connect(bare)
        wire.send("\r\n".join(["GET /flood HTTP/1.1", "Host: t", *UPGRADE, "", ""]))
        wire.read_head()
        poll(lambda: stands_still(marks), "the application to wait")
        assert int(marks.read_text().split()[-1]) < 16 * 1024 * 1024
        wire.socket.close()
        poll(lambda: "send raised" in marks.read_text(), "the end of sending")

    def test_the_application_sees_its_client_leave(self, bare, connect, marks):
        wire = connect(bare)
        wire.send("\r\n".join(["GET /until-end HTTP/1.1", "Host: t", *UPGRADE, "", ""]))
        wire.read_head()
        wire.socket.close()
        poll(lambda: "the end" in marks.read_text(), "the end of the socket")

    @pytest.mark.parametrize("kind", [("--threads", "4"), ("--worker-class", "gevent")], ids=["threads", "gevent"])
    def test_its_client_sees_at_once_that_the_application_closed_it_and_went_on(self, start, connect, gate, kind):
        server: Server = start("sockets_app:bare", "--workers", "1", *kind)
        wire = connect(server)
        wire.send("\r\n".join([f"GET /closes-and-goes-on?{gate.path} HTTP/1.1", "Host: t", *UPGRADE, "", ""]))
        wire.read_head()
        gate.arrived()
        assert wire.read_to_end() == b"at once "
        gate.release()

    def test_its_client_sees_the_end_of_the_request_although_a_child_has_the_socket(self, bare, connect, marks):
        wire = connect(bare)
        wire.send("\r\n".join(["GET /closes-beside-a-child HTTP/1.1", "Host: t", *UPGRADE, "", ""]))
        wire.read_head()
        assert wire.read_to_end() == b"at once "
        child = int(marks.read_text().split()[1])
        os.kill(child, signal.SIGKILL)

    def test_at_a_stop_the_application_sees_the_end_and_may_say_its_last(self, bare, connect, marks):
        wire = connect(bare)
        wire.send("\r\n".join(["GET /until-end HTTP/1.1", "Host: t", *UPGRADE, "", ""]))
        wire.read_head()
        assert wire.read_exactly(8) == b"at once "
        bare.signal(signal.SIGTERM)
        assert wire.read_exactly(10) == b"last words"
        wire.assert_closed()
        assert bare.wait_for_exit() == 0

    def test_at_a_reload_too(self, bare, connect, marks):
        wire = connect(bare)
        wire.send("\r\n".join(["GET /until-end HTTP/1.1", "Host: t", *UPGRADE, "", ""]))
        wire.read_head()
        bare.signal(signal.SIGHUP)
        assert wire.read_exactly(18) == b"at once last words"
        wire.assert_closed()

    def test_a_worker_that_is_killed_ends_its_sockets(self, bare, connect):
        wire = connect(bare)
        wire.send("\r\n".join(["GET /echo-bytes HTTP/1.1", "Host: t", *UPGRADE, "", ""]))
        wire.read_head()
        assert wire.read_exactly(8) == b"at once "
        before = bare.workers()
        os.kill(before[0], signal.SIGKILL)
        wire.assert_closed()
        bare.wait_for_new_workers(before)

    def test_its_client_sees_the_end_however_late_it_reads_although_a_child_has_the_socket(self, bare, connect, marks):
        [worker] = bare.workers()
        wire = connect(bare)
        wire.send("\r\n".join(["GET /flood-beside-a-child HTTP/1.1", "Host: t", *UPGRADE, "", ""]))
        wire.read_head()
        poll(lambda: stands_still(marks), "the application to wait")
        child = int(marks.read_text().split()[1])
        try:
            os.kill(worker, signal.SIGKILL)
            bare.wait_for_log("ended: crash:SIGKILL")
            # Another worker is there; that the first is lost has been told long before.
            assert connect(bare).get("/has").text == "False"
            wire.read_to_end()
            os.kill(child, 0)
        finally:
            os.kill(child, signal.SIGKILL)


seen: dict[Path, str] = {}


def stands_still(path: Path) -> bool:
    """Whether nothing was added since it was asked before."""
    before, seen[path] = seen.get(path), path.read_text()
    return bool(before) and before == seen[path]
