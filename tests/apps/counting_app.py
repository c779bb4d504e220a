"""Counts in `indrik.metrics` and in prometheus_client, as WSGI and ASGI; what it has counted it notes in a file."""

from __future__ import annotations

import os
import signal
from typing import Any

import prometheus_client as theirs

from indrik import metrics

HITS = metrics.counter("shop_hits", "Requests that were counted.", ["path"])
SIZES = metrics.histogram("shop_sizes", "Sizes.", buckets=(1, 10, 100))
BUSY = metrics.gauge("shop_busy", "Workers by what they do.")
LAST = metrics.gauge("shop_last", "The last one.", across="last")
metrics.info("shop_build", "What runs.", version="1.2")
AT_IMPORT = metrics.counter("shop_imports", "How often this module was imported.")
AT_IMPORT.inc()

THEIR_HITS = theirs.Counter("lib_hits", "Requests that were counted.", ["path"])
THEIR_TIMES = theirs.Histogram("lib_times_seconds", "Times.", buckets=(0.1, 1))
THEIR_SUMMARY = theirs.Summary("lib_summary", "Sums.")
THEIR_LIVE = theirs.Gauge("lib_live", "Of the living.", multiprocess_mode="livesum")
THEIR_ALL = theirs.Gauge("lib_all", "Of each.")
THEIR_INFO = theirs.Info("lib_build", "What runs.")
THEIR_INFO.info({"version": "3"})
THEIR_STATE = theirs.Enum("lib_state", "How it is.", states=["idle", "busy"])

NOTES = os.open(os.environ["TEST_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT) if "TEST_NOTES" in os.environ else -1


def count(path: str) -> None:
    HITS.labels(path).inc()
    SIZES.observe(5)
    THEIR_HITS.labels(path).inc()
    THEIR_TIMES.observe(0.5)
    THEIR_SUMMARY.observe(2)
    THEIR_LIVE.set(1)
    THEIR_ALL.set(os.getpid())
    BUSY.set(1)
    if NOTES >= 0:
        os.write(NOTES, b".")


def respond(path: str, query: str) -> str:
    if path == "/fork":
        in_children(int(query or 2), path)
    elif path == "/orphan":
        leave_behind(path)
    elif path == "/hold":
        count(path)
        with open(os.environ["TEST_GATE"], "rb") as gate:
            gate.read()
    elif path == "/state":
        THEIR_STATE.state("busy")
    elif path == "/last":
        LAST.set(float(query))
    elif path == "/labels":
        for number in range(int(query)):
            HITS.labels("x" * 3000 + str(number) if number == 0 else f"label {number}").inc()
    elif path == "/clash":
        metrics.gauge("shop_hits", "Not that.", ["path"]).labels("/").set(1)
    elif path == "/exit":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        count(path)
    return str(os.getpid())


def in_children(children: int, path: str) -> None:
    """Each child counts, and its end is waited for."""
    pids = []
    for _ in range(children):
        pid = os.fork()
        if pid == 0:
            count(path)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)


def leave_behind(path: str) -> None:
    """A child that outlives its worker, and counts when it is told to."""
    gate = os.environ["TEST_GATE"]
    if os.fork() == 0:
        with open(gate, "rb") as file:
            file.read()
        count(path)
        os._exit(0)


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [respond(environ["PATH_INFO"], environ["QUERY_STRING"]).encode()]


async def asgi(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    body = respond(scope["path"], scope["query_string"].decode()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
