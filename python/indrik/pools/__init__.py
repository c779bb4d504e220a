"""Pools of connections of libraries, as metrics: how many there are, how many are in use, who waits and for how long.

Each library has a file here, loaded when the application imports that library. Numbers are told by those who take and
give back connections, at that moment; nobody who looks at them calls anything of the application's. One number costs
some hundred nanoseconds, a connection's way to the database a thousand times that.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from indrik import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

POOLS_MAX = 100
"""Pools that are told apart; those beyond them are one, ``other``."""

NUMBERS = "_indrik_numbers"
"""Where a pool keeps its own."""

_LABELS = ("library", "pool")
_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

SIZE = metrics.gauge("indrik_pool_size", "Connections that the pools of all workers have open.", _LABELS)
MAX = metrics.gauge("indrik_pool_max", "Connections that they may have open.", _LABELS)
IN_USE = metrics.gauge("indrik_pool_in_use", "Connections that the application has taken.", _LABELS)
OVERFLOW = metrics.gauge("indrik_pool_overflow", "Connections beyond the size of the pool.", _LABELS)
WAITING = metrics.gauge("indrik_pool_waiting", "Those who wait for a connection now.", _LABELS)
WAITS = metrics.histogram(
    "indrik_pool_wait_seconds", "How long they waited who found no connection free.", _LABELS, buckets=_BUCKETS
)
REFUSED = metrics.counter("indrik_pool_refused", "Those who got no connection: the wait was too long.", _LABELS)

_is_waiting: ContextVar[bool] = ContextVar("indrik_pool_is_waiting", default=False)
"""Whether this thread, greenlet or task is in a wait already: pools that stand on pools count it once."""

_names: dict[tuple[str, str], int] = {}


class Pool:
    """The numbers of one pool."""

    __slots__ = ("_in_use", "_max", "_overflow", "_refused", "_size", "_waiting", "_waits")

    def __init__(self, library: str, name: str) -> None:
        labels = (library, _told_apart(library, name))
        self._size = SIZE.labels(*labels).set
        self._max = MAX.labels(*labels).set
        self._in_use = IN_USE.labels(*labels).set
        self._overflow = OVERFLOW.labels(*labels).set
        self._waiting = WAITING.labels(*labels)
        self._waits = WAITS.labels(*labels).observe
        self._refused = REFUSED.labels(*labels).inc

    def show(self, size: float, limit: float, in_use: float, overflow: float = 0) -> None:
        """How it stands now."""
        self._size(size)
        self._max(limit)
        self._in_use(in_use)
        self._overflow(overflow)

    def refuse(self) -> None:
        """Somebody got none."""
        self._refused()

    def wait(self, refusals: tuple[type[BaseException], ...] = ()) -> Wait:
        """Around the call that waits; these exceptions say that it was in vain."""
        return Wait(self, refusals)


class Wait:
    """One who waits. Counted once, however it ends: with a connection, an exception or a cancellation."""

    __slots__ = ("_began", "_pool", "_refusals", "_token")

    def __init__(self, pool: Pool, refusals: tuple[type[BaseException], ...]) -> None:
        self._pool = pool
        self._refusals = refusals
        self._began = 0.0
        self._token: Any = None

    def __enter__(self) -> None:
        if not _is_waiting.get():
            self._token = _is_waiting.set(True)
            self._pool._waiting.inc()
            self._began = perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        self._pool._waiting.dec()
        self._pool._waits(perf_counter() - self._began)
        if kind is not None and issubclass(kind, self._refusals):
            self._pool._refused()
        try:
            _is_waiting.reset(token)
        except ValueError:
            # A generator that another context has closed.
            _is_waiting.set(False)


def _told_apart(library: str, name: str) -> str:
    """A pool's name. Two of one name in a process have numbers behind it, and too many have one name."""
    count = _names.get((library, name), 0) + 1
    if count == 1 and len(_names) >= POOLS_MAX:
        return "other"
    _names[library, name] = count
    if count == 1:
        return name
    return f"{name}#{count}" if sum(_names.values()) <= POOLS_MAX else "other"


def numbers_of(pool: Any, library: str, name: Callable[[Any], str]) -> Pool:
    """The numbers of a library's pool, which are kept with it."""
    numbers: Pool | None = vars(pool).get(NUMBERS)
    if numbers is None:
        numbers = Pool(library, name(pool))
        setattr(pool, NUMBERS, numbers)
    return numbers


_watched: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
"""Classes of libraries, and their methods that count."""


def is_watched(kind: Any, method: str) -> bool:
    """Whether the class counts already: a library may be imported anew. It does from now on."""
    known = _watched.setdefault(kind, set())
    is_known = method in known
    known.add(method)
    return is_known


def watch(kind: Any, method: str, waits: Callable[[Any], Pool | None], show: Callable[[Any], None]) -> None:
    """Has a method of a library's pools count: ``waits`` says whose wait a call will be, if it will, and ``show`` tells
    afterwards how the pool stands."""
    if is_watched(kind, method):
        return
    call = getattr(kind, method)

    @wraps(call)
    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        waiting = shown(waits, self)
        try:
            if waiting is None:
                return call(self, *arguments, **named)
            with waiting.wait((Exception,)):
                return call(self, *arguments, **named)
        finally:
            shown(show, self)

    setattr(kind, method, counted)


def watch_async(kind: Any, method: str, waits: Callable[[Any], Pool | None], show: Callable[[Any], None]) -> None:
    """The same of a coroutine."""
    if is_watched(kind, method):
        return
    call = getattr(kind, method)

    @wraps(call)
    async def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        waiting = shown(waits, self)
        try:
            if waiting is None:
                return await call(self, *arguments, **named)
            with waiting.wait((Exception,)):
                return await call(self, *arguments, **named)
        finally:
            shown(show, self)

    setattr(kind, method, counted)


def never(_pool: Any) -> None:
    """For a method that waits for nobody."""


def shown(look: Callable[[Any], Any], pool: Any) -> Any:
    """Looks at a pool; what fails in that is nobody's problem."""
    try:
        return look(pool)
    except Exception as error:
        from indrik import logs

        logs.debug("A pool of connections is not shown", error)
        return None
