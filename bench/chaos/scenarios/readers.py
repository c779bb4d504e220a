"""Clients that do not read their answers for a while: whether they hold up others, and get every byte in the end."""

from __future__ import annotations

import socket
import time

from ..load import Load, window
from ..project import Project
from ..report import Rows
from ..subjects import Options, Subject

WORKERS = 2
READERS = 20
MIB = 1024 * 1024
ANSWER_BYTES = 8 * MIB
CONNECTIONS = 8
# Unread for so long, seconds: longer than the limit of requests.
UNREAD_S = {False: 6.0, True: 40.0}
LIMIT_S = {False: 3, True: 30}
P99_MS_MAX = 250.0
READ_LIMIT_S = 60.0


def run(name: str, rows: Rows, full: bool) -> None:
    for app in ("flask", "fastapi"):
        with (
            Project() as project,
            Subject(name, Options(app=app, workers=WORKERS, timeout_s=LIMIT_S[full]), project) as server,
        ):
            _run(app, server, rows, UNREAD_S[full])


def _run(app: str, server: Subject, rows: Rows, unread_s: float) -> None:
    server.wait_for_workers(WORKERS)
    before = server.workers()
    readers = [_ask(server.port, seed) for seed in range(READERS)]
    with Load(server.port, connections=CONNECTIONS, path="/echo", seed=1) as others:
        seen = window(unread_s)
        time.sleep(unread_s)
        result = others.stop()
    after = server.workers()
    whole = sum(_read(reader) == _content(seed) for seed, reader in enumerate(readers))
    rows.zero(f"{app}: requests of others that failed", result.failed, result.shown(), of=result.ok + result.failed)
    rows.at_most(f"{app}: p99 of others while {READERS} do not read", P99_MS_MAX, result.p99_ms([seen]), "ms")
    rows.zero(f"{app}: workers that were ended", len(before.items() - after.items()))
    rows.at_least(f"{app}: answers of {ANSWER_BYTES // MIB} MiB that were whole in the end", READERS, whole)


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
