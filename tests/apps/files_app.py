"""Says what arrived of a body, and answers with files."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from typing import Any

FILE_BYTES = 3_000
LARGE_BYTES = 8_000_000


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/hash":
        digest = hashlib.sha256(environ["wsgi.input"].read()).hexdigest().encode()
        start_response("200 OK", [("Content-Length", str(len(digest)))])
        return [digest]
    if path.startswith("/file/"):
        # One file for each request: another request's would show.
        name = path.removeprefix("/file/").encode()
        file = tempfile.TemporaryFile()
        file.write(name.ljust(FILE_BYTES, b"."))
        file.seek(0)
        start_response("200 OK", [("Content-Length", str(FILE_BYTES))])
        result: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
        return result
    if path == "/large":
        file = tempfile.TemporaryFile()
        file.truncate(LARGE_BYTES)
        start_response("200 OK", [("Content-Length", str(LARGE_BYTES))])
        large: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
        return large
    if path == "/reason":
        start_response("200 " + "x" * int(environ["QUERY_STRING"]), [("Content-Length", "2")])
        return [b"ok"]
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
