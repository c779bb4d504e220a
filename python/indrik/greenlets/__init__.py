"""WSGI with a greenlet for each request, in the hub of gevent or eventlet.

The ring's descriptor is one more thing that the hub watches. When it becomes readable, the hub's own
greenlet takes what lies in the ring and starts a greenlet for each request; that one runs the request
through `_native`, and lets the others run wherever it would have to wait.
"""

from __future__ import annotations

import sys

from indrik import RequestTimeout, children, inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Hub(Protocol):
        """What this package needs of a library."""

        def patch(self) -> None:
            """Makes the standard library cooperate; before the application is imported."""

        def prepare(self) -> None:
            """Makes the hub, which imports what it needs."""

        def after_fork(self) -> None:
            """Makes the hub usable in a process that was forked from one with a hub."""

        def watch(self, fd: int, act: Callable[[], None]) -> None:
            """Calls `act` in the hub's greenlet whenever `fd` is readable."""

        def every(self, seconds: float, act: Callable[[], None]) -> None:
            """Calls `act` in the hub's greenlet again and again."""

        def rest(self) -> None:
            """Ends what `watch` and `every` began; to be called by one of these."""

        def soon(self, act: Callable[[], None]) -> None:
            """Calls `act` in the hub's greenlet, after what is due now."""

        def spawn(self, work: Callable[[], None]) -> Any:
            """Starts a greenlet, without switching to it."""

        def throw(self, greenlet: Any, error: type[BaseException]) -> None:
            """Raises `error` in a greenlet when its turn comes, unless it has ended."""

        def event(self) -> Event:
            """An event that nobody has set."""

    class Event(Protocol):
        """Something that happens once."""

        def wait(self, seconds: float | None) -> None:
            """Lets other greenlets run until it has happened, or for so long."""

        def set(self) -> None:
            """It has happened."""


HEARTBEAT_SECONDS_MAX = 1.0
"""Between two signs of life of the hub. It shows none while a request blocks it."""
HEARTBEATS_IN_TIMEOUT = 4
"""As many fall into a `timeout` that is so short that one a second would be few."""
PAUSE_SECONDS_MAX = 1.0
"""A response that waits for its client looks again by itself after this time."""
BATCH_REQUESTS_MAX = 64
"""Requests taken before the hub gets a turn for timers, sockets and the greenlets that were started."""


def hub_of(kind: str) -> Hub:
    """The hub of "gevent" or "eventlet"."""
    hub: Hub
    if kind == "gevent":
        from indrik.greenlets.with_gevent import GeventHub

        hub = GeventHub()
    else:
        from indrik.greenlets.with_eventlet import EventletHub

        hub = EventletHub()
    return hub


def serve(kind: str, channel: Any, app: Any, options: dict[str, Any], capacity: int) -> None:
    """Serves until the channel's shutdown flag is set and every request has ended.

    Raises `RuntimeError` if the channel breaks.
    """
    Loop(hub_of(kind), channel, app, options, capacity).run()


def loaded() -> list[str]:
    """The libraries that have been imported, and may have made a hub."""
    return [
        kind
        for kind, module in (("gevent", "gevent.monkey"), ("eventlet", "eventlet.patcher"))
        if module in sys.modules
    ]


def patched() -> str | None:
    """The library that has patched threads in this process, if one has."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        return "gevent"
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("thread"):
        return "eventlet"
    return None


def wait_readable(fd: int) -> None:
    """In a patched process, lets its greenlets run until `fd` is readable.

    A configuration file may patch the standard library; then what it or a hook starts as a thread is
    a greenlet of the zygote, and would never run while the zygote waits inside the kernel.
    """
    library = patched()
    if library == "gevent":
        from gevent.socket import wait_read

        wait_read(fd)
    elif library == "eventlet":
        from eventlet.hubs import trampoline

        trampoline(fd, read=True)


class Loop:
    """One worker's requests."""

    def __init__(self, hub: Hub, channel: Any, app: Any, options: dict[str, Any], capacity: int) -> None:
        from indrik import _native

        self._hub = hub
        self._channel = channel
        timeout = options["timeout"] or HEARTBEAT_SECONDS_MAX * HEARTBEATS_IN_TIMEOUT
        self._beat_seconds = min(HEARTBEAT_SECONDS_MAX, timeout / HEARTBEATS_IN_TIMEOUT)
        self._waiting: dict[int, Event] = {}
        # By slot: which use of the slot it is, and the greenlet. For those who stop requests, or look into the worker.
        self._running: dict[int, tuple[int, Any]] = {}
        inside.watch_greenlets(self._running)
        self._over = hub.event()
        self._failure: BaseException | None = None
        self._server = _native.GreenServer(channel, app, options, capacity, self._pause)

    def run(self) -> None:
        """Serves; to be called on the main greenlet."""
        self._channel.heartbeat()
        self._hub.every(self._beat_seconds, self._beat)
        self._hub.watch(self._server.fileno(), self._on_wake)
        self._hub.soon(self._turn)
        self._over.wait(None)
        if self._failure is not None:
            raise self._failure

    def _is_at_home(self) -> bool:
        """What the application forks has this hub, too, and goes on with it wherever it waits: then the requests are
        its parent's, and nothing here may end it."""
        if children.is_home():
            return True
        self._hub.rest()
        return False

    def _beat(self) -> None:
        if not self._is_at_home():
            return
        # The hub may sleep on what the application closed, and would never wake again.
        if not self._channel.heartbeat():
            self._turn()

    def _on_wake(self) -> None:
        if not self._is_at_home():
            return
        self._server.woken()
        self._turn()

    def _turn(self) -> None:
        """Takes a batch out of the ring. Runs in the hub, so it neither waits nor raises."""
        if not self._is_at_home():
            return
        try:
            for _ in range(BATCH_REQUESTS_MAX):
                found = self._server.next()
                if found is None:
                    if self._server.rest():
                        if self._server.is_over():
                            self._over.set()
                        return
                elif isinstance(found, int):
                    waiting = self._waiting.pop(found, None)
                    if waiting is not None:
                        waiting.set()
                elif isinstance(found, tuple):
                    self._stop(*found)
                else:
                    greenlet = self._hub.spawn(found)
                    # The slot is used again only after the request before has ended.
                    self._running[found.slot] = (found.generation, greenlet)
            self._hub.soon(self._turn)
        except BaseException as error:
            self._failure = error
            self._over.set()

    def _stop(self, slot: int, generation: int) -> None:
        """The request in this use of a slot ran too long."""
        running = self._running.get(slot)
        if running is not None and running[0] == generation:
            self._hub.throw(running[1], RequestTimeout)

    def _pause(self, slot: int) -> None:
        """Called by a request's greenlet whose response must not go on yet."""
        event = self._waiting.get(slot)
        if event is None:
            event = self._waiting[slot] = self._hub.event()
        try:
            event.wait(PAUSE_SECONDS_MAX)
        finally:
            if self._waiting.get(slot) is event:
                del self._waiting[slot]
