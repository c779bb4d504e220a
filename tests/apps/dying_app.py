"""An ASGI application whose first worker ends when it has read a whole body, or as many messages of it as `dies` in
the query says; the next one answers: behind the body, or behind as many messages of it as `early` says."""

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
    query = parse_qs(scope["query_string"].decode())
    directory, early = Path(query["in"][0]), int(query.get("early", ["-1"])[0])
    dies = int(query.get("dies", ["-1"])[0])
    died = directory / "died"
    digest, more, messages, has_begun = hashlib.sha256(), True, 0, False
    while more:
        if died.exists() and messages == early:
            await begin(send)
            has_begun = True
        messages += 1
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        digest.update(event["body"])
        more = event["more_body"]
        (directory / "begun").touch()
        if messages == dies and not died.exists():
            died.touch()
            os._exit(9)
    if not died.exists():
        died.touch()
        os._exit(9)
    # Also where it came in fewer messages: how many there are is the server's business.
    if not has_begun:
        await begin(send)
    await send({"type": "http.response.body", "body": digest.hexdigest().encode()})


async def begin(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"sum: ", "more_body": True})
