"""The WSGI application of the end-to-end tests: one small function per path."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

from gates import mark, wait_at_gate

Environ = dict[str, Any]
Handler = Callable[[Environ, Any], Iterable[bytes]]
ROUTES: dict[str, Handler] = {}
TEXT = ("Content-Type", "text/plain")


def route(path: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        ROUTES[path] = handler
        return handler

    return register


def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return ROUTES.get(environ["PATH_INFO"], describe)(environ, start_response)


def argument(environ: Environ, name: str, default: str = "") -> str:
    return parse_qs(environ["QUERY_STRING"]).get(name, [default])[0]


def plain(start_response: Any, body: bytes | str) -> Iterable[bytes]:
    data = body.encode() if isinstance(body, str) else body
    start_response("200 OK", [TEXT, ("Content-Length", str(len(data)))])
    return [data]


@route("/hello")
def hello(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    return plain(start_response, "hello")


@route("/page")
def page(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    """A page of 200 KB: more than a slow reader takes in a minute."""
    return plain(start_response, b"x" * 200_000)


@route("/pid")
def pid(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    return plain(start_response, str(os.getpid()))


@route("/describe")
def describe(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """The environ as JSON: strings, numbers and booleans as they are, the rest by type."""
    seen: dict[str, Any] = {
        key: value if isinstance(value, str | int | bool | tuple) else type(value).__name__
        for key, value in environ.items()
    }
    seen["types"] = {key: type(value).__name__ for key, value in environ.items()}
    body = environ["wsgi.input"].read()
    seen["body"] = body.decode("latin-1")
    seen["thread"] = threading.current_thread() is threading.main_thread()
    return plain(start_response, json.dumps(seen))


@route("/write")
def write(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    send = start_response("200 OK", [TEXT])
    send(b"written ")
    send(b"")
    send(b"twice ")
    return [b"then ", b"returned"]


@route("/write-only")
def write_only(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])(b"only written")
    return []


@route("/lazy-start")
def lazy_start(_environ: Environ, start_response: Any) -> Iterator[bytes]:
    """A generator: start_response is called when the first item is asked for."""
    start_response("201 Made Late", [TEXT])
    yield b"late"


@route("/nested")
def nested(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Fields whose reading runs code that answers: hints within a head, and a head within hints."""

    def hints() -> Iterator[tuple[str, str]]:
        def fields() -> Iterator[tuple[str, str]]:
            environ["wsgi.early_hints"]([("Link", "</inner>")])
            yield ("Content-Length", "6")

        start_response("200 OK", fields())
        yield ("Link", "</outer>")

    environ["wsgi.early_hints"](hints())
    return [b"nested"]


@route("/exc-info-before")
def exc_info_before(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT, ("X-First", "yes")])
    try:
        raise ValueError("changed my mind")
    except ValueError:
        start_response("503 Changed", [TEXT, ("X-Second", "yes")], sys.exc_info())
    return [b"second"]


@route("/exc-info-after")
def exc_info_after(_environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [TEXT])
    yield b"part"
    try:
        raise ValueError("too late to change the status")
    except ValueError:
        start_response("500 Too Late", [TEXT], sys.exc_info())
    yield b"never sent"


@route("/start-twice")
def start_twice(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    start_response("200 OK", [TEXT])
    return [b"?"]


@route("/never-start")
def never_start(_environ: Environ, _start_response: Any) -> Iterable[bytes]:
    return [b"no status"]


@route("/raise")
def raise_before(_environ: Environ, _start_response: Any) -> Iterable[bytes]:
    raise RuntimeError("raised on purpose")


@route("/raise-midway")
def raise_midway(_environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [TEXT])
    yield b"x" * 100_000
    raise RuntimeError("raised midway")


@route("/exit")
def exit_(_environ: Environ, _start_response: Any) -> Iterable[bytes]:
    raise SystemExit(7)


@route("/interrupt")
def interrupt(_environ: Environ, _start_response: Any) -> Iterable[bytes]:
    raise KeyboardInterrupt


class Closing:
    """An iterable that leaves a mark when it is closed."""

    def __init__(self, path: str, items: Iterable[bytes]) -> None:
        self.path, self.items = path, iter(items)

    def __iter__(self) -> Closing:
        return self

    def __next__(self) -> bytes:
        return next(self.items)

    def close(self) -> None:
        mark(self.path, "closed")


@route("/close")
def close(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return Closing(argument(environ, "mark"), [b"one", b"two"])


@route("/close-endless")
def close_endless(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return Closing(argument(environ, "mark"), iter(lambda: b"x" * 65536, b""))


@route("/close-after-raise")
def close_after_raise(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return Closing(argument(environ, "mark"), (1 // 0 for _ in "x"))  # type: ignore[misc]


@route("/file")
def file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """A file through wsgi.file_wrapper, optionally from `?offset=` on."""
    source = open(argument(environ, "path"), "rb")
    source.seek(int(argument(environ, "offset", "0")))
    headers = [TEXT]
    if length := argument(environ, "length"):
        headers.append(("Content-Length", length))
    start_response("200 OK", headers)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](source)
    return wrapped


@route("/file-like")
def file_like(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Not a real file: no fileno, so it must be read."""
    start_response("200 OK", [TEXT])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"like a file"), 4)
    return wrapped


@route("/file-closes")
def file_closes(environ: Environ, start_response: Any) -> Iterable[bytes]:
    path = argument(environ, "mark")

    class Source(io.BytesIO):
        def close(self) -> None:
            if not self.closed:
                mark(path, "closed")
            super().close()

    start_response("200 OK", [TEXT])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](Source(b"content"))
    return wrapped


@route("/input")
def input_(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Read the body in the way `?how=` names."""
    source = environ["wsgi.input"]
    how: dict[str, Callable[[], Any]] = {
        "read": lambda: [source.read()],
        "read-sized": lambda: [source.read(4), source.read(0), source.read(1000), source.read(5)],
        "read-none": lambda: [source.read(None), source.read()],
        "read-negative": lambda: [source.read(-1)],
        "readline": lambda: [source.readline(), source.readline(3), source.readline()],
        "readlines": lambda: source.readlines(),
        "readlines-hint": lambda: source.readlines(1),
        "iterate": lambda: list(source),
        "mixed": lambda: [source.readline(), source.read(2), *source.readlines()],
        "none": lambda: [],
    }
    parts = [part.decode("latin-1") for part in how[argument(environ, "how")]()]
    return plain(start_response, json.dumps(parts))


@route("/upload")
def upload(environ: Environ, start_response: Any) -> Iterable[bytes]:
    digest, length = hashlib.sha256(), 0
    while block := environ["wsgi.input"].read(65536):
        digest.update(block)
        length += len(block)
    return plain(start_response, json.dumps({"bytes": length, "sha256": digest.hexdigest()}))


@route("/partly-read")
def partly_read(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return plain(start_response, environ["wsgi.input"].read(3))


@route("/errors")
def errors(environ: Environ, start_response: Any) -> Iterable[bytes]:
    stream = environ["wsgi.errors"]
    stream.write("written to wsgi.errors\n")
    stream.writelines(["lines to ", "wsgi.errors\n"])
    stream.flush()
    return plain(start_response, "ok")


@route("/errors-stream")
def errors_stream(environ: Environ, start_response: Any) -> Iterable[bytes]:
    stream = environ["wsgi.errors"]
    seen = {name: getattr(stream, name) for name in ("closed", "encoding", "errors", "mode", "name")}
    seen |= {name: getattr(stream, name)() for name in ("isatty", "readable", "writable", "seekable")}
    seen["is_open"] = os.fstat(stream.fileno()).st_nlink >= 0
    stream.close()
    seen["after close"] = stream.write("\n")
    return plain(start_response, json.dumps(seen))


@route("/read")
def read(environ: Environ, start_response: Any) -> Iterable[bytes]:
    found = getattr(environ["wsgi.input"], argument(environ, "method"))(eval(argument(environ, "size")))
    return plain(start_response, found if isinstance(found, bytes) else b"".join(found))


@route("/status")
def status(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Any status line: `?line=299 Own Reason`; the body is `?body=`."""
    body = argument(environ, "body").encode()
    headers = [TEXT]
    if argument(environ, "length"):
        headers.append(("Content-Length", argument(environ, "length")))
    start_response(argument(environ, "line", "200 OK"), headers)
    return [body]


@route("/headers")
def headers(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Answer with the header lines of the request's body (JSON pairs)."""
    pairs = [(name, value) for name, value in json.loads(environ["wsgi.input"].read())]
    start_response("200 OK", pairs)
    return [b"body"]


@route("/stream-at-gate")
def stream_at_gate(environ: Environ, start_response: Any) -> Iterator[bytes]:
    """Yield an item, wait at the gate, yield the next: shows that items are sent at once."""
    start_response("200 OK", [TEXT])
    yield b"first"
    wait_at_gate(argument(environ, "gate"))
    yield b""
    yield b"second"


@route("/stream")
def stream(environ: Environ, start_response: Any) -> Iterable[bytes]:
    blocks = int(argument(environ, "megabytes", "1")) * 16
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return (b"x" * 65536 for _ in range(blocks))


@route("/spool")
def spool(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """A download of a real file of N megabytes that no longer has a name."""
    source = tempfile.TemporaryFile()
    source.truncate(int(argument(environ, "megabytes", "1")) * 1024 * 1024)
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](source)
    return wrapped


@route("/gate")
def gate(environ: Environ, start_response: Any) -> Iterable[bytes]:
    wait_at_gate(argument(environ, "gate"))
    return plain(start_response, str(os.getpid()))


@route("/die-at-gate")
def die_at_gate(environ: Environ, _start_response: Any) -> Iterable[bytes]:
    """End the worker, with all that it runs."""
    wait_at_gate(argument(environ, "gate"))
    os._exit(9)


@route("/stuck")
def stuck_in_a_named_function(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    threading.Event().wait()
    return plain(start_response, "never")


@route("/environment")
def environment(environ: Environ, start_response: Any) -> Iterable[bytes]:
    value = os.environ.get(argument(environ, "name"), "unset")
    return plain(start_response, value)


@route("/cwd")
def cwd(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    return plain(start_response, os.getcwd())


def make(greeting: str = "made") -> Handler:
    """A factory: `wsgi_app:make()`."""

    def made(_environ: Environ, start_response: Any) -> Iterable[bytes]:
        return plain(start_response, greeting)

    return made


application = app
not_callable = 42
