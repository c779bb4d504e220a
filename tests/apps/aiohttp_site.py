"""An aiohttp application: routes, streaming, bodies, WebSockets, start-up and clean-up."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from aiohttp import WSMsgType, web

routes = web.RouteTableDef()


@routes.get("/")
async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"hello {request.query.get('name', 'you')} from {request.remote}")


@routes.get("/where")
async def where(request: web.Request) -> web.Response:
    loop = type(asyncio.get_running_loop()).__module__.split(".")[0]
    return web.json_response(
        {"scheme": request.scheme, "host": request.host, "loop": loop, "ready": request.app["ready"]}
    )


@routes.post("/echo")
async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read(), headers={"X-Kind": request.content_type})


@routes.post("/count")
async def count(request: web.Request) -> web.Response:
    total = 0
    async for piece in request.content.iter_any():
        total += len(piece)
    return web.Response(text=str(total))


@routes.get("/stream")
async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(int(request.query["pieces"])):
        await response.write(b"s" * 65536)
    await response.write_eof()
    return response


@routes.get("/empty")
async def empty(_request: web.Request) -> web.Response:
    return web.Response(status=204)


@routes.get("/boom")
async def boom(_request: web.Request) -> web.Response:
    raise RuntimeError("the handler broke")


@routes.get("/ws")
async def talk(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=("chat",))
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT and message.data == "close":
            await socket.close(code=4000, message=b"bye")
        elif message.type == WSMsgType.TEXT:
            await socket.send_str("text " + message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(b"bytes " + message.data)
    return socket


async def resources(app: web.Application) -> AsyncIterator[None]:
    app["ready"] = True
    yield
    sys.stderr.write("aiohttp cleaned up\n")
    sys.stderr.flush()


def make() -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    app.cleanup_ctx.append(resources)
    return app


app = make()


async def factory() -> web.Application:
    return make()
