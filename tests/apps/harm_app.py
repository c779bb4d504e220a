"""Harms its own worker in the ways that applications do: forks and comes back, closes what it did not open, and
overwrites words of the channel, as a bug in an extension module can."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

context = multiprocessing.get_context("fork")


def square(number: int) -> int:
    return number * number


def wait_for_nothing() -> None:
    os.read(os.pipe()[0], 1)


def pool() -> bytes:
    with context.Pool(2) as processes:
        return repr(processes.map(square, range(5))).encode()


def terminate() -> bytes:
    process = context.Process(target=wait_for_nothing)
    process.start()
    process.terminate()
    process.join()
    return str(process.exitcode).encode()


class InChild(Exception):
    pass


def fork(how: str) -> bytes:
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return str(os.waitstatus_to_exitcode(status)).encode()
    if how == "raises":
        raise InChild
    if how == "exits":
        sys.exit(7)
    if how == "leaves":
        os._exit(8)
    if how == "waits":
        # Longer than any sign of life takes; with greenlets the hub turns meanwhile.
        for _ in range(12):
            threading.Event().wait(0.1)
        os._exit(9)
    return b"the child's answer, which nobody may see"


def close_from(first: int) -> bytes:
    """As daemons do. What is opened next has the numbers that are free now."""
    os.closerange(first, 65536)
    with tempfile.TemporaryFile() as file:
        for _ in range(20):
            file.flush()
        file.seek(0)
        return repr(file.read()).encode()


def poke(query: str) -> None:
    """Writes `value` at `offset` of the memory, and at so many places `stride` apart.

    With `keep` a thread goes on writing it: what the worker itself writes there does not mend it."""
    found = {name: int(values[0]) for name, values in parse_qs(query).items()}
    write(found)
    if found.get("keep"):
        threading.Thread(target=keep_writing, args=(found,), daemon=True).start()


def keep_writing(found: dict[str, int]) -> None:
    never = threading.Event()
    while not never.wait(0.001):
        write(found)


def write(found: dict[str, int]) -> None:
    word = ctypes.c_uint64 if found["size"] == 8 else ctypes.c_uint32
    for place in range(found.get("places", 1)):
        address = channel() + found["offset"] + place * found.get("stride", 0)
        word.from_address(address).value = found["value"]


def channel() -> int:
    """Where the channel lies."""
    with open("/proc/self/maps") as maps:
        lines = [line for line in maps if "memfd:indrik-channel" in line]
    return min(int(line.split("-")[0], 16) for line in lines)


def answer(path: str, query: str) -> bytes:
    if path == "/echo":
        return f"{path}?{query}".encode()
    if path == "/poke":
        poke(query)
    if path == "/pool":
        return pool()
    if path == "/terminate":
        return terminate()
    if path.startswith("/fork/"):
        return fork(path.removeprefix("/fork/"))
    if path == "/close":
        return close_from(int(query))
    return str(os.getpid()).encode()


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    body = body or answer(environ["PATH_INFO"], environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


WANTS_CREDIT = {"offset": 4096 + 136, "size": 4, "value": 0, "places": 16, "stride": 256}
LARGE = b"large" * 400_000


async def sends_unheard(send: Any) -> None:
    """Sends a large body; that it waits for the client is wiped out again and again."""
    headers = [(b"content-length", str(len(LARGE)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    sending = asyncio.ensure_future(send({"type": "http.response.body", "body": LARGE}))
    while not sending.done():
        write(WANTS_CREDIT)
        await asyncio.sleep(0)
    await sending


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if scope["path"] == "/unheard":
        return await sends_unheard(send)
    body = body or answer(scope["path"], scope["query_string"].decode())
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
