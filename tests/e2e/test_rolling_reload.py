"""Reloads with real applications: canary, warm-up, rolling, trial and rollback, and what a drain does to
WebSockets and streams. The decisions themselves are tested in `indrik-core`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest
from support.control import all_ready
from support.gate import Gate
from support.server import APPS, COMMAND, Server, free_port, poll
from test_supervisor import Load
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as open_socket

pytestmark = pytest.mark.indrik_only

FLASK = """
import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return {version!r}


@app.get("/pid")
def pid():
    return str(os.getpid())


@app.get("/warm")
def warm():
    {warm}
    return "warm"


@app.post("/crash")
def crash():
    os._exit(70)
"""

FASTAPI = """
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from gates import mark, wait_at_gate


@asynccontextmanager
async def lifespan(app):
    {startup}
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def index():
    return {version!r}


@app.get("/warm")
async def warm():
    {warm}
    return "warm"


@app.get("/stream")
def stream(gate: str):
    def pieces():
        yield b"first,"
        wait_at_gate(gate)
        yield b"last of {version}"

    return StreamingResponse(pieces())


@app.websocket("/socket")
async def socket(socket: WebSocket, marks: str):
    await socket.accept()
    await socket.send_text({version!r})
    try:
        await socket.receive_text()
    except WebSocketDisconnect as end:
        mark(marks, f"{{end.code}}")
"""


class Site:
    """An application in a directory, and the server that runs it."""

    def __init__(self, directory: Path, text: str) -> None:
        self.directory, self.text = directory, text
        self.config = directory / "gunicorn.conf.py"
        self.config.write_text("")
        self.write("old")

    def write(self, version: str, warm: str = "pass", startup: str = "pass") -> None:
        self.raw(self.text.format(version=version, warm=warm, startup=startup))

    def raw(self, text: str) -> None:
        (self.directory / "site_app.py").write_text(dedent(text))

    def serve(self, start, *arguments: str, **options) -> Server:
        options.setdefault("environment", {"PYTHONPATH": str(APPS)})
        arguments = ("--config", str(self.config), *arguments)
        return all_ready(start("site_app:app", *arguments, chdir=self.directory, **options))


@pytest.fixture
def flask(tmp_path) -> Site:
    return Site(tmp_path, FLASK)


@pytest.fixture
def fastapi(tmp_path) -> Site:
    return Site(tmp_path, FASTAPI)


def command(server: Server, *arguments: str) -> list[str]:
    return [*COMMAND, "reload", "--pid", str(server.process.pid), *arguments]


def reload(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(server, *arguments), capture_output=True, text=True, timeout=60, cwd=APPS)


def reload_meanwhile(server: Server) -> subprocess.Popen[str]:
    return subprocess.Popen(command(server), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=APPS)


def failed(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stdout
    for word in ("the old one serves on", *words):
        assert word in done.stderr, done.stderr


def test_broken_code_of_flask_is_rolled_back_with_its_traceback_and_good_code_serves(start, connect, flask):
    server = flask.serve(start, "--workers", "2", "--warmup", "/warm,/", "--access-logfile", "-")
    with Load(server, connect, 4, "/pid") as load:
        load.goes_on(50)
        flask.write("new", warm='raise ValueError("cold")')
        failed(reload(server), "GET /warm was answered 500", "ValueError: cold", "site_app.py")
        flask.raw("def broken(:\n")
        failed(reload(server), "SyntaxError", "site_app.py")
        flask.raw("import no_such_module\n")
        failed(reload(server), "ModuleNotFoundError", "Traceback")
        assert connect(server).get("/").text == "old"
        flask.write("new")
        done = reload(server)
        assert (done.returncode, done.stdout) == (0, "generation 5 serves\n"), done.stderr
        assert connect(server).get("/").text == "new"
        load.goes_on(50)
    assert load.failures == []
    assert "/warm" not in server.stdout.text(), "no client asked for it"


def test_broken_code_of_fastapi_is_rolled_back_with_its_traceback_and_good_code_serves(start, connect, fastapi):
    server = fastapi.serve(start, "--workers", "1", "--warmup", "/warm", interface="asgi")
    fastapi.write("new", startup='raise RuntimeError("no database")')
    failed(reload(server), "RuntimeError: no database", "site_app.py")
    fastapi.write("new", warm='raise ValueError("cold")')
    failed(reload(server), "GET /warm was answered 500", "ValueError: cold")
    assert connect(server).get("/").text == '"old"'
    fastapi.write("new")
    assert reload(server).returncode == 0
    assert connect(server).get("/").text == '"new"'


def test_a_start_whose_warm_up_fails_is_a_failed_start(tmp_path, flask):
    flask.write("old", warm="return 'not yet', 503")
    done = subprocess.run(
        [*COMMAND, "--bind", f"127.0.0.1:{free_port()}", "--warmup", "/warm", "site_app:app"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 3
    assert "GET /warm was answered 503" in done.stderr


def test_a_rolling_reload_uses_one_process_more_and_loses_nothing(start, connect, flask):
    server = flask.serve(start, "--workers", "3", "--reload-max-surge", "1")
    with Load(server, connect, 4, "/pid") as load:
        load.goes_on(50)
        flask.write("new")
        waiting = reload_meanwhile(server)
        most = 0
        while waiting.poll() is None:
            most = max(most, len(server.workers()))
        assert waiting.wait() == 0
        load.goes_on(50)
    waiting.communicate()
    assert load.failures == []
    assert most <= 4
    assert {connect(server).get("/").text for _ in range(8)} == {"new"}


class TestSoak:
    @pytest.fixture
    def server(self, start, flask) -> Server:
        return flask.serve(start, "--workers", "2", "--reload-soak-s", "60")

    def test_a_crash_brings_the_old_workers_back(self, server, connect, flask):
        old = set(server.workers())
        flask.write("new")
        waiting = reload_meanwhile(server)
        server.wait_for_log("Generation 2 serves with 2 workers; generation 1 stands by")
        poll(lambda: connect(server).get("/").text == "new", "the new code")
        # Not a GET: that would be tried again, by an old worker.
        connect(server).get("/crash", method="POST")
        _, errors = waiting.communicate(timeout=30)
        assert waiting.returncode == 1 and "died" in errors, errors
        assert connect(server).get("/").text == "old"
        poll(lambda: set(server.workers()) == old, "the old workers alone")

    def test_too_many_errors_bring_the_old_workers_back(self, server, connect, flask):
        flask.raw(FLASK.format(version="new", warm="pass").replace("return 'new'", "return str(1 / 0)"))
        waiting = reload_meanwhile(server)
        server.wait_for_log("generation 1 stands by")
        wire = connect(server)
        poll(lambda: wire.get("/") and waiting.poll() is not None, "the end of the reload", 30)
        _, errors = waiting.communicate(timeout=30)
        assert waiting.returncode == 1 and "answers were errors" in errors, errors
        assert connect(server).get("/").text == "old"

    def test_old_workers_leave_when_the_server_ends(self, server, connect, flask):
        flask.write("new")
        waiting = reload_meanwhile(server)
        server.wait_for_log("generation 1 stands by")
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit() == 0
        _, errors = waiting.communicate(timeout=30)
        assert waiting.returncode == 1 and "the server ends" in errors, errors


class TestDrain:
    @pytest.fixture
    def server(self, start, fastapi) -> Server:
        return fastapi.serve(start, "--workers", "1", "--graceful-timeout", "20", interface="asgi")

    def test_websockets_are_closed_with_1012_on_both_sides(self, server, fastapi, tmp_path):
        marks = tmp_path / "marks"
        url = server.url.replace("http", "ws", 1) + f"/socket?marks={marks}"
        with open_socket(url) as socket_:
            assert socket_.recv(10) == "old"
            fastapi.write("new")
            assert reload(server).returncode == 0
            with pytest.raises(ConnectionClosed):
                socket_.recv(10)
            assert socket_.close_code == 1012
        poll(lambda: marks.exists() and marks.read_text() == "1012\n", "the application's disconnect")
        with open_socket(url) as socket_:
            assert socket_.recv(10) == "new"

    def test_a_stream_is_finished_by_the_worker_that_began_it(self, server, connect, fastapi, gate: Gate):
        wire = connect(server)
        wire.send(f"GET /stream?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
        gate.arrived()
        fastapi.write("new")
        assert reload(server).returncode == 0
        gate.release()
        assert wire.read_answer().text == "first,last of old"
        poll(lambda: not server.workers(generation=1), "the end of generation 1")


class TestDefined:
    """What happens when a reload meets something else."""

    def test_a_reload_asked_for_during_a_reload_waits_for_its_own_generation(self, start, connect, flask):
        server = flask.serve(start, "--workers", "1")
        assert connect(server).get("/").text == "old"
        waiting = [reload_meanwhile(server) for _ in range(3)]
        told = sorted(process.communicate(timeout=60)[0] for process in waiting)
        assert [process.returncode for process in waiting] == [0, 0, 0]
        assert told[0] == "generation 2 serves\n"
        assert told[2] in ("generation 3 serves\n", "generation 4 serves\n")

    def test_term_during_a_reload_ends_both(self, start, flask, gate: Gate):
        server = flask.serve(start, "--workers", "1")
        flask.raw(f"from gates import wait_at_gate\nwait_at_gate({str(gate.path)!r})\n")
        waiting = reload_meanwhile(server)
        gate.arrived()
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit() == 0
        assert "the server ends" in waiting.communicate(timeout=30)[1]
        assert waiting.returncode == 1

    def test_an_address_that_cannot_be_bound_leaves_everything_as_it_was(self, start, connect, flask):
        port = free_port()
        flask.config.write_text(f"bind = '127.0.0.1:{port}'\n")
        server = flask.serve(start, "--workers", "1", port=port, say_bind=False)
        flask.config.write_text("bind = '192.0.2.1:1'\n")
        failed(reload(server), "192.0.2.1:1")
        assert connect(server).get("/").text == "old"

    def test_another_worker_class_takes_over_as_a_whole(self, start, connect, flask, fastapi):
        flask.config.write_text("worker_class = 'sync'\nreload_max_surge = 1\n")
        flask.raw(FLASK.format(version="old", warm="pass"))
        server = flask.serve(start, "--workers", "2")
        assert connect(server).get("/").text == "old"
        flask.config.write_text("worker_class = 'asgi'\nreload_max_surge = 1\n")
        fastapi.write("new")
        with Load(server, connect, 4, "/") as load:
            load.goes_on(20)
            assert reload(server).returncode == 0
            load.goes_on(20)
        assert load.failures == []
        assert connect(server).get("/").text == '"new"'

    def test_the_end_of_the_last_reload_is_shown(self, start, flask):
        server = flask.serve(start, "--workers", "1")
        flask.raw("import no_such_module\n")
        done = reload(server, "--json")
        assert (done.returncode, json.loads(done.stdout)["serving"]) == (1, 1)
        arguments = ["ctl", "--pid", str(server.process.pid), "--json", "show", "stats"]
        shown = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=True)
        assert json.loads(shown.stdout)["last_reload"]["status"] == "failed"
        assert os.path.exists(f"/proc/{server.process.pid}")
