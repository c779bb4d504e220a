"""asyncpg: its pools, named by the server and the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from indrik.pools import Pool, never, watch, watch_async

if TYPE_CHECKING:
    from types import ModuleType


def enter_pool(module: ModuleType) -> None:
    """``asyncpg.pool``."""
    kind = vars(module)["Pool"]
    watch_async(kind, "_acquire", _waits, _show)
    # A holder is idle again when this returns, however its connection was given back.
    watch(vars(module)["PoolConnectionHolder"], "_release", never, lambda holder: _show(holder._pool))


_known: WeakKeyDictionary[Any, Pool] = WeakKeyDictionary()
"""By the first holder of a pool, which lives as long: a pool has room for nothing of ours, and nobody can refer to it
without keeping it."""


def _numbers(pool: Any) -> Pool:
    first = pool._holders[0]
    numbers = _known.get(first)
    if numbers is None:
        numbers = _known[first] = Pool("asyncpg", _name(pool))
    return numbers


def _name(pool: Any) -> str:
    """Without user, password and options."""
    dsn, named = pool._connect_args[0], pool._connect_kwargs
    host, database = named.get("host"), named.get("database")
    if dsn and not (host and database):
        from urllib.parse import urlsplit

        parts = urlsplit(dsn)
        host, database = host or parts.hostname, database or parts.path.lstrip("/")
    return f"{host or ''}/{database or ''}"


def _waits(pool: Any) -> Pool | None:
    return _numbers(pool) if pool._initialized and pool._queue.empty() else None


def _show(pool: Any) -> None:
    if not pool._holders:
        return
    size = pool.get_size()
    _numbers(pool).show(size, pool.get_max_size(), size - pool.get_idle_size())
