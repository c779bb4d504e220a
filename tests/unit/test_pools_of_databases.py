"""Pools of connections as metrics, with real databases; skipped where these are not installed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support import databases

from indrik import pools
from indrik.pools import asyncpg as of_asyncpg
from indrik.pools import django as of_django
from indrik.pools import redis as of_redis


@pytest.fixture(scope="module")
def postgres() -> Iterator[int]:
    with databases.postgres() as port:
        if port is None:
            pytest.skip("no PostgreSQL here")
        yield port


@pytest.fixture(scope="module")
def redis() -> Iterator[int]:
    with databases.redis() as port:
        if port is None:
            pytest.skip("no redis-server here")
        yield port


class Numbers:
    """What is shown of a pool."""

    def __init__(self, library: str, pool: str) -> None:
        self._labels = (library, pool)

    @property
    def now(self) -> dict[str, float]:
        kinds = {"size": pools.SIZE, "max": pools.MAX, "in_use": pools.IN_USE}
        kinds |= {"waiting": pools.WAITING, "refused": pools.REFUSED}
        shown: dict[str, float] = {name: kind.labels(*self._labels).value() for name, kind in kinds.items()}
        shown["waits"] = pools.WAITS.labels(*self._labels).count()
        return {name: value for name, value in shown.items() if value}


async def waits_for_another(numbers: Numbers, take: Callable[[], Awaitable[Any]]) -> asyncio.Future[Any]:
    waiter = asyncio.ensure_future(take())
    while numbers.now.get("waiting") != 1:
        await asyncio.sleep(0)
    return waiter


def test_a_pool_of_asyncpg_is_shown_as_it_is(postgres: int) -> None:
    asyncpg = pytest.importorskip("asyncpg")
    of_asyncpg.enter_pool(asyncpg.pool)
    numbers = Numbers("asyncpg", "127.0.0.1/postgres")

    async def main() -> None:
        url = f"postgresql://postgres:secret@127.0.0.1:{postgres}/postgres"
        async with asyncpg.create_pool(url, min_size=1, max_size=2) as pool:
            first = await pool.acquire()
            assert await first.fetchval("select 7") == 7
            second = await pool.acquire()
            assert numbers.now == {"size": 2, "max": 2, "in_use": 2}
            waiter = await waits_for_another(numbers, pool.acquire)
            await pool.release(first)
            third = await waiter
            assert numbers.now == {"size": 2, "max": 2, "in_use": 2, "waits": 1}
            with pytest.raises(asyncio.TimeoutError):
                await pool.acquire(timeout=0.01)
            assert numbers.now == {"size": 2, "max": 2, "in_use": 2, "waits": 2, "refused": 1}
            waiter = await waits_for_another(numbers, pool.acquire)
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            assert numbers.now["waits"] == 3 and "waiting" not in numbers.now
            # One that the database has closed is none.
            await second.close()
            await pool.release(second)
            assert (numbers.now["size"], numbers.now["in_use"]) == (1, 1)
            await pool.release(third)
            assert "in_use" not in numbers.now

    asyncio.run(main())


def test_a_blocking_pool_of_redis_asyncio_is_shown_as_it_is(redis: int) -> None:
    asynchronous = pytest.importorskip("redis.asyncio")
    of_redis.enter_asyncio_connection(asynchronous.connection)
    numbers = Numbers("redis", f"127.0.0.1:{redis}/0")

    async def main() -> None:
        pool = asynchronous.BlockingConnectionPool(host="127.0.0.1", port=redis, max_connections=2, timeout=20)
        client = asynchronous.Redis(connection_pool=pool)
        assert await client.incr("hits") == 1
        assert numbers.now == {"size": 1, "max": 2}
        held = [await pool.get_connection() for _ in range(2)]
        assert numbers.now == {"size": 2, "max": 2, "in_use": 2}
        waiter = await waits_for_another(numbers, lambda: client.incr("hits"))
        await pool.release(held.pop())
        assert await waiter == 2
        assert numbers.now == {"size": 2, "max": 2, "in_use": 1, "waits": 1}
        await pool.release(held.pop())
        await client.aclose()
        await pool.disconnect()

    asyncio.run(main())


def test_a_pool_of_redis_asyncio_that_waits_for_nobody_counts_whom_it_refuses(redis: int) -> None:
    asynchronous = pytest.importorskip("redis.asyncio")
    of_redis.enter_asyncio_connection(asynchronous.connection)
    numbers = Numbers("redis", f"127.0.0.1:{redis}/1")

    async def main() -> None:
        pool = asynchronous.ConnectionPool(host="127.0.0.1", port=redis, db=1, max_connections=1)
        client = asynchronous.Redis(connection_pool=pool)
        assert await client.ping()
        held = await pool.get_connection()
        with pytest.raises(asynchronous.connection.ConnectionError):
            await client.ping()
        assert numbers.now == {"size": 1, "max": 1, "in_use": 1, "refused": 1}
        await pool.release(held)
        assert numbers.now == {"size": 1, "max": 1, "refused": 1}
        await pool.disconnect()

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:Accessing the database")
def test_connections_of_django_to_postgresql_are_shown_until_they_are_closed(postgres: int) -> None:
    pytest.importorskip("django")
    from django.db.backends.base import base

    of_django.enter_base(base)
    from django.db.utils import ConnectionHandler

    one = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": str(postgres)}
    databases_of_django = {"default": {}, "shop": {**one, "NAME": "postgres", "USER": "postgres"}}
    from django.conf import settings

    if not settings.configured:
        settings.configure(DATABASES=databases_of_django)
    handler = ConnectionHandler(databases_of_django)
    numbers = Numbers("django", "shop")

    def query() -> None:
        with handler["shop"].cursor() as cursor:
            cursor.execute("select 7")
            assert cursor.fetchone() == (7,)

    query()
    assert numbers.now == {"size": 1, "in_use": 1}
    both, closes = threading.Event(), threading.Event()

    def of_another_thread() -> None:
        query()
        both.set()
        closes.wait(20)
        handler["shop"].close()

    other = threading.Thread(target=of_another_thread)
    other.start()
    assert both.wait(20)
    assert numbers.now == {"size": 2, "in_use": 2}
    closes.set()
    other.join()
    assert numbers.now == {"size": 1, "in_use": 1}
    # One that was lost is opened anew.
    handler["shop"].connection.close()
    handler["shop"].close_if_unusable_or_obsolete()
    handler["shop"].close()
    query()
    assert numbers.now == {"size": 1, "in_use": 1}
    handler["shop"].close()
    assert numbers.now == {}
