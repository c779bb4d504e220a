"""A subclass of Uvicorn's worker, as its documentation shows."""

from __future__ import annotations

from uvicorn_worker import UvicornWorker


class OwnWorker(UvicornWorker):
    CONFIG_KWARGS = {
        "loop": "asyncio",
        "http": "h11",
        "lifespan": "off",
        "root_path": "/mounted",
        "ws_ping_interval": 5,
    }
