"""The ASGI applications of the benches: one callable per scenario, so that no routing is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

HELLO = b"Hello, World!"
BODY_10K = b"x" * 10_240
BODY_1M = b"x" * 1_048_576

Scope = dict
Receive = Callable[[], Awaitable[dict]]
Send = Callable[[dict], Awaitable[None]]


def _start(length: int) -> dict:
    return {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"text/plain"), (b"content-length", str(length).encode())],
    }


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return body
        body += event.get("body", b"")
        if not event.get("more_body", False):
            return body


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """The least an application can do. Its headers are built on each request, as real ones are."""
    if scope["type"] == "lifespan":
        return await _lifespan(receive, send)
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")],
        }
    )
    await send({"type": "http.response.body", "body": HELLO})


async def get_10k(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return await _lifespan(receive, send)
    await send(_start(len(BODY_10K)))
    await send({"type": "http.response.body", "body": BODY_10K})


async def get_1m(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return await _lifespan(receive, send)
    await send(_start(len(BODY_1M)))
    await send({"type": "http.response.body", "body": BODY_1M})


async def post(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the whole body and answers with its length, so that a body cut short is seen."""
    if scope["type"] == "lifespan":
        return await _lifespan(receive, send)
    answer = str(len(await _read(receive))).encode()
    await send(_start(len(answer)))
    await send({"type": "http.response.body", "body": answer})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the query string, a newline and the body; `/wait` takes 2 ms. See `wsgi.echo`."""
    if scope["type"] == "lifespan":
        return await _lifespan(receive, send)
    if scope["path"] == "/wait":
        await asyncio.sleep(0.002)
    answer = scope["query_string"] + b"\n" + await _read(receive)
    await send(_start(len(answer)))
    await send({"type": "http.response.body", "body": answer})


PIECE = b"x" * 65_536
PIECES = 100 * 1_048_576 // len(PIECE)


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes the body piece by piece, as a program does that stores it, and answers with its length."""
    if scope["type"] == "lifespan":
        return await _lifespan(receive, send)
    length, more = 0, True
    while more:
        event = await receive()
        length += len(event.get("body", b""))
        more = event.get("more_body", False)
    answer = str(length).encode()
    await send(_start(len(answer)))
    await send({"type": "http.response.body", "body": answer})


async def download(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan" or scope["path"] == "/hello":
        return await hello(scope, receive, send)
    await send(_start(PIECES * len(PIECE)))
    for _ in range(PIECES):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Echoes each message of a WebSocket."""
    if scope["type"] != "websocket":
        return await hello(scope, receive, send)
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": event["bytes"]})
