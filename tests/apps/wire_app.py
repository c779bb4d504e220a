"""The WSGI application of the tests of what goes over the wire: one small function per path."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

Environ = dict[str, Any]


def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
    handler = globals().get(environ["PATH_INFO"].strip("/") or "describe", describe)
    return handler(environ, start_response)


def describe(environ: Environ, start_response: Any) -> Iterable[bytes]:
    shown = {key: value if isinstance(value, str) else type(value).__name__ for key, value in environ.items()}
    body = json.dumps(shown).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def hints(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Two hints, then the answer, then one that comes too late."""
    environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
    environ["wsgi.early_hints"]([("Link", "</b.js>; rel=preload"), (b"X-Bytes", b"yes")])
    start_response("200 OK", [("Content-Length", "4")])
    yield b"do"
    environ["wsgi.early_hints"]([("Link", "</late>")])
    yield b"ne"


def bad_hints(environ: Environ, start_response: Any) -> Iterable[bytes]:
    refused = []
    for headers in ([("A b", "c")], [("A", "b\r\nC: d")]):
        try:
            environ["wsgi.early_hints"](headers)
        except Exception as error:
            refused.append(type(error).__name__)
    body = str(len(refused)).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def own_fields(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Fields that are the server's business."""
    fields = [("Server", "mine"), ("Date", "today"), ("Connection", "keep-alive"), ("Keep-Alive", "9")]
    fields += [("Transfer-Encoding", "gzip"), ("TE", "x"), ("Trailers", "x"), ("Upgrade", "x")]
    start_response("200 OK", [*fields, ("Content-Length", "2"), ("X-Mine", "kept")])
    return [b"ok"]


def items(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return iter([b"one", b"", b"two"])


def no_content(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("204 No Content", [("Content-Length", "3")])
    return [b"abc"]


def not_modified(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("304 Not Modified", [("Content-Length", "3")])
    return [b"abc"]


def bare_status(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("299", [("Content-Length", "0")])
    return []


def broken(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    raise RuntimeError("<secret>")
