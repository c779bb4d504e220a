"""The class that runs on Tornado."""

from __future__ import annotations

from indrik.facade._finder import original
from indrik.facade.workers.base import Worker


class TornadoWorker(Worker):
    """Run as a WSGI worker."""

    indrik_kind = "tornado"


def __getattr__(name: str) -> object:
    return original(__name__, name)
