"""The class that handles one request at a time."""

from __future__ import annotations

from indrik.facade._finder import original
from indrik.facade.workers.base import Worker


class SyncWorker(Worker):
    """One request at a time."""

    indrik_kind = "sync"


def __getattr__(name: str) -> object:
    return original(__name__, name)
