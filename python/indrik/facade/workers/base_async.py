"""The base of the classes with greenlets."""

from __future__ import annotations

from indrik.facade._finder import original
from indrik.facade.workers.base import Worker

ALREADY_HANDLED = object()
"""What an application returns that has taken the socket over; Indrik has no socket to give."""


class AsyncWorker(Worker):
    """A greenlet for each request."""

    indrik_kind = "gevent"


def __getattr__(name: str) -> object:
    return original(__name__, name)
