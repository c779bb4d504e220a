"""An application to be watched: routes that answer, fail, and stand at a gate."""

from __future__ import annotations

import time

from flask import Flask, request
from gates import wait_at_gate

app = Flask(__name__)


@app.get("/items/<int:number>")
def item(number: int) -> str:
    return str(number)


@app.get("/fails/<name>")
def fails(name: str) -> tuple[str, int]:
    return name, 500


@app.get("/held/<path:name>")
def held(name: str) -> str:
    wait_at_gate(request.args["gate"])
    return name


@app.get("/burns")
def burns() -> str:
    return burn(0.1)


def burn(seconds: float) -> str:
    """Take processor time."""
    end = time.process_time() + seconds
    count = 0
    while time.process_time() < end:
        count += 1
    return str(count)
