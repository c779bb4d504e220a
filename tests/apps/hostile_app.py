"""An application that overwrites words of its worker's channel: what a bug in an extension module can do."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs


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
    if path == "/poke":
        poke(query)
    return f"{path}?{query}".encode() if path == "/echo" else str(os.getpid()).encode()


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    body = body or answer(environ["PATH_INFO"], environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    body = body or answer(scope["path"], scope["query_string"].decode())
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
