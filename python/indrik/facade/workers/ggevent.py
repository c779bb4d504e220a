"""The classes that run on gevent."""

from __future__ import annotations

from indrik.facade._finder import original
from indrik.facade.workers.base_async import AsyncWorker


class GeventWorker(AsyncWorker):
    """A greenlet of gevent for each request."""

    indrik_kind = "gevent"


class GeventPyWSGIWorker(GeventWorker):
    """The same; Gunicorn has a second server for it."""


def __getattr__(name: str) -> object:
    return original(__name__, name)
