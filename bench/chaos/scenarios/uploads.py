"""Uploads of all sizes beside files of the application: whether any of them is taken for another one."""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
import time
from collections import Counter

from ..project import Project
from ..report import Rows
from ..subjects import Options, Subject

CLIENTS = 64
SECONDS = 6.0
SECONDS_FULL = 60.0
AFTERWARDS = 300
# Workers and threads of each; no threads: one request at a time.
SHAPES = ((1, 0), (1, 32), (2, 8))
SIZES = (10, 1_000, 50_000, 65_536, 65_537, 100_000, 300_000)
HEAD_BYTES = 4_000
FILE_LINES = 8_192
LIMIT_S = 30.0


def run(name: str, rows: Rows, full: bool) -> None:
    for workers, threads in SHAPES:
        shape = f"{workers} × {threads} threads" if threads else f"{workers} × sync"
        with Project() as project, Subject(name, Options(workers=workers, gthread=threads), project) as server:
            server.wait_for_workers(workers)
            during = _load(server.port, SECONDS_FULL if full else SECONDS)
            afterwards: Counter[str] = Counter()
            _client(server.port, CLIENTS, AFTERWARDS, 0.0, afterwards)
        rows.zero(f"{shape}: wrong or failed", _wrong(during), _words(during), of=during.total())
        rows.zero(f"{shape}: wrong or failed afterwards", _wrong(afterwards), _words(afterwards), of=afterwards.total())


def _load(port: int, seconds: float) -> Counter[str]:
    until = time.monotonic() + seconds
    counts = [Counter[str]() for _ in range(CLIENTS)]
    threads = [
        threading.Thread(target=_client, args=(port, seed, 0, until, count)) for seed, count in enumerate(counts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts, Counter[str]())


def _client(port: int, seed: int, requests: int, until: float, counts: Counter[str]) -> None:
    """So many requests, or until then, one after the other on a connection that is kept."""
    chance = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    number = 0
    while number < requests or time.monotonic() < until:
        number += 1
        try:
            counts[_request(connection, chance, f"{seed}-{number}")] += 1
        except (OSError, http.client.HTTPException) as error:
            counts[type(error).__name__] += 1
            connection.close()
    connection.close()


def _request(connection: http.client.HTTPConnection, chance: random.Random, mark: str) -> str:
    headers = {"X-Padding": "x" * HEAD_BYTES} if chance.random() < 0.5 else {}
    if chance.random() < 0.2:
        connection.request("GET", f"/file?n={mark}", headers=headers)
        wanted = f"{mark:>31}\n".encode() * FILE_LINES
    else:
        # No two bodies are equal.
        size = chance.choice(SIZES)
        body = (f"{mark} ".encode() * (size // (len(mark) + 1) + 1))[: max(size, len(mark))]
        connection.request("POST", "/digest", body=body, headers=headers)
        wanted = hashlib.sha256(body).hexdigest().encode()
    answer = connection.getresponse()
    found = answer.read()
    if answer.status != 200:
        return str(answer.status)
    return "ok" if found == wanted else "wrong"


def _wrong(counts: Counter[str]) -> int:
    return counts.total() - counts["ok"]


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} × {what}" for what, count in sorted(counts.items()) if what != "ok")
