"""Clients that do not read their answers for a while, and clients that read slowly: whether they hold up others, and
get every byte in the end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass

from ..load import Load, window
from ..project import Project
from ..report import Rows
from ..subjects import Options, Subject, gunicorn

WORKERS = 2
READERS = 20
# Ordinary downloads beside them, and how fast each is, bytes a second.
DOWNLOADS = 8
DOWNLOAD_RATE = 1_000_000
MIB = 1024 * 1024
ANSWER_BYTES = 8 * MIB
CONNECTIONS = 8
# Unread for so long, seconds: longer than the limit of requests.
UNREAD_S = {False: 6.0, True: 40.0}
LIMIT_S = {False: 3, True: 30}
# What others may wait: so long, or so much longer than with Gunicorn's threads (one for each client) in the same run.
P99_MS_MAX = 50.0
SLOWER_MAX = 1.5
READ_LIMIT_S = 60.0


@dataclass
class Seen:
    failed: int
    asked: int
    shown: str
    p99_ms: float
    ended: int
    whole: int


def run(name: str, rows: Rows, full: bool) -> None:
    for app in ("flask", "fastapi"):
        seen = _measured(name, app, full)
        bar = P99_MS_MAX
        if name != "gunicorn" and app == "flask" and gunicorn().exists():
            beside = _measured("gunicorn", app, full)
            rows.none(f"{app}: p99 of others with Gunicorn's threads", f"{beside.p99_ms:.2f} ms")
            bar = max(bar, SLOWER_MAX * beside.p99_ms)
        everybody = f"{READERS} do not read and {DOWNLOADS} download slowly"
        rows.zero(f"{app}: requests of others that failed", seen.failed, seen.shown, of=seen.asked)
        rows.at_most(f"{app}: p99 of others while {everybody}", bar, seen.p99_ms, "ms")
        rows.zero(f"{app}: workers that were ended", seen.ended)
        wanted = READERS + DOWNLOADS
        rows.at_least(f"{app}: answers of {ANSWER_BYTES // MIB} MiB that were whole in the end", wanted, seen.whole)


def _measured(name: str, app: str, full: bool) -> Seen:
    threads = READERS + DOWNLOADS + CONNECTIONS
    options = Options(app=app, workers=WORKERS, threads=threads, timeout_s=LIMIT_S[full])
    with Project() as project, Subject(name, options, project) as server:
        return _run(server, UNREAD_S[full])


def _run(server: Subject, unread_s: float) -> Seen:
    server.wait_for_workers(WORKERS)
    before = server.workers()
    readers = [_ask(server.port, seed) for seed in range(READERS)]
    downloads = [_Download(server.port, READERS + number) for number in range(DOWNLOADS)]
    with Load(server.port, connections=CONNECTIONS, path="/echo", seed=1) as others:
        seen = window(unread_s)
        time.sleep(unread_s)
        result = others.stop()
    after = server.workers()
    whole = sum(_read(reader) == _content(seed) for seed, reader in enumerate(readers))
    whole += sum(download.is_whole() for download in downloads)
    return Seen(
        failed=result.failed,
        asked=result.ok + result.failed,
        shown=result.shown(),
        p99_ms=result.p99_ms([seen]),
        ended=len(before.items() - after.items()),
        whole=whole,
    )


class _Download(threading.Thread):
    """A client with a line of a megabyte a second."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.socket, self.seed = _ask(port, seed), seed
        self.received = bytearray()
        self.start()

    def run(self) -> None:
        with self.socket, contextlib.suppress(OSError):
            while piece := self.socket.recv(DOWNLOAD_RATE // 20):
                self.received += piece
                time.sleep(len(piece) / DOWNLOAD_RATE)

    def is_whole(self) -> bool:
        self.join(READ_LIMIT_S)
        return bytes(self.received.partition(b"\r\n\r\n")[2]) == _content(self.seed)


def _content(seed: int) -> bytes:
    line = f"{seed:015}\n".encode()
    return line * (ANSWER_BYTES // len(line))


def _ask(port: int, seed: int) -> socket.socket:
    reader = socket.create_connection(("127.0.0.1", port), READ_LIMIT_S)
    reader.sendall(f"GET /large?n={seed} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
    return reader


def _read(reader: socket.socket) -> bytes:
    received = bytearray()
    with reader:
        try:
            while piece := reader.recv(MIB):
                received += piece
        except OSError:
            pass
    return bytes(received.partition(b"\r\n\r\n")[2])
