"""Memory that is loaded once and shared, and how fast workers come from it."""

from __future__ import annotations

import time

from harness import processes

from ..load import Load
from ..project import Project
from ..report import Rows
from ..subjects import Options, Subject

MODEL_MIB = 440
WORKERS = 8
REQUESTS = 10_000
LOAD_LIMIT_S = 120.0
SHARING_MAX = 1.25
SCALE_MAX_MS = 150.0
SCALE_LIMIT_S = 30.0
MIB = 1024 * 1024


def preload(name: str, rows: Rows, full: bool) -> None:
    environment = {"CHAOS_MODEL_MIB": str(MODEL_MIB)}
    with Project() as project:
        options = Options(app="flask", workers=1, preload=True, environment=environment)
        with Subject(name, options, project) as server:
            one = _serve_and_weigh(server, rows, "one worker")
            scaled = [_scale(server) for _ in range(5 if full else 1)] if name == "indrik" else []
            eight = _serve_and_weigh(server, rows, "8 workers") if scaled else _eight(name, rows, environment)
    rows.none("memory (PSS) of all processes with 1 and 8 workers", f"{one:.0f} MiB, {eight:.0f} MiB")
    rows.at_most("8 workers / one worker", SHARING_MAX, eight / one, " ×")
    if scaled:
        rows.at_most("from 1 to 8 ready workers", SCALE_MAX_MS, max(scaled), " ms")


def _eight(name: str, rows: Rows, environment: dict[str, str]) -> float:
    with Project() as project:
        options = Options(app="flask", workers=WORKERS, preload=True, environment=environment)
        with Subject(name, options, project) as server:
            return _serve_and_weigh(server, rows, "8 workers")


def _serve_and_weigh(server: Subject, rows: Rows, what: str) -> float:
    with Load(server.port, connections=16, path="/model", requests=REQUESTS) as load:
        result = load.wait(LOAD_LIMIT_S)
    rows.zero(f"{what}: failed requests", result.failed, result.shown(), of=result.ok + result.failed)
    return sum(processes.pss_bytes(pid) for pid in server.alive()) / MIB


def _scale(server: Subject) -> float:
    """One worker, then eight: how long until all are ready, ms."""
    with server.control() as control:
        here = len(server.workers())
        if here > 1:
            control.call(f"worker remove {here - 1}")
            _until(server, 1)
        began = time.monotonic()
        control.call(f"worker add {WORKERS - 1}")
        while time.monotonic() - began < SCALE_LIMIT_S:
            if control.call("show stats")["workers_ready"] >= WORKERS:
                return (time.monotonic() - began) * 1e3
            time.sleep(0.001)
    return float("inf")


def _until(server: Subject, count: int) -> None:
    deadline = time.monotonic() + SCALE_LIMIT_S
    while len(server.workers()) != count and time.monotonic() < deadline:
        time.sleep(0.01)
