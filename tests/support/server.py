"""Start the server under test, know when it is up, and see that it leaves nothing behind.

The command comes from `INDRIK_TEST_COMMAND` (default: `.venv/bin/indrik`). With
`INDRIK_TEST_COMMAND=/path/to/gunicorn` the same tests run against Gunicorn, the oracle.
"""

from __future__ import annotations

import array
import fcntl
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path
from typing import IO

TESTS = Path(__file__).resolve().parent.parent
REPOSITORY = TESTS.parent
APPS = TESTS / "apps"
EXAMPLES = REPOSITORY / "examples"
COMMAND = shlex.split(os.environ.get("INDRIK_TEST_COMMAND", str(REPOSITORY / ".venv" / "bin" / "indrik")))
IS_ORACLE = "gunicorn" in Path(COMMAND[-1]).name

START_SECONDS = 20.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.02
# Said once, when the first worker is ready; in whatever form the test has logs.
READY = r'(?m)\bReady$|"message": ?"Ready\b'

# Servers that run now; the failure report prints the tail of their logs.
running: list[Server] = []


class Server:
    """One running server. Use as a context manager: leaving it stops and checks the server."""

    def __init__(
        self,
        app: str,
        *arguments: str,
        log_directory: Path,
        interface: str = "wsgi",
        chdir: Path = APPS,
        environment: dict[str, str] | None = None,
        bind: str | None = None,
        cwd: Path | None = None,
        port: int = 0,
        say_bind: bool = True,
        pass_fds: tuple[int, ...] = (),
        says_ready: bool = True,
        launcher: tuple[str, ...] = (),
    ) -> None:
        """`say_bind=False`: the configuration itself binds `bind`, or `port` of 127.0.0.1.

        `says_ready=False`: it does not become ready without the test's doing, or does not log it.
        `launcher`: a command that runs the server's in its place.
        """
        self.port = port or free_port()
        self.address = ("127.0.0.1", self.port)
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_directory = log_directory
        options = ["--bind", bind or f"127.0.0.1:{self.port}"] if say_bind else []
        # A test that starts in its own directory is about what is found there without being told.
        options += [] if cwd else ["--chdir", str(chdir)]
        if IS_ORACLE:
            # Its default is one path per user: servers of parallel tests would take it from each other.
            options += [] if "--control-socket" in arguments else ["--control-socket", str(log_directory / "control")]
            if interface == "asgi":
                options += ["--worker-class", "asgi"]
        self.command = [*launcher, *COMMAND, *options, *arguments, *([app] if app else [])]
        self.cwd = cwd
        self.pass_fds = pass_fds
        self.environment = os.environ | {"PYTHONUNBUFFERED": "1"} | (environment or {})
        self.unix_path = bind.removeprefix("unix:") if bind and bind.startswith("unix:") else None
        self.clean_stop = True
        self.says_ready = says_ready and not IS_ORACLE
        self.logs = [Path(file) for flag, file in pairwise(arguments) if flag == "--error-logfile"]

    def __enter__(self) -> Server:
        self.start()
        try:
            self.wait_until_up()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self.clean_stop and self.process.poll() is None:
            code = self.stop()
            assert code == 0, f"stopped with exit code {code}; log:\n{self.log_tail()}"
            self.assert_nothing_left()
        else:
            self.kill()
        self._forget()

    def start(self) -> None:
        """Start the process and begin to collect what it writes."""
        self.log_directory.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            self.command,
            env=self.environment,
            cwd=self.cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self.pass_fds,
        )
        assert self.process.stdout and self.process.stderr
        self.stdout = Collector(self.process.stdout, self.log_directory / "stdout.log")
        self.stderr = Collector(self.process.stderr, self.log_directory / "stderr.log")
        running.append(self)

    def wait_until_up(self) -> None:
        """Wait until the address accepts connections, as many workers as the command line says are there, and
        one is ready. `support.control.all_ready` waits for the others."""
        poll(lambda: self._gone() or self.accepts(), "the server's address", START_SECONDS)
        wanted = workers_said(self.command)
        poll(lambda: self._gone() or len(self.workers()) >= wanted, f"{wanted} workers", START_SECONDS)
        if self.says_ready:
            poll(lambda: self._gone() or self._says_ready(), "the server to be ready", START_SECONDS)
        if self.process.poll() is not None:
            raise AssertionError(f"{shlex.join(self.command)} ended with {self.process.returncode}:\n{self.log_tail()}")

    def wait_for_exit(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until the server ends by itself; its exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running; log:\n{self.log_tail()}") from None
        self.stdout.join()
        self.stderr.join()
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.signal(number)
        return self.wait_for_exit()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill every process of this server, whatever state it is in."""
        for pid in [self.process.pid, *self.processes()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self._forget()

    def processes(self) -> list[int]:
        """Every live process of this server's session (zombies included), supervisor first."""
        return sorted(pid for pid in all_pids() if session_of(pid) == self.process.pid)

    def workers(self, generation: int | None = None) -> list[int]:
        """The pids of the workers, by their title (Gunicorn: the children of the master)."""
        if IS_ORACLE:
            return [pid for pid in self.processes() if pid != self.process.pid]
        wanted = "" if generation is None else f" gen {generation} "
        return [
            pid
            for pid in self.processes()
            # With Gunicorn's titles, if a test sets `proc_title_prefix`; a hook may write before them.
            if re.search(r"\b(indrik|gunicorn): worker", title := title_of(pid)) and wanted in title + " "
        ]

    def wait_for_new_workers(self, old: Collection[int], count: int = 0, seconds: float = 20.0) -> None:
        """Wait until all workers are others than these: `count` of them, or at least one."""

        def new() -> bool:
            # One look: a worker may come or go before the next one.
            now = self.workers()
            return bool(now) and count in (0, len(now)) and not set(old) & set(now)

        poll(new, f"{count or 'some'} workers other than {sorted(old)}", seconds)

    def zygote(self) -> int:
        """The zygote. For a moment after its fork a worker has the same title."""

        def found() -> list[int]:
            return [pid for pid in self.processes() if "indrik: zygote" in title_of(pid)]

        poll(lambda: len(found()) == 1, "one zygote")
        return found()[0]

    def titles(self) -> list[str]:
        return [title_of(pid) for pid in self.processes()]

    def assert_nothing_left(self) -> None:
        """No process of this server is left: no orphan, no zombie."""
        left = lambda: [(pid, title_of(pid)) for pid in self.processes()]  # noqa: E731
        poll(lambda: not left(), f"the end of {left()}", 10)

    def wait_for_log(self, pattern: str, seconds: float = 15.0) -> re.Match[str]:
        """Wait for a line of the error log that matches."""
        return self.stderr.wait_for(pattern, seconds)

    def wait_for_access_line(self, pattern: str, seconds: float = 10.0) -> re.Match[str]:
        """Wait for a line on standard output (the access log with `--access-logfile -`)."""
        return self.stdout.wait_for(pattern, seconds)

    def log(self) -> str:
        return self.stderr.text()

    def log_tail(self) -> str:
        lines = [*self.stderr.lines, *self.stdout.lines[-10:]]
        return "\n".join(lines[-60:])

    def _forget(self) -> None:
        if self in running:
            running.remove(self)

    def _says_ready(self) -> bool:
        # A project's configuration may have named another file.
        files = [*self.logs, *([*self.cwd.glob("*error*"), *self.cwd.glob("*.log")] if self.cwd else [])]
        texts = [
            self.log(),
            self.stdout.text(),
            *(file.read_text(errors="replace") for file in files if file.is_file()),
        ]
        return any(re.search(READY, text) for text in texts)

    def _gone(self) -> bool:
        return self.process.poll() is not None

    def accepts(self) -> bool:
        """Whether the address takes a connection now."""
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def connect(self) -> socket.socket:
        if self.unix_path:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(self.unix_path)
            return connection
        return socket.create_connection(self.address, timeout=10)


# What the fixtures `start` and `start_shared` give.
StartServer = Callable[..., Server]


class Collector:
    """Reads one stream of the server line by line, keeps it, and wakes whoever waits for a line."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self.lines: list[str] = []
        self.changed = threading.Condition()
        self.ended = False
        self.stream = stream
        self.thread = threading.Thread(target=self._collect, args=(path,), daemon=True)
        self.thread.start()

    def _collect(self, path: Path) -> None:
        begun = b""
        readable = select.poll()
        readable.register(self.stream, select.POLLIN)
        with path.open("wb") as copy:
            while not self.ended:
                readable.poll()
                # Read under the lock: who holds it and finds the pipe empty has every line.
                with self.changed:
                    piece = os.read(self.stream.fileno(), 65536)
                    copy.write(piece)
                    copy.flush()
                    self.ended = not piece
                    *whole, begun = (begun + piece).split(b"\n")
                    if self.ended and begun:
                        whole.append(begun)
                    self.lines += [line.decode("utf-8", "replace") for line in whole]
                    self.changed.notify_all()

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        wanted = re.compile(pattern)
        deadline = time.monotonic() + seconds
        seen = 0
        with self.changed:
            while True:
                for line in self.lines[seen:]:
                    if found := wanted.search(line):
                        return found
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0 or self.ended:
                    tail = "\n".join(self.lines[-40:])
                    raise AssertionError(f"no line matches {pattern!r} in:\n{tail}")
                self.changed.wait(left)

    def text(self) -> str:
        with self.changed:
            return "\n".join(self.lines)

    def join(self) -> None:
        """Wait for all that was written before now. Others may have the stream's other end still: a new master."""
        poll(self._has_all, "the server's output", 5)

    def _has_all(self) -> bool:
        with self.changed:
            unread = array.array("i", [0])
            if not self.ended:
                fcntl.ioctl(self.stream.fileno(), termios.FIONREAD, unread)
            return self.ended or unread[0] == 0


def poll(condition: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Wait for a state of the kernel's tables (/proc, a listening port), which has no event."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        pause.wait(POLL_SECONDS)


def workers_said(command: list[str]) -> int:
    """How many workers a command line asks for by flag; 1 when it asks for none, or leaves the number to the server."""
    said = re.findall(r" (?:--workers[ =]|-w ?)(\d+)", " ".join(command))
    return max(1, int(said[-1])) if said else 1


_given_ports: set[int] = set()


def free_port() -> int:
    """A port that nobody has, and that was not given to anybody before: they may not have taken it yet."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def session_of(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[3])


def title_of(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return raw.replace(b"\0", b" ").decode("utf-8", "replace").strip()


def status_kib(pid: int, field: str) -> int:
    """A memory figure of /proc/PID/status in KiB, such as VmRSS or VmHWM (the peak of it)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    # Of a process that is ending, for a moment.
    raise LookupError(f"/proc/{pid}/status has no {field}")
