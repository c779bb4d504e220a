"""HTTP/2 frames as they are on the wire, right or wrong, and a client that sends as many of them as it can."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8

ENHANCE_YOUR_CALM = 11
HTTP_1_1_REQUIRED = 13

# `GET /hello` of `https://test`, with names from the static table and nothing for the dynamic one.
GET_HELLO = b"\x82\x87" + b"\x01\x04test" + b"\x04\x06/hello"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def field(name: bytes, value: bytes) -> bytes:
    """A field as a literal that is not indexed."""
    assert len(name) < 127 and len(value) < 127
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def get(stream: int, block: bytes = GET_HELLO, end: bool = True) -> bytes:
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)


class RawHttp2:
    """A connection on which anything can be sent; what comes is split into frames."""

    def __init__(self, connection: socket.socket, settings: bytes = b"") -> None:
        self.socket = connection
        self.socket.settimeout(10)
        self.unread = b""
        self.sent = 0
        self.ended = False
        self.goaway: int | None = None
        self.resets: dict[int, int] = {}
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))

    def __enter__(self) -> RawHttp2:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def flood(self, pieces: Iterator[bytes], most: int, reads: bool = True) -> None:
        """Send pieces, and read what comes, until the server ends the connection or `most` bytes are sent."""
        waiting = b""
        self.socket.setblocking(False)
        while self.sent < most and not self.ended:
            waiting = waiting or next(pieces)
            readable, writable, _ = select.select([self.socket] if reads else [], [self.socket], [], 10)
            assert readable or writable, "the server neither reads nor closes"
            try:
                if readable:
                    self._take(self.socket.recv(65_536))
                if writable:
                    length = self.socket.send(waiting)
                    waiting, self.sent = waiting[length:], self.sent + length
            except BlockingIOError:
                continue
            except ConnectionError:
                self._take_rest()
        self.socket.settimeout(10)

    def read_to_end(self) -> None:
        while not self.ended:
            try:
                self._take(self.socket.recv(65_536))
            except ConnectionError:
                self.ended = True

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Frames as they come, until the server ends the connection."""
        while True:
            while len(self.unread) < 9 or len(self.unread) < 9 + int.from_bytes(self.unread[:3], "big"):
                data = self.socket.recv(65_536)
                if not data:
                    return
                self.unread += data
            length = int.from_bytes(self.unread[:3], "big")
            kind, flags, stream = struct.unpack("!BBI", self.unread[3:9])
            payload, self.unread = self.unread[9 : 9 + length], self.unread[9 + length :]
            yield kind, flags, stream, payload

    def _take_rest(self) -> None:
        """What lies in the socket although sending failed."""
        try:
            while data := self.socket.recv(65_536):
                self._take(data)
        except (ConnectionError, BlockingIOError):
            pass
        self.ended = True

    def _take(self, data: bytes) -> None:
        self.ended = self.ended or not data
        self.unread += data
        while len(self.unread) >= 9:
            length = int.from_bytes(self.unread[:3], "big")
            if len(self.unread) < 9 + length:
                break
            kind, stream = self.unread[3], int.from_bytes(self.unread[5:9], "big")
            payload = self.unread[9 : 9 + length]
            if kind == GOAWAY:
                self.goaway = int.from_bytes(payload[4:8], "big")
            elif kind == RST_STREAM:
                self.resets[stream] = int.from_bytes(payload, "big")
            self.unread = self.unread[9 + length :]
