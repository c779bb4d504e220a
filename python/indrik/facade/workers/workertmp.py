"""The heartbeat file's place."""

from __future__ import annotations

from indrik.facade.workers.base import WorkerTmp

__all__ = ["WorkerTmp"]
