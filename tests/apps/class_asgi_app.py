"""An ASGI application that says where it runs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

state = {"started": False, "cancelled": 0}
cancelled = asyncio.Event()


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        state["started"] = True
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/stuck":
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            state["cancelled"] += 1
            cancelled.set()
            raise
    if scope["path"] == "/cancelled":
        await cancelled.wait()
    found = {
        "loop": type(asyncio.get_running_loop()).__module__.split(".")[0],
        "lifespan": state["started"],
        "root_path": scope["root_path"],
        "cancelled": state["cancelled"],
        "client": scope["client"][0],
        "scheme": scope["scheme"],
    }
    body = json.dumps(found).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
