"""The class for ASGI applications."""

from __future__ import annotations

from indrik.facade._finder import original
from indrik.facade.workers.base import Worker


class ASGIWorker(Worker):
    """An event loop for all requests."""

    indrik_kind = "asgi"


def __getattr__(name: str) -> object:
    return original(__name__, name)
