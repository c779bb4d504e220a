"""Opening files that settings name, which may be anything: nobody is waited for.

A named pipe opened for writing waits for its reader, and one opened for reading for its writer: for
ever, if there is none. A device may have no end. For a file system that does not answer, the supervisor has a limit
of its own.
"""

from __future__ import annotations

import errno
import os
import stat
import time

PIPE_SECONDS = 10.0
"""How long somebody who writes a configuration into a pipe may take for all of it."""

PART_BYTES = 65536

BYTES_MAX = 16 * 1024 * 1024
"""The longest file that a setting names and Python reads, as the supervisor has it for those that it reads."""


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
    """All of a file, or of a pipe that somebody writes. Raises ``OSError`` for anything that may have no end: a pipe
    that nobody writes, a device, a file that is larger than any configuration."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return _read_all(fd, path)
    finally:
        os.close(fd)


def source(path: str) -> str:
    """The text of a Python file, as ``tokenize.open`` reads it. Raises what `read` does, and what Python does of a
    text that it cannot decode."""
    import io
    import tokenize

    content = read(path)
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    with io.TextIOWrapper(io.BytesIO(content), encoding) as text:
        return text.read()


def must_be_file(path: str) -> None:
    """For what a library opens by itself: raises ``OSError`` for what it might wait for."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a file", path)
    if status.st_size > BYTES_MAX:
        raise _too_large(path)


def _read_all(fd: int, path: str) -> bytes:
    is_pipe = _is_pipe(fd, path)
    has_begun = not is_pipe
    until = time.monotonic() + PIPE_SECONDS
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            part = os.read(fd, PART_BYTES)
        except BlockingIOError:
            has_begun = True
            _wait_for_writer(fd, path, until)
            continue
        if part:
            size += len(part)
            if size > BYTES_MAX:
                raise _too_large(path)
            if is_pipe and time.monotonic() > until:
                raise _silent(path)
            has_begun = True
            parts.append(part)
        elif not has_begun:
            # Nobody has it open for writing, yet.
            _wait_for_writer(fd, path, until)
            has_begun = True
        else:
            return b"".join(parts)


def _is_pipe(fd: int, path: str) -> bool:
    status = os.fstat(fd)
    kind = stat.S_IFMT(status.st_mode)
    is_nothing = kind == stat.S_IFCHR and status.st_rdev == os.stat(os.devnull).st_rdev
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if kind not in (stat.S_IFREG, stat.S_IFIFO) and not is_nothing:
        raise OSError(errno.EINVAL, "it is a device, not a file", path)
    return kind == stat.S_IFIFO


def _too_large(path: str) -> OSError:
    return OSError(errno.EFBIG, f"it is larger than {BYTES_MAX} bytes", path)


def _silent(path: str) -> OSError:
    text = f"it is a named pipe, and nobody wrote to it for {PIPE_SECONDS:g} s"
    return OSError(errno.EAGAIN, text, path)


def _wait_for_writer(fd: int, path: str, until: float) -> None:
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(max(until - time.monotonic(), 0) * 1000):
        raise _silent(path)
