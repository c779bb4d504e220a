"""An ASGI application whose first worker ends when it has read a whole body; the next one answers."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import parse_qs


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": f"{event['type']}.complete"})
            if event["type"] == "lifespan.shutdown":
                return
    directory = Path(parse_qs(scope["query_string"].decode())["in"][0])
    digest, more = hashlib.sha256(), True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        digest.update(event["body"])
        more = event["more_body"]
        (directory / "begun").touch()
    died = directory / "died"
    if not died.exists():
        died.touch()
        os._exit(9)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": digest.hexdigest().encode()})
