"""What `indrik.asgi` decides by itself: the loop, the options, what is worth a line in the log."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from indrik import asgi


def test_the_plain_loop_is_used_when_asked_for() -> None:
    loop = asgi.new_event_loop("asyncio")
    try:
        assert isinstance(loop, asyncio.SelectorEventLoop)
    finally:
        loop.close()


def test_an_unknown_loop_is_named() -> None:
    with pytest.raises(ValueError, match="'trio' is not one of auto, asyncio, uvloop"):
        asgi.new_event_loop("trio")


def test_an_unknown_lifespan_mode_is_named() -> None:
    with pytest.raises(ValueError, match="'maybe' is not one of auto, on, off"):
        asgi.serve(None, None, {"lifespan": "maybe"}, lambda: None)  # type: ignore[arg-type]


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def test_what_an_application_raises_is_logged_with_its_request(
    capfd: pytest.CaptureFixture[str],
) -> None:
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/shop"}
    asgi.report(scope, raised(RuntimeError("boom")), False)
    text = capfd.readouterr().err
    assert "[ERROR] Exception in ASGI application (GET /shop)\nTraceback" in text
    assert text.endswith("RuntimeError: boom\n")


def test_a_client_that_left_is_no_error_of_the_application(
    capfd: pytest.CaptureFixture[str],
) -> None:
    gone = asgi.ClientDisconnected("the client has disconnected")
    asgi.report(None, raised(gone), True)
    asgi.report(None, raised(RuntimeError("wrapped by the framework"), gone), True)
    assert capfd.readouterr().err == ""


def test_other_errors_are_logged_even_if_the_client_left(
    capfd: pytest.CaptureFixture[str],
) -> None:
    asgi.report(None, raised(RuntimeError("boom")), True)
    assert "RuntimeError: boom" in capfd.readouterr().err
