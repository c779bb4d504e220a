"""psycopg_pool: its pools of connections, named as they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from indrik.pools import Pool, never, numbers_of, watch, watch_async

if TYPE_CHECKING:
    from types import ModuleType


def enter_pool(module: ModuleType) -> None:
    """``psycopg_pool.pool``."""
    kind = vars(module)["ConnectionPool"]
    watch(kind, "getconn", _waits, _show)
    # What is given back is cleaned by a thread of the pool's before it is there again.
    watch(kind, "_add_to_pool", never, _show)


def enter_async_pool(module: ModuleType) -> None:
    """``psycopg_pool.pool_async``."""
    kind = vars(module)["AsyncConnectionPool"]
    watch_async(kind, "getconn", _waits, _show)
    watch_async(kind, "_add_to_pool", never, _show)


def _numbers(pool: Any) -> Pool:
    return numbers_of(pool, "psycopg", lambda pool: str(pool.name))


def _waits(pool: Any) -> Pool | None:
    return None if pool._pool else _numbers(pool)


def _show(pool: Any) -> None:
    size = pool._nconns
    _numbers(pool).show(size, pool.max_size, size - len(pool._pool))
