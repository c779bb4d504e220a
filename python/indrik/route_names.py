"""Routes that the application names itself: `indrik.route`.

Whoever loads this wants the current request to be known, so requests are noted from then on.
"""

from __future__ import annotations

from contextvars import ContextVar

from indrik.lean import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_current: ContextVar[Any] = ContextVar("indrik_request")

_native.name_routes(_current)


def route(name: str) -> None:
    request = _current.get(None)
    if request is not None:
        request.choose(name)
