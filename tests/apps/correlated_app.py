"""Applications that know nothing of request ids but log in a format that names them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import json
import logging
import sys
import threading
from collections.abc import Iterable
from typing import Any

logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s id=%(request_id)s trace=%(trace_id)s.")
log = logging.getLogger("correlated")
elsewhere = concurrent.futures.ThreadPoolExecutor(1)
"""Whoever waits for it lets other requests run."""
log.info("imported")


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    query = environ["QUERY_STRING"]
    if query == "extra":
        log.info("with extra", extra={"request_id": "the application's own"})
    elif query == "thread":
        # A thread that was given the context knows the request, and any other does not.
        context = contextvars.copy_context()
        for name, target in ("given", lambda: context.run(log.info, "given")), ("bare", lambda: log.info("bare")):
            thread = threading.Thread(target=target, name=name)
            thread.start()
            thread.join()
    else:
        # Another request of the same worker may run between the two.
        log.info("before %s", query)
        elsewhere.submit(int).result()
        log.info("after %s", query)
    told = {"id": environ.get("indrik.request_id"), "header": environ.get("HTTP_X_REQUEST_ID")}
    told["parent"] = environ.get("HTTP_TRACEPARENT")
    told["state"] = environ.get("HTTP_TRACESTATE")
    if query == "fails":
        raise RuntimeError("as asked")
    start_response("200 OK", [("Content-Type", "application/json"), ("X-Request-ID", "the application's own")])
    return [json.dumps(told).encode()]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        log.info("socket")
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["state"]["request_id"]})
        await send({"type": "websocket.close"})
        return
    query = scope["query_string"].decode()
    log.info("before %s", query)
    # On a thread that has the task's context, while the loop serves others.
    await asyncio.to_thread(log.info, "after %s", query)
    headers = dict(scope["headers"])
    told = {"id": scope["extensions"]["indrik.request"]["request_id"], "header": headers[b"x-request-id"].decode()}
    told["parent"] = headers.get(b"traceparent", b"").decode() or None
    assert scope["state"]["request_id"] == told["id"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})
