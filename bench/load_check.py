"""A load client that believes nothing: every answer's status, body and place in the order is verified.

    python3 bench/load_check.py --port 8000 --connections 16 --seconds 10 --path /wait

Made for the tests that kill workers. wrk would reconnect and count a lost request as nothing much; here each request
that did not get exactly its own answer is counted, by kind. Against `echo` of `bench/apps` (the default) each request
carries its own number and must get it back, so an answer that belongs to another request is seen; `--expect TEXT`
checks a constant body instead. Ends after `--seconds`, after `--requests`, or on SIGTERM/SIGINT, and prints one line:

    {"ok": 12345, "failed": 0, "by_kind": {}, "reconnects": 0, "seconds": 10.0, "slowest_ms": 41.2}

Exit code 0 if nothing failed and something succeeded, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

HEAD_BYTES_MAX = 65_536
# A server that refuses connections is asked again at this pace, so that the failures stay countable.
RETRY_AFTER_FAILURE_S = 0.02


@dataclass(frozen=True)
class Options:
    host: str = "127.0.0.1"
    port: int = 8000
    connections: int = 8
    seconds: float = 10.0
    requests: int = 0
    method: str = "GET"
    path: str = "/"
    body_bytes: int = 0
    pipeline: int = 1
    timeout: float = 30.0
    expect: str | None = None


@dataclass
class Counts:
    """`by_kind` holds the failures only; `reconnects` counts connections the server closed between two answers."""

    ok: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    reconnects: int = 0
    seconds: float = 0.0
    slowest_ms: float = 0.0
    started: int = 0

    def as_json(self) -> dict[str, object]:
        return {
            "ok": self.ok,
            "failed": sum(self.by_kind.values()),
            "by_kind": dict(sorted(self.by_kind.items())),
            "reconnects": self.reconnects,
            "seconds": round(self.seconds, 2),
            "slowest_ms": round(self.slowest_ms, 1),
        }


class Malformed(Exception):
    """The answer is not HTTP, or not framed as it says."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    closes: bool


async def read_answer(reader: asyncio.StreamReader, method: str) -> Answer:
    """Reads exactly one answer. IncompleteReadError tells, by `partial`, whether it had begun."""
    head = await reader.readuntil(b"\r\n\r\n")
    try:
        return await _read_body(reader, method, head)
    except asyncio.IncompleteReadError as error:
        # The head was there, so the answer had begun, whatever of the body came.
        raise asyncio.IncompleteReadError(error.partial or head, error.expected) from error


async def _read_body(reader: asyncio.StreamReader, method: str, head: bytes) -> Answer:
    status_line, *lines = head[:-4].split(b"\r\n")
    parts = status_line.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise Malformed(f"status line {status_line[:60]!r}")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise Malformed(f"header line {line[:60]!r}")
        headers[name.strip().lower()] = value.strip()
    status = int(parts[1])
    closes = headers.get(b"connection", b"").lower() == b"close"
    if method == "HEAD" or status in (204, 304) or status < 200:
        return Answer(status, b"", closes)
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        return Answer(status, await _read_chunks(reader), closes)
    if b"content-length" in headers:
        return Answer(status, await reader.readexactly(int(headers[b"content-length"])), closes)
    return Answer(status, await reader.read(), True)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        chunk = await reader.readexactly(size + 2)
        if chunk[-2:] != b"\r\n":
            raise Malformed("a chunk does not end where its size says")
        if size == 0:
            return body
        body += chunk[:-2]


class Client:
    """One connection after another, `pipeline` requests in flight on it at a time."""

    def __init__(self, number: int, options: Options, counts: Counts, deadline: float) -> None:
        self._number = number
        self._options = options
        self._counts = counts
        self._deadline = deadline

    def _more(self) -> bool:
        limit = self._options.requests
        return time.monotonic() < self._deadline and (not limit or self._counts.started < limit)

    def stop(self) -> None:
        """Sends nothing more; what is under way is still awaited."""
        self._deadline = 0.0

    async def run(self) -> None:
        while self._more():
            try:
                async with asyncio.timeout(self._options.timeout):
                    reader, writer = await asyncio.open_connection(
                        self._options.host, self._options.port, limit=HEAD_BYTES_MAX
                    )
            except (OSError, TimeoutError):
                # No request was sent, but a client of ours was turned away: that counts.
                self._counts.started += 1
                self._counts.by_kind["connect"] += 1
                await asyncio.sleep(RETRY_AFTER_FAILURE_S)
                continue
            try:
                while self._more() and await self._burst(reader, writer):
                    pass
            finally:
                writer.close()

    async def _burst(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Sends `pipeline` requests at once and checks their answers in order. False: take a new connection."""
        pending = [self._next() for _ in range(self._options.pipeline)]
        began = time.monotonic()
        try:
            writer.write(b"".join(request for request, _expected in pending))
        except OSError:
            self._counts.by_kind["reset"] += len(pending)
            return False
        for place, (_request, expected) in enumerate(pending):
            kind, closes = await self._verify(reader, expected)
            if kind is None:
                self._counts.ok += 1
                self._counts.slowest_ms = max(self._counts.slowest_ms, (time.monotonic() - began) * 1e3)
            else:
                self._counts.by_kind[kind] += 1
            unanswered = len(pending) - place - 1
            if closes:
                if kind is None or unanswered:
                    self._counts.reconnects += 1
                if unanswered:
                    self._counts.by_kind["closed_before_answer"] += unanswered
                return False
        return True

    def _next(self) -> tuple[bytes, bytes]:
        """The bytes of a request, and the body it must get."""
        options, counts = self._options, self._counts
        counts.started += 1
        query = f"request={self._number}.{counts.started}"
        body = (query.encode() * (options.body_bytes // len(query) + 1))[: options.body_bytes]
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{options.method} {options.path}?{query} HTTP/1.1\r\nHost: {options.host}\r\n{length}\r\n"
        if options.expect is not None:
            expected = options.expect.encode()
        else:
            expected = query.encode() + b"\n" + body
        return head.encode() + body, b"" if options.method == "HEAD" else expected

    async def _verify(self, reader: asyncio.StreamReader, expected: bytes) -> tuple[str | None, bool]:
        """(the kind of failure or None, whether the connection is of no more use)."""
        try:
            async with asyncio.timeout(self._options.timeout):
                answer = await read_answer(reader, self._options.method)
        except TimeoutError:
            return "timeout", True
        except asyncio.IncompleteReadError as error:
            return "closed_inside_answer" if error.partial else "closed_before_answer", True
        except OSError:
            return "reset", True
        except (Malformed, ValueError, asyncio.LimitOverrunError) as error:
            print(f"load_check: malformed answer: {error}", file=sys.stderr)
            return "malformed", True
        if answer.status != 200:
            return f"status_{answer.status}", answer.closes
        if answer.body != expected:
            print(f"load_check: got {answer.body[:60]!r}, expected {expected[:60]!r}", file=sys.stderr)
            return "wrong_body", True
        return None, answer.closes


async def run(options: Options) -> Counts:
    """Runs the load; SIGTERM and SIGINT end it early, after the requests under way are answered."""
    counts = Counts()
    began = time.monotonic()
    clients = [Client(n, options, counts, began + options.seconds) for n in range(options.connections)]

    def stop() -> None:
        for client in clients:
            client.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await asyncio.gather(*(client.run() for client in clients))
    counts.seconds = time.monotonic() - began
    return counts


def arguments() -> Options:
    default = Options()
    parser = argparse.ArgumentParser(description="Load that verifies every answer.")
    parser.add_argument("--host", default=default.host)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=default.connections)
    parser.add_argument("--seconds", type=float, default=default.seconds)
    parser.add_argument("--requests", type=int, default=0, help="stop after so many (0: no limit)")
    parser.add_argument("--method", default=default.method)
    parser.add_argument("--path", default=default.path)
    parser.add_argument("--body-bytes", type=int, default=0)
    parser.add_argument("--pipeline", type=int, default=1, help="requests in flight on each connection")
    parser.add_argument("--timeout", type=float, default=default.timeout, help="seconds for one answer")
    parser.add_argument("--expect", help="the body every answer must have, instead of the echo")
    return Options(**vars(parser.parse_args()))


def main() -> int:
    counts = asyncio.run(run(arguments()))
    print(json.dumps(counts.as_json()), flush=True)
    return 0 if counts.ok and not counts.by_kind else 1


if __name__ == "__main__":
    sys.exit(main())
