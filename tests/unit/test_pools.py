"""Pools of connections as metrics (indrik/pools), with the libraries themselves."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psycopg_pool
import psycopg_pool.pool
import psycopg_pool.pool_async
import pytest
import redis.asyncio.connection as redis_asyncio
import redis.connection as redis_connection
import sqlalchemy
import sqlalchemy.engine.create
import sqlalchemy.pool.impl
from sqlalchemy.pool import QueuePool

from indrik import pools
from indrik.pools import psycopg as of_psycopg
from indrik.pools import redis as of_redis
from indrik.pools import sqlalchemy as of_sqlalchemy


@pytest.fixture(scope="module", autouse=True)
def entered() -> None:
    of_sqlalchemy.enter_engines(sqlalchemy.engine.create)
    of_sqlalchemy.enter_pools(sqlalchemy.pool.impl)
    of_psycopg.enter_pool(psycopg_pool.pool)
    of_psycopg.enter_async_pool(psycopg_pool.pool_async)
    of_redis.enter_connection(redis_connection)
    of_redis.enter_asyncio_connection(redis_asyncio)


class Numbers:
    """What is shown of a pool."""

    def __init__(self, library: str, pool: str) -> None:
        self._labels = (library, pool)

    def __getattr__(self, name: str) -> float:
        kinds = {"size": pools.SIZE, "max": pools.MAX, "in_use": pools.IN_USE, "overflow": pools.OVERFLOW}
        kinds |= {"waiting": pools.WAITING, "refused": pools.REFUSED}
        value: float = kinds[name].labels(*self._labels).value()
        return value

    @property
    def waits(self) -> int:
        return pools.WAITS.labels(*self._labels).count()


def until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("waited in vain")


def waits_until_given_back(numbers: Numbers, take: Callable[[], Any], give: Callable[[Any], None], first: Any) -> None:
    """Somebody waits while ``first`` is the only connection, and gets it."""
    waiter = threading.Thread(target=lambda: give(take()))
    waiter.start()
    until(lambda: numbers.waiting == 1)
    assert numbers.in_use == numbers.max
    give(first)
    waiter.join()
    assert numbers.waiting == 0
    assert numbers.waits == 1
    until(lambda: numbers.in_use == 0)
    assert numbers.refused == 0


def test_who_waits_for_a_connection_of_sqlalchemy_is_shown(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    engine = sqlalchemy.engine.create.create_engine(
        url, poolclass=QueuePool, pool_size=1, max_overflow=1, connect_args={"check_same_thread": False}
    )
    numbers = Numbers("sqlalchemy", f"sqlite:///{tmp_path}/shop.db")
    first, second = engine.connect(), engine.connect()
    assert (numbers.size, numbers.max, numbers.in_use, numbers.overflow) == (2, 2, 2, 1)
    waits_until = threading.Thread(target=lambda: engine.connect().close())
    waits_until.start()
    until(lambda: numbers.waiting == 1)
    first.close()
    waits_until.join()
    second.close()
    assert (numbers.waiting, numbers.waits, numbers.in_use, numbers.refused) == (0, 1, 0, 0)
    # Another pool takes its place, under the same name.
    engine.dispose()
    engine.connect().close()
    assert (numbers.size, numbers.in_use) == (1, 0)


def test_who_waits_in_vain_for_sqlalchemy_is_counted(tmp_path: Any) -> None:
    engine = sqlalchemy.engine.create.create_engine(
        f"sqlite:///{tmp_path}/a.db", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.05
    )
    with engine.connect(), pytest.raises(sqlalchemy.exc.TimeoutError):
        engine.connect()
    numbers = Numbers("sqlalchemy", f"sqlite:///{tmp_path}/a.db")
    assert (numbers.waiting, numbers.waits, numbers.refused) == (0, 1, 1)


class Connection:
    """What psycopg_pool needs of a connection."""

    closed = False
    autocommit = False

    def __init__(self) -> None:
        self.pgconn = SimpleNamespace(transaction_status=0)
        self._pool: Any = None
        self._created_at = self._expire_at = float("inf")

    @classmethod
    def connect(cls, *_arguments: object, **_named: object) -> Connection:
        return cls()

    def close(self) -> None:
        self.closed = True


class AsyncConnection(Connection):
    @classmethod
    async def connect(cls, *_arguments: object, **_named: object) -> AsyncConnection:  # type: ignore[override]
        return cls()

    async def close(self) -> None:  # type: ignore[override]
        self.closed = True


def test_who_waits_for_a_connection_of_psycopg_is_shown() -> None:
    pool: Any = psycopg_pool.ConnectionPool(
        min_size=1,
        max_size=1,
        name="shop",
        connection_class=Connection,
        open=True,  # type: ignore[type-var]
    )
    with pool:
        pool.wait()
        first = pool.getconn()
        waits_until_given_back(Numbers("psycopg", "shop"), pool.getconn, pool.putconn, first)


def test_a_task_that_is_cancelled_while_it_waits_waits_no_more() -> None:
    async def main() -> None:
        pool: Any = psycopg_pool.AsyncConnectionPool(
            min_size=1,
            max_size=1,
            name="async",
            connection_class=AsyncConnection,
            open=False,  # type: ignore[type-var]
        )
        await pool.open(wait=True)
        numbers = Numbers("psycopg", "async")
        first = await pool.getconn()
        waiter = asyncio.ensure_future(pool.getconn())
        while numbers.waiting != 1:
            await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert (numbers.waiting, numbers.in_use) == (0, 1)
        await pool.putconn(first)
        await pool.close()

    asyncio.run(main())


class Silent:
    """What redis-py needs of a connection that is never used."""

    pid = os.getpid()

    def __init__(self, **_named: object) -> None:
        pass

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments, **_named: None

    def should_reconnect(self) -> bool:
        return False


def test_who_waits_for_a_connection_of_redis_is_shown() -> None:
    pool = redis_connection.BlockingConnectionPool(
        connection_class=Silent, max_connections=1, timeout=20, host="cache", db=2, protocol=2
    )
    numbers = Numbers("redis", "cache:6379/2")
    first = pool.get_connection()
    waits_until_given_back(numbers, pool.get_connection, pool.release, first)


def test_who_finds_no_connection_of_redis_is_counted() -> None:
    pool = redis_connection.ConnectionPool(connection_class=Silent, max_connections=1, host="full", protocol=2)
    pool.get_connection()
    with pytest.raises(redis_connection.ConnectionError):
        pool.get_connection()
    numbers = Numbers("redis", "full:6379/0")
    assert (numbers.in_use, numbers.max, numbers.refused) == (1, 1, 1)


def test_a_wait_within_a_wait_counts_once() -> None:
    outer, inner = pools.Pool("test", "outer"), pools.Pool("test", "inner")
    with outer.wait(), inner.wait():
        assert (Numbers("test", "outer").waiting, Numbers("test", "inner").waiting) == (1, 0)
    with pytest.raises(KeyError), inner.wait((OSError,)):
        raise KeyError
    assert (Numbers("test", "outer").waits, Numbers("test", "inner").waits) == (1, 1)
    assert (Numbers("test", "inner").waiting, Numbers("test", "inner").refused) == (0, 0)
