"""An `aiohttp.web` application as an ASGI application.

aiohttp has an interface of its own: an application is served by aiohttp's HTTP protocol, which wants
a transport. It gets one that leads nowhere: the request is written into the protocol as HTTP/1.1, and
what it writes back is read again and given to `send`. So routing, middlewares, streaming, timeouts
and WebSockets are aiohttp's own, and only the connection is not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from indrik.aiohttp_wire import Answer, Frames, request_bytes

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Bytes that aiohttp may write ahead of the client before it is told to wait.
WRITE_BUFFER_BYTES_MAX = 64 * 1024
#: Share of graceful_timeout that handlers get at shutdown, as in aiohttp's own worker.
SHUTDOWN_SHARE = 0.95
#: The form of the error log.
LOG_FORMAT = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
LOG_TIME_FORMAT = "[%Y-%m-%d %H:%M:%S %z]"


class AiohttpApplication:
    """The application as ASGI has it: lifespan, requests and WebSockets."""

    def __init__(self, app: Any, graceful_timeout: float) -> None:
        self._app = app
        self._graceful_timeout = graceful_timeout
        self._runner: Any = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await _Request(self._runner.server(), scope, receive, send).run()
        else:
            await _WebSocket(self._runner.server(), scope, receive, send).run()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._runner = await self._make_runner()
        await self._runner.setup()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._runner.cleanup()
        await send({"type": "lifespan.shutdown.complete"})

    async def _make_runner(self) -> Any:
        """As aiohttp's worker: an application, or a coroutine function that makes one or a runner."""
        app = self._app
        if not isinstance(app, web.Application):
            app = await app()
        if isinstance(app, web.AppRunner):
            return app
        if not isinstance(app, web.Application):
            raise TypeError(
                f"the application must be an aiohttp.web.Application or a coroutine function that returns one, "
                f"not {type(app).__name__}"
            )
        seconds = self._graceful_timeout * SHUTDOWN_SHARE
        return web.AppRunner(app, logger=_logger(), access_log=None, shutdown_timeout=seconds)


def _logger() -> logging.Logger:
    """aiohttp's own logger; in the form of the error log unless the application set logging up."""
    logger = logging.getLogger("aiohttp.server")
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(LOG_FORMAT, LOG_TIME_FORMAT))
        logger.addHandler(handler)
    return logger


class _Transport(asyncio.Transport):
    """What aiohttp's protocol writes to: a buffer that one task empties."""

    def __init__(self, scope: Message) -> None:
        super().__init__()
        client = scope.get("client")
        # aiohttp asks for the certificate only to know whether the request came by TLS.
        secure = scope.get("scheme") in ("https", "wss")
        self._extra = {"peername": tuple(client) if client else None, "sslcontext": True if secure else None}
        self.protocol: Any = None
        self.written = bytearray()
        self.closing = False
        self.reading = asyncio.Event()
        self.reading.set()
        self._paused = False
        self._news = asyncio.Event()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        found = self._extra.get(name)
        return default if found is None else found

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def write(self, data: Any) -> None:
        self.written += data
        self._news.set()
        if not self._paused and len(self.written) > WRITE_BUFFER_BYTES_MAX:
            self._paused = True
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True
        self.reading.set()
        self._news.set()

    def abort(self) -> None:
        self.close()

    def is_reading(self) -> bool:
        return self.reading.is_set()

    def pause_reading(self) -> None:
        self.reading.clear()

    def resume_reading(self) -> None:
        self.reading.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is written, as it comes, until the transport is closed."""
        while True:
            await self._news.wait()
            self._news.clear()
            data, closing = bytes(self.written), self.closing
            self.written.clear()
            if data:
                yield data
            if self._paused:
                self._paused = False
                self.protocol.resume_writing()
            if closing and not self.written:
                return


class _Exchange:
    """One request or WebSocket on a protocol of its own."""

    def __init__(self, protocol: Any, scope: Message, receive: Receive, send: Send) -> None:
        self._protocol = protocol
        self._scope = scope
        self._receive = receive
        self._send = send
        self._transport = _Transport(scope)
        self._transport.set_protocol(protocol)
        self._lost = False

    async def run(self) -> None:
        """Runs the exchange until aiohttp has answered or the client has gone."""
        self._protocol.connection_made(self._transport)
        feeding = asyncio.ensure_future(self._feed())
        try:
            await self._answer()
        finally:
            feeding.cancel()
            try:
                await feeding
            except asyncio.CancelledError:
                pass
            finally:
                self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        """Ends the connection, from aiohttp's point of view."""
        self._transport.close()
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(error)

    async def _feed(self) -> None:
        raise NotImplementedError

    async def _answer(self) -> None:
        raise NotImplementedError


class _Request(_Exchange):
    """A request."""

    async def _feed(self) -> None:
        framed, head = request_bytes(self._scope)
        self._protocol.data_received(head)
        more = framed != "none"
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                # A handler that still runs is cancelled if the application asked aiohttp for that.
                self._lose(ConnectionResetError("the client has gone"))
                return
            if not more:
                continue
            body = message.get("body", b"")
            more = message.get("more_body", False)
            if framed == "chunked":
                body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
                body += b"" if more else b"0\r\n\r\n"
            if body:
                await self._transport.reading.wait()
                self._protocol.data_received(body)

    async def _answer(self) -> None:
        answer = Answer(is_head=self._scope["method"] == "HEAD")
        async for data in self._transport.pieces():
            for message in answer.feed(data):
                await self._send(message)
            if answer.complete:
                return
        if not self._lost:
            for message in answer.end():
                await self._send(message)


class _WebSocket(_Exchange):
    """A WebSocket. aiohttp speaks frames; ASGI has whole messages."""

    def __init__(self, protocol: Any, scope: Message, receive: Receive, send: Send) -> None:
        super().__init__(protocol, scope, receive, send)
        self._frames = Frames()
        self._accepted = asyncio.Event()

    async def _feed(self) -> None:
        await self._receive()
        _, head = request_bytes(self._scope)
        self._protocol.data_received(head)
        await self._accepted.wait()
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                if not self._frames.closed:
                    self._protocol.data_received(self._frames.close(message.get("code") or 1005))
                self._lose(None)
                return
            await self._transport.reading.wait()
            text = message.get("text")
            data = message.get("bytes") or b""
            self._protocol.data_received(self._frames.message(text if text is not None else data))

    async def _answer(self) -> None:
        answer = Answer(is_head=False, is_websocket=True)
        async for data in self._transport.pieces():
            rest = data
            if not self._accepted.is_set():
                for message in answer.feed(data):
                    await self._send(message)
                if answer.complete:
                    return
                if not answer.switched:
                    continue
                rest = answer.rest
                self._accepted.set()
            for said, reply in self._frames.feed(rest):
                if reply:
                    self._protocol.data_received(reply)
                if said is not None:
                    await self._send(said)
        if not self._accepted.is_set() and not self._lost:
            for message in answer.end():
                await self._send(message)
