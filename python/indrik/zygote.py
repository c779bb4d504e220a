"""The zygote: reads the configuration file, imports the application (preload), forks workers.

The supervisor starts it with a message socket and talks to it in JSON, one message at a time. It
never starts a thread of its own: a fork copies only the thread that forks.

What it imports, every worker pays for, so it imports little: no ``typing``, nothing that needs
``re`` or ``enum``. The modules in C that ``signal`` and ``socket`` wrap do as well.
"""

from __future__ import annotations

import gc
import os
import sys

from indrik import facade, loader, worker
from indrik.lean import _native
from indrik.messages import connect, describe, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from typing import Any
else:
    import _signal as signal

CONFIG_FILE = "gunicorn.conf.py"
"""Read when no file is named and the directory has one, as in `config_file`."""

_IGNORED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGTTIN", "SIGTTOU", "SIGUSR2")


def main(fd: int) -> None:
    """Serves the supervisor on the inherited socket until it says so or has gone."""
    # A terminal or a service manager signals the whole group; when to leave is the supervisor's word.
    for name in _IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.set_inheritable(fd, False)
    facade.install()
    Zygote(connect(fd)).serve()


class Zygote:
    """One generation: its configuration and, with preload, its application."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._config: dict[str, Any] = {}
        self._generation = 0
        self._title = ""
        self._app: Any = None

    def serve(self) -> None:
        """Does what it is told, until told to leave."""
        while True:
            request, fds = receive(self._connection)
            if request is None:
                return
            op = request["op"]
            if op == "read_config":
                self._read_config(request)
            elif op == "configure":
                self._configure(request)
            elif op == "fork":
                self._fork(request["worker"], fds)
            elif op == "exit":
                return

    def _read_config(self, request: dict[str, Any]) -> None:
        path = request.get("path")
        if request.get("chdir"):
            os.chdir(request["chdir"])
        # Like an application, a configuration file may import what lies beside it.
        if sys.path[:1] != [os.getcwd()]:
            sys.path.insert(0, os.getcwd())
        if path is None and not os.path.exists(CONFIG_FILE):
            # Reading one takes Python's own parser, the largest module here.
            send(self._connection, {"event": "config", "path": None, "values": {}, "lines": {}})
            return
        from indrik import config_file

        try:
            found = config_file.read(path)
        except config_file.ConfigFileError as error:
            send(
                self._connection,
                {
                    "event": "config_failed",
                    "message": error.message,
                    "file": error.file,
                    "line": error.line,
                    "traceback": error.traceback,
                },
            )
            return
        send(self._connection, {"event": "config", **found})

    def _configure(self, request: dict[str, Any]) -> None:
        config = self._config = request["config"]
        self._generation = request["generation"]
        self._title = request["title"]
        config["listeners"] = request["listeners"]
        try:
            enter(config)
            redirect_errors(config)
            # Workers inherit the handler.
            signal.signal(signal.SIGUSR1, lambda _number, _frame: redirect_errors(config))
            _native.set_process_title(f"indrik: zygote gen {self._generation} [{self._title}]")
            if config["preload_app"]:
                self._app = loader.load(config["wsgi_app"])
        except loader.LoadError as error:
            send(self._connection, {"event": "failed", **describe(error)})
            return
        except OSError as error:
            failure = loader.LoadError("boot", str(error), "check --chdir and the permissions on it")
            send(self._connection, {"event": "failed", **describe(failure)})
            return
        # What is frozen is never touched by the collector, so its pages stay shared with the workers.
        gc.collect()
        gc.freeze()
        send(self._connection, {"event": "ready"})

    def _fork(self, number: int, fds: list[int]) -> None:
        try:
            pid = _native.fork_worker()
        except (OSError, RuntimeError) as error:
            _close(fds)
            send(self._connection, {"event": "fork_failed", "worker": number, "message": str(error)})
            return
        if pid == 0:
            self._connection.close()
            name = f"indrik: worker {number} gen {self._generation} [{self._title}]"
            sys.exit(worker.main(self._config, name, fds, self._app))
        _close(fds)
        send(self._connection, {"event": "forked", "worker": number, "pid": pid})


def enter(config: dict[str, Any]) -> None:
    """Takes the place the application expects: directory, environment, module search path."""
    os.chdir(config["chdir"])
    for name, value in config["raw_env"]:
        os.environ[name] = value
    cwd = os.getcwd()
    wanted = [*(os.path.abspath(path) for path in config["pythonpath"]), cwd]
    sys.path[:] = wanted + [path for path in sys.path if path not in wanted]


def redirect_errors(config: dict[str, Any]) -> None:
    """Makes the error log standard error, if it is a file; also opens it anew after a rotation."""
    log = config["errorlog"]
    if log["kind"] != "file":
        return
    fd = os.open(log["path"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.dup2(fd, 2)
    os.close(fd)


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
