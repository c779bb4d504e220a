"""The WSGI applications of the benches: one callable per scenario, so that no routing is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

HELLO = b"Hello, World!"
BODY_10K = b"x" * 10_240
BODY_1M = b"x" * 1_048_576

Environ = dict
StartResponse = Callable[..., object]


def _headers(length: int) -> list[tuple[str, str]]:
    return [("Content-Type", "text/plain"), ("Content-Length", str(length))]


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The least an application can do. Its headers are built on each request, as real ones are."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [HELLO]


def get_10k(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", _headers(len(BODY_10K)))
    return [BODY_10K]


def get_1m(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", _headers(len(BODY_1M)))
    return [BODY_1M]


def post(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Reads the whole body and answers with its length, so that a body cut short is seen."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    answer = str(len(body)).encode()
    start_response("200 OK", _headers(len(answer)))
    return [answer]


def mixed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """`/slow` waits 200 ms, everything else 1 ms, as a request waiting for a database does."""
    time.sleep(0.2 if environ["PATH_INFO"] == "/slow" else 0.001)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [HELLO]


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answers with the query string, a newline and the body: an answer meant for another request is seen.

    `/wait` takes 2 ms, so that a worker killed at random is usually killed with a request in its hands.
    """
    if environ["PATH_INFO"] == "/wait":
        time.sleep(0.002)
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length) if length else b""
    answer = environ.get("QUERY_STRING", "").encode("latin-1") + b"\n" + body
    start_response("200 OK", _headers(len(answer)))
    return [answer]


PIECE = b"x" * 65_536
PIECES = 100 * 1_048_576 // len(PIECE)


def upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Reads the body piece by piece, as a program does that stores it, and answers with its length."""
    read, length = environ["wsgi.input"].read, 0
    while piece := read(len(PIECE)):
        length += len(piece)
    answer = str(length).encode()
    start_response("200 OK", _headers(len(answer)))
    return [answer]


def download(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/hello":
        return hello(environ, start_response)
    start_response("200 OK", _headers(PIECES * len(PIECE)))
    return (PIECE for _ in range(PIECES))
