"""An application that misuses its worker's lane, as a bug in an extension module can."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from indrik import route

GOOD = bytes([1, 1, 0, 0, 2, 0, 0, 0]) + (7).to_bytes(8, "little") + b"/a"
"""Asks for the number of the route `/a`."""


def lane() -> socket.socket:
    """The worker's own end. What the worker itself does on it goes on."""
    return socket.socket(fileno=os.dup(number()))


def number() -> int:
    """Its descriptor."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    while frame.f_code.co_name != "main" or "channel" not in frame.f_locals:
        assert frame.f_back is not None
        frame = frame.f_back
    return int(frame.f_locals["channel"].descriptors()[-1])


def send(message: bytes) -> None:
    with lane() as end:
        end.send(message)


def flood() -> None:
    with lane() as end:
        end.setblocking(True)
        for _ in range(200_000):
            try:
                end.send(GOOD)
            except OSError:
                # Cut.
                return


def close() -> None:
    with lane() as end:
        end.shutdown(socket.SHUT_RDWR)


def fork() -> None:
    descriptor = number()
    child = os.fork()
    if child == 0:
        route("of a child")
        # Let go of: whatever it is now, it is not the lane.
        os.write(descriptor, b"garbage")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def with_descriptors() -> None:
    reader, writer = os.pipe()
    # Where the kernel can refuse them, the sender is told.
    with lane() as end, contextlib.suppress(PermissionError):
        for _ in range(100):
            socket.send_fds(end, [GOOD], [reader, writer])
    os.close(reader)
    os.close(writer)


def unasked() -> bytes:
    """Sends a file by each Unix socket of this process; how many are refused."""
    refused = 0
    reader, writer = os.pipe()
    for name in os.listdir("/proc/self/fd"):
        try:
            end = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        with end:
            if end.family == socket.AF_UNIX:
                try:
                    socket.send_fds(end, [GOOD], [reader], socket.MSG_DONTWAIT)
                except PermissionError:
                    refused += 1
    os.close(reader)
    os.close(writer)
    return str(refused).encode()


def many_names() -> None:
    """As an application does that calls `route(request.path)`."""
    for user in range(5_000):
        route(f"/users/{user}")


DEEDS: dict[str, Callable[[], None]] = {
    "/short": lambda: send(b"x"),
    "/version": lambda: send(bytes([9]) + GOOD[1:]),
    "/kind": lambda: send(bytes([1, 77]) + GOOD[2:]),
    "/length": lambda: send(GOOD + b"more"),
    "/reserved": lambda: send(bytes([1, 1, 1, 0]) + GOOD[4:]),
    "/payload": lambda: send(GOOD[:-1] + b"\n"),
    "/long": lambda: send(GOOD + bytes(100_000)),
    "/flood": flood,
    "/close": close,
    "/fork": fork,
    "/fds": with_descriptors,
    "/names": many_names,
}


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    route(environ["PATH_INFO"])
    deed = DEEDS.get(environ["PATH_INFO"])
    if deed is not None:
        deed()
    body = unasked() if environ["PATH_INFO"] == "/unasked" else b""
    body = body or environ["QUERY_STRING"].encode() or str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
