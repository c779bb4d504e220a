"""A plain ASGI application: HTTP, WebSocket and lifespan, no framework.

indrik --chdir examples asgi_plain:app
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

BLOCK_BYTES = 64 * 1024
TEXT = (b"content-type", b"text/plain; charset=utf-8")
FILE = Path(__file__).with_name("README.md")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# Who is in the chat. One process, one event loop: a plain dict is enough.
chatters: dict[int, Send] = {}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "websocket":
        await SOCKETS.get(scope["path"], refuse)(scope, receive, send)
    else:
        await ROUTES.get(scope["path"], not_found)(scope, receive, send)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if "state" in scope:
        scope["state"]["greeting"] = "Hello from plain ASGI\n"
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def hello(scope: Scope, _receive: Receive, send: Send) -> None:
    greeting = scope.get("state", {}).get("greeting", "Hello from plain ASGI\n")
    await respond(send, greeting.encode(), TEXT)


async def as_json(_scope: Scope, _receive: Receive, send: Send) -> None:
    body = json.dumps({"hello": "world", "framework": "asgi"}).encode()
    await respond(send, body, (b"content-type", b"application/json"))


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send the request's body back as it comes in, part by part."""
    kind = dict(scope["headers"]).get(b"content-type", b"application/octet-stream")
    await start(send, (b"content-type", kind))
    async for part in body_parts(receive):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


async def upload(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the length and hash of the body, never holding more than one part of it."""
    digest, length = hashlib.sha256(), 0
    async for part in body_parts(receive):
        digest.update(part)
        length += len(part)
    body = json.dumps({"bytes": length, "sha256": digest.hexdigest()}).encode()
    await respond(send, body, (b"content-type", b"application/json"))


async def stream(scope: Scope, _receive: Receive, send: Send) -> None:
    """Generate `?megabytes=N` of download; `send` waits while the client is slower."""
    await start(send, (b"content-type", b"application/octet-stream"))
    blocks = int(query(scope, "megabytes", "1")) * 1024 * 1024 // BLOCK_BYTES
    for _ in range(blocks):
        message = {"type": "http.response.body", "body": b"x" * BLOCK_BYTES, "more_body": True}
        await send(message)
    await send({"type": "http.response.body"})


async def events(scope: Scope, _receive: Receive, send: Send) -> None:
    """Server-sent events: `?count=N` of them, `?pause=SECONDS` apart."""
    await start(send, (b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"))
    count, pause = int(query(scope, "count", "5")), float(query(scope, "pause", "0.2"))
    for number in range(count):
        if number:
            await asyncio.sleep(pause)
        event = f"id: {number}\ndata: event {number}\n\n".encode()
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body"})


async def slow(scope: Scope, _receive: Receive, send: Send) -> None:
    await asyncio.sleep(float(query(scope, "seconds", "1")))
    await respond(send, b"done\n", TEXT)


async def download(scope: Scope, _receive: Receive, send: Send) -> None:
    """Name the file and let the server send it, where the server offers that."""
    length = (b"content-length", str(FILE.stat().st_size).encode())
    await start(send, TEXT, length)
    if "http.response.pathsend" in scope.get("extensions", {}):
        await send({"type": "http.response.pathsend", "path": str(FILE.resolve())})
    else:
        await send({"type": "http.response.body", "body": FILE.read_bytes()})


async def error(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("this endpoint always fails")


async def not_found(_scope: Scope, _receive: Receive, send: Send) -> None:
    await respond(send, b"not found\n", TEXT, status=404)


async def socket_echo(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        key = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", key: message[key]})


async def socket_chat(_scope: Scope, receive: Receive, send: Send) -> None:
    """Everyone in the chat gets every message, the sender included."""
    await receive()
    await send({"type": "websocket.accept"})
    chatters[id(send)] = send
    try:
        while (message := await receive())["type"] == "websocket.receive":
            for other in list(chatters.values()):
                await send_or_forget(other, message.get("text") or "")
    finally:
        chatters.pop(id(send), None)


async def send_or_forget(send: Send, text: str) -> None:
    try:
        await send({"type": "websocket.send", "text": text})
    except OSError:
        chatters.pop(id(send), None)  # that client has just left


async def refuse(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close"})


ROUTES = {
    "/": hello,
    "/json": as_json,
    "/echo": echo,
    "/upload": upload,
    "/stream": stream,
    "/events": events,
    "/slow": slow,
    "/file": download,
    "/error": error,
}
SOCKETS = {"/ws/echo": socket_echo, "/ws/chat": socket_chat}


async def body_parts(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client left in the middle of its request")
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def start(send: Send, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def respond(send: Send, body: bytes, kind: tuple[bytes, bytes], status: int = 200) -> None:
    await start(send, kind, (b"content-length", str(len(body)).encode()), status=status)
    await send({"type": "http.response.body", "body": body})


def query(scope: Scope, name: str, default: str) -> str:
    value: str = parse_qs(scope["query_string"].decode("latin-1")).get(name, [default])[0]
    return value
