"""Synchronous views; under ASGI Django runs them in a thread."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)

BLOCK_BYTES = 64 * 1024
FILE = Path(__file__).resolve().parent.parent / "README.md"


def hello(_request: HttpRequest) -> HttpResponseBase:
    return HttpResponse("Hello from Django\n", content_type="text/plain")


def as_json(_request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"hello": "world", "framework": "django"})


def echo(request: HttpRequest) -> HttpResponseBase:
    kind = request.content_type or "application/octet-stream"
    return HttpResponse(b"".join(body_blocks(request)), content_type=kind)


def upload(request: HttpRequest) -> HttpResponseBase:
    """Answer with the length and hash of the body, never holding more than one block of it."""
    digest, length = hashlib.sha256(), 0
    for block in body_blocks(request):
        digest.update(block)
        length += len(block)
    return JsonResponse({"bytes": length, "sha256": digest.hexdigest()})


def form(request: HttpRequest) -> HttpResponseBase:
    """A browser's file upload (multipart/form-data, field `file`)."""
    sent = request.FILES["file"]
    return JsonResponse({"name": sent.name, "bytes": sent.size})


def stream(request: HttpRequest) -> HttpResponseBase:
    blocks = int(request.GET.get("megabytes", "1")) * 1024 * 1024 // BLOCK_BYTES
    body = (b"x" * BLOCK_BYTES for _ in range(blocks))
    return streamed(request, body, "application/octet-stream")


def events(request: HttpRequest) -> HttpResponseBase:
    """Server-sent events: `?count=N` of them, `?pause=SECONDS` apart."""
    count, pause = int(request.GET.get("count", "5")), float(request.GET.get("pause", "0.2"))
    return streamed(request, event_stream(count, pause), "text/event-stream")


def slow(request: HttpRequest) -> HttpResponseBase:
    time.sleep(float(request.GET.get("seconds", "1")))
    return HttpResponse("done\n", content_type="text/plain")


def download(_request: HttpRequest) -> HttpResponseBase:
    """Django hands the open file to the server (wsgi.file_wrapper), which sends it."""
    return FileResponse(FILE.open("rb"), content_type="text/plain")


def error(_request: HttpRequest) -> HttpResponseBase:
    raise RuntimeError("this endpoint always fails")


def streamed(request: HttpRequest, items: Iterator[bytes], kind: str) -> HttpResponseBase:
    """Under ASGI Django would collect a plain iterator whole before it sends anything."""
    if isinstance(request, ASGIRequest):
        return StreamingHttpResponse(in_a_thread(items), content_type=kind)
    return StreamingHttpResponse(items, content_type=kind)


async def in_a_thread(items: Iterator[bytes]) -> AsyncIterator[bytes]:
    def following() -> bytes:
        return next(items, b"")

    while item := await sync_to_async(following)():
        yield item


def body_blocks(request: HttpRequest) -> Iterator[bytes]:
    while block := request.read(BLOCK_BYTES):
        yield block


def event_stream(count: int, pause: float) -> Iterator[bytes]:
    for number in range(count):
        if number:
            time.sleep(pause)
        yield f"id: {number}\ndata: event {number}\n\n".encode()
