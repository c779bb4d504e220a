"""Clients that send more than they should, and read less."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..load import Load
from ..project import Project
from ..report import Rows
from ..subjects import Options, Subject

FLOODERS = 16
SECONDS = 5.0
SECONDS_FULL = 30.0
LOAD_LIMIT_S = 60.0
GROWTH_MAX_MIB = 24.0
SLOWER_MAX = 3.0
MIB = 1024 * 1024
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# Frames with a mask of zeros.
FRAMES = {
    "pings": b"\x89\x80\0\0\0\0",
    "pings of 125 bytes": b"\x89\xfd\0\0\0\0" + b"p" * 125,
    "pongs": b"\x8a\x80\0\0\0\0",
    "texts of a byte": b"\x81\x81\0\0\0\0x",
}


def run(name: str, rows: Rows, full: bool) -> None:
    seconds = SECONDS_FULL if full else SECONDS
    with Project() as project, Subject(name, Options(app="fastapi", workers=2), project) as server:
        with Load(server.port, connections=8) as load:
            begin = time.monotonic()
            time.sleep(seconds)
            quiet = (begin, time.monotonic())
            windows = {}
            grown = {}
            for what, frame in FRAMES.items():
                before = _anonymous(server.pid)
                begin = time.monotonic()
                with _flooded(server.port, frame):
                    grown[what] = _peak(server.pid, seconds) - before
                windows[what] = (begin, time.monotonic())
            result = load.stop()
        for what in FRAMES:
            rows.at_most(f"growth of the front, {FLOODERS} × {what}", GROWTH_MAX_MIB, grown[what] / MIB, " MiB")
            slower = result.p99_ms([windows[what]]) / result.p99_ms([quiet])
            rows.at_most(f"p99 of the others, {FLOODERS} × {what}", SLOWER_MAX, slower, " × without")
        rows.zero("failed requests of the others", result.failed, result.shown(), of=result.ok + result.failed)


@contextlib.contextmanager
def _flooded(port: int, frame: bytes) -> Iterator[None]:
    """Clients that send as fast as they are let, and read nothing."""
    over = threading.Event()
    block = frame * (128 * 1024 // len(frame))

    def flood() -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(UPGRADE.encode())
            connection.recv(1)
            connection.settimeout(0.2)
            sent = 0
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    # A frame that was sent in part goes on where it was.
                    sent = (sent + connection.send(memoryview(block)[sent:])) % len(block)

    threads = [threading.Thread(target=flood) for _ in range(FLOODERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _peak(pid: int, seconds: float) -> int:
    until = time.monotonic() + seconds
    peak = 0
    while time.monotonic() < until:
        peak = max(peak, _anonymous(pid))
        time.sleep(0.02)
    return peak


def _anonymous(pid: int) -> int:
    """A process's memory without files, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0
