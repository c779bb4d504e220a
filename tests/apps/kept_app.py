"""Applications that keep `wsgi.input` longer than their request, and one that reads into a buffer of its own."""

from __future__ import annotations

from typing import Any

kept: list[Any] = []


def app(environ, start_response):
    body, path = environ["wsgi.input"], environ["PATH_INFO"]
    if path == "/keep":
        kept[:] = [body]
        answer = str(len(body.read(int(environ["CONTENT_LENGTH"]) // 3))).encode()
    elif path == "/kept":
        answer = kept[0].read()
    elif path == "/readinto":
        buffer = bytearray(int(environ["CONTENT_LENGTH"]))
        view, at = memoryview(buffer), 0
        while count := body.readinto(view[at : at + 100_000]):
            at += count
        answer = bytes(buffer[:at])
    else:
        answer = str(len(body.read())).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
