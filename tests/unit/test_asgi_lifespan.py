"""The lifespan protocol from the server's side, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from indrik.asgi import Lifespan, LifespanFailed

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def started(app: Any, *, required: bool = False) -> Lifespan:
    """The lifespan of `app` after its start-up and its shutdown."""

    async def run() -> Lifespan:
        lifespan = Lifespan(app, required=required)
        await lifespan.start_up()
        await lifespan.shut_down()
        return lifespan

    return asyncio.run(run())


def test_the_application_is_started_and_shut_down_with_one_state() -> None:
    seen = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.append((scope["type"], scope["asgi"]["version"]))
        seen.append((await receive())["type"])
        scope["state"]["pool"] = "open"
        await send({"type": "lifespan.startup.complete"})
        seen.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})

    assert started(app).state == {"pool": "open"}
    assert seen == [("lifespan", "3.0"), "lifespan.startup", "lifespan.shutdown"]


def test_the_reason_of_a_failed_start_is_passed_on() -> None:
    async def app(_scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "the database is away"})
        raise RuntimeError("as Starlette does")

    with pytest.raises(LifespanFailed, match="the database is away"):
        started(app)


async def raises_in_its_start(_scope: Any, receive: Receive, _send: Send) -> None:
    await receive()
    raise RuntimeError("no such table")


def test_an_application_that_raises_in_its_start_is_served_without_lifespan_and_the_log_says_so(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert started(raises_in_its_start).state == {}
    log = capfd.readouterr().err
    assert "without lifespan" in log
    assert "RuntimeError: no such table" in log


def test_where_the_lifespan_is_required_raising_in_the_start_is_a_failed_start_with_its_traceback() -> None:
    with pytest.raises(LifespanFailed, match="Traceback(.|\n)*no such table"):
        started(raises_in_its_start, required=True)


async def refuses(scope: Any, _receive: Receive, _send: Send) -> None:
    raise ValueError(f"what is {scope['type']}?")


async def looks_for_a_path(scope: Any, receive: Receive, _send: Send) -> None:
    await receive()
    raise AssertionError(scope["path"])


async def answers_everything_as_http(_scope: Any, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def returns(_scope: Any, _receive: Receive, _send: Send) -> None:
    """Says nothing."""


@pytest.mark.parametrize("app", [refuses, looks_for_a_path, answers_everything_as_http, returns])
def test_an_application_that_does_not_know_the_lifespan_is_served_all_the_same(app: Any) -> None:
    assert started(app).state == {}


def test_a_required_lifespan_must_be_supported() -> None:
    with pytest.raises(LifespanFailed, match="what is lifespan"):
        started(refuses, required=True)


def test_a_failed_shutdown_is_logged_and_does_not_hang(capfd: pytest.CaptureFixture[str]) -> None:
    async def app(_scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "still busy"})

    started(app)
    assert "Application shutdown failed: still busy" in capfd.readouterr().err


def test_raising_during_the_shutdown_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    async def app(_scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise RuntimeError("cannot close")

    started(app)
    assert "RuntimeError: cannot close" in capfd.readouterr().err


def test_an_application_that_left_early_is_not_asked_to_shut_down() -> None:
    async def app(_scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    started(app)
