"""An application that gives and takes as much as it is let: what the front may hold of it is tested with it."""

from __future__ import annotations

import os

MIB = 1024 * 1024
CHUNK = os.urandom(64 * 1024)
LARGE = bytes(64 * MIB)


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await SOCKETS[scope["path"]](receive, send)
    elif scope["type"] == "http":
        await answer(scope["path"], receive, send)


async def answer(path, receive, send):
    if path == "/stays":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if path == "/endless":
        while True:
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b"here"})


async def counts(receive, send):
    """Takes every message; says at the end how many there were."""
    await accept(receive, send)
    count = 0
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "how many":
            await send({"type": "websocket.send", "text": str(count)})
        count += 1


async def ignores(receive, send):
    """Takes no message, and never ends."""
    await accept(receive, send)
    message = await receive()
    while message["type"] == "websocket.receive" and message.get("text") != "begin":
        message = await receive()
    await FOREVER


async def gives_large(receive, send):
    """Sends one message of 64 MiB after the other."""
    await accept(receive, send)
    while True:
        await send({"type": "websocket.send", "bytes": LARGE})


async def gives_empty(receive, send):
    """Sends empty messages for ever."""
    await accept(receive, send)
    while True:
        await send({"type": "websocket.send", "bytes": b""})


async def accept(receive, send):
    await receive()
    await send({"type": "websocket.accept"})


class Forever:
    def __await__(self):
        import asyncio

        return asyncio.Event().wait().__await__()


FOREVER = Forever()
SOCKETS = {"/counts": counts, "/ignores": ignores, "/large": gives_large, "/empty": gives_empty}
