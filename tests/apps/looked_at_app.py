"""An application that is looked into: it computes, waits, keeps the interpreter's lock, and leaks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

_kept: list[bytes] = []


def hot_function(until: float) -> int:
    """Computes for so many seconds of its thread's own time."""
    import time

    count = 0
    while time.thread_time() < until:
        count += sum(range(200))
    return count


def burn(seconds: float) -> int:
    import time

    return hot_function(time.thread_time() + seconds)


def wait_here(path: str) -> None:
    """Waits until the test has closed its end of this socket."""
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(path)
        gate.recv(1)


def keep_the_lock(seconds: float) -> None:
    """Runs code in C that does not let go of the interpreter's lock, for about so long."""
    import time

    began, steps = time.monotonic(), 1_000_000
    sum(range(steps))
    took = time.monotonic() - began
    sum(range(int(steps * seconds / took)))


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    import indrik

    path, query = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])
    one = {name: values[0] for name, values in query.items()}
    indrik.route(path)
    if path == "/burn":
        burn(float(one.get("seconds", "0.05")))
    elif path.startswith("/cool"):
        burn(0.004)
    elif path == "/wait":
        wait_here(one["gate"])
    elif path == "/keep":
        keep_the_lock(float(one["seconds"]))
    elif path == "/leak":
        _kept.append(b"x" * int(one["bytes"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [threading.current_thread().name.encode()]


async def asgi(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    import asyncio

    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    query = parse_qs(scope["query_string"].decode())
    if scope["path"] == "/burn":
        burn(float(query.get("seconds", ["0.05"])[0]))
    elif scope["path"] == "/wait":
        reader, _writer = await asyncio.open_unix_connection(query["gate"][0])
        await waits_for_the_gate(reader)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


async def waits_for_the_gate(reader: Any) -> None:
    await reader.read(1)
