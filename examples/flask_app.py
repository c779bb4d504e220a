"""A Flask application.

indrik --chdir examples flask_app:app
indrik --chdir examples flask_app:validated    # the same under wsgiref.validate
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from wsgiref.validate import validator

from flask import Flask, Response, jsonify, request, send_file

BLOCK_BYTES = 64 * 1024
FILE = Path(__file__).with_name("README.md")

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024 * 1024


@app.get("/")
def hello() -> Response:
    return Response("Hello from Flask\n", mimetype="text/plain")


@app.get("/json")
def as_json() -> Response:
    return jsonify(hello="world", framework="flask")


@app.post("/echo")
def echo() -> Response:
    return Response(body_blocks(request.stream), mimetype=request.mimetype or "application/octet-stream")


@app.post("/upload")
def upload() -> Response:
    """Answer with the length and hash of the body, never holding more than one block of it."""
    digest, length = hashlib.sha256(), 0
    for block in body_blocks(request.stream):
        digest.update(block)
        length += len(block)
    return jsonify(bytes=length, sha256=digest.hexdigest())


@app.post("/form")
def form() -> Response:
    """A browser's file upload (multipart/form-data, field `file`)."""
    sent = request.files["file"]
    return jsonify(name=sent.filename, bytes=len(sent.read()))


@app.get("/stream")
def stream() -> Response:
    blocks = request.args.get("megabytes", 1, int) * 1024 * 1024 // BLOCK_BYTES
    body = (b"x" * BLOCK_BYTES for _ in range(blocks))
    return Response(body, mimetype="application/octet-stream")


@app.get("/events")
def events() -> Response:
    """Server-sent events: `?count=N` of them, `?pause=SECONDS` apart."""
    count, pause = request.args.get("count", 5, int), request.args.get("pause", 0.2, float)
    return Response(event_stream(count, pause), mimetype="text/event-stream")


@app.get("/slow")
def slow() -> Response:
    time.sleep(request.args.get("seconds", 1.0, float))
    return Response("done\n", mimetype="text/plain")


@app.get("/file")
def download() -> Response:
    """Flask hands the open file to the server (wsgi.file_wrapper), which sends it."""
    return send_file(FILE, mimetype="text/plain")


@app.get("/error")
def error() -> Response:
    raise RuntimeError("this endpoint always fails")


validated = validator(app)


def body_blocks(source: IO[bytes]) -> Iterator[bytes]:
    while block := source.read(BLOCK_BYTES):
        yield block


def event_stream(count: int, pause: float) -> Iterator[bytes]:
    for number in range(count):
        if number:
            time.sleep(pause)
        yield f"id: {number}\ndata: event {number}\n\n".encode()
