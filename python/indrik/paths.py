"""Opening files that settings name, which may be anything: nobody is waited for.

A named pipe opened for writing waits for its reader, and one opened for reading for its writer: for
ever, if there is none.
"""

from __future__ import annotations

import errno
import os
import stat

PIPE_SECONDS = 10.0
"""How long somebody who writes a configuration into a pipe may take for the next part of it."""

PART_BYTES = 65536


def opener(path: str, flags: int) -> int:
    """For ``open``: opens for writing without a wait. Raises ``OSError`` if nobody reads the pipe that it is."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(error.errno, "it is a named pipe that nobody reads, or a socket", path) from None
        raise
    os.set_blocking(fd, True)
    return fd


def open_append(path: str) -> int:
    """A descriptor that appends to the file, which is made if need be."""
    return opener(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def read(path: str) -> bytes:
    """All of a file, or of a pipe that somebody writes. Raises ``OSError``, also for one that nobody does."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
        parts: list[bytes] = []
        while True:
            try:
                part = os.read(fd, PART_BYTES)
            except BlockingIOError:
                _wait_for_writer(fd, path)
                continue
            if part:
                parts.append(part)
            elif is_pipe and not parts:
                # Nobody has it open for writing, yet.
                _wait_for_writer(fd, path)
                is_pipe = False
            else:
                return b"".join(parts)
    finally:
        os.close(fd)


def _wait_for_writer(fd: int, path: str) -> None:
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(PIPE_SECONDS * 1000):
        text = f"it is a named pipe, and nobody wrote to it for {PIPE_SECONDS:g} s"
        raise OSError(errno.EAGAIN, text, path)
