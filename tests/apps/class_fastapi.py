"""FastAPI, with an argument in the path and one in the query, and the threads that it has for what blocks."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio.to_thread
from fastapi import FastAPI

app = FastAPI()


@app.get("/items/{item}")
async def items(item: int, q: str) -> dict[str, Any]:
    return {"item": item, "q": q}


@app.get("/threads")
async def threads() -> dict[str, Any]:
    executor: Any = getattr(asyncio.get_running_loop(), "_default_executor", None)
    limiter = anyio.to_thread.current_default_thread_limiter()
    return {"executor": executor and executor._max_workers, "anyio": limiter.total_tokens}
