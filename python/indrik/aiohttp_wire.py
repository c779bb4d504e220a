"""The bytes between `indrik.aiohttp_app` and aiohttp's protocol: HTTP/1.1 and WebSocket frames.

Both ends are in one process and the far one is aiohttp, so this reads only what aiohttp writes.
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

Message = dict[str, Any]

#: Bytes of a response's head.
HEAD_BYTES_MAX = 1024 * 1024
#: Bytes of a line that gives a chunk's size.
CHUNK_LINE_BYTES_MAX = 1024

_NOT_FORWARDED = {b"connection", b"expect", b"keep-alive", b"transfer-encoding", b"upgrade"}
_NOT_FORWARDED_WEBSOCKET = {b"sec-websocket-extensions", b"sec-websocket-key", b"sec-websocket-version"}
_NOT_ANSWERED = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"sec-websocket-accept"}
_PATH_SAFE = "/:@!$&'()*+,;=~-._%"


def request_bytes(scope: Message) -> tuple[str, bytes]:
    """The head of a request, and how its body follows: "none", "length" or "chunked"."""
    is_websocket = scope["type"] == "websocket"
    path = scope.get("raw_path") or quote(scope["path"], safe=_PATH_SAFE).encode()
    query = scope.get("query_string", b"")
    target = path + b"?" + query if query else path
    lines = [b"%b %b HTTP/1.1" % (b"GET" if is_websocket else scope["method"].encode(), target)]
    framed = "none"
    for name, value in scope["headers"]:
        if name == b"content-length" and value != b"0":
            framed = "length"
        elif name == b"transfer-encoding":
            framed = "chunked"
        if name not in _NOT_FORWARDED and not (is_websocket and name in _NOT_FORWARDED_WEBSOCKET):
            lines.append(b"%b: %b" % (name, value))
    if framed == "chunked":
        lines.append(b"transfer-encoding: chunked")
    if is_websocket:
        key = base64.b64encode(os.urandom(16))
        lines += [b"connection: Upgrade", b"upgrade: websocket", b"sec-websocket-version: 13"]
        lines.append(b"sec-websocket-key: " + key)
    return framed, b"\r\n".join(lines) + b"\r\n\r\n"


class Answer:
    """Reads a response, and says it in ASGI's messages."""

    def __init__(self, *, is_head: bool, is_websocket: bool = False) -> None:
        self.complete = False
        #: The response was 101: frames follow, beginning with :attr:`rest`.
        self.switched = False
        self.rest = b""
        self._is_head = is_head
        self._is_websocket = is_websocket
        self._prefix = "websocket.http.response" if is_websocket else "http.response"
        self._buffer = bytearray()
        self._started = False
        self._body = "none"
        # Bytes left of the body, or of the chunk.
        self._left = 0
        self._in_trailer = False

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that these bytes complete."""
        self._buffer += data
        while not self._started:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > HEAD_BYTES_MAX:
                    raise ValueError(f"aiohttp wrote a head of more than {HEAD_BYTES_MAX} bytes")
                return
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            yield from self._start(head)
            if self.switched:
                self.rest = bytes(self._buffer)
                return
        if not self.complete:
            yield from self._take_body()

    def end(self) -> Iterator[Message]:
        """The messages after the last bytes."""
        if self.complete or self.switched:
            return
        if not self._started or self._body != "close":
            raise ConnectionResetError("aiohttp closed the connection before the response was complete")
        self.complete = True
        yield self._piece(b"", more=False)

    def _start(self, head: bytes) -> Iterator[Message]:
        line, _, rest = head.partition(b"\r\n")
        status = int(line.split(b" ", 2)[1])
        if status == 101 and self._is_websocket:
            self._started = self.switched = True
            yield self._accept(rest)
            return
        if 100 <= status < 200:
            return
        self._started = True
        headers = [(name, value) for name, value in _fields(rest) if name not in _NOT_ANSWERED]
        self._find_body(status, _fields(rest))
        yield {"type": f"{self._prefix}.start", "status": status, "headers": headers}

    def _accept(self, fields: bytes) -> Message:
        headers, subprotocol = [], None
        for name, value in _fields(fields):
            if name == b"sec-websocket-protocol":
                subprotocol = value.decode()
            elif name not in _NOT_ANSWERED and name != b"sec-websocket-extensions":
                headers.append((name, value))
        return {"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers}

    def _find_body(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        found = dict(fields)
        if self._is_head or status in (204, 304):
            self._body = "none"
        elif b"chunked" in found.get(b"transfer-encoding", b"").lower():
            self._body = "chunked"
        elif b"content-length" in found:
            self._body, self._left = "length", int(found[b"content-length"])
        else:
            self._body = "close"

    def _take_body(self) -> Iterator[Message]:
        if self._body == "chunked":
            body = self._take_chunks()
        elif self._body == "length":
            body = bytes(self._buffer[: self._left])
            self._left -= len(body)
            self.complete = self._left == 0
            self._buffer.clear()
        else:
            body = bytes(self._buffer)
            self.complete = self._body == "none"
            self._buffer.clear()
        if body or self.complete:
            yield self._piece(body, more=not self.complete)

    def _take_chunks(self) -> bytes:
        body = bytearray()
        while not self.complete:
            if self._left > 0:
                piece = self._buffer[: self._left]
                del self._buffer[: len(piece)]
                body += piece
                self._left -= len(piece)
                if self._left > 0:
                    break
                self._left = -1
            end = self._buffer.find(b"\r\n", 0, CHUNK_LINE_BYTES_MAX)
            if end < 0:
                if len(self._buffer) > CHUNK_LINE_BYTES_MAX:
                    raise ValueError("aiohttp wrote a chunk without an end")
                break
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            if self._left == -1:
                # The line end behind a chunk's data.
                self._left = 0
            elif self._in_trailer:
                self.complete = not line
            else:
                self._left = int(line.partition(b";")[0], 16)
                self._in_trailer = self._left == 0
        return bytes(body)

    def _piece(self, body: bytes, *, more: bool) -> Message:
        return {"type": f"{self._prefix}.body", "body": body, "more_body": more}


def _fields(text: bytes) -> list[tuple[bytes, bytes]]:
    pairs = (line.partition(b":") for line in text.split(b"\r\n") if line)
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs]


_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_FIN = 0x80
_MASKED = 0x80
#: A mask that changes nothing: what a client sends must be masked, but no proxy is between.
_MASK = bytes(4)


class Frames:
    """Reads the frames that aiohttp writes as a server, and writes a client's."""

    def __init__(self) -> None:
        #: A close frame has been seen or written.
        self.closed = False
        self._buffer = bytearray()
        self._parts = bytearray()
        self._kind = _BINARY

    def feed(self, data: bytes) -> Iterator[tuple[Message | None, bytes]]:
        """What these bytes complete: a message to send, and what to answer aiohttp."""
        self._buffer += data
        while True:
            frame = self._take()
            if frame is None:
                return
            opcode, final, payload = frame
            if opcode == _PING:
                yield None, _frame(_PONG, payload)
            elif opcode == _CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1000
                reply = b"" if self.closed else _frame(_CLOSE, payload)
                self.closed = True
                reason = payload[2:].decode("utf-8", "replace")
                yield {"type": "websocket.close", "code": code, "reason": reason}, reply
            elif opcode != _PONG:
                self._kind = opcode or self._kind
                self._parts += payload
                if final:
                    yield self._message(), b""

    def message(self, data: str | bytes) -> bytes:
        """A message from the client."""
        return _frame(_TEXT, data.encode()) if isinstance(data, str) else _frame(_BINARY, data)

    def close(self, code: int) -> bytes:
        """The client's close. Codes that only tell of a lost connection are not sent."""
        self.closed = True
        return _frame(_CLOSE, b"" if code in (1005, 1006) else struct.pack("!H", code))

    def _message(self) -> Message:
        payload = bytes(self._parts)
        self._parts.clear()
        if self._kind == _TEXT:
            return {"type": "websocket.send", "text": payload.decode()}
        return {"type": "websocket.send", "bytes": payload}

    def _take(self) -> tuple[int, bool, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, at = buffer[1] & 0x7F, 2
        extended = {126: 2, 127: 8}.get(length, 0)
        if len(buffer) < at + extended:
            return None
        if extended:
            length = int.from_bytes(buffer[at : at + extended], "big")
            at += extended
        if len(buffer) < at + length:
            return None
        opcode, final = buffer[0] & 0x0F, bool(buffer[0] & _FIN)
        payload = bytes(buffer[at : at + length])
        del buffer[: at + length]
        return opcode, final, payload


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", _FIN | opcode, _MASKED | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", _FIN | opcode, _MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", _FIN | opcode, _MASKED | 127, size)
    return head + _MASK + payload
