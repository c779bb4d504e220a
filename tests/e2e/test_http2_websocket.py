"""WebSocket over HTTP/2 (RFC 8441): a stream of a connection is the socket of a session."""

from __future__ import annotations

import json
import signal
import ssl
import struct
from collections.abc import Iterator

import pytest
from h2.settings import SettingCodes
from support.http2 import Http2
from support.pki import Pki
from support.server import Server
from websockets.frames import Frame, Opcode

VERSION = ("sec-websocket-version", "13")


class Socket:
    """The client's end of a WebSocket on a stream."""

    def __init__(self, client: Http2, path: str, *fields: tuple[str, str]) -> None:
        self.client = client
        self.number = client.tunnel(path, VERSION, *fields)
        self.taken = 0

    @property
    def head(self) -> dict[str, str]:
        return self.client.read_head(self.number).headers

    def send(self, opcode: Opcode, data: bytes) -> None:
        self.client.send(self.number, Frame(opcode, data).serialize(mask=True))

    def read(self, length: int) -> bytes:
        stream = self.client.streams[self.number]
        while len(stream.body) - self.taken < length:
            assert self.client.read(), "the connection ended within a frame"
        self.taken += length
        return stream.body[self.taken - length : self.taken]

    def receive(self) -> tuple[Opcode, bytes]:
        """The next message or control frame, of a server: not masked. A message may come in fragments."""
        opcode, data, is_last = self.receive_frame()
        while not is_last:
            _, more, is_last = self.receive_frame()
            data += more
        return opcode, data

    def receive_frame(self) -> tuple[Opcode, bytes, bool]:
        first, second = self.read(2)
        length = second
        if second == 126:
            (length,) = struct.unpack("!H", self.read(2))
        elif second == 127:
            (length,) = struct.unpack("!Q", self.read(8))
        return Opcode(first & 0x0F), self.read(length), bool(first & 0x80)

    def closing(self) -> int:
        while True:
            opcode, data = self.receive()
            if opcode is Opcode.CLOSE:
                return int.from_bytes(data[:2])


@pytest.fixture
def open_http2(pki: Pki) -> Iterator[object]:
    opened = []

    def open_http2(server: Server) -> Http2:
        context = pki.client()
        context.set_alpn_protocols(["h2"])
        connection: ssl.SSLSocket = context.wrap_socket(server.connect(), server_hostname="localhost")
        opened.append(Http2(connection))
        return opened[-1]

    yield open_http2
    for client in opened:
        client.socket.close()


@pytest.fixture
def server(start, pki: Pki) -> Server:
    flags = ("--http-protocols", "h2,h1", "--workers", "1", "--access-logfile", "-")
    return start("asgi_app:app", *pki.flags(), *flags, interface="asgi")


def test_the_application_sees_a_websocket_of_http_2(server, open_http2):
    client = open_http2(server)
    assert client.setting(SettingCodes.ENABLE_CONNECT_PROTOCOL) == 1
    socket = Socket(client, "/describe?a=b")
    assert socket.head[":status"] == "200"
    scope = json.loads(socket.receive()[1])
    assert (scope["type"], scope["http_version"], scope["scheme"]) == ("websocket", "2", "wss")
    assert (scope["path"], scope["query_string"]) == ("/describe", "a=b")
    assert scope["headers"][0] == ["host", "test"]
    assert socket.closing() == 1000
    socket.send(Opcode.CLOSE, struct.pack("!H", 1000))
    client.answer(socket.number)
    server.wait_for_access_line(r'"GET /describe\?a=b HTTP/2\.0" 200')


def test_messages_larger_than_the_windows_pass_both_ways_beside_requests(server, open_http2):
    client = open_http2(server)
    socket = Socket(client, "/echo")
    text = "wörter " * 50_000
    socket.send(Opcode.TEXT, text.encode())
    assert client.get("/hello").body == b"hello"
    assert socket.receive() == (Opcode.TEXT, text.encode())
    socket.send(Opcode.PING, b"there?")
    assert socket.receive() == (Opcode.PONG, b"there?")
    socket.send(Opcode.CLOSE, struct.pack("!H", 1000))
    assert socket.closing() == 1000
    assert client.answer(socket.number).ended
    assert client.get("/hello").body == b"hello"


def test_two_sockets_of_a_connection_are_two_sessions(server, open_http2):
    client = open_http2(server)
    one, two = Socket(client, "/echo"), Socket(client, "/echo")
    two.send(Opcode.TEXT, b"two")
    one.send(Opcode.TEXT, b"one")
    assert (one.receive()[1], two.receive()[1]) == (b"one", b"two")


def test_a_subprotocol_is_agreed_on_and_no_field_of_http_1_is_sent(server, open_http2):
    socket = Socket(open_http2(server), "/subprotocol", ("sec-websocket-protocol", "a, b"))
    assert socket.head["sec-websocket-protocol"] in ("a", "b")
    assert not {"upgrade", "connection", "sec-websocket-accept"} & set(socket.head)


@pytest.mark.parametrize(("path", "status", "body"), [("/deny", 401, b"who are you"), ("/reject", 403, None)])
def test_an_application_may_refuse(server, open_http2, path, status, body):
    client = open_http2(server)
    answer = client.answer(client.tunnel(path, VERSION))
    assert answer.status == status
    assert body is None or answer.body == body


@pytest.mark.parametrize(("protocol", "fields", "status"), [("connect-udp", [VERSION], 501), ("websocket", [], 400)])
def test_what_is_no_websocket_is_refused_and_the_connection_goes_on(server, open_http2, protocol, fields, status):
    client = open_http2(server)
    assert client.answer(client.tunnel("/echo", *fields, protocol=protocol)).status == status
    assert client.get("/hello").body == b"hello"


def test_a_client_that_resets_the_stream_is_a_disconnect_for_the_application_and_for_no_other(server, open_http2):
    client = open_http2(server)
    gone, stays = Socket(client, "/echo"), Socket(client, "/echo")
    gone.send(Opcode.TEXT, b"x")
    assert gone.receive()[1] == b"x"
    client.reset(gone.number)
    stays.send(Opcode.TEXT, b"y")
    assert stays.receive()[1] == b"y"


def test_at_the_end_the_client_is_told_to_come_back(server, open_http2):
    client = open_http2(server)
    socket = Socket(client, "/echo")
    socket.send(Opcode.TEXT, b"x")
    assert socket.receive()[1] == b"x"
    server.signal(signal.SIGTERM)
    assert socket.closing() == 1012
    socket.send(Opcode.CLOSE, struct.pack("!H", 1012))
    client.read_to_end()
    assert client.goaway == socket.number
    assert server.wait_for_exit() == 0


def test_where_the_application_takes_none_a_client_is_not_told_that_it_may(start, pki, open_http2):
    server = start("wsgi_app:app", *pki.flags(), "--http-protocols", "h2")
    client = open_http2(server)
    assert client.get("/hello").body == b"hello"
    assert client.h2.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL, 0) == 0
