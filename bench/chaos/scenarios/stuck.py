"""Requests that do not end, in four ways, while others are served."""

from __future__ import annotations

import concurrent.futures
import time

from ..load import Load, Result, Window, window
from ..project import Project
from ..report import Rows
from ..subjects import Fetched, Options, Subject

WORKERS = 4
LIMIT_S = 2
# The limit is looked at in sweeps, and the answer has its way to go.
LIMIT_TOLERANCE_S = 1.5
WAYS = ("sleep", "busy", "c", "lock")
CONNECTIONS = 8
PAUSE_MS = 10.0
P99_RATIO_MAX = 3.0
RESTORE_LIMIT_S = 15.0
LOG_LIMIT_S = 6.0
# `/hold` takes half a second: so many at once as there are workers end together only if each has one of its own.
HOLD_TOGETHER_S = 0.95


def run(name: str, rows: Rows, full: bool) -> None:
    for app in ("flask", "fastapi"):
        _run(name, app, rows, rounds=5 if full else 1)


def _run(name: str, app: str, rows: Rows, rounds: int) -> None:
    with Project() as project:
        library = project.spin_library()
        environment = {"CHAOS_SPIN_LIBRARY": str(library)} if library else {}
        options = Options(app=app, workers=WORKERS, timeout_s=LIMIT_S, environment=environment)
        with Subject(name, options, project) as server:
            load = Load(server.port, connections=CONNECTIONS, path="/wait", pause_ms=PAUSE_MS)
            with load:
                window(1.0)
                before = window(3.0)
                found = {way: [_one(server, way) for _ in range(rounds)] for way in WAYS}
                _wait_for_logs(server)
                result = load.stop()
            for way, tries in found.items():
                if app == "fastapi" and way == "lock" and name != "indrik":
                    continue
                _tell(rows, app, way, tries, server.log())
        _others(rows, app, result, before, [one.window for tries in found.values() for one in tries])


class _One:
    def __init__(self, fetched: Fetched, restored_s: float, window: Window) -> None:
        self.fetched = fetched
        self.restored_s = restored_s
        self.window = window


def _one(server: Subject, way: str) -> _One:
    began = time.monotonic()
    fetched = server.fetch(f"/stuck/{way}", seconds=LIMIT_S + 20.0)
    answered = time.monotonic()
    restored = float("inf")
    while time.monotonic() - answered < RESTORE_LIMIT_S:
        if _all_workers_work(server):
            restored = time.monotonic() - answered
            break
    return _One(fetched, restored, (began, time.monotonic()))


def _wait_for_logs(server: Subject) -> None:
    """The traceback comes a grace period after the answer."""
    deadline = time.monotonic() + LOG_LIMIT_S
    while time.monotonic() < deadline and not all(f"stuck_{way}" in server.log() for way in WAYS):
        time.sleep(0.1)


def _all_workers_work(server: Subject) -> bool:
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(lambda _: server.fetch("/hold", seconds=5.0), range(WORKERS)))
    return all(answer.status == 200 and answer.seconds < HOLD_TOGETHER_S for answer in answers)


def _tell(rows: Rows, app: str, way: str, tries: list[_One], log: str) -> None:
    statuses = [one.fetched.status for one in tries]
    times = [one.fetched.seconds for one in tries]
    in_time = all(status == 504 for status in statuses) and max(times) <= LIMIT_S + LIMIT_TOLERANCE_S
    shown = f"{sorted(set(statuses))} within {max(times):.1f} s"
    rows.check(f"{app}, {way}: answer", f"504 within {LIMIT_S + LIMIT_TOLERANCE_S:.1f} s", shown, in_time)
    logged = f"stuck_{way}" in log and f"/stuck/{way}" in log
    rows.check(f"{app}, {way}: traceback and request in the log", "yes", "yes" if logged else "no", logged)
    worst = max(one.restored_s for one in tries)
    rows.at_most(f"{app}, {way}: capacity restored after", RESTORE_LIMIT_S, worst, " s")


def _others(rows: Rows, app: str, result: Result, before: Window, during: list[Window]) -> None:
    # Who shares an event loop with a request that blocks it is as late as that one, and gets its answer.
    shared = result.by_kind.get("status_504", 0) if app == "fastapi" else 0
    if app == "fastapi":
        rows.none(f"{app}: 504 for others in a blocked event loop", shared)
    count = result.failed - shared
    rows.zero(f"{app}: other requests that failed", count, result.shown(), of=result.ok + result.failed)
    calm, stressed = result.p99_ms([before]), result.p99_ms(during)
    rows.none(f"{app}: p99 of the others, before and during", f"{calm:.1f} ms, {stressed:.1f} ms")
    rows.at_most(f"{app}: p99 of the others, during / before", P99_RATIO_MAX, stressed / calm, " ×")
