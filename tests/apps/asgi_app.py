"""The ASGI application of the end-to-end tests: one small coroutine per path."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from gates import mark, wait_at_gate

Scope = dict[str, Any]
Handler = Callable[[Scope, Any, Any], Awaitable[None]]
HTTP: dict[str, Handler] = {}
SOCKETS: dict[str, Handler] = {}
TEXT = (b"content-type", b"text/plain")
background: set[asyncio.Task[None]] = set()
SUNK = {"all": 0, "before": 0}


def route(path: str, table: dict[str, Handler] = HTTP) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        table[path] = handler
        return handler

    return register


async def app(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "websocket":
        await SOCKETS.get(scope["path"], socket_describe)(scope, receive, send)
    else:
        await HTTP.get(scope["path"], describe)(scope, receive, send)


async def lifespan(scope: Scope, receive: Any, send: Any) -> None:
    """What it does is chosen by the environment, as the scope has no path."""
    marks = os.environ.get("TEST_MARKS")
    behaviour = os.environ.get("TEST_LIFESPAN", "")
    if behaviour == "unsupported":
        raise RuntimeError("this application knows no lifespan")
    assert (await receive())["type"] == "lifespan.startup"
    if behaviour == "fail":
        await send({"type": "lifespan.startup.failed", "message": "the database is away"})
        return
    if behaviour == "raise":
        raise RuntimeError("raised in startup")
    scope["state"]["greeting"] = "from lifespan"
    scope["state"]["counter"] = []
    if marks:
        mark(marks, f"startup {os.getpid()}")
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    if marks:
        mark(marks, f"shutdown {os.getpid()}")
    await send({"type": "lifespan.shutdown.complete"})


async def respond(send: Any, body: bytes | str, *headers: tuple[bytes, bytes]) -> None:
    data = body.encode() if isinstance(body, str) else body
    length = (b"content-length", str(len(data)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT, length, *headers]})
    await send({"type": "http.response.body", "body": data})


def argument(scope: Scope, name: str, default: str = "") -> str:
    return parse_qs(scope["query_string"].decode("latin-1")).get(name, [default])[0]


async def whole_body(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("client left")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def printable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {str(key): printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [printable(item) for item in value]
    return value


@route("/describe")
async def describe(scope: Scope, receive: Any, send: Any) -> None:
    """The scope as JSON, and the Python types of its top-level values."""
    seen = printable({key: value for key, value in scope.items() if key != "state"})
    seen["types"] = {key: type(value).__name__ for key, value in scope.items()}
    seen["body"] = (await whole_body(receive)).decode("latin-1")
    await respond(send, json.dumps(seen))


@route("/hello")
async def hello(_scope: Scope, _receive: Any, send: Any) -> None:
    await respond(send, "hello")


@route("/pid")
async def pid(_scope: Scope, _receive: Any, send: Any) -> None:
    await respond(send, str(os.getpid()))


@route("/state")
async def state(scope: Scope, _receive: Any, send: Any) -> None:
    """The state is a shallow copy per request: what is set here is not seen by the next one."""
    scope["state"]["counter"].append(1)
    seen = scope["state"].get("mine", "absent")
    scope["state"]["mine"] = "set"
    greeting, count = scope["state"]["greeting"], len(scope["state"]["counter"])
    await respond(send, f"{greeting} {count} {seen}")


@route("/raise")
async def raise_before(_scope: Scope, _receive: Any, _send: Any) -> None:
    raise RuntimeError("raised on purpose")


@route("/exit")
async def exit_(scope: Scope, _receive: Any, send: Any) -> None:
    """Ends the process as an application may: `?what=` exception, raised `?where=`."""
    error = SystemExit(7) if argument(scope, "what") == "exit" else KeyboardInterrupt()
    where = argument(scope, "where")

    def end() -> None:
        raise error

    async def end_later() -> None:
        await asyncio.to_thread(int)
        end()

    if where == "later":
        await end_later()
    elif where == "task":
        background.add(asyncio.ensure_future(end_later()))
    elif where == "callback":
        asyncio.get_running_loop().call_soon(end)
    else:
        end()
    await respond(send, "it ends")


@route("/raise-midway")
async def raise_midway(_scope: Scope, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
    raise RuntimeError("raised midway")


@route("/no-response")
async def no_response(_scope: Scope, _receive: Any, _send: Any) -> None:
    """Returns without a response."""


@route("/half-response")
async def half_response(_scope: Scope, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


@route("/wrong-order")
async def wrong_order(scope: Scope, _receive: Any, send: Any) -> None:
    """Send the messages of `?types=` and answer with what `send` raised."""
    raised = "nothing"
    try:
        await send({"type": "http.response.body", "body": b"before start"})
    except Exception as error:
        raised = type(error).__name__
    await respond(send, raised)


@route("/headers")
async def headers(_scope: Scope, receive: Any, send: Any) -> None:
    pairs = json.loads(await whole_body(receive))
    sent = [[name.encode("latin-1"), value.encode("latin-1")] for name, value in pairs]
    await send({"type": "http.response.start", "status": 200, "headers": sent})
    await send({"type": "http.response.body", "body": b"body"})


@route("/status")
async def status(scope: Scope, _receive: Any, send: Any) -> None:
    sent = [TEXT]
    if argument(scope, "length"):
        sent.append((b"content-length", argument(scope, "length").encode()))
    code = int(argument(scope, "code"))
    await send({"type": "http.response.start", "status": code, "headers": sent})
    await send({"type": "http.response.body", "body": argument(scope, "body").encode()})


@route("/stream-at-gate")
async def stream_at_gate(scope: Scope, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    await asyncio.to_thread(wait_at_gate, argument(scope, "gate"))
    await send({"type": "http.response.body", "body": b"second", "more_body": True})
    await send({"type": "http.response.body"})


@route("/block")
async def block(scope: Scope, _receive: Any, send: Any) -> None:
    """Hold the whole event loop at the gate."""
    wait_at_gate(argument(scope, "gate"))
    SUNK["before"] = SUNK["all"]
    await respond(send, "went through")


@route("/sunk-since")
async def sunk_since(_scope: Scope, _receive: Any, send: Any) -> None:
    """How many messages came to the sink since the event loop was held."""
    await respond(send, str(SUNK["all"] - SUNK["before"]))


@route("/gate")
async def gate(scope: Scope, _receive: Any, send: Any) -> None:
    await asyncio.to_thread(wait_at_gate, argument(scope, "gate"))
    await respond(send, str(os.getpid()))


@route("/die-at-gate")
async def die_at_gate(scope: Scope, _receive: Any, _send: Any) -> None:
    """End the worker, with all that it runs."""
    await asyncio.to_thread(wait_at_gate, argument(scope, "gate"))
    os._exit(9)


@route("/background")
async def background_after(scope: Scope, _receive: Any, send: Any) -> None:
    """Work after the response, held at the gate."""
    await respond(send, "answered")
    await asyncio.to_thread(wait_at_gate, argument(scope, "gate"))


@route("/until-disconnect")
async def until_disconnect(scope: Scope, receive: Any, send: Any) -> None:
    """Mark the start, `http.disconnect`, and what `send` does after it."""
    path = argument(scope, "mark")
    mark(path, "start")
    message = await receive()
    while message["type"] != "http.disconnect":
        mark(path, message["type"])
        message = await receive()
    mark(path, message["type"])
    try:
        await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
        await send({"type": "http.response.body", "body": b"too late"})
        mark(path, "send passed")
    except OSError:
        mark(path, "send raised OSError")


@route("/loop")
async def loop_name(_scope: Scope, _receive: Any, send: Any) -> None:
    await respond(send, type(asyncio.get_running_loop()).__module__.split(".")[0])


@route("/cancel-receive")
async def cancel_receive(_scope: Scope, receive: Any, send: Any) -> None:
    """Cancel tasks that wait in `receive` and await them; then give up waiting, many times."""
    await whole_body(receive)
    outcomes: list[Any] = []
    for _ in range(3):
        task = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        task.cancel()
        outcomes += await asyncio.gather(task, return_exceptions=True)
    for _ in range(20):
        try:
            outcomes.append(await asyncio.wait_for(receive(), 0.001))
        except (TimeoutError, asyncio.TimeoutError) as timeout:
            outcomes.append(timeout)
    await respond(send, " ".join(type(outcome).__name__ for outcome in outcomes))


@route("/listen-meanwhile")
async def listen_meanwhile(_scope: Scope, receive: Any, send: Any) -> None:
    """As Django does: a task waits for the client to leave while the answer is made in a thread;
    once the answer is sent, the task is cancelled and awaited."""

    async def listen() -> None:
        raise ConnectionError((await receive())["type"])

    await whole_body(receive)
    task = asyncio.ensure_future(listen())
    text = await asyncio.to_thread(lambda: "answered")
    await respond(send, text)
    task.cancel()
    outcomes = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(outcomes[0], ConnectionError | asyncio.CancelledError), outcomes


@route("/receive-after-cancel")
async def receive_after_cancel(scope: Scope, receive: Any, send: Any) -> None:
    """Cancel a task that waits for the body; then read the body."""
    task = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    task.cancel()
    outcomes = await asyncio.gather(task, return_exceptions=True)
    mark(argument(scope, "mark"), type(outcomes[0]).__name__)
    await respond(send, (await whole_body(receive)).decode("latin-1"))


@route("/send-until-gone")
async def send_until_gone(scope: Scope, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    try:
        while True:
            part = {"type": "http.response.body", "body": b"x" * 65536, "more_body": True}
            await send(part)
    except OSError:
        mark(argument(scope, "mark"), "send raised OSError")
        raise


@route("/upload")
async def upload(_scope: Scope, receive: Any, send: Any) -> None:
    digest, length, largest = hashlib.sha256(), 0, 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        digest.update(message.get("body", b""))
        length += len(message.get("body", b""))
        largest = max(largest, len(message.get("body", b"")))
        if not message.get("more_body", False):
            break
    answer = {"bytes": length, "sha256": digest.hexdigest(), "largest": largest}
    await respond(send, json.dumps(answer))


@route("/upload-at-gate")
async def upload_at_gate(scope: Scope, receive: Any, send: Any) -> None:
    """Take the first part, then wait at the gate: the rest must not pile up in the worker."""
    length = len((await receive()).get("body", b""))
    await asyncio.to_thread(wait_at_gate, argument(scope, "gate"))
    length += len(await whole_body(receive))
    await respond(send, str(length))


@route("/answer-early")
async def answer_early(_scope: Scope, _receive: Any, send: Any) -> None:
    """Answer without reading the body."""
    await respond(send, "early")


@route("/answer-within")
async def answer_within(_scope: Scope, receive: Any, send: Any) -> None:
    """Answer when the first piece of the body has come."""
    await receive()
    await respond(send, "early")


@route("/stream")
async def stream(scope: Scope, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    for _ in range(int(argument(scope, "megabytes", "1")) * 16):
        part = {"type": "http.response.body", "body": b"x" * 65536, "more_body": True}
        await send(part)
    await send({"type": "http.response.body"})


@route("/pathsend")
async def pathsend(scope: Scope, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    if directory := argument(scope, "directory"):
        os.chdir(directory)
    await send({"type": "http.response.pathsend", "path": argument(scope, "path")})


@route("/pathsend-or-not")
async def pathsend_or_not(scope: Scope, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    try:
        await send({"type": "http.response.pathsend", "path": argument(scope, "path")})
    except OSError as error:
        await send({"type": "http.response.body", "body": type(error).__name__.encode()})


@route("/early-hints")
async def early_hints(_scope: Scope, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
    await respond(send, "after the hints")


@route("/trailers")
async def trailers(_scope: Scope, _receive: Any, send: Any) -> None:
    announced = [TEXT, (b"trailer", b"x-checksum")]
    start = {"type": "http.response.start", "status": 200, "headers": announced, "trailers": True}
    await send(start)
    await send({"type": "http.response.body", "body": b"body"})
    await send({"type": "http.response.trailers", "headers": [(b"x-checksum", b"abc")]})


@route("/trailers-in-two")
async def trailers_in_two(scope: Scope, _receive: Any, send: Any) -> None:
    """Trailers in two messages, which the head does not name."""
    length = argument(scope, "length")
    headers = [TEXT, (b"content-length", length.encode())] if length else [TEXT]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
    await send({"type": "http.response.body", "body": b"body"})
    first = {"type": "http.response.trailers", "headers": [(b"x-first", b"1")], "more_trailers": True}
    await send(first)
    await send({"type": "http.response.trailers", "headers": [(b"x-second", b"2")]})


@route("/concurrent")
async def concurrent(_scope: Scope, _receive: Any, send: Any) -> None:
    """Answers only when 20 requests are here at once: proves they run concurrently."""
    waiting.append(asyncio.Event())
    mine = waiting[-1]
    if len(waiting) == 20:
        for event in waiting:
            event.set()
        waiting.clear()
    await mine.wait()
    await respond(send, "together")


waiting: list[asyncio.Event] = []


async def socket_describe(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(printable(scope), default=str)})
    await send({"type": "websocket.close"})


@route("/", SOCKETS)
@route("/echo", SOCKETS)
async def socket_echo(scope: Scope, receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": message["text"]})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
    if path := argument(scope, "mark"):
        mark(path, f"{message['type']} {message['code']} {message.get('reason')}")


@route("/sink", SOCKETS)
async def socket_sink(_scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        SUNK["all"] += 1


@route("/accept-at-gate", SOCKETS)
async def socket_accept_at_gate(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await asyncio.to_thread(wait_at_gate, argument(scope, "gate"))
    await send({"type": "websocket.accept"})
    await receive()


@route("/subprotocol", SOCKETS)
async def socket_subprotocol(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    chosen = scope["subprotocols"][-1]
    accept = {"type": "websocket.accept", "subprotocol": chosen, "headers": [(b"x-own", b"1")]}
    await send(accept)
    await send({"type": "websocket.send", "text": ",".join(scope["subprotocols"])})
    await send({"type": "websocket.close"})


@route("/choose", SOCKETS)
async def socket_choose(scope: Scope, receive: Any, send: Any) -> None:
    """Choose the subprotocol `?key=`, and name `?header=` among the fields; else accept with none, and say why."""
    await receive()
    accept: dict[str, Any] = {"type": "websocket.accept"}
    if key := argument(scope, "key"):
        accept["subprotocol"] = key
    if header := argument(scope, "header"):
        accept["headers"] = [(b"Sec-WebSocket-Protocol", header.encode())]
    try:
        await send(accept)
    except ValueError as error:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": str(error), "bytes": b""})
    await send({"type": "websocket.close"})


@route("/deny", SOCKETS)
async def socket_deny(_scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    start = {"type": "websocket.http.response.start", "status": 401, "headers": [TEXT]}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"are you"})


@route("/reject", SOCKETS)
async def socket_reject(_scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 4000})


@route("/close", SOCKETS)
async def socket_close(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    code, reason = int(argument(scope, "code")), argument(scope, "reason")
    await send({"type": "websocket.close", "code": code, "reason": reason})


@route("/raise", SOCKETS)
async def socket_raise(_scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    raise RuntimeError("raised in a socket")


@route("/raise-before", SOCKETS)
async def socket_raise_before(_scope: Scope, _receive: Any, _send: Any) -> None:
    raise RuntimeError("raised before accept")


@route("/return", SOCKETS)
async def socket_return(_scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})


@route("/flood", SOCKETS)
async def socket_flood(scope: Scope, receive: Any, send: Any) -> None:
    """Send `?megabytes=` in messages of 64 KiB, as fast as `send` lets us."""
    await receive()
    await send({"type": "websocket.accept"})
    for _ in range(int(argument(scope, "megabytes")) * 16):
        await send({"type": "websocket.send", "bytes": b"x" * 65536})
    await send({"type": "websocket.close"})


@route("/slow-reader", SOCKETS)
async def socket_slow_reader(scope: Scope, receive: Any, send: Any) -> None:
    """Accept, wait at the gate, then count what came."""
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.to_thread(wait_at_gate, argument(scope, "gate"))
    length = 0
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "end":
            await send({"type": "websocket.send", "text": str(length)})
        else:
            length += len(message["bytes"])


def make() -> Handler:
    """A factory: `asgi_app:make()`."""
    return app


class ClassBased:
    """An application given as an instance with an asynchronous __call__."""

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await app(scope, receive, send)


instance = ClassBased()
