"""The class that runs on eventlet, which Gunicorn had until release 26."""

from __future__ import annotations

from indrik.facade._finder import original
from indrik.facade.workers.base_async import AsyncWorker


class EventletWorker(AsyncWorker):
    """A greenlet of eventlet for each request."""

    indrik_kind = "eventlet"


def __getattr__(name: str) -> object:
    return original(__name__, name)
