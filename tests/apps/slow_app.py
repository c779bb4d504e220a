"""Large answers whose every byte says where it belongs, for WSGI and ASGI."""

from __future__ import annotations

import asyncio
import os
import threading
from urllib.parse import parse_qs

BLOCK = 65_536


def block(seed: int, number: int) -> bytes:
    """The same block is never in two places of one answer, nor in two answers with different seeds."""
    return (f"{seed:08}-{number:06}|".encode() * (BLOCK // 16 + 1))[:BLOCK]


def content(seed: int, blocks: int) -> bytes:
    return b"".join(block(seed, number) for number in range(blocks))


def app(environ, start_response):
    query = {key: values[0] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    path = environ["PATH_INFO"]
    if path == "/sleep":
        threading.Event().wait(float(query["seconds"]))
    if path in ("/pid", "/sleep"):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
    seed, blocks = int(query["seed"]), int(query["blocks"])
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    if path == "/whole":
        return [content(seed, blocks)]
    return (block(seed, number) for number in range(blocks))


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": f"{event['type']}.complete"})
            if event["type"] == "lifespan.shutdown":
                return
    query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/pid":
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
        return
    seed, blocks = int(query["seed"]), int(query["blocks"])
    if scope["path"] == "/whole":
        await send({"type": "http.response.body", "body": content(seed, blocks)})
        return
    for number in range(blocks):
        await send({"type": "http.response.body", "body": block(seed, number), "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body"})
