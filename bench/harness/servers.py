"""The servers under test: the command line of each, and starting, checking and stopping one of them.

Each peer gets the flags its own documentation or benches recommend for speed, so that no one wins by a bad setting.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from . import peers, processes

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02
# Above any scenario's need, so that no server's own limit is what we measure. Seconds, and connections.
KEEPALIVE_S = 600
CONNECTIONS_MAX = 20_000
LOG_LINES_SHOWN = 20


@dataclass(frozen=True)
class Kind:
    """One server as configured here. `command(app, port, workers, threads)` is its argument vector."""

    name: str
    interface: str
    command: Callable[[str, int, int, int], list[str]]
    environment: dict[str, str] = field(default_factory=dict)


def _bin(name: str) -> str:
    return str(peers.VENV / "bin" / name)


def _indrik(worker_class: str) -> Callable[[str, int, int, int], list[str]]:
    def command(app: str, port: int, workers: int, threads: int) -> list[str]:
        return [
            str(peers.INDRIK), "--bind", f"127.0.0.1:{port}", "--workers", str(workers),
            "--worker-class", worker_class, "--keep-alive", str(KEEPALIVE_S), "--backlog", "2048", app,
        ]  # fmt: skip

    return command


def _gunicorn(worker_class: str, *extra: str) -> Callable[[str, int, int, int], list[str]]:
    def command(app: str, port: int, workers: int, threads: int) -> list[str]:
        return [
            _bin("gunicorn"), "--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--worker-class", worker_class,
            "--threads", str(threads if worker_class == "gthread" else 1), "--keep-alive", str(KEEPALIVE_S),
            "--worker-connections", str(CONNECTIONS_MAX), "--no-control-socket", "--log-level", "warning", *extra, app,
        ]  # fmt: skip

    return command


def _granian(interface: str, *extra: str) -> Callable[[str, int, int, int], list[str]]:
    def command(app: str, port: int, workers: int, threads: int) -> list[str]:
        # Its back-pressure counts connections, 1,024 by default: too few for the idle ones.
        return [
            _bin("granian"), "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers),
            "--interface", interface, "--http", "1", "--runtime-threads", "1", "--backlog", "2048",
            "--backpressure", str(CONNECTIONS_MAX), "--log-level", "warning", *extra, app,
        ]  # fmt: skip

    return command


def _uvicorn(sockets: str) -> Callable[[str, int, int, int], list[str]]:
    def command(app: str, port: int, workers: int, threads: int) -> list[str]:
        return [
            _bin("uvicorn"), "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers), "--loop", "uvloop",
            "--http", "httptools", "--ws", sockets, "--no-access-log", "--log-level", "warning",
            "--timeout-keep-alive", str(KEEPALIVE_S), app,
        ]  # fmt: skip

    return command


def _launcher(script: str, *extra: str) -> Callable[[str, int, int, int], list[str]]:
    def command(app: str, port: int, workers: int, threads: int) -> list[str]:
        return [_bin("python"), str(peers.BENCH / "launch" / script), app, str(port), str(workers), *extra]

    return command


KINDS: list[Kind] = [
    Kind("indrik", "wsgi", _indrik("sync")),
    Kind("indrik", "asgi", _indrik("asgi")),
    Kind("bjoern", "wsgi", _launcher("bjoern_run.py")),
    Kind("granian", "wsgi", _granian("wsgi", "--no-ws", "--blocking-threads", "1")),
    Kind("granian", "asgi", _granian("asgi", "--no-ws", "--loop", "uvloop")),
    Kind("fastpysgi", "wsgi", _launcher("fastpysgi_run.py")),
    Kind("fastpysgi", "asgi", _launcher("fastpysgi_run.py", "uvloop")),
    Kind("uvicorn", "asgi", _uvicorn("none")),
    Kind("gunicorn-sync", "wsgi", _gunicorn("sync")),
    Kind("gunicorn-gthread", "wsgi", _gunicorn("gthread")),
    Kind("gunicorn-asgi", "asgi", _gunicorn("asgi", "--asgi-loop", "uvloop")),
    Kind("indrik", "websocket", _indrik("asgi")),
    Kind("granian", "websocket", _granian("asgi", "--ws", "--loop", "uvloop")),
    Kind("uvicorn", "websocket", _uvicorn("websockets")),
    Kind("gunicorn-asgi", "websocket", _gunicorn("asgi", "--asgi-loop", "uvloop")),
]


def kinds(interface: str, wanted: list[str] | None) -> list[Kind]:
    """The servers that speak `interface`; Indrik only when it is installed."""
    return [
        kind
        for kind in KINDS
        if kind.interface == interface
        and (wanted is None or kind.name in wanted)
        and (kind.name != "indrik" or peers.INDRIK.exists())
    ]


class ServerFailed(Exception):
    """The server did not start, or does not give the answer every server must give."""


class Server:
    """A running server: `with Server(kind, "wsgi:hello", cores="0") as server:`. It is gone after the block.

    `threads` is for Gunicorn's gthread only; with 4 it is a fifth faster than with 1, and with 8 hardly more.
    """

    def __init__(self, kind: Kind, app: str, *, cores: str, workers: int = 1, threads: int = 4) -> None:
        self.kind = kind
        self.app = app
        self.port = _free_port()
        self._command = ["taskset", "-c", cores, *kind.command(app, self.port, workers, threads)]
        self._log = tempfile.TemporaryFile()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is used outside its `with` block"
        return self._process.pid

    def __enter__(self) -> Server:
        environment = {**os.environ, **self.kind.environment, "PYTHONDONTWRITEBYTECODE": "1"}
        if self.kind.name == "indrik":
            environment["PYTHONPATH"] = str(peers.site_packages())
        # taskset execs the server, so this pid is the server's; the session is what tells its processes from others.
        self._process = subprocess.Popen(
            self._command,
            cwd=peers.APPS,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """TERM to the root, then KILL to whatever of the tree is left, each by its pid."""
        process = self._process
        if process is None:
            return
        members = {s.pid: s.started_at_ticks for s in processes.tree(process.pid)}
        if process.poll() is None:
            processes.end(process, STOP_TIMEOUT_S)
        for pid, started in members.items():
            left = processes.read_stat(pid)
            if left is not None and left.started_at_ticks == started and left.state != "Z":
                os.kill(pid, signal.SIGKILL)
        self._log.close()

    def death(self) -> str:
        """How the server ended, if it did; empty while it runs."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return ""
        how = f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
        return f"the server {how}: {self.log_tail()}"

    def log_tail(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])

    def fetch(self, method: str = "GET", path: str = "/", body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_TIMEOUT_S)
        try:
            # Without `Connection: close`: FastPySGI 0.6 in its ASGI mode dies of a segmentation fault after one.
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def check(self, method: str, path: str, body: bytes | None, expected: bytes) -> None:
        """Every server must give the same answer, or we would compare different work."""
        status, answer = self.fetch(method, path, body)
        if status != 200 or answer != expected:
            raise ServerFailed(f"{method} {path}: {status} {answer[:80]!r}, expected 200 {expected[:80]!r}")

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.death():
                raise ServerFailed(f"at start, {self.death()}")
            try:
                self.fetch()
                return
            except (OSError, http.client.HTTPException):
                time.sleep(POLL_S)
        raise ServerFailed(f"no answer within {START_TIMEOUT_S:.0f} s:\n{self.log_tail()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
