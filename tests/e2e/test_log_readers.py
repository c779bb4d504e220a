"""A log may be a pipe, and whoever reads it may stop: that costs log lines, and nothing else."""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server import poll

PIPE_BYTES = 65_536
LONG = "/hello?" + "x" * 8_000


class Pipe:
    """A named pipe that is read when the test says so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        # For both, so that opening it to write waits for nobody.
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def fill(self) -> None:
        try:
            while True:
                os.write(self.fd, b"." * 1023 + b"\n")
        except BlockingIOError:
            pass

    def read(self) -> bytes:
        try:
            return os.read(self.fd, 1 << 20)
        except BlockingIOError:
            return b""


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path / "log")
    yield pipe
    os.close(pipe.fd)


def test_an_access_log_that_nobody_reads_holds_up_no_request_and_nothing_of_it_is_lost(start, connect, pipe):
    server = start("wsgi_app:app", "--access-logfile", str(pipe.path))
    wire = connect(server)
    for _ in range(50):
        assert wire.get(LONG).text == "hello"
    lines = b""

    def read_all() -> bool:
        nonlocal lines
        lines += pipe.read()
        return lines.count(b"\n") == 50

    poll(read_all, "fifty lines")
    assert all(re.search(rb'"GET /hello\?x{8000} HTTP/1\.1" 200 5 ', line) for line in lines.splitlines())
    assert wire.get("/hello").text == "hello"
    poll(lambda: b'"GET /hello HTTP/1.1" 200' in pipe.read(), "the line of a reader that has caught up")


def test_what_is_lost_when_it_is_never_read_is_counted(start, connect, pipe):
    server = start("wsgi_app:app", "--access-logfile", str(pipe.path))
    wire = connect(server)
    for _ in range(200):
        assert wire.get(LONG).text == "hello"
    lines = 0

    def read_until_told() -> bool:
        nonlocal lines
        lines += pipe.read().count(b"\n")
        return "nobody read a log for a while" in server.log()

    poll(read_until_told, "the complaint")
    lost = server.wait_for_log(r"nobody read a log for a while; (\d+) entries of it are lost")
    lines += pipe.read().count(b"\n")
    assert lines + int(lost[1]) == 200


def test_a_server_whose_error_log_nobody_reads_starts_serves_and_ends(start, connect, pipe):
    pipe.fill()
    server = start("wsgi_app:app", "--error-logfile", str(pipe.path), says_ready=False)
    assert connect(server).get("/hello").text == "hello"
    before = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(before)
    assert connect(server).get("/hello").text == "hello"
    assert server.stop() == 0
