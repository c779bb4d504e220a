"""The zygote: reads the configuration file, imports the application (preload), forks workers.

The supervisor starts it with a message socket and talks to it in JSON, one message at a time. It
never starts a thread of its own: a fork copies only the thread that forks.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from typing import Any

from indrik import _native, loader

MESSAGE_BYTES_MAX = 64 * 1024
"""The largest message either side sends."""
TEXT_CHARS_MAX = 10_000
"""A traceback is cut to this, so that it fits a message with room for the rest."""
FORK_FDS = 5
"""Memory, request wake, response wake, socket for descriptors, control socket."""

_IGNORED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGTTIN", "SIGTTOU", "SIGUSR2")


def main(fd: int) -> None:
    """Serves the supervisor on the inherited socket until it says so or has gone."""
    # A terminal or a service manager signals the whole group; when to leave is the supervisor's word.
    for name in _IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    connection = socket.socket(fileno=fd)
    connection.set_inheritable(False)
    Zygote(connection).serve()


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
            data, fds, _, _ = socket.recv_fds(self._connection, MESSAGE_BYTES_MAX, FORK_FDS)
            request: dict[str, Any] = json.loads(data) if data else {"op": "exit"}
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
        from indrik import config_file

        if request.get("chdir"):
            os.chdir(request["chdir"])
        # Like an application, a configuration file may import what lies beside it.
        if sys.path[:1] != [os.getcwd()]:
            sys.path.insert(0, os.getcwd())
        try:
            found = config_file.read(request.get("path"))
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

    def _fork(self, worker: int, fds: list[int]) -> None:
        try:
            pid = _native.fork_worker()
        except (OSError, RuntimeError) as error:
            _close(fds)
            send(self._connection, {"event": "fork_failed", "worker": worker, "message": str(error)})
            return
        if pid == 0:
            self._connection.close()
            from indrik import worker as worker_module

            name = f"indrik: worker {worker} gen {self._generation} [{self._title}]"
            sys.exit(worker_module.main(self._config, name, fds, self._app))
        _close(fds)
        send(self._connection, {"event": "forked", "worker": worker, "pid": pid})


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


def describe(error: loader.LoadError) -> dict[str, str]:
    """The fields of a "failed" or "boot_failed" message."""
    return {
        "kind": error.kind,
        "message": cut(error.message),
        "hint": cut(error.hint),
        "traceback": cut(error.traceback),
    }


def cut(text: str) -> str:
    """The beginning and the end of a text that is too long for a message."""
    if len(text) <= TEXT_CHARS_MAX:
        return text
    half = TEXT_CHARS_MAX // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Sends one message; a supervisor that has gone is noticed at the next receive."""
    data = _encode(message)
    if len(data) > MESSAGE_BYTES_MAX:
        if message.get("event") == "config":
            data = _encode(
                {
                    "event": "config_failed",
                    "file": message.get("path"),
                    "line": None,
                    "traceback": "",
                    "message": f"the settings are larger than {MESSAGE_BYTES_MAX} bytes",
                }
            )
        else:
            small = {key: value[:1000] if isinstance(value, str) else value for key, value in message.items()}
            data = _encode(small)
    try:
        connection.send(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


def _encode(message: dict[str, Any]) -> bytes:
    # A traceback may hold lone surrogates, from file names that are not UTF-8.
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
