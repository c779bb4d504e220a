"""What both sick applications share: a database that is a socket, and ways to keep others waiting."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable

import state  # noqa: F401 (what a reload changes)

DATABASE_PORT = int(os.environ.get("SICK_DATABASE", "0"))
ANSWER_LIMIT_S = 60.0

_leaked: list[bytearray] = []
_libc = ctypes.PyDLL(None)


def ask_database(question: str) -> str:
    """One question on a connection of its own; the database takes as long as the scenario tells it to."""
    with socket.create_connection(("127.0.0.1", DATABASE_PORT), timeout=ANSWER_LIMIT_S) as connection:
        connection.sendall(question.encode() + b"\n")
        return connection.recv(100).decode().strip()


def keep_gil(seconds: float) -> None:
    """Sleeps in C and does not let go of the interpreter's lock."""
    _libc.usleep(ctypes.c_uint(int(seconds * 1e6)))


def compute(seconds: float) -> int:
    """Python that computes: the lock is let go every 5 ms, and at once asked for again."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += sum(n * n for n in range(5_000))
    return number


def leak(kib: int) -> None:
    """Never given back, and touched so that it counts."""
    _leaked.append(bytearray(os.urandom(1024)) * kib)


def crash(how: str) -> None:
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), {"segv": signal.SIGSEGV, "abort": signal.SIGABRT, "kill": signal.SIGKILL}[how])
    time.sleep(1)


def wait_in_thread(seconds: float) -> None:
    time.sleep(seconds)


HOLDS: dict[str, Callable[[float], object]] = {
    "sleep": wait_in_thread,
    "compute": compute,
    "gil": keep_gil,
}
