"""The worker as hooks see it, and the base of users' worker classes."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from indrik.facade._finder import original


class WorkerTmp:
    """Gunicorn's heartbeat file. Indrik sees a worker's life in its channel; there is no file."""

    def __init__(self, _cfg: Any = None) -> None:
        self._updated = time.monotonic()

    def notify(self) -> None:
        """Notes the time."""
        self._updated = time.monotonic()

    def last_update(self) -> float:
        """When :meth:`notify` was called last, on the monotonic clock."""
        return self._updated

    def close(self) -> None:
        """Nothing is open."""


class Worker:
    """One worker process, from before its fork until after its exit."""

    indrik_kind = "sync"
    """What Indrik runs instead of this class: a value of the setting ``worker_class``."""

    def __init__(self, age: int, ppid: int, sockets: list[Any], app: Any, timeout: float, cfg: Any, log: Any) -> None:
        self.age = age
        self.pid: Any = "[booting]"
        self.ppid = ppid
        self.sockets = sockets
        self.app = app
        self.timeout = timeout
        self.cfg = cfg
        self.log = log
        self.booted = False
        self.aborted = False
        self.reloader: Any = None
        self.wsgi: Any = None
        self.max_requests = sys.maxsize
        if cfg.max_requests > 0:
            self.max_requests = cfg.max_requests + random.randint(0, cfg.max_requests_jitter)
        self.tmp = WorkerTmp(cfg)
        self._alive = True
        self._served: Callable[[], int] = lambda: 0
        self._retire: Callable[[], None] = lambda: None

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"

    @property
    def nr(self) -> int:
        """Requests handled so far."""
        return self._served()

    @property
    def alive(self) -> bool:
        """False once the worker is to go. Setting it to False has the worker replaced: another one
        is started, and when that is ready, this one finishes what it has and leaves."""
        return self._alive

    @alive.setter
    def alive(self, value: bool) -> None:
        was, self._alive = self._alive, bool(value)
        if was and not value:
            self._retire()

    def in_process(self, served: Callable[[], int], retire: Callable[[], None]) -> None:
        """Connects the object with the worker it now is in."""
        self.pid = os.getpid()
        self._served = served
        self._retire = retire

    def notify(self) -> None:
        """A sign of life; Indrik's own are given elsewhere."""
        self.tmp.notify()

    @classmethod
    def setup(cls) -> None:
        """Called by Gunicorn when the class is chosen."""

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Called by Gunicorn before workers are started."""

    def init_process(self) -> None:
        """Gunicorn's workers begin here; Indrik's do not run this."""

    def load_wsgi(self) -> None:
        """Loads the application."""
        self.wsgi = self.app.wsgi()

    def run(self) -> None:
        """Gunicorn's main loop of a worker; Indrik has its own."""
        raise NotImplementedError("indrik runs its own loop instead of the worker class's")

    def handle_exit(self, sig: int, frame: Any) -> None:
        """What SIGTERM does."""
        self.alive = False

    def handle_quit(self, sig: int, frame: Any) -> None:
        """What SIGQUIT does."""
        self.alive = False

    def handle_abort(self, sig: int, frame: Any) -> None:
        """What SIGABRT does."""
        self.alive = False

    def handle_usr1(self, sig: int, frame: Any) -> None:
        """What SIGUSR1 does: reopens log files."""
        self.log.reopen_files()

    def init_signals(self) -> None:
        """Gunicorn's workers set their signals here; Indrik's do not run this."""


def __getattr__(name: str) -> object:
    return original(__name__, name)
