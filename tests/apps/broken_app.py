"""Applications that fail in the middle of an answer, WSGI and ASGI: what they gave before is `given` bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
TEXT = ("Content-Type", "text/plain")


def wsgi(environ: Environ, start_response: Any) -> Iterable[bytes]:
    said = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    headers = [TEXT]
    if length := said.get("length"):
        headers.append(("Content-Length", length))
    given = b"x" * int(said.get("given", "0"))
    write = start_response("200 OK", headers)
    handler: Callable[..., Iterable[bytes]] = HANDLERS[environ["PATH_INFO"]]
    return handler(write, given, environ)


def raises(_write: Any, given: bytes, _environ: Environ) -> Iterator[bytes]:
    yield given
    raise RuntimeError("raised midway")


def raises_after_write(write: Any, given: bytes, _environ: Environ) -> Iterable[bytes]:
    write(given)
    raise RuntimeError("raised midway")


def short(_write: Any, given: bytes, _environ: Environ) -> Iterator[bytes]:
    yield given


def short_write(write: Any, given: bytes, _environ: Environ) -> Iterable[bytes]:
    write(given)
    return []


def short_file(_write: Any, _given: bytes, environ: Environ) -> Iterable[bytes]:
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](open(__file__, "rb"))
    return wrapped


def short_memory(_write: Any, given: bytes, environ: Environ) -> Iterable[bytes]:
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(given))
    return wrapped


def proc(_write: Any, _given: bytes, environ: Environ) -> Iterable[bytes]:
    """A regular file that says it is empty."""
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](open(f"/proc/{os.getpid()}/stat", "rb"))
    return wrapped


HANDLERS = {
    "/raises": raises,
    "/raises-after-write": raises_after_write,
    "/short": short,
    "/short-write": short_write,
    "/short-file": short_file,
    "/short-memory": short_memory,
    "/proc": proc,
}


async def asgi(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise KeyError("no lifespan here")
    said = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    headers = [(b"content-type", b"text/plain")]
    if length := said.get("length"):
        headers.append((b"content-length", length.encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    given = b"x" * int(said.get("given", "0"))
    await send({"type": "http.response.body", "body": given, "more_body": True})
    if scope["path"] == "/raises":
        raise RuntimeError("raised midway")
    await send({"type": "http.response.body", "body": b""})
