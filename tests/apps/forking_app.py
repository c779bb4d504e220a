"""Forks in all the ways that applications do, and closes what it did not open."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterable
from typing import Any

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
    return b"the child's answer, which nobody may see"


def close_all() -> bytes:
    """As daemons do. What is opened next has the numbers that are free now."""
    os.closerange(3, 65536)
    with tempfile.TemporaryFile() as file:
        for _ in range(20):
            file.flush()
        file.seek(0)
        return repr(file.read()).encode()


def answer(path: str) -> bytes:
    if path == "/pool":
        return pool()
    if path == "/terminate":
        return terminate()
    if path.startswith("/fork/"):
        return fork(path.removeprefix("/fork/"))
    if path == "/close":
        return close_all()
    return str(os.getpid()).encode()


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read() or answer(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    body = body or answer(scope["path"])
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
