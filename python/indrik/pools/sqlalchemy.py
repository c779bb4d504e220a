"""SQLAlchemy: pools with a limit (`QueuePool`, and what asyncio engines have), named by their database."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any
from weakref import ref

from indrik.pools import NUMBERS, Pool, never, numbers_of, shown, watch

if TYPE_CHECKING:
    from types import ModuleType

NAME = "_indrik_name"


def enter_engines(module: ModuleType) -> None:
    """``sqlalchemy.engine.create``: an engine knows where its pool's connections lead to."""
    create: Any = vars(module)["create_engine"]

    @wraps(create)
    def create_engine(*arguments: Any, **named: Any) -> Any:
        engine = create(*arguments, **named)
        shown(lambda engine: setattr(engine.pool, NAME, _name_of(engine.url)), engine)
        return engine

    module.create_engine = create_engine  # type: ignore[attr-defined]


def _name_of(url: Any) -> str:
    """Without user, password and options."""
    return f"{url.get_backend_name()}://{url.host or ''}/{url.database or ''}"


def enter_pools(module: ModuleType) -> None:
    """``sqlalchemy.pool.impl``."""
    pools: Any = vars(module)["QueuePool"]
    again = pools.recreate

    @wraps(again)
    def recreate(self: Any) -> Any:
        made = again(self)
        for name in (NUMBERS, NAME):
            if name in vars(self):
                setattr(made, name, getattr(self, name))
        return made

    # Not `__init__`: the library looks at what arguments that takes.
    pools.recreate = recreate
    watch(pools, "_do_get", _watch_queue, _show)
    watch(pools, "_do_return_conn", never, _show)


def _watch_queue(pool: Any) -> None:
    """Those who wait do so for something in the pool's queue."""
    queue, of = pool._pool, ref(pool)
    if "get" in vars(queue):
        return
    get = queue.get

    @wraps(get)
    def waiting_get(block: bool = True, timeout: float | None = None) -> Any:
        pool = of()
        if not block or pool is None or not queue.empty():
            return get(block, timeout)
        with _numbers(pool).wait((Exception,)):
            return get(block, timeout)

    queue.get = waiting_get


def _numbers(pool: Any) -> Pool:
    return numbers_of(pool, "sqlalchemy", lambda pool: vars(pool).get(NAME) or pool.logging_name or type(pool).__name__)


def _show(pool: Any) -> None:
    in_use, size = pool.checkedout(), pool.size()
    # Without a limit of its own it is as large as it is.
    limit = size + pool._max_overflow if pool._max_overflow >= 0 and size else 0
    _numbers(pool).show(pool.checkedin() + in_use, limit, in_use, max(pool.overflow(), 0))
