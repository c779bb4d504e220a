"""What the specifications ask of a server, tried from the application's side: PEP 3333 by the standard library's own
validator, ASGI 3 by an application that answers with what it found wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from wsgiref.validate import validator


def checked(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Uses every method of the streams, as the validator lets one use them."""
    stream = environ["wsgi.input"]
    if environ["PATH_INFO"] == "/lines":
        body = b"".join([stream.readline(5), stream.readline(), *stream.readlines(3), *list(stream)])
    else:
        body = stream.read(3) + stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.errors"].write("written by the validated application\n")
    environ["wsgi.errors"].writelines(["and ", "lines\n"])
    environ["wsgi.errors"].flush()
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/write":
        write(b"written ")
    if environ["PATH_INFO"] == "/exc-info":
        try:
            raise ValueError("replaced")
        except ValueError:
            import sys

            start_response("201 Created", [("Content-Type", "text/plain")], sys.exc_info())
    return [body or b"empty"]


validated = validator(checked)


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    if scope["type"] == "websocket":
        return await websocket(scope, receive, send)
    found = [*wrong_in_scope(scope), *await wrong_in_request(receive), *await wrong_in_order(send)]
    body = json.dumps(found).encode()
    headers = ((b"content-length", str(len(body)).encode()),)
    await send({"type": "http.response.start", "status": 200, "headers": iter(headers)})
    await send({"type": "http.response.body", "body": body[:1], "more_body": True})
    await send({"type": "http.response.body", "body": body[1:]})
    assert (await receive())["type"] == "http.disconnect"


def wrong_in_scope(scope: dict[str, Any]) -> list[str]:
    """Keys and types of an `http` or `websocket` scope."""
    types: dict[str, Any] = {
        "type": str,
        "asgi": dict,
        "http_version": str,
        "scheme": str,
        "path": str,
        "raw_path": bytes,
        "query_string": bytes,
        "root_path": str,
        "extensions": dict,
        "state": dict,
    }
    types["method" if scope["type"] == "http" else "subprotocols"] = str if scope["type"] == "http" else list
    wrong = [f"{key}: {scope.get(key)!r}" for key, kind in types.items() if not isinstance(scope.get(key), kind)]
    for key in ("client", "server"):
        host, port = scope[key]
        if not isinstance(host, str) or not isinstance(port, int):
            wrong.append(f"{key}: {scope[key]!r}")
    for name, value in scope["headers"]:
        if not (isinstance(name, bytes) and isinstance(value, bytes) and name == name.lower() and name[:1] != b":"):
            wrong.append(f"header {name!r}: {value!r}")
    if "?" in scope["path"] or b"?" in scope["raw_path"]:
        wrong.append("the query is in the path")
    if scope["asgi"]["version"] != "3.0" or scope["asgi"]["spec_version"] < "2.3":
        wrong.append(f"asgi: {scope['asgi']}")
    return wrong


async def wrong_in_request(receive: Any) -> list[str]:
    wrong, more = [], True
    while more:
        message = await receive()
        if message["type"] != "http.request" or not isinstance(message.get("body", b""), bytes):
            wrong.append(repr(message))
        more = message.get("more_body", False)
    return wrong


async def wrong_in_order(send: Any) -> list[str]:
    """Messages that are not allowed before the start."""
    wrong = []
    for message in (
        {"type": "http.response.body", "body": b"too early"},
        {"type": "http.response.trailers", "headers": []},
        {"type": "websocket.accept"},
        {"type": "http.response.start", "headers": []},
        {"type": "http.response.start", "status": "200"},
        {"type": "http.response.start", "status": 200, "headers": [("a", "text")]},
        {"type": "http.response.start", "status": 200, "headers": [(b"a\n", b"b")]},
        {"type": "no.such.message"},
        {},
    ):
        try:
            await send(message)
        except Exception:
            continue
        wrong.append(f"send took {message}")
    return wrong


async def lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["asgi"]["version"] == "3.0" and scope["state"] == {}
    assert await receive() == {"type": "lifespan.startup"}
    scope["state"]["started"] = True
    await send({"type": "lifespan.startup.complete"})
    assert await receive() == {"type": "lifespan.shutdown"}
    await send({"type": "lifespan.shutdown.complete"})


async def websocket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    wrong = wrong_in_scope(scope)
    assert await receive() == {"type": "websocket.connect"}
    for message in ({"type": "websocket.send", "text": "too early"}, {"type": "http.response.start", "status": 200}):
        try:
            await send(message)
            wrong.append(f"send took {message}")
        except Exception:
            pass
    await send({"type": "websocket.accept", "subprotocol": None, "headers": ((b"x-own", b"1"),)})
    for message in ({"type": "websocket.accept"}, {"type": "websocket.send"}, {"type": "websocket.close", "code": 1}):
        try:
            await send(message)
            wrong.append(f"send took {message}")
        except Exception:
            pass
    await send({"type": "websocket.send", "text": json.dumps(wrong), "bytes": None})
    message = await receive()
    await send({"type": "websocket.send", "bytes": json.dumps(sorted(map(str, message))).encode(), "text": None})
    await send({"type": "websocket.close", "code": 3001, "reason": "é" * 100})
    try:
        await send({"type": "websocket.send", "text": "too late"})
    except Exception:
        return
    raise AssertionError("send took a message after the close")
