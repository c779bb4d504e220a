"""A FastAPI application that is well until it is asked to be sick."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import sick
from fastapi import FastAPI, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool
from starlette.websockets import WebSocketDisconnect

app = FastAPI(default_response_class=PlainTextResponse)
shop = create_engine(
    "sqlite:///shop.db", poolclass=QueuePool, pool_size=3, max_overflow=1, pool_timeout=30,
    connect_args={"check_same_thread": False},
)  # fmt: skip


@app.get("/echo")
async def echo() -> str:
    return "well"


@app.get("/quick")
async def quick() -> str:
    await asyncio.sleep(0.005)
    return "quick"


@app.get("/burst")
async def burst() -> str:
    return str(sick.compute(0.01))


@app.get("/blocks/{how}")
async def blocks(how: str, s: float = 1) -> str:
    """On the loop, where it hurts."""
    sick.HOLDS[how](s)
    return "blocked"


@app.get("/thread/{how}")
def in_thread(how: str, s: float = 1) -> str:
    """In a thread of the pool, where it should be."""
    sick.HOLDS[how](s)
    return "held"


@app.get("/database/{number}")
async def database(number: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", sick.DATABASE_PORT)
    try:
        writer.write(f"get {number}\n".encode())
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


@app.get("/pool")
def pool(hold: float = 0.002) -> str:
    with shop.connect() as connection:
        connection.execute(text("select 1"))
        sick.wait_in_thread(hold)
    return "pool"


@app.get("/leak")
async def leak(kib: int = 512) -> str:
    sick.leak(kib)
    return "leaked"


@app.get("/crash/{how}")
async def crash(how: str) -> str:
    sick.crash(how)
    return "alive"


@app.get("/poll")
async def poll(s: float = 6) -> str:
    await asyncio.sleep(s)
    return "nothing new"


@app.get("/stream")
async def stream(n: int = 10) -> StreamingResponse:
    async def events() -> AsyncIterator[bytes]:
        for number in range(n):
            yield f"data: {number}\n\n".encode()
            await asyncio.sleep(0.5)

    return StreamingResponse(events(), media_type="text/event-stream")


@app.websocket("/ws")
async def socket(client: WebSocket) -> None:
    await client.accept()
    try:
        while True:
            await client.send_text(await client.receive_text())
    except WebSocketDisconnect:
        pass
