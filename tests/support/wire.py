"""A client that sends exactly the bytes it is told to, and reads answers without mending them."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field


@dataclass
class Answer:
    """One response as it came: header order, case and chunk borders kept."""

    version: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"header {name} came {len(values)} times"
        return values[0] if values else None

    @property
    def text(self) -> str:
        return self.body.decode("latin-1")


class Wire:
    """One connection."""

    def __init__(self, connection: socket.socket, seconds: float = 10.0) -> None:
        self.socket = connection
        self.socket.settimeout(seconds)
        self.buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes | str) -> None:
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def get(self, target: str, *headers: str, method: str = "GET", body: bytes = b"") -> Answer:
        """Send one well-formed request and read its answer."""
        lines = [f"{method} {target} HTTP/1.1", "Host: test", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return self.read_answer(head_only=method == "HEAD")

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def read_answer(self, head_only: bool = False, skip_interim: bool = True) -> Answer:
        """Read one response; 1xx ones are skipped unless asked for."""
        while True:
            answer = self.read_head()
            if not (skip_interim and 100 <= answer.status < 200 and answer.status != 101):
                break
        no_body = head_only or answer.status in (204, 304) or answer.status < 200
        if no_body:
            return answer
        coding, length = answer.header("transfer-encoding"), answer.header("content-length")
        if coding is not None:
            assert length is None, "both Transfer-Encoding and Content-Length"
            self._read_chunked(answer)
        elif length is not None:
            answer.body = self.read_exactly(int(length))
        else:
            answer.body = self.read_to_end()
        return answer

    def read_head(self) -> Answer:
        lines = self.read_until(b"\r\n\r\n")[:-4].decode("latin-1").split("\r\n")
        version, status, *rest = lines[0].split(" ", 2)
        headers = [parse_header(line) for line in lines[1:]]
        return Answer(version, int(status), rest[0] if rest else "", headers)

    def _read_chunked(self, answer: Answer) -> None:
        while True:
            size = int(self.read_until(b"\r\n")[:-2].split(b";")[0], 16)
            if size == 0:
                break
            answer.chunks.append(self.read_exactly(size))
            assert self.read_exactly(2) == b"\r\n", "a chunk does not end in CRLF"
        while line := self.read_until(b"\r\n")[:-2]:
            answer.trailers.append(parse_header(line.decode("latin-1")))
        answer.body = b"".join(answer.chunks)

    def read_chunk(self) -> bytes:
        """Read one chunk of a chunked body, for tests of when it is sent."""
        size = int(self.read_until(b"\r\n")[:-2].split(b";")[0], 16)
        data = self.read_exactly(size)
        assert self.read_exactly(2) == b"\r\n"
        return data

    def read_until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            self._more(f"before {mark!r}")
        end = self.buffer.index(mark) + len(mark)
        found, self.buffer = self.buffer[:end], self.buffer[end:]
        return found

    def read_exactly(self, length: int) -> bytes:
        while len(self.buffer) < length:
            self._more(f"{length - len(self.buffer)} bytes short")
        found, self.buffer = self.buffer[:length], self.buffer[length:]
        return found

    def read_to_end(self) -> bytes:
        """Everything up to the end of the stream; a reset counts as an end."""
        try:
            while data := self.socket.recv(65536):
                self.buffer += data
        except ConnectionResetError:
            pass
        found, self.buffer = self.buffer, b""
        return found

    def assert_closed(self) -> None:
        """The server has closed the connection and sent nothing more."""
        left = self.read_to_end()
        assert left == b"", f"more came: {left[:200]!r}"

    def _more(self, where: str) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"the stream ended {where}; so far {self.buffer[:300]!r}")
        self.buffer += data


def parse_header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.strip()
