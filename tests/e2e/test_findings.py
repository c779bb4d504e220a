"""What is wrong is named by the server itself: what, whose, since when, what to do.

Every incident, alone and in pairs, under load, is a scenario of bench/chaos (`incidents`).
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
from support.admin import Admin
from support.commands import answer, run
from support.server import poll

pytestmark = pytest.mark.indrik_only

POOLED = """
from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

app = Flask(__name__)
engine = create_engine(
    "sqlite:///shop.db", poolclass=QueuePool, pool_size=1, max_overflow=0, connect_args={"check_same_thread": False}
)

@app.get("/orders")
def orders():
    with engine.connect() as connection:
        connection.execute(text("select 1"))
        open("taken", "w").close()
        open("go-on").read()
    return "done"
"""

KEEPING = """
import ctypes
import os
from fastapi import FastAPI

app = FastAPI()

@app.get("/report/{number}")
def report(number: int):
    pipe = os.open("go-on", os.O_RDWR)
    open("begun", "w").close()
    # In C, and without letting go of the interpreter's lock.
    ctypes.PyDLL(None).read(pipe, ctypes.create_string_buffer(1), 1)
    os.close(pipe)
    return "done"
"""

FAILING = """
from flask import Flask

app = Flask(__name__)

@app.get("/order/<int:number>")
def order(number):
    raise LookupError(number)
"""

DYING = """
import os

def app(environ, start_response):
    if environ["PATH_INFO"] != "/":
        os._exit(3)
    start_response("200 OK", [("Content-Length", "4")])
    return [b"well"]
"""


def findings(admin: Admin) -> dict[str, dict[str, Any]]:
    return {finding["cause"]: finding for finding in admin.json("/status")["findings"] or []}


def named(admin: Admin, cause: str) -> dict[str, Any]:
    poll(lambda: cause in findings(admin), f"{cause} to be named", 30)
    return findings(admin)[cause]


def test_a_finding_has_one_beginning_wherever_it_is_told_and_goes_with_its_cause(start):
    admin = Admin()
    server = start("wsgi_app:app", *admin.option)
    run(server, "pause", "--max", "600")
    found = named(admin, "paused")
    assert (found["whose"], found["advice"]) == ("an operator", "indrik resume")
    [told] = answer(server, "top", "--once")["findings"]
    assert (told["cause"], told["since_ms"]) == ("paused", found["since_ms"])
    shown = run(server, "status").stdout.splitlines()
    assert shown[0].startswith("! requests are held by a pause") and " UTC, for " in shown[0]
    run(server, "resume")
    poll(lambda: findings(admin) == {}, "nothing to be wrong")


def test_a_pool_without_a_free_connection_is_named_with_its_worker(start, connect, tmp_path):
    (tmp_path / "pooled.py").write_text(POOLED)
    os.mkfifo(tmp_path / "go-on")
    admin = Admin()
    server = start("pooled:app", "--workers", "1", "--threads", "4", *admin.option, chdir=tmp_path)
    wires = [connect(server, 60) for _ in range(2)]
    for wire in wires:
        wire.send("GET /orders HTTP/1.1\r\nHost: t\r\n\r\n")
    found = named(admin, "exhausted_pool")
    assert "sqlalchemy sqlite:///" in found["what"] and "of worker 1" in found["what"]
    assert "all 1 connections are in use, 1 wait for one" in found["what"]
    for wire in wires:
        poll((tmp_path / "taken").exists, "a connection to be taken")
        (tmp_path / "taken").unlink()
        (tmp_path / "go-on").write_text("")
        assert wire.read_answer().text == "done"


def test_a_thread_that_keeps_pythons_lock_from_an_event_loop_is_no_blocked_loop(start, connect, tmp_path):
    (tmp_path / "keeping.py").write_text(KEEPING)
    os.mkfifo(tmp_path / "go-on")
    admin = Admin()
    server = start("keeping:app", "--workers", "1", "--timeout", "0", *admin.option, interface="asgi", chdir=tmp_path)
    wire = connect(server, 60)
    wire.send("GET /report/7?key=secret HTTP/1.1\r\nHost: t\r\n\r\n")
    poll((tmp_path / "begun").exists, "the request")
    found = named(admin, "kept_gil")
    assert "; it is the request GET /report/" in found["what"]
    assert "secret" not in found["what"]
    assert "blocked_loop" not in findings(admin)
    with (tmp_path / "go-on").open("r+b", buffering=0) as pipe:
        pipe.write(b".")
    assert wire.read_answer().status == 200


def test_a_route_that_fails_is_named_and_a_worker_that_dies_again_and_again_too(start, connect, tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    (tmp_path / "dying.py").write_text(DYING)
    failing, dying = Admin(), Admin()
    servers = [
        start("failing:app", *failing.option, chdir=tmp_path),
        start("dying:app", "--workers", "2", *dying.option, chdir=tmp_path),
    ]

    connect(servers[1], 10).get("/")

    def ask(server) -> None:
        with contextlib.suppress(OSError, AssertionError):
            wire = connect(server, 10)
            wire.send("GET /order/1 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            wire.read_answer()

    def both() -> bool:
        for server in servers:
            ask(server)
        return "broken_application" in findings(failing) and "crash_loop" in findings(dying)

    poll(both, "both to be named", 30)
    assert findings(failing)["broken_application"]["whose"] == "/order/<int:number>"
    assert "(exit:3)" in findings(dying)["crash_loop"]["what"]
