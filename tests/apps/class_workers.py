"""Worker classes as projects write them."""

from __future__ import annotations

from typing import Any

from gunicorn.workers.ggevent import GeventWorker
from gunicorn.workers.sync import SyncWorker


class PatchingWorker(GeventWorker):  # type: ignore[misc]
    """Patches a database driver as well."""

    def patch(self) -> None:
        super().patch()


class CountingWorker(SyncWorker):  # type: ignore[misc]
    """Does something of its own for each request."""

    def handle_request(self, *arguments: Any) -> Any:
        return super().handle_request(*arguments)


class NoWorker:
    """No worker class at all."""


no_class = 3
