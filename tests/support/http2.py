"""A client of one HTTP/2 connection that shows every frame's meaning: streams, windows, resets, GOAWAY."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from hyperframe.frame import Frame, GoAwayFrame


@dataclass
class Stream:
    """What has come of one answer."""

    interim: list[dict[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.headers[":status"])


def text(fields: Iterable[Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in fields}


class Patient(h2.connection.H2Connection):
    """Stays open after GOAWAY, as RFC 9113 section 6.8 asks for: what was taken is answered."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        event = h2.events.ConnectionTerminated()
        event.last_stream_id = frame.last_stream_id
        event.error_code = frame.error_code
        return [], [event]


class Http2:
    """A connection; `acknowledges` tells whether it gives windows back for what it has read."""

    def __init__(self, connection: socket.socket, seconds: float = 10.0, acknowledges: bool = True) -> None:
        self.socket = connection
        self.socket.settimeout(seconds)
        self.acknowledges = acknowledges
        self.streams: dict[int, Stream] = {}
        self.goaway: int | None = None
        self.closed = False
        config = h2.config.H2Configuration(
            header_encoding="utf-8", normalize_outbound_headers=False, validate_outbound_headers=False
        )
        self.h2 = Patient(config)
        self.h2.initiate_connection()
        self.flush()

    def __enter__(self) -> Http2:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def request(
        self, path: str, *fields: tuple[str, str], method: str = "GET", body: bytes | None = None, end: bool = True
    ) -> int:
        """Begin a request; the number of its stream. A body must fit the server's window."""
        number = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "test"), (":path", path)]
        self.streams[number] = Stream()
        self.h2.send_headers(number, [*pseudo, *fields], end_stream=end and body is None)
        for at in range(0, len(body or b""), 16_384):
            self.h2.send_data(number, (body or b"")[at : at + 16_384])
        if body is not None and end:
            self.h2.end_stream(number)
        self.flush()
        return number

    def tunnel(self, path: str, *fields: tuple[str, str], protocol: str = "websocket") -> int:
        """Begin an extended CONNECT (RFC 8441); the number of its stream."""
        number = self.h2.get_next_available_stream_id()
        pseudo = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "https"), (":authority", "test")]
        self.streams[number] = Stream()
        self.h2.send_headers(number, [*pseudo, (":path", path), *fields])
        self.flush()
        return number

    def connect(self, authority: str) -> int:
        """Ask for a connection to somewhere else (CONNECT); the number of its stream."""
        number = self.h2.get_next_available_stream_id()
        self.streams[number] = Stream()
        self.h2.send_headers(number, [(":method", "CONNECT"), (":authority", authority)], end_stream=True)
        self.flush()
        return number

    def send(self, number: int, data: bytes, end: bool = False) -> None:
        """Send a part of a body as fast as the server's windows let it."""
        while data:
            room = min(self.h2.local_flow_control_window(number), 16_384)
            if room == 0:
                assert self.read(), "the connection ended within the body"
                continue
            self.h2.send_data(number, data[:room])
            data = data[room:]
            self.flush()
        if end:
            self.h2.end_stream(number)
            self.flush()

    def reset(self, number: int) -> None:
        self.h2.reset_stream(number)
        self.flush()

    def get(self, path: str, *fields: tuple[str, str], method: str = "GET", body: bytes | None = None) -> Stream:
        """One request and its whole answer."""
        return self.answer(self.request(path, *fields, method=method, body=body))

    def answer(self, number: int) -> Stream:
        stream = self.streams[number]
        while not stream.ended and stream.reset is None:
            assert self.read(), f"the connection ended within stream {number}"
        return stream

    def read_head(self, number: int) -> Stream:
        while not self.streams[number].headers:
            assert self.read(), f"the connection ended before the head of stream {number}"
        return self.streams[number]

    def read_to_end(self) -> None:
        while self.read():
            pass

    def read(self) -> bool:
        """Take what comes next; False at the end of the connection."""
        try:
            data = self.socket.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return False
        for event in self.h2.receive_data(data):
            self._take(event)
        try:
            self.flush()
        except ConnectionError:
            pass
        return True

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.InformationalResponseReceived):
            self.streams[event.stream_id].interim.append(text(event.headers))
        elif isinstance(event, h2.events.ResponseReceived):
            self.streams[event.stream_id].headers = text(event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            self.streams[event.stream_id].trailers = text(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.streams[event.stream_id].body += event.data
            if self.acknowledges:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.streams[event.stream_id].ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.streams[event.stream_id].reset = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event.last_stream_id

    def setting(self, code: h2.settings.SettingCodes) -> int:
        """What the server has announced."""
        while self.h2.remote_settings.get(h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS) is None:
            assert self.read(), "the connection ended before the server's settings"
        return int(self.h2.remote_settings[code])
