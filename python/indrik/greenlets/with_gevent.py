"""gevent's hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent import monkey
from gevent.event import Event


class GeventHub:
    """The hub of the thread that makes it."""

    def __init__(self) -> None:
        # What the loop watches is watched as long as somebody holds the watcher.
        self._watchers: list[Any] = []

    def patch(self) -> None:
        """All of it, as Gunicorn's worker does. A configuration file may have done so already."""
        monkey.patch_all()

    def prepare(self) -> None:
        """Makes the hub."""
        gevent.get_hub()

    def after_fork(self) -> None:
        gevent.reinit()

    def watch(self, fd: int, act: Callable[[], None]) -> None:
        watcher = gevent.get_hub().loop.io(fd, 1)
        watcher.start(act)
        self._watchers.append(watcher)

    def every(self, seconds: float, act: Callable[[], None]) -> None:
        timer = gevent.get_hub().loop.timer(seconds, seconds)
        timer.start(act)
        self._watchers.append(timer)

    def rest(self) -> None:
        while self._watchers:
            self._watchers.pop().stop()

    def soon(self, act: Callable[[], None]) -> None:
        gevent.get_hub().loop.run_callback(act)

    def spawn(self, work: Callable[[], None]) -> Any:
        greenlet = gevent.Greenlet(work)
        greenlet.start()
        return greenlet

    def throw(self, greenlet: Any, error: type[BaseException]) -> None:
        greenlet.kill(error, block=False)

    def event(self) -> GeventEvent:
        return GeventEvent()


class GeventEvent:
    """Something that happens once."""

    def __init__(self) -> None:
        self._event = Event()

    def wait(self, seconds: float | None) -> None:
        self._event.wait(seconds)

    def set(self) -> None:
        self._event.set()
