"""Starlette: every answer has a background task, which leaves a mark."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from gates import mark, wait_at_gate
from starlette.applications import Starlette
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

MARKS = os.environ["TEST_MARKS"]


async def work(what: str) -> None:
    # Not in the step that sent the answer: the client can be gone by now.
    await asyncio.to_thread(int)
    mark(MARKS, what)


def tasks(request: Request) -> BackgroundTasks:
    return BackgroundTasks([BackgroundTask(work, request.query_params["what"])])


async def plain(request: Request) -> Response:
    return PlainTextResponse("x" * 100, background=tasks(request))


async def pieces(_size: int = 100) -> Any:
    for _ in range(4):
        yield b"x" * 25
        await asyncio.sleep(0)


async def streamed(request: Request) -> Response:
    """Says the length, so that the answer is whole before the application says so."""
    return StreamingResponse(pieces(), headers={"content-length": "100"}, background=tasks(request))


async def chunked(request: Request) -> Response:
    return StreamingResponse(pieces(), background=tasks(request))


async def bodiless(request: Request) -> Response:
    return Response(status_code=204, background=tasks(request))


class Through(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        answer: Response = await call_next(request)
        answer.headers["x-through"] = "1"
        return answer


routes = [
    Route(f"/{handler.__name__}", handler, methods=["GET", "HEAD"]) for handler in (plain, streamed, chunked, bodiless)
]
bare = Starlette(routes=routes)
wrapped = Starlette(routes=routes, middleware=[Middleware(Through)])


async def early(scope: Any, receive: Any, send: Any) -> None:
    """All bytes first, then work, then the word that there are no more; what each step gave is marked."""
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    listener = asyncio.ensure_future(receive_all(receive))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"whole", "more_body": True})
    await asyncio.to_thread(wait_at_gate, scope["query_string"].decode())
    seen = "pending" if not listener.done() else repr(listener.result())
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    last = await listener
    mark(MARKS, f"{seen} {last}")


async def receive_all(receive: Any) -> str:
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return str(message["type"])
