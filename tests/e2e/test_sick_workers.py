"""A worker that stands still between requests: what it has not started goes to others, and it is replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from support.control import all_ready, ctl
from support.project import Project
from support.server import Server, poll

pytestmark = pytest.mark.indrik_only

APP = """
import ctypes, os, urllib.parse

def keep_the_lock(fifo):
    with open(fifo) as orders:
        orders.read()
    ctypes.PyDLL(None).pause()

def start_thread(target, *arguments):
    # Not gevent's, which would run on the main thread.
    try:
        from gevent.monkey import get_original
        start = get_original("_thread", "start_new_thread")
    except ImportError:
        from _thread import start_new_thread as start
    start(target, arguments)

def answer(path, query):
    if path == "/arm":
        start_thread(keep_the_lock, urllib.parse.parse_qs(query)["fifo"][0])
    return str(os.getpid()).encode()

def wsgi(environ, start_response):
    body = answer(environ["PATH_INFO"], environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    body = answer(scope["path"], scope["query_string"].decode())
    head = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})
"""

CLASSES = {
    "sync": ("app:wsgi", ()),
    "gthread": ("app:wsgi", ("--threads", "2")),
    "gevent": ("app:wsgi", ("--worker-class", "gevent")),
    "asgi": ("app:asgi", ()),
}

Serve = Callable[..., Server]


@pytest.fixture
def serve(start, tmp_path: Path) -> Serve:
    project = Project(tmp_path / "project", start)
    project.write("app.py", APP)

    def serve(name: str, *arguments: str) -> Server:
        app, own = CLASSES[name]
        return all_ready(project.start(*own, "--graceful-timeout", "2", *arguments, app=app))

    return serve


def health(server: Server) -> dict[str, object]:
    return ctl(server, "show", "stats")["health"]


def stop_one(server: Server, connect, tmp_path: Path) -> int:
    """SIGSTOP: nothing of it runs any more."""
    pid = int(connect(server).get("/pid").text)
    os.kill(pid, signal.SIGSTOP)
    # Each thread stops for itself, at the latest when it gets a core.
    poll(lambda: all(state == "T" for state in thread_states(pid)), "a worker that has stopped")
    return pid


def thread_states(pid: int) -> list[str]:
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return [stat.rpartition(")")[2].split()[0] for stat in stats]


def lock_one(server: Server, connect, tmp_path: Path) -> int:
    """A thread of it keeps the interpreter's lock, while no request runs."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    pid = int(connect(server).get(f"/arm?fifo={fifo}").text)
    fifo.open("w").close()
    return pid


SICKNESSES = {"stopped": stop_one, "lock kept": lock_one}


@pytest.mark.parametrize("sickness", SICKNESSES)
@pytest.mark.parametrize("name", CLASSES)
def test_what_a_worker_that_stands_still_has_not_started_is_answered_by_another_one(
    serve: Serve, connect, tmp_path: Path, name: str, sickness: str
):
    server = serve(name, "--workers", "2", "--timeout", "300")
    sick = SICKNESSES[sickness](server, connect, tmp_path)
    poll(lambda: health(server)["state"] == "degraded", "a health that is not ready")
    said = health(server)
    assert said["ready"], said
    assert f"(pid {sick}) shows no life" in str(said["why"])
    wires = [connect(server, 20) for _ in range(20)]
    for wire in wires:
        wire.send("GET /pid HTTP/1.1\r\nHost: t\r\n\r\n")
    assert str(sick) not in {wire.read_answer().text for wire in wires}
    # Nobody waits for it at the end.
    os.kill(sick, signal.SIGKILL)


@pytest.mark.parametrize("sickness", SICKNESSES)
@pytest.mark.parametrize("name", CLASSES)
def test_a_worker_that_stands_still_is_replaced_with_a_reason(
    serve: Serve, connect, tmp_path: Path, name: str, sickness: str
):
    server = serve(name, "--workers", "2", "--timeout", "2")
    sick = SICKNESSES[sickness](server, connect, tmp_path)
    server.wait_for_log(rf"WORKER TIMEOUT \(pid:{sick}\)")
    server.wait_for_log(rf"Worker \d+ \(pid:{sick}\) of generation 1 ended: timeout", 20)
    poll(lambda: health(server)["state"] == "ready", "two workers that are well", 20)
    assert sick not in server.workers()


@pytest.mark.parametrize("name", CLASSES)
def test_a_request_at_the_only_worker_waits_no_longer_than_in_the_queue(
    serve: Serve, connect, tmp_path: Path, name: str
):
    server = serve(name, "--workers", "1", "--timeout", "300", "--queue-timeout", "300ms")
    sick = stop_one(server, connect, tmp_path)
    assert connect(server, 20).get("/pid").status == 503
    poll(lambda: not health(server)["ready"], "a health that is not ready")
    os.kill(sick, signal.SIGCONT)
    assert connect(server, 20).get("/pid").text == str(sick)
    poll(lambda: health(server)["state"] == "ready", "a worker that goes on")
