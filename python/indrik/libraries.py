"""Libraries that the server has something to do with, should the application import them.

Only their names stand here; what is done with one is loaded when it is.
"""

from __future__ import annotations

import sys

from indrik.imports import when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_LIBRARIES = (
    ("prometheus_client.values", "prometheus", "enter_values"),
    ("prometheus_client.metrics", "prometheus", "enter_metrics"),
    ("sqlalchemy.pool.impl", "pools.sqlalchemy", "enter_pools"),
    ("sqlalchemy.engine.create", "pools.sqlalchemy", "enter_engines"),
    ("psycopg_pool.pool", "pools.psycopg", "enter_pool"),
    ("psycopg_pool.pool_async", "pools.psycopg", "enter_async_pool"),
    ("asyncpg.pool", "pools.asyncpg", "enter_pool"),
    ("redis.connection", "pools.redis", "enter_connection"),
    ("redis.asyncio.connection", "pools.redis", "enter_asyncio_connection"),
    ("django.db.backends.base.base", "pools.django", "enter_base"),
)
"""A library's module, ours that has to do with it, and the function that is given the library's."""

is_worker = False
"""Not the zygote, nor what has no server."""

_is_watching = False


def enter_worker() -> None:
    """This process is a worker from now on, forked from one that may have loaded the application."""
    global is_worker
    is_worker = True
    prometheus = sys.modules.get("indrik.prometheus")
    if prometheus is not None:
        prometheus.show_states()


def watch() -> None:
    """To be called before any code of the application runs; twice is once."""
    global _is_watching
    if not _is_watching:
        _is_watching = True
        for name, ours, function in _LIBRARIES:
            when_imported(name, _entering(ours, function))


def _entering(ours: str, function: str) -> Callable[[ModuleType], None]:
    def enter(module: ModuleType) -> None:
        name = f"indrik.{ours}"
        __import__(name)
        getattr(sys.modules[name], function)(module)

    return enter
