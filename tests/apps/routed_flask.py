"""Flask's routes, as its rules name them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

from flask import Flask, Response

from indrik import route

app = Flask(__name__)


@app.get("/users/<int:number>")
def user(number: int) -> str:
    return str(number)


@app.get("/streams/<name>")
def stream(name: str) -> Response:
    def pieces() -> Iterator[str]:
        yield name
        yield "!"

    return Response(pieces())


@app.get("/named/<name>")
def named(name: str) -> str:
    route("a name of its own")
    return name


@app.get("/deadly")
def deadly() -> str:
    route("the deadly one")
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


@app.get("/many/<int:number>")
def many(number: int) -> str:
    route(f"route {number}")
    return ""


@app.get("/unfit")
def unfit() -> str:
    route("two\nlines")
    return ""
