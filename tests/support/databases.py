"""PostgreSQL and Redis of a test's own: on loopback, in a directory that goes with them; `None`: not installed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.server import free_port, poll

START_SECONDS = 60
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def running(command: list[str], port: int, account: str | None, stop: signal.Signals) -> Iterator[int]:
    process = subprocess.Popen(
        command,
        user=account,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        extra_groups=[] if account else None,
    )
    try:
        poll(lambda: process.poll() is not None or accepts(port), f"{command[0]} at port {port}", START_SECONDS)
        assert process.poll() is None, f"{command[0]} has ended"
        yield port
    finally:
        process.send_signal(stop)
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def postgres() -> Iterator[int | None]:
    """The port of a PostgreSQL server with the user and database ``postgres``, who needs no password."""
    if not PROGRAMS:
        yield None
        return
    # It does not run as root.
    account = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="indrik-pg-", ignore_cleanup_errors=True) as directory:
        if account:
            entry = pwd.getpwnam(account)
            os.chown(directory, entry.pw_uid, entry.pw_gid)
        data, port = f"{directory}/data", free_port()
        options = ("--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        made = subprocess.run(
            [PROGRAMS[0] / "initdb", *options, data],
            user=account,
            capture_output=True,
            timeout=START_SECONDS * 2,
            extra_groups=[] if account else None,
        )
        assert made.returncode == 0, made.stderr.decode()
        command = [str(PROGRAMS[0] / "postgres"), "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        command += ["-c", f"unix_socket_directories={directory}", "-c", "fsync=off", "-c", "max_connections=20"]
        with running(command, port, account, signal.SIGINT):
            yield port


@contextmanager
def redis() -> Iterator[int | None]:
    """The port of a Redis server that keeps nothing."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="indrik-redis-") as directory:
        port = free_port()
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", directory]
        with running([program, "--port", str(port), *options], port, None, signal.SIGTERM):
            yield port
