"""The servers under test: what each must be told for a scenario, and its life from start to clean-up."""

from __future__ import annotations

import functools
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness import peers, processes

from .control import Control
from .project import Project

START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0
FETCH_LIMIT_S = 30.0
RELOAD_LIMIT_S = 90.0
POLL_S = 0.01
KEEPALIVE_S = 75
BACKLOG = 2048
LOG_LINES_SHOWN = 12

NAMES = ("indrik", "gunicorn", "granian")


class NotApplicable(Exception):
    """The server has nothing of this kind; the reason is shown in the table."""


class Failed(Exception):
    """The server did not do what the scenario needs before it can measure anything."""


@dataclass(frozen=True)
class Options:
    """What a scenario needs of a server, whatever it calls it. Zero and empty: its default."""

    app: str = "flask"
    workers: int = 4
    # Of a worker of Gunicorn with threads.
    threads: int = 4
    # Of a worker of every server; 0: as each does it best.
    gthread: int = 0
    http2: bool = False
    preload: bool = False
    max_requests: int = 0
    timeout_s: int = 0
    rss_max_mib: int = 0
    warm_up: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    # Of Indrik's own, after all others.
    more: tuple[str, ...] = ()


# --- command lines


@functools.cache
def indrik_help() -> str:
    return subprocess.run([str(peers.INDRIK), "--help"], capture_output=True, text=True, check=False).stdout


def indrik_knows(option: str) -> bool:
    return f"{option} " in indrik_help() or f"{option}\n" in indrik_help()


def _indrik(options: Options, project: Project, port: int) -> list[str]:
    command = [
        str(peers.INDRIK), "--bind", f"127.0.0.1:{port}", "--workers", str(options.workers),
        "--keep-alive", str(KEEPALIVE_S), "--backlog", str(BACKLOG), "--pid", str(project.pid_file),
        "--control-socket", str(project.control), "--worker-class", "sync" if options.app == "flask" else "asgi",
    ]  # fmt: skip
    if options.http2:
        command += ["--http-protocols", "h2,h1", "--http2-cleartext", "both"]
    if options.gthread:
        command += ["--worker-class", "gthread", "--threads", str(options.gthread)]
    if options.preload:
        command.append("--preload")
    if options.max_requests:
        command += ["--max-requests", str(options.max_requests)]
    if options.timeout_s:
        # For the request where there is such a setting; `timeout` watches the worker, as Gunicorn's does.
        name = "--request-timeout" if indrik_knows("--request-timeout") else "--timeout"
        command += [name, str(options.timeout_s)]
        if indrik_knows("--deadlock-timeout"):
            command += ["--deadlock-timeout", str(options.timeout_s)]
    if options.rss_max_mib:
        command += ["--worker-max-rss", f"{options.rss_max_mib}MiB"]
    if options.warm_up:
        command += ["--warmup", options.warm_up]
    command += options.more
    missing = [word for word in command if word.startswith("--") and not indrik_knows(word)]
    if missing:
        raise NotApplicable(f"this build has no {', '.join(missing)}")
    return [*command, f"{options.app}_app:app"]


def gunicorn() -> Path:
    """That of the peers; else the one that the tests compare with, which is there without them."""
    ours = peers.VENV / "bin" / "gunicorn"
    return ours if ours.exists() else peers.INDRIK.with_name("gunicorn")


def _gunicorn(options: Options, project: Project, port: int) -> list[str]:
    if options.rss_max_mib:
        raise NotApplicable("has no memory limit")
    if options.warm_up:
        raise NotApplicable("has no warm-up")
    if options.http2:
        raise NotApplicable("has no HTTP/2 without TLS")
    command = [
        str(gunicorn()), "--bind", f"127.0.0.1:{port}", "--workers", str(options.workers),
        "--keep-alive", str(KEEPALIVE_S), "--backlog", str(BACKLOG), "--pid", str(project.pid_file),
        "--control-socket", str(project.control), "--worker-class", "gthread" if options.app == "flask" else "asgi",
    ]  # fmt: skip
    if options.app == "flask":
        # Its sync worker closes each connection; a thread each is the nearest that keeps them.
        command += ["--threads", str(options.gthread or options.threads)]
    if options.preload:
        command.append("--preload")
    if options.max_requests:
        command += ["--max-requests", str(options.max_requests)]
    if options.timeout_s:
        command += ["--timeout", str(options.timeout_s)]
    return [*command, f"{options.app}_app:app"]


def _granian(options: Options, project: Project, port: int) -> list[str]:
    if options.preload:
        raise NotApplicable("has no preload")
    if options.max_requests:
        raise NotApplicable("has no max_requests")
    if options.timeout_s:
        raise NotApplicable("has no time limit for requests")
    if options.warm_up:
        raise NotApplicable("has no warm-up")
    if options.http2:
        raise NotApplicable("is not told apart from HTTP/1.1 here")
    command = [
        str(peers.VENV / "bin" / "granian"), "--host", "127.0.0.1", "--port", str(port),
        "--workers", str(options.workers), "--interface", "wsgi" if options.app == "flask" else "asgi",
        "--http", "1", "--backlog", str(BACKLOG), "--backpressure", str(BACKLOG), "--respawn-failed-workers",
        "--workers-kill-timeout", "30", "--pid-file", str(project.pid_file),
    ]  # fmt: skip
    if options.rss_max_mib:
        command += ["--workers-max-rss", str(options.rss_max_mib)]
    return [*command, f"{options.app}_app:app"]


_COMMANDS: dict[str, Callable[[Options, Project, int], list[str]]] = {
    "indrik": _indrik,
    "gunicorn": _gunicorn,
    "granian": _granian,
}


# --- a running server


@dataclass(frozen=True)
class Fetched:
    """An answer, and how long it took. Status 0: there was none, and `body` says why."""

    status: int
    body: str
    seconds: float

    @property
    def version(self) -> int:
        words = self.body.split()
        return int(words[1]) if self.status == 200 and len(words) == 3 else 0


class Subject:
    """`with Subject("indrik", Options(), project) as server:`. All its processes are gone after the block."""

    def __init__(self, name: str, options: Options, project: Project, port: int = 0) -> None:
        self.name = name
        self.options = options
        self.project = project
        self.port = port or free_port()
        self.command = _COMMANDS[name](options, project, self.port)
        self.log_file = project.directory / f"server-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Subject:
        environment = {**os.environ, **self.project.environment(), **self.options.environment}
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.project.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """TERM to the master, then KILL to whatever of it is left, each by its pid."""
        if self._process is None:
            return
        send(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_LIMIT_S
        while time.monotonic() < deadline and self.alive():
            self._process.poll()
            time.sleep(POLL_S)
        for pid in self.alive():
            send(pid, signal.SIGKILL)
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            pass

    @property
    def pid(self) -> int:
        """The master: after an upgrade it is another one than we started."""
        try:
            text = self.project.pid_file.read_text().strip()
            if text.isdigit() and int(text) in self.project.members():
                return int(text)
        except OSError:
            pass
        assert self._process is not None, "the server is used outside its `with` block"
        return self._process.pid

    def alive(self) -> list[int]:
        """Its processes that still run."""
        if self._process is not None:
            self._process.poll()
        found = []
        for pid in self.project.members():
            stat = processes.read_stat(pid)
            if stat is not None and stat.state != "Z":
                found.append(pid)
        return found

    def is_up(self) -> bool:
        return self.pid in self.alive()

    def workers(self) -> dict[int, int]:
        """Living workers: pid → start time, which tells a successor from a pid used again."""
        master, found = self.pid, {}
        for pid in self.alive():
            stat, title = processes.read_stat(pid), processes.title(pid)
            if stat is None or stat.state == "Z" or stat.parent != master:
                continue
            if self.name == "indrik":
                is_worker = title.startswith("indrik: worker")
            else:
                is_worker = "resource_tracker" not in title
            if is_worker:
                found[pid] = stat.started_at_ticks
        return found

    def control(self) -> Control:
        return Control(self.project.control)

    def ready_workers(self) -> int:
        """As the server says; of one that does not say it, those that live."""
        if self.name != "indrik":
            return len(self.workers())
        with self.control() as control:
            return int(control.call("show stats")["workers_ready"])

    def ready_pids(self) -> set[int]:
        """The workers that the server calls ready and that live; of one that does not say it, those that live."""
        alive = set(self.workers())
        if self.name != "indrik":
            return alive
        with self.control() as control:
            workers = control.call("show workers")["workers"]
        return {worker["pid"] for worker in workers if worker["state"] == "ready"} & alive

    def wait_for_workers(self, count: int, seconds: float = START_LIMIT_S) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self.ready_workers() >= count:
                    return True
            except OSError:
                pass
            time.sleep(POLL_S)
        return False

    def fetch(self, path: str = "/echo", seconds: float = FETCH_LIMIT_S) -> Fetched:
        """One request on a connection of its own."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("GET", f"{path}?n=1", headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read().decode("utf-8", "replace")
            return Fetched(response.status, body, time.monotonic() - began)
        except (OSError, http.client.HTTPException) as error:
            return Fetched(0, f"{type(error).__name__}: {error}", time.monotonic() - began)
        finally:
            connection.close()

    def wait_for_version(self, version: int, seconds: float = RELOAD_LIMIT_S, in_a_row: int = 8) -> bool:
        """Until so many answers one after the other come from that version."""
        deadline, seen = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            seen = seen + 1 if self.fetch(seconds=5).version == version else 0
            if seen >= in_a_row:
                return True
            time.sleep(POLL_S)
        return False

    def reload(self) -> tuple[int, str]:
        """The exit code and words of the command that reloads; of a server without one, 0 after the signal."""
        if self.name != "indrik":
            send(self.pid, signal.SIGHUP)
            return 0, ""
        return self.indrik("reload") if has_command("reload") else self.indrik("ctl", "--wait", "reload")

    def indrik(self, command: str, *words: str) -> tuple[int, str]:
        line = [str(peers.INDRIK), command, "--socket", str(self.project.control), *words]
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=RELOAD_LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            return -1, f"indrik {command} did not end within {RELOAD_LIMIT_S:.0f} s"
        return done.returncode, done.stdout + done.stderr

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def log_tail(self) -> str:
        return "\n".join(self.log().splitlines()[-LOG_LINES_SHOWN:])

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise Failed(f"the server ended with {self._process.returncode} at its start: {self.log_tail()}")
            if self.fetch(seconds=5).status == 200:
                if not self.wait_for_workers(self.options.workers):
                    raise Failed(f"{self.options.workers} workers never came up: {self.log_tail()}")
                return
            time.sleep(POLL_S)
        raise Failed(f"no answer within {START_LIMIT_S:.0f} s: {self.log_tail()}")


def send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def has_command(name: str) -> bool:
    """Whether this build of Indrik has such a command of its own."""
    return f"indrik {name}" in indrik_help()
