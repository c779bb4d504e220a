"""Replay byte streams over many connections at once, cut in chosen places, and see what comes back."""

from __future__ import annotations

import re
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from .server import IS_ORACLE, Server

CONNECTIONS_MAX = 300
SETTLE_SECONDS = 8.0


class Outcome(NamedTuple):
    """The statuses in order, and whether the connection was closed after them."""

    statuses: tuple[int, ...]
    closed: bool

    def __str__(self) -> str:
        numbers = " ".join(map(str, self.statuses)) or "none"
        return f"{numbers}, {'closed' if self.closed else 'open'}"


@dataclass
class Talk:
    """What one connection sends, piece by piece, and what it is expected to get."""

    parts: Sequence[bytes]
    expected: Outcome
    half_close: bool = False
    received: bytearray = field(default_factory=bytearray)
    closed: bool = False

    def outcome(self) -> Outcome:
        statuses = re.findall(rb"HTTP/1\.[01] (\d{3})[ \r]", bytes(self.received))
        return Outcome(tuple(int(status) for status in statuses if status != b"100"), self.closed)

    def is_settled(self) -> bool:
        if self.closed:
            return True
        return not self.expected.closed and self.outcome().statuses == self.expected.statuses


def replay(server: Server, talks: Sequence[Talk]) -> None:
    """Hold all conversations, some hundred at a time; their results are in them."""
    for start in range(0, len(talks), CONNECTIONS_MAX):
        replay_together(server, talks[start : start + CONNECTIONS_MAX])


def replay_together(server: Server, talks: Sequence[Talk]) -> None:
    sockets = [connect(server) for _ in talks]
    both = list(zip(talks, sockets, strict=True))
    try:
        with selectors.DefaultSelector() as selector:
            for talk, connection in both:
                selector.register(connection, selectors.EVENT_READ, talk)
            for turn in range(max(len(talk.parts) for talk in talks)):
                if turn:
                    # Gunicorn does nothing else while it waits for a refused client to close.
                    if not IS_ORACLE:
                        fence(server)
                    read_ready(selector, 0)
                for talk, connection in both:
                    if turn < len(talk.parts) and not talk.closed:
                        send(connection, talk.parts[turn])
            for talk, connection in both:
                if talk.half_close and not talk.closed:
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_WR)
            collect(selector, talks)
    finally:
        for connection in sockets:
            connection.close()


def connect(server: Server) -> socket.socket:
    connection = server.connect()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Closing resets, so that thousands of connections leave no port in TIME_WAIT.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return connection


def send(connection: socket.socket, part: bytes) -> None:
    """Refused midway is no error: the answer is still to be read."""
    with suppress(ConnectionError):
        connection.sendall(part)


def fence(server: Server) -> None:
    """Return when the server has looked at all that was sent before: it has answered what came later."""
    with server.connect() as connection:
        send(connection, b"GET / HTTP/1.0\r\n\r\n")
        with suppress(ConnectionError):
            while connection.recv(65536):
                pass


def collect(selector: selectors.BaseSelector, talks: Sequence[Talk]) -> None:
    """Read until every conversation has got what it expects, or the time is over."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not all(talk.is_settled() for talk in talks) and time.monotonic() < deadline:
        read_ready(selector, 0.1)
    # What nobody expected may have come meanwhile.
    read_ready(selector, 0)


def read_ready(selector: selectors.BaseSelector, seconds: float) -> None:
    for key, _ in selector.select(seconds):
        read(key.data, key.fileobj, selector)


def read(talk: Talk, connection: object, selector: selectors.BaseSelector) -> None:
    assert isinstance(connection, socket.socket)
    try:
        data = connection.recv(65536)
    except ConnectionError:
        data = b""
    talk.received += data
    if not data:
        talk.closed = True
        selector.unregister(connection)
        # Gunicorn waits for this before it goes on with others.
        connection.close()


def cut(data: bytes, offsets: Iterable[int]) -> list[bytes]:
    """The pieces between the offsets."""
    borders = [0, *offsets, len(data)]
    return [data[start:end] for start, end in zip(borders, borders[1:], strict=False)]
