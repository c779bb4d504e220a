"""A FastAPI application: async and sync endpoints, uploads, events, a WebSocket chat.

indrik --chdir examples fastapi_app:app
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, File, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse

BLOCK_BYTES = 64 * 1024
FILE = Path(__file__).with_name("README.md")

chatters: set[WebSocket] = set()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, str]]:
    """What is yielded here is `request.state` in every endpoint."""
    yield {"greeting": "Hello from FastAPI\n"}


app = FastAPI(lifespan=lifespan)


@app.get("/", response_class=PlainTextResponse)
async def hello(request: Request) -> str:
    greeting: str = request.state.greeting
    return greeting


@app.get("/json")
async def as_json() -> dict[str, str]:
    return {"hello": "world", "framework": "fastapi"}


@app.get("/sync")
def in_a_thread() -> dict[str, str]:
    """A plain `def` endpoint: FastAPI runs it in its thread pool."""
    return {"hello": "thread"}


@app.post("/echo")
async def echo(request: Request) -> StreamingResponse:
    kind = request.headers.get("content-type", "application/octet-stream")
    return StreamingResponse(request.stream(), media_type=kind)


@app.post("/upload")
async def upload(request: Request) -> dict[str, int | str]:
    """Answer with the length and hash of the body, never holding more than one part of it."""
    digest, length = hashlib.sha256(), 0
    async for part in request.stream():
        digest.update(part)
        length += len(part)
    return {"bytes": length, "sha256": digest.hexdigest()}


@app.post("/form")
async def form(file: Annotated[UploadFile, File()]) -> dict[str, int | str]:
    """A browser's file upload (multipart/form-data, field `file`)."""
    return {"name": file.filename or "", "bytes": len(await file.read())}


@app.get("/stream")
async def stream(megabytes: int = 1) -> StreamingResponse:
    return StreamingResponse(zeros(megabytes), media_type="application/octet-stream")


@app.get("/events")
async def events(count: int = 5, pause: float = 0.2) -> StreamingResponse:
    """Server-sent events: `?count=N` of them, `?pause=SECONDS` apart."""
    return StreamingResponse(event_stream(count, pause), media_type="text/event-stream")


@app.get("/slow", response_class=PlainTextResponse)
async def slow(seconds: float = 1.0) -> str:
    await asyncio.sleep(seconds)
    return "done\n"


@app.get("/slow-sync", response_class=PlainTextResponse)
def slow_sync(seconds: float = 1.0) -> str:
    time.sleep(seconds)
    return "done\n"


@app.get("/file")
async def download() -> FileResponse:
    return FileResponse(FILE, media_type="text/plain")


@app.get("/error")
async def error() -> None:
    raise RuntimeError("this endpoint always fails")


@app.websocket("/ws/echo")
async def socket_echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


@app.websocket("/ws/chat")
async def socket_chat(socket: WebSocket) -> None:
    """Everyone in the chat gets every message, the sender included."""
    await socket.accept()
    chatters.add(socket)
    try:
        while True:
            text = await socket.receive_text()
            for other in list(chatters):
                await other.send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        chatters.discard(socket)


async def zeros(megabytes: int) -> AsyncIterator[bytes]:
    for _ in range(megabytes * 1024 * 1024 // BLOCK_BYTES):
        yield b"x" * BLOCK_BYTES


async def event_stream(count: int, pause: float) -> AsyncIterator[bytes]:
    for number in range(count):
        if number:
            await asyncio.sleep(pause)
        yield f"id: {number}\ndata: event {number}\n\n".encode()
