"""FastAPI's routes, and Starlette's below them."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request, Response, WebSocket
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

from indrik import route

app = FastAPI()
inner = APIRouter(prefix="/inner")


@app.get("/items/{number}")
async def item(number: int) -> int:
    return number


@app.get("/plain/{name}")
def plain(name: str) -> str:
    # On a thread of the pool: the context is copied there.
    route("from a thread")
    return name


@inner.get("/{name}")
async def in_router(name: str) -> str:
    return name


@app.websocket("/socket/{name}")
async def socket(websocket: WebSocket, name: str) -> None:
    await websocket.accept()
    await websocket.send_text(name)
    await websocket.close(4001)


class Passes(BaseHTTPMiddleware):
    """Runs the application in a task of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


app.include_router(inner)
app.add_middleware(Passes)
