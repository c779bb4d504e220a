"""Loading the application without serving it: for ``--check-config`` and ``indrik check``."""

from __future__ import annotations

import os
import sys
from typing import Any

from indrik import classes, loader, worker

THREADS_TOLD_MAX = 20
"""Of more threads than these the names are not told."""


def look(config: dict[str, Any]) -> dict[str, Any]:
    """Loads the application as a worker does; raises :class:`loader.LoadError`.

    Returns what it is, and what it started on import: with preload, threads stay behind in the zygote and
    sockets are shared by all workers.
    """
    notices = classes.settle(config)
    worker.prepare_hub(config, forked=False)
    before = _sockets()
    interface, kind, remarks = loader.kind_for(loader.load_configured(config), config)
    threading = sys.modules.get("threading")
    names = []
    if threading is not None:
        names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    return {
        "event": "checked",
        "interface": "WSGI" if interface == "wsgi" else "aiohttp" if kind == "aiohttp" else "ASGI",
        "threads": names[:THREADS_TOLD_MAX],
        "sockets": len(_sockets() - before),
        "notices": notices + remarks,
    }


def _sockets() -> set[str]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found
