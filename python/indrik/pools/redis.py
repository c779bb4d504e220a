"""redis-py: its pools, those that wait and those that do not, named by the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from indrik.pools import Pool, numbers_of, shown, watch, watch_async

if TYPE_CHECKING:
    from types import ModuleType


def enter_connection(module: ModuleType) -> None:
    """``redis.connection``."""
    plain, blocking = vars(module)["ConnectionPool"], vars(module)["BlockingConnectionPool"]
    watch(plain, "get_connection", _refused_if_full, _show)
    watch(plain, "release", _refuses_none, _show)
    watch(blocking, "get_connection", lambda pool: _numbers(pool) if pool.pool.empty() else None, _show_blocking)
    watch(blocking, "release", _refuses_none, _show_blocking)


def enter_asyncio_connection(module: ModuleType) -> None:
    """``redis.asyncio.connection``."""
    plain, blocking = vars(module)["ConnectionPool"], vars(module)["BlockingConnectionPool"]
    watch_async(plain, "get_connection", _refused_if_full, _show)
    watch_async(plain, "release", _refuses_none, _show)
    watch_async(blocking, "get_connection", lambda pool: None if pool.can_get_connection() else _numbers(pool), _show)


def _numbers(pool: Any) -> Pool:
    return numbers_of(pool, "redis", _name)


def _name(pool: Any) -> str:
    known = pool.connection_kwargs
    where = known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"
    return f"{where}/{known.get('db', 0)}"


def _refused_if_full(pool: Any) -> None:
    """A pool that waits for nobody refuses who comes when all its connections are in use."""
    if not _is_blocking(pool) and not pool._available_connections:
        in_use = len(pool._in_use_connections)
        if in_use >= pool.max_connections:
            _numbers(pool).refuse()


def _refuses_none(_pool: Any) -> None:
    return None


def _is_blocking(pool: Any) -> bool:
    return hasattr(pool, "timeout")


def _show(pool: Any) -> None:
    in_use = len(pool._in_use_connections)
    _numbers(pool).show(in_use + len(pool._available_connections), _limit(pool), in_use)


def _show_blocking(pool: Any) -> None:
    if not hasattr(pool, "pool"):
        return shown(_show, pool)  # type: ignore[no-any-return]
    # Of those that are free, the places of connections that were never made are None.
    made = len(pool._connections)
    free = sum(connection is not None for connection in list(pool.pool.queue))
    _numbers(pool).show(made, _limit(pool), made - free)


def _limit(pool: Any) -> int:
    """0 where there is none: the library has 2 to the power of 31 then."""
    limit = int(pool.max_connections)
    return 0 if limit >= 1 << 31 else limit
