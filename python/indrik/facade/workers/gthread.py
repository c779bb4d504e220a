"""The class with a pool of threads."""

from __future__ import annotations

from indrik.facade._finder import original
from indrik.facade.workers.base import Worker


class ThreadWorker(Worker):
    """As many requests at a time as it has threads."""

    indrik_kind = "gthread"


def __getattr__(name: str) -> object:
    return original(__name__, name)
