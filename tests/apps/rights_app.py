"""An application that gives up its rights: it names files that it may not read. For a worker whose user cannot read
Python's own library either, what is needed later is imported while it still can be."""

from __future__ import annotations

import asyncio
import asyncio.base_events
import concurrent.futures
import encodings.idna
import linecache
import os
import sysconfig
import tokenize
import traceback
from typing import Any

IMPORTED_EARLY = (asyncio.base_events, concurrent.futures, encodings.idna, linecache, tokenize, traceback)
sysconfig.get_config_vars()


async def app(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """The user it runs as, or with a query the file of that name."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if path := scope["query_string"].decode():
        try:
            await send({"type": "http.response.pathsend", "path": path})
        except OSError as error:
            await send({"type": "http.response.body", "body": type(error).__name__.encode()})
    else:
        await send({"type": "http.response.body", "body": str(os.getuid()).encode()})
