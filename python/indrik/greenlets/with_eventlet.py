"""eventlet's hub."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

with warnings.catch_warnings():
    # Every worker would say that the library is deprecated; whoever chose it knows.
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    import eventlet
    from eventlet import hubs
    from eventlet.event import Event


class EventletHub:
    """The hub of the thread that makes it."""

    def patch(self) -> None:
        """All of it, as Gunicorn's worker did."""
        hubs.use_hub()
        eventlet.monkey_patch()

    def prepare(self) -> None:
        """Makes the hub."""
        hubs.get_hub()

    def after_fork(self) -> None:
        # A new one: the parent's has descriptors in common with the child's.
        hubs.use_hub()

    def __init__(self) -> None:
        self._listeners: list[Any] = []
        self._rests = False

    def watch(self, fd: int, act: Callable[[], None]) -> None:
        hub = hubs.get_hub()
        self._listeners.append(hub.add(hub.READ, fd, lambda _fd: act(), _ignore, _ignore))

    def rest(self) -> None:
        self._rests = True
        while self._listeners:
            hubs.get_hub().remove(self._listeners.pop())

    def every(self, seconds: float, act: Callable[[], None]) -> None:
        def again() -> None:
            if self._rests:
                return
            hubs.get_hub().schedule_call_global(seconds, again)
            act()

        hubs.get_hub().schedule_call_global(seconds, again)

    def soon(self, act: Callable[[], None]) -> None:
        hubs.get_hub().schedule_call_global(0, act)

    def spawn(self, work: Callable[[], None]) -> Any:
        return eventlet.spawn(work)

    def throw(self, greenlet: Any, error: type[BaseException]) -> None:
        # The hub's own greenlet calls, which must not be the one that waits for its turn.
        hubs.get_hub().schedule_call_global(0, _throw, greenlet, error)

    def event(self) -> EventletEvent:
        return EventletEvent()


class EventletEvent:
    """Something that happens once."""

    def __init__(self) -> None:
        self._event: Event = Event()

    def wait(self, seconds: float | None) -> None:
        self._event.wait(seconds)

    def set(self) -> None:
        if not self._event.ready():
            self._event.send()


def _throw(greenlet: Any, error: type[BaseException]) -> None:
    if not greenlet.dead:
        greenlet.throw(error)


def _ignore(*_: object) -> None:
    """The descriptor is never closed while the hub watches it."""
