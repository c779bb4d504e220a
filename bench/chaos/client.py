"""A load client that believes nothing and times everything; a process of its own.

    python3 bench/chaos/client.py '{"port": 8000, "connections": 64, "path": "/echo"}'

Keeps every connection busy (or pauses between two requests of one) until SIGTERM, then waits for what is under way.
Each request carries its own number and must get exactly one answer, 200, that begins with it. Whatever else happens is
counted by kind; an answer that nobody asked for is `unasked`. Prints one line of JSON; the moment, the time taken, the
version and the process of each good answer go to the file `samples`.
"""

from __future__ import annotations

import errno
import heapq
import json
import random
import select
import signal
import socket
import sys
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

CONNECT_LIMIT_S = 5.0
RETRY_AFTER_FAILURE_S = 0.02
LOOK_EVERY_S = 0.25
FAILURES_KEPT_MAX = 20_000
READ_BYTES = 65_536


@dataclass(frozen=True)
class Options:
    port: int
    connections: int = 8
    path: str = "/echo"
    post_percent: int = 0
    pause_ms: float = 0.0
    timeout_s: float = 30.0
    requests: int = 0
    seed: int = 1
    samples: str = ""


class Malformed(Exception):
    """The answer is not HTTP, or not framed as it says."""


@dataclass
class Peer:
    """One connection and the request under way on it."""

    socket: socket.socket | None = None
    connected: bool = False
    received: bytearray = field(default_factory=bytearray)
    number: str = ""
    method: str = ""
    since: float = 0.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    closes: bool


def take_answer(received: bytearray, ended: bool) -> Answer | None:
    """Takes one whole answer out of the bytes, if it is there."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(received[:end]).lower()
    status = head[9:12]
    if not head.startswith(b"http/1.") or not status.isdigit():
        raise Malformed(f"it begins with {head[:40]!r}")
    closes = b"\r\nconnection: close" in head
    place = head.find(b"\r\ncontent-length:")
    if place >= 0:
        length = int(head[place + 17 :].split(b"\r\n", 1)[0])
        if len(received) < end + 4 + length:
            return None
        body = bytes(received[end + 4 : end + 4 + length])
        del received[: end + 4 + length]
        return Answer(int(status), body, closes)
    if b"\r\ntransfer-encoding:" in head:
        raise Malformed("an answer of the application came in chunks")
    if not ended:
        return None
    body = bytes(received[end + 4 :])
    received.clear()
    return Answer(int(status), body, True)


class Client:
    """All connections, in one epoll loop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._random = random.Random(options.seed)
        self._poll = select.epoll()
        self._peers: dict[int, Peer] = {}
        # When a peer has something to do, a number to tell equal moments apart, and the peer.
        self._due: list[tuple[float, int, Peer]] = []
        self._turn = 0
        self._started = 0
        self._stopping = False
        self._all = [Peer() for _ in range(options.connections)]
        self.ok = 0
        self.by_kind: Counter[str] = Counter()
        self.failures: list[tuple[float, str, str, str]] = []
        self.reconnects = 0
        self.samples = (array("d"), array("d"), array("q"), array("q"))

    def stop(self) -> None:
        self._stopping = True

    def run(self) -> None:
        for peer in self._all:
            self._later(peer, 0.0)
        look_at = 0.0
        while not self._over():
            now = time.monotonic()
            if now >= look_at:
                self._look_for_late_ones(now)
                look_at = now + LOOK_EVERY_S
            while self._due and self._due[0][0] <= now:
                self._act(heapq.heappop(self._due)[2])
            wait = min(LOOK_EVERY_S, self._due[0][0] - now) if self._due else LOOK_EVERY_S
            for number, events in self._poll.poll(max(0.0, wait)):
                peer = self._peers.get(number)
                if peer is not None:
                    self._ready(peer, events)

    def _over(self) -> bool:
        limit = self._options.requests
        if limit and self._started >= limit:
            self._stopping = True
        return self._stopping and not any(peer.number for peer in self._all)

    def _later(self, peer: Peer, seconds: float) -> None:
        self._turn += 1
        heapq.heappush(self._due, (time.monotonic() + seconds, self._turn, peer))

    def _act(self, peer: Peer) -> None:
        if self._stopping or peer.number:
            return
        limit = self._options.requests
        if limit and self._started >= limit:
            return
        if peer.socket is None:
            self._connect(peer)
        elif peer.connected:
            self._send(peer)

    def _connect(self, peer: Peer) -> None:
        peer.socket = socket.socket()
        peer.socket.setblocking(False)
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.received.clear()
        peer.connected = False
        peer.since = time.monotonic()
        code = peer.socket.connect_ex(("127.0.0.1", self._options.port))
        if code not in (0, errno.EINPROGRESS):
            self._peers[peer.socket.fileno()] = peer
            return self._turned_away(peer, "connect")
        self._peers[peer.socket.fileno()] = peer
        self._poll.register(peer.socket, select.EPOLLIN | select.EPOLLOUT)

    def _turned_away(self, peer: Peer, kind: str) -> None:
        """No request was sent, but a client of ours was turned away: that counts."""
        self._failed(peer, kind)
        self._drop(peer)
        self._later(peer, RETRY_AFTER_FAILURE_S)

    def _drop(self, peer: Peer) -> None:
        if peer.socket is None:
            return
        self._peers.pop(peer.socket.fileno(), None)
        peer.socket.close()
        peer.socket = None
        peer.connected = False
        peer.number = ""

    def _ready(self, peer: Peer, events: int) -> None:
        assert peer.socket is not None
        if not peer.connected:
            if peer.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return self._turned_away(peer, "connect")
            if not events & select.EPOLLOUT:
                return
            peer.connected = True
            self._poll.modify(peer.socket, select.EPOLLIN)
            self._act(peer)
            return
        try:
            data = peer.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            return self._lost(peer, "reset")
        peer.received += data
        self._read(peer, ended=not data)

    def _read(self, peer: Peer, ended: bool) -> None:
        if not peer.number:
            if peer.received:
                self._failed(peer, "unasked")
            self.reconnects += 1
            self._drop(peer)
            return self._later(peer, 0.0)
        try:
            answer = take_answer(peer.received, ended)
        except (Malformed, ValueError) as error:
            print(f"chaos client: malformed answer: {error}", file=sys.stderr)
            return self._lost(peer, "malformed")
        if answer is None:
            if ended:
                self._lost(peer, "closed_inside_answer" if peer.received else "closed_before_answer")
            return
        self._check(peer, answer)
        peer.number = ""
        if peer.received:
            self._failed(peer, "unasked")
        if answer.closes or ended or peer.received:
            self.reconnects += 1
            self._drop(peer)
        if self._options.pause_ms:
            # Spread, so that the connections do not march in step.
            self._later(peer, self._options.pause_ms / 1e3 * self._random.uniform(0.5, 1.5))
        elif peer.socket is None:
            self._later(peer, 0.0)
        else:
            self._act(peer)

    def _check(self, peer: Peer, answer: Answer) -> None:
        now = time.monotonic()
        if answer.status != 200:
            return self._failed(peer, f"status_{answer.status}")
        words = answer.body.split()
        if len(words) != 3 or words[0].decode("latin-1") != peer.number:
            print(f"chaos client: got {answer.body[:60]!r}, expected {peer.number}", file=sys.stderr)
            return self._failed(peer, "wrong_body")
        self.ok += 1
        for column, value in zip(self.samples, (now, now - peer.since, int(words[1]), int(words[2])), strict=True):
            column.append(value)

    def _lost(self, peer: Peer, kind: str) -> None:
        if peer.number:
            self._failed(peer, kind)
        else:
            self.reconnects += 1
        self._drop(peer)
        self._later(peer, RETRY_AFTER_FAILURE_S)

    def _failed(self, peer: Peer, kind: str) -> None:
        self.by_kind[kind] += 1
        if len(self.failures) < FAILURES_KEPT_MAX:
            self.failures.append((time.monotonic(), kind, peer.method, peer.number))

    def _send(self, peer: Peer) -> None:
        assert peer.socket is not None
        self._started += 1
        peer.number = f"{self._options.seed}.{self._started}"
        is_post = self._random.random() * 100 < self._options.post_percent
        peer.method = "POST" if is_post else "GET"
        target = f"{self._options.path}?n={peer.number}"
        if is_post:
            rest = f"Content-Length: {len(peer.number)}\r\n\r\n{peer.number}"
        else:
            rest = "\r\n"
        peer.since = time.monotonic()
        try:
            peer.socket.send(f"{peer.method} {target} HTTP/1.1\r\nHost: localhost\r\n{rest}".encode())
        except OSError:
            self._lost(peer, "reset")

    def _look_for_late_ones(self, now: float) -> None:
        for peer in self._all:
            if peer.number and now - peer.since > self._options.timeout_s:
                self._lost(peer, "timeout")
            elif peer.socket is not None and not peer.connected and now - peer.since > CONNECT_LIMIT_S:
                self._turned_away(peer, "connect_timeout")


def main() -> int:
    options = Options(**json.loads(sys.argv[1]))
    client = Client(options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: client.stop())
    began = time.monotonic()
    client.run()
    if options.samples:
        Path(options.samples).write_bytes(b"".join(column.tobytes() for column in client.samples))
    print(
        json.dumps(
            {
                "ok": client.ok,
                "by_kind": dict(sorted(client.by_kind.items())),
                "failures": client.failures,
                "reconnects": client.reconnects,
                "seconds": time.monotonic() - began,
            }
        ),
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
