"""A WSGI application for greenlet workers: it looks at the patching, waits, streams and dies."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
TEXT = ("Content-Type", "text/plain")
PIECE = b"p" * 65536

# Looked at while the application is imported: patching after that comes too late.
LOCK_MODULE = type(threading.Lock()).__module__
SOCKET_MODULE = socket.socket.__module__


def patched_futures() -> str:
    from concurrent.futures import thread

    return type(thread._global_shutdown_lock).__module__


state: dict[str, Any] = {"inside": 0, "most": 0, "closed": 0, "forgotten": []}
late = threading.Event()
# What is tested is that requests may sleep.
nap = time.sleep


def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
    handler = ROUTES[environ["PATH_INFO"]]
    arguments = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    return handler(environ, start_response, **arguments)


def plain(start_response: Any, body: str | bytes) -> Iterable[bytes]:
    data = body.encode() if isinstance(body, str) else body
    start_response("200 OK", [TEXT, ("Content-Length", str(len(data)))])
    return [data]


def hello(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    return plain(start_response, "hello")


def describe(environ: Environ, start_response: Any) -> Iterable[bytes]:
    found = {
        "lock": LOCK_MODULE,
        "socket": SOCKET_MODULE,
        "futures": patched_futures(),
        "multithread": environ["wsgi.multithread"],
        "greenlet": type(current()).__name__,
        "pid": os.getpid(),
        "parent": os.getppid(),
    }
    return plain(start_response, json.dumps(found))


def current() -> object:
    import greenlet

    return greenlet.getcurrent()


def crowd(_environ: Environ, start_response: Any, size: str) -> Iterable[bytes]:
    """Sleeps until that many requests are inside at once: with fewer at a time it never ends."""
    state["inside"] += 1
    state["most"] = max(state["most"], state["inside"])
    while state["most"] < int(size):
        nap(0.01)
    state["inside"] -= 1
    return plain(start_response, str(state["most"]))


def ask(_environ: Environ, start_response: Any, port: str) -> Iterable[bytes]:
    """Waits on a socket for what another server says."""
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        return plain(start_response, connection.recv(100))


def stream(_environ: Environ, start_response: Any, pieces: str = "3") -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return Pieces(int(pieces))


class Pieces:
    def __init__(self, count: int) -> None:
        self.pieces = iter([PIECE] * count)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self.pieces)

    def close(self) -> None:
        state["closed"] += 1


def closed(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    return plain(start_response, str(state["closed"]))


def write(_environ: Environ, start_response: Any, pieces: str) -> Iterable[bytes]:
    send = start_response("200 OK", [TEXT])
    for _ in range(int(pieces)):
        send(PIECE)
    return []


def file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    body = tempfile.TemporaryFile()
    body.write(PIECE * 20)
    body.seek(0)
    start_response("200 OK", [TEXT])
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](body)
    return wrapped


def echo(environ: Environ, start_response: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    return plain(start_response, f"{len(body)} {sum(body[::4096])}")


def boom(_environ: Environ, _start_response: Any) -> Iterable[bytes]:
    raise RuntimeError("the application broke")


def leave(_environ: Environ, _start_response: Any) -> Iterable[bytes]:
    sys.exit(7)


def killed(_environ: Environ, _start_response: Any) -> Iterable[bytes]:
    import greenlet

    raise greenlet.GreenletExit


def doomed(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Is killed by another greenlet while it waits for its client."""
    library = __import__("gevent" if "gevent" in SOCKET_MODULE else "eventlet")
    me = library.getcurrent()
    threading.Timer(0.05, lambda: library.kill(me)).start()
    try:
        # Otherwise the front takes what runs ahead of the client, and nobody waits.
        send = start_response("200 OK", [TEXT, ("X-Accel-Buffering", "no")])
        for _ in range(1000):
            send(PIECE)
    finally:
        state["forgotten"].append("killed")
    return []


def stray(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    """A greenlet that outlives the request, and writes to it when it is over."""
    send = start_response("200 OK", [TEXT, ("Content-Length", "2")])

    def later() -> None:
        try:
            send(b"late")
        except Exception as error:
            state["forgotten"].append(type(error).__name__)
            late.set()

    thread = threading.Thread(target=later)
    state["thread"] = thread
    return Then([b"ok"], thread.start)


class Then(list[bytes]):
    """Pieces, and something that happens when they were sent."""

    def __init__(self, pieces: list[bytes], act: Callable[[], None]) -> None:
        super().__init__(pieces)
        self.act = act

    def close(self) -> None:
        threading.Timer(0.01, self.act).start()


def forgotten(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    late.wait()
    return plain(start_response, state["forgotten"][-1])


def block(_environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Stops the whole thread, which no hub can help."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass
    return plain(start_response, "never")


def hold(_environ: Environ, start_response: Any, port: str) -> Iterable[bytes]:
    """Waits until the test lets it go on."""
    with socket.create_connection(("127.0.0.1", int(port))) as door:
        door.recv(1)
    return plain(start_response, "held")


ROUTES: dict[str, Callable[..., Iterable[bytes]]] = {
    "/": hello,
    "/describe": describe,
    "/crowd": crowd,
    "/ask": ask,
    "/stream": stream,
    "/closed": closed,
    "/write": write,
    "/file": file,
    "/echo": echo,
    "/boom": boom,
    "/leave": leave,
    "/killed": killed,
    "/doomed": doomed,
    "/stray": stray,
    "/forgotten": forgotten,
    "/block": block,
    "/hold": hold,
}
