"""The load that wrk cannot make, on plain sockets: WebSocket echoes, and bodies of any size either way.

    python3 bench/wire_client.py echo PORT SECONDS CONNECTIONS BYTES
    python3 bench/wire_client.py upload PORT SECONDS CONNECTIONS BYTES
    python3 bench/wire_client.py download PORT SECONDS CONNECTIONS BYTES

Each connection has one message or request under way. Prints what `wrk.lua` prints. It is slower than wrk; CPU time
per request of the server does not depend on that.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import sys
import time

BLOCK = 256 * 1024


class Peer:
    """A connection: what it sends, over and over, and how many bytes come back for each."""

    def __init__(self, port: int, message: bytes, answer_bytes: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.message, self.answer_bytes = memoryview(message), answer_bytes
        self.sent = self.received = 0
        self.has_head = False
        self.began = 0.0

    def begin(self) -> None:
        self.sent = self.received = 0
        self.has_head = False
        self.began = time.perf_counter()

    def write(self) -> None:
        self.sent += self.socket.send(self.message[self.sent : self.sent + BLOCK])


def handshake(peer: Peer) -> None:
    peer.socket.sendall(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += peer.socket.recv(4096)
    if not head.startswith(b"HTTP/1.1 101"):
        raise SystemExit(f"no WebSocket: {head[:80]!r}")


def header(size: int, masked: int) -> bytes:
    if size < 126:
        return bytes([0x82, masked | size])
    if size < 65_536:
        return bytes([0x82, masked | 126]) + struct.pack(">H", size)
    return bytes([0x82, masked | 127]) + struct.pack(">Q", size)


def peers(kind: str, port: int, connections: int, size: int) -> list[Peer]:
    if kind == "echo":
        frame = header(size, 0x80) + bytes(4) + b"x" * size
        made = [Peer(port, frame, len(header(size, 0)) + size) for _ in range(connections)]
        for peer in made:
            handshake(peer)
        return made
    if kind == "upload":
        head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode()
        return [Peer(port, head + b"x" * size, 0) for _ in range(connections)]
    return [Peer(port, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", size) for _ in range(connections)]


def read(peer: Peer, kind: str, buffer: bytearray) -> bool:
    """Whether the answer is whole. Of HTTP, a head of unknown length comes first, in one piece or alone."""
    count = peer.socket.recv_into(buffer)
    if count == 0:
        raise ConnectionResetError
    if kind != "echo" and not peer.has_head:
        peer.has_head = True
        end = buffer.index(b"\r\n\r\n") + 4
        if not buffer.startswith(b"HTTP/1.1 200"):
            raise ConnectionResetError
        if kind == "upload":
            peer.answer_bytes = count - end
        count -= end
    peer.received += count
    return peer.received >= peer.answer_bytes


def run(kind: str, port: int, seconds: float, connections: int, size: int) -> dict[str, float]:
    selector, buffer, took = selectors.DefaultSelector(), bytearray(BLOCK), []
    read_errors = 0
    for peer in peers(kind, port, connections, size):
        peer.socket.setblocking(False)
        selector.register(peer.socket, selectors.EVENT_WRITE, peer)
        peer.begin()
    started = time.perf_counter()
    while (now := time.perf_counter()) < started + seconds:
        for key, _ in selector.select(0.1):
            peer = key.data
            try:
                if peer.sent < len(peer.message):
                    peer.write()
                    if peer.sent == len(peer.message):
                        selector.modify(peer.socket, selectors.EVENT_READ, peer)
                elif read(peer, kind, buffer):
                    took.append(time.perf_counter() - peer.began)
                    peer.begin()
                    selector.modify(peer.socket, selectors.EVENT_WRITE, peer)
            except BlockingIOError:
                pass
            except (OSError, ValueError):
                read_errors += 1
                selector.unregister(peer.socket)
    took.sort()
    at = lambda part: took[min(len(took) - 1, int(len(took) * part))] * 1e6 if took else 0.0  # noqa: E731
    return {
        "requests": len(took), "microseconds": (now - started) * 1e6, "bytes": len(took) * size,
        "p50_us": at(0.5), "p99_us": at(0.99), "max_us": at(1.0),
        "connect": 0, "read": read_errors, "write": 0, "status": 0, "timeout": 0,
    }  # fmt: skip


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    words = sys.argv[1:]
    print("BENCH_RESULT " + json.dumps(run(words[0], int(words[1]), float(words[2]), int(words[3]), int(words[4]))))
