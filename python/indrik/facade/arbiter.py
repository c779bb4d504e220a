"""The arbiter as hooks see it: the server's side of things, in the zygote that stands for it.

Indrik's supervisor is the arbiter. What it decides is told to this object, and what hooks ask of
this object is told to the supervisor.
"""

from __future__ import annotations

import os
import signal
import sys
from _queue import SimpleQueue
from typing import Any

from indrik import facade
from indrik.facade._finder import original
from indrik.facade.errors import HaltServer as HaltServer

SD_LISTEN_FDS_START = 3


class Arbiter:
    """``server`` in hooks; also what programs run that embed the server without an application class."""

    WORKER_BOOT_ERROR = 3
    APP_LOAD_ERROR = 4
    WAKEUP_REQUEST = signal.NSIG
    SIGNALS = [getattr(signal, "SIG" + name) for name in "HUP QUIT INT TERM TTIN TTOU USR1 USR2 WINCH".split()]
    SIG_NAMES = {
        getattr(signal, name): name[3:].lower() for name in dir(signal) if name.startswith("SIG") and name[3] != "_"
    }

    def __init__(self, app: Any) -> None:
        os.environ["SERVER_SOFTWARE"] = facade.SERVER_SOFTWARE
        self._log: Any = None
        self._worker_class: Any = None
        self._num_workers: int | None = None
        self._last_logged_active_worker_count: int | None = None
        self.SIG_QUEUE: Any = SimpleQueue()
        self.pid: int = os.getpid()
        """The supervisor's, which signals are sent to; the zygote's own is ``os.getpid()``."""
        self.setup(app)
        self.LISTENERS: list[Any] = []
        self.WORKERS: dict[int, Any] = {}
        self.START_CTX: dict[Any, Any] = {
            "args": [sys.executable, *sys.argv],
            "cwd": os.getcwd(),
            0: sys.executable,
        }
        self.pidfile: Any = None
        self.systemd = False
        self.worker_age = 0
        self.reexec_pid = 0
        self.master_pid = 0
        self.master_name = "Master"
        self.dirty_arbiter_pid = 0
        self.dirty_arbiter: Any = None
        self.dirty_pidfile: Any = None
        self._control_server: Any = None
        self._stats: dict[str, Any] = {"start_time": None, "workers_spawned": 0, "workers_killed": 0, "reloads": 0}
        self._connection: Any = None

    def setup(self, app: Any) -> None:
        """Takes the application and its settings. Nobody is told of the number of workers, and nothing is loaded:
        that is done where the server runs."""
        self.app = app
        self.cfg = app.cfg
        self.address = self.cfg.address
        self._num_workers = self.cfg.workers
        self.timeout = self.cfg.timeout
        self.proc_name = self.cfg.proc_name
        os.environ.update(self.cfg.env)

    @property
    def log(self) -> Any:
        """The logger; one of the settings' class, unless it was given another. Made when it is asked for: it opens
        files, and a program that embeds the server seldom needs it."""
        if self._log is None:
            self._log = self.cfg.logger_class(self.cfg)
        return self._log

    @log.setter
    def log(self, value: Any) -> None:
        self._log = value

    @property
    def worker_class(self) -> Any:
        """The settings' class, unless it was given another. Imported when it is asked for."""
        return self.cfg.worker_class if self._worker_class is None else self._worker_class

    @worker_class.setter
    def worker_class(self, value: Any) -> None:
        self._worker_class = value

    @property
    def num_workers(self) -> Any:
        """Workers wanted. Setting it calls ``nworkers_changed`` and tells the supervisor."""
        return self._num_workers

    @num_workers.setter
    def num_workers(self, value: int) -> None:
        self.note_num_workers(value)
        if self._connection is not None:
            self._connection.want_workers(value)

    def note_num_workers(self, value: int) -> None:
        """The supervisor's number has changed."""
        old, self._num_workers = self._num_workers, value
        self.cfg.nworkers_changed(self, value, old)

    def connect(self, connection: Any) -> None:
        """From now on, wishes go to the supervisor through ``connection``."""
        self._connection = connection

    def run(self) -> None:
        """Runs the server with the application's settings; does not return."""
        from indrik.facade._embed import start

        start(self.app, type(self))

    def kill_worker(self, pid: int, sig: int) -> None:
        """Sends a signal to one worker."""
        if pid in self.WORKERS:
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                pass

    def kill_workers(self, sig: int) -> None:
        """Sends a signal to all workers."""
        for pid in list(self.WORKERS):
            self.kill_worker(pid, sig)

    def reload(self) -> None:
        """Asks the supervisor for a reload."""
        os.kill(self.pid, signal.SIGHUP)

    def stop(self, graceful: bool = True) -> None:
        """Asks the supervisor to end the server."""
        os.kill(self.pid, signal.SIGTERM if graceful else signal.SIGINT)

    def halt(self, reason: str | None = None, exit_status: int = 0) -> None:
        """Asks the supervisor to end the server."""
        if reason:
            self.log.error("Reason: %s", reason)
        self.stop()

    def reexec(self) -> None:
        """Asks the supervisor to replace itself."""
        os.kill(self.pid, signal.SIGUSR2)

    def wakeup(self) -> None:
        """Gunicorn's loop polls; the supervisor is told of everything at once."""

    def manage_workers(self) -> None:
        """The supervisor sees to the number of workers by itself."""

    def murder_workers(self) -> None:
        """The supervisor sees to workers that hang by itself."""

    def reap_workers(self) -> None:
        """The supervisor reaps."""

    def spawn_worker(self) -> None:
        """One worker more."""
        self.num_workers = (self._num_workers or 0) + 1


def __getattr__(name: str) -> object:
    return original(__name__, name)
