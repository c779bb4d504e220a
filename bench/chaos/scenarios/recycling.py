"""Workers that are replaced because of what they have done: requests, and memory."""

from __future__ import annotations

import threading
import time

from harness import processes

from ..load import Load, window
from ..project import Project
from ..report import Rows
from ..subjects import Options, Subject

WORKERS = 4
MAX_REQUESTS = 100
THROUGHPUT_MIN = 0.95
SAMPLE_S = 0.05
WARM_UP_S = 1.0
# What keeps four workers busy: requests that wait (a database), and requests that compute.
LOADS = {"waiting": ("/wait", 16), "computing": ("/work", 16)}

SOFT_LIMIT_MIB = 200
# At 40 requests/s each of four workers leaks 10 MiB/s: a second's sample and a boot are far below this.
BOUND_MIB = 2 * SOFT_LIMIT_MIB
LEAK_PAUSE_MS = 200.0
LEAK_CONNECTIONS = 16
# The machine's own safety: a leak that nobody bounds is ended here.
TOTAL_MIB_MAX = 4_000
MIB = 1024 * 1024


class Sampler:
    """Asks in the background, all the time, how many workers are ready."""

    def __init__(self, server: Subject) -> None:
        self._server = server
        self._over = threading.Event()
        self.samples: list[int] = []
        self.errors = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_S):
            try:
                self.samples.append(self._server.ready_workers())
            except OSError:
                self.errors += 1


def max_requests(name: str, rows: Rows, full: bool) -> None:
    for what in LOADS:
        _max_requests(name, what, rows, seconds=60.0 if full else 8.0)


def _max_requests(name: str, what: str, rows: Rows, seconds: float) -> None:
    # Without, with, without again: what drifts on the machine drifts for both.
    first, _, _, _ = _measure(name, what, 0, seconds / 2)
    rate, result, ready, spawned = _measure(name, what, MAX_REQUESTS, seconds)
    second, _, _, _ = _measure(name, what, 0, seconds / 2)
    without = (first + second) / 2
    rows.zero(f"{what}: failed requests", result.failed, result.shown(), of=result.ok + result.failed)
    rows.none(f"{what}: requests/s without and with", f"{without:,.0f}, {rate:,.0f}")
    rows.none(f"{what}: different workers that answered", spawned)
    rows.at_least(f"{what}: throughput kept", THROUGHPUT_MIN, rate / without if without else 0.0, " ×")
    if name == "indrik":
        rows.at_least(f"{what}: ready workers at every sample", WORKERS, min(ready, default=0))
    else:
        rows.none(f"{what}: workers alive, least", min(ready, default=0))


def _measure(name: str, what: str, limit: int, seconds: float) -> tuple:
    path, connections = LOADS[what]
    with Project() as project:
        # Imported once, as anybody does whose workers are replaced several times a second.
        preload = name != "granian"
        options = Options(app="flask", workers=WORKERS, preload=preload, max_requests=limit)
        with Subject(name, options, project) as server:
            with Load(server.port, connections=connections, path=path) as load:
                window(WARM_UP_S)
                with Sampler(server) as sampler:
                    measured = window(seconds)
                result = load.stop()
            return result.rate(measured), result, sampler.samples, len(set(result.pids))


def leak(name: str, rows: Rows, full: bool) -> None:
    seconds = 60.0 if full else 15.0
    with Project() as project:
        options = Options(app="flask", workers=WORKERS, rss_max_mib=SOFT_LIMIT_MIB)
        with Subject(name, options, project) as server:
            load = Load(server.port, connections=LEAK_CONNECTIONS, path="/leak", pause_ms=LEAK_PAUSE_MS)
            with load, Sampler(server) as sampler:
                largest, total = _watch_memory(server, seconds)
                result = load.stop()
            workers = len(set(result.pids))
        rows.zero("failed requests", result.failed, result.shown(), of=result.ok + result.failed)
        rows.at_most("largest worker, resident", BOUND_MIB, largest, " MiB")
        rows.none("all workers together, at most", f"{total:.0f} MiB")
        rows.check("workers were replaced", "yes", f"{workers} answered", workers > WORKERS)
        if name == "indrik":
            rows.at_least("ready workers at every sample", WORKERS, min(sampler.samples, default=0))


def _watch_memory(server: Subject, seconds: float) -> tuple[float, float]:
    """The largest worker and the largest sum that were seen, MiB."""
    largest = total = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sizes = [processes.rss_bytes(pid) / MIB for pid in server.workers()]
        largest, total = max([largest, *sizes]), max(total, sum(sizes))
        if total > TOTAL_MIB_MAX:
            break
        time.sleep(SAMPLE_S)
    return largest, total
