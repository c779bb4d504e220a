"""A plain WSGI application: PEP 3333 and nothing else.

indrik --chdir examples wsgi_plain:app
indrik --chdir examples wsgi_plain:validated    # the same under wsgiref.validate
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from wsgiref.validate import validator

BLOCK_BYTES = 64 * 1024
TEXT = ("Content-Type", "text/plain; charset=utf-8")
FILE = Path(__file__).with_name("README.md")

Environ = dict[str, Any]
StartResponse = Any


def hello(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = b"Hello from plain WSGI\n"
    start_response("200 OK", [TEXT, ("Content-Length", str(len(body)))])
    return [body]


def as_json(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = json.dumps({"hello": "world", "framework": "wsgi"}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Send the request's body back as it comes in, block by block."""
    kind = environ.get("CONTENT_TYPE") or "application/octet-stream"
    start_response("200 OK", [("Content-Type", kind)])
    return body_blocks(environ)


def upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the length and hash of the body, never holding more than one block of it."""
    digest, length = hashlib.sha256(), 0
    for block in body_blocks(environ):
        digest.update(block)
        length += len(block)
    body = json.dumps({"bytes": length, "sha256": digest.hexdigest()}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def stream(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Generate `?megabytes=N` of download; no Content-Length, so it is sent in chunks."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    blocks = int(query(environ, "megabytes", "1")) * 1024 * 1024 // BLOCK_BYTES
    return (b"x" * BLOCK_BYTES for _ in range(blocks))


def events(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Server-sent events: `?count=N` of them, `?pause=SECONDS` apart."""
    headers = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")]
    start_response("200 OK", headers)
    count, pause = int(query(environ, "count", "5")), float(query(environ, "pause", "0.2"))
    return event_stream(count, pause)


def slow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    time.sleep(float(query(environ, "seconds", "1")))
    start_response("200 OK", [TEXT])
    return [b"done\n"]


def download(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Hand the server a file; it sends the file itself."""
    headers = [TEXT, ("Content-Length", str(FILE.stat().st_size))]
    start_response("200 OK", headers)
    blocks: Iterable[bytes] = environ["wsgi.file_wrapper"](FILE.open("rb"), BLOCK_BYTES)
    return blocks


def error(_environ: Environ, _start_response: StartResponse) -> Iterable[bytes]:
    raise RuntimeError("this endpoint always fails")


ROUTES = {
    "/": hello,
    "/json": as_json,
    "/echo": echo,
    "/upload": upload,
    "/stream": stream,
    "/events": events,
    "/slow": slow,
    "/file": download,
    "/error": error,
}


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    handler = ROUTES.get(environ["PATH_INFO"] or "/")
    if handler is None:
        start_response("404 Not Found", [TEXT])
        return [b"not found\n"]
    return handler(environ, start_response)


validated = validator(app)


def body_blocks(environ: Environ) -> Iterator[bytes]:
    while block := environ["wsgi.input"].read(BLOCK_BYTES):
        yield block


def event_stream(count: int, pause: float) -> Iterator[bytes]:
    for number in range(count):
        if number:
            time.sleep(pause)
        yield f"id: {number}\ndata: event {number}\n\n".encode()


def query(environ: Environ, name: str, default: str) -> str:
    value: str = parse_qs(environ.get("QUERY_STRING", "")).get(name, [default])[0]
    return value
