"""What both applications share: the faults they can be asked for. Standard library only."""

from __future__ import annotations

import _thread
import ctypes
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from typing import IO

import state

# Sent by the harness to a worker: end by `os._exit`, and eat memory until the kernel's limit.
EXIT_SIGNAL = signal.SIGRTMIN + 5
EAT_SIGNAL = signal.SIGRTMIN + 6
# Above any time limit that is tested, so that only the limit ends it; and an end if there is none.
STUCK_SECONDS = 30.0
MIB = 1024 * 1024

_leaked: list[bytearray] = []
_run_log = os.open(os.environ["CHAOS_RUN_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def load() -> None:
    """The time an import takes: at rest (reading files, opening connections), as most of it is in real ones."""
    time.sleep(state.IMPORT_S)
    # From a thread, which gets its turn when a request waits or has computed for a while: a handler runs at the next
    # instruction, which is the first of the application again and again.
    signal.signal(EXIT_SIGNAL, lambda *_: _thread.start_new_thread(os._exit, (7,)))
    signal.signal(EAT_SIGNAL, lambda *_: _eat())


def record(method: str, query: str) -> None:
    """Notes that a request which must not run twice has been started, before anything else is done with it."""
    if method == "POST":
        os.write(_run_log, query.partition("n=")[2].encode() + b"\n")


class RecordWsgi:
    """Outside everything else of the application."""

    def __init__(self, app: Callable) -> None:
        self._app = app

    def __call__(self, environ: dict, start_response: Callable) -> Iterable[bytes]:
        record(environ["REQUEST_METHOD"], environ.get("QUERY_STRING", ""))
        return self._app(environ, start_response)


class RecordAsgi:
    """Outside everything else of the application."""

    def __init__(self, app: Callable) -> None:
        self._app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] == "http":
            record(scope["method"], scope["query_string"].decode())
        await self._app(scope, receive, send)


def answer(number: str) -> str:
    """The request's own number comes first; what answers for another request is seen."""
    return f"{number} {state.VERSION} {os.getpid()}"


def large(number: str) -> bytes:
    """8 MiB that say whose they are on every line."""
    line = f"{int(number):015}\n".encode()
    return line * (8 * MIB // len(line))


def file(number: str) -> IO[bytes]:
    """256 KiB in a file without a name that say whose they are on every line."""
    opened = tempfile.TemporaryFile()
    opened.write(f"{number:>31}\n".encode() * 8_192)
    opened.seek(0)
    return opened


def leak() -> None:
    """One MiB that is never given back, touched so that it counts."""
    _leaked.append(bytearray(os.urandom(4096)) * (MIB // 4096))


def work() -> int:
    """About a millisecond of computing."""
    return sum(n * n for n in range(12_000))


def _eat() -> None:
    while True:
        leak()


# --- requests that do not end; each is a function of its own, to be found in a traceback


def stuck_sleep() -> None:
    time.sleep(STUCK_SECONDS)


def stuck_busy() -> None:
    end = time.monotonic() + STUCK_SECONDS
    while time.monotonic() < end:
        pass


def stuck_c() -> None:
    """A busy loop in C that never lets go of the GIL."""
    library = os.environ.get("CHAOS_SPIN_LIBRARY")
    if library:
        ctypes.PyDLL(library).spin(ctypes.c_int(int(STUCK_SECONDS)))
    else:
        ctypes.PyDLL(None).sleep(int(STUCK_SECONDS))


def stuck_lock() -> None:
    """Waits for a lock that it holds itself."""
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=STUCK_SECONDS)


STUCK = {"sleep": stuck_sleep, "busy": stuck_busy, "c": stuck_c, "lock": stuck_lock}
