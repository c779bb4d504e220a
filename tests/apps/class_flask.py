"""Flask, with state of its own for each greenlet."""

from __future__ import annotations

import threading

from flask import Flask, request

app = Flask(__name__)
local = threading.local()
# Nobody sets it: waiting for it lets other requests run.
turn = threading.Event()


@app.get("/")
def hello() -> str:
    return f"hello {request.args['name']}"


@app.get("/own")
def own() -> str:
    local.name = request.args["name"]
    turn.wait(0.001)
    assert request.args["name"] == local.name
    return str(local.name)
