"""The FastAPI application of the fault harness. `/stuck` runs on the event loop, where it hurts most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import common
import model
import state
from fastapi import FastAPI, Request, Response, WebSocket

common.load()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    if state.LIFESPAN_FAILS:
        raise RuntimeError("the lifespan fails, as it was told to")
    yield


api = FastAPI(lifespan=lifespan)
app = common.RecordAsgi(api)


def text(words: str, status: int = 200) -> Response:
    return Response(words, status, media_type="text/plain")


async def answered(request: Request) -> Response:
    number = request.query_params.get("n", "0")
    if request.method == "POST" and (await request.body()).decode() != number:
        return text("another request's body", 400)
    return text(common.answer(number))


@api.api_route("/echo", methods=["GET", "POST"])
async def echo(request: Request) -> Response:
    return await answered(request)


@api.api_route("/wait", methods=["GET", "POST"])
async def wait(request: Request) -> Response:
    response = await answered(request)
    await asyncio.sleep(0.002)
    return response


@api.websocket("/ws")
async def taker(client: WebSocket) -> None:
    await client.accept()
    while (await client.receive())["type"] != "websocket.disconnect":
        pass


@api.get("/work")
async def work(request: Request) -> Response:
    common.work()
    return await answered(request)


@api.get("/hold")
async def hold(request: Request) -> Response:
    await asyncio.sleep(0.5)
    return await answered(request)


@api.get("/large")
async def large(n: str) -> Response:
    return Response(common.large(n), media_type="application/octet-stream")


@api.get("/leak")
async def leak(request: Request) -> Response:
    common.leak()
    return await answered(request)


@api.get("/model")
async def read_model(request: Request) -> Response:
    model.look_up(hash(request.query_params.get("n", "0")))
    return await answered(request)


async def stuck_sleep() -> None:
    await asyncio.sleep(common.STUCK_SECONDS)


@api.get("/stuck/{how}")
async def stuck(how: str, request: Request) -> Response:
    if how == "sleep":
        await stuck_sleep()
    else:
        common.STUCK[how]()
    return await answered(request)


@api.get("/warm")
async def warm() -> Response:
    return text("warm", state.WARM_STATUS)
