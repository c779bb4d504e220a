"""A Flask application that is well until it is asked to be sick. Served by gthread, gevent and sync workers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import sick
from flask import Flask, Response, request
from sqlalchemy import create_engine, event, text
from sqlalchemy.pool import QueuePool

app = Flask(__name__)


def engine(size: int) -> object:
    made = create_engine(
        f"sqlite:///shop{size}.db", poolclass=QueuePool, pool_size=size, max_overflow=0, pool_timeout=30,
        connect_args={"check_same_thread": False},
    )  # fmt: skip

    @event.listens_for(made, "connect")
    def teach(connection: object, _record: object) -> None:
        connection.create_function("wait", 1, lambda seconds: time.sleep(seconds) or 1)

    return made


small, large_enough = engine(2), engine(64)


def asked(name: str, other: float) -> float:
    return float(request.args.get(name, other))


@app.get("/echo")
def echo() -> str:
    return "well"


@app.get("/quick")
def quick() -> str:
    time.sleep(0.005)
    return "quick"


@app.get("/burst")
def burst() -> str:
    return str(sick.compute(0.01))


@app.get("/hold/<how>")
def hold(how: str) -> str:
    sick.HOLDS[how](asked("s", 1))
    return "held"


@app.get("/database/<int:number>")
def database(number: int) -> str:
    return sick.ask_database(f"get {number}")


@app.get("/pool")
def pool() -> str:
    with small.connect() as connection:
        connection.execute(text("select 1"))
        time.sleep(asked("hold", 0.002))
    return "pool"


@app.get("/query")
def query() -> str:
    with large_enough.connect() as connection:
        connection.execute(text("select wait(:seconds)"), {"seconds": asked("takes", 0.003)})
    return "query"


@app.get("/leak")
def leak() -> str:
    sick.leak(int(asked("kib", 1024)))
    return "leaked"


@app.get("/crash/<how>")
def crash(how: str) -> str:
    sick.crash(how)
    return "alive"


@app.get("/fails")
def fails() -> str:
    raise RuntimeError("asked to fail")


@app.get("/poll")
def poll() -> str:
    """A long poll: it waits by its nature."""
    time.sleep(asked("s", 4))
    return "nothing new"


@app.get("/stream")
def stream() -> Response:
    count = int(asked("n", 10))

    def events() -> Iterator[bytes]:
        for number in range(count):
            yield f"data: {number}\n\n".encode()
            time.sleep(0.5)

    return Response(events(), mimetype="text/event-stream")


@app.get("/large")
def large() -> Response:
    count = int(asked("mib", 64))

    def pieces() -> Iterator[bytes]:
        for _ in range(count):
            yield b"x" * 1024 * 1024

    return Response(pieces(), mimetype="application/octet-stream")
