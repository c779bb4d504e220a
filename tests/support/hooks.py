"""Configurations whose hooks tell that they were called, and what they told."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple

from support.project import Project
from support.server import Server, poll
from support.wire import Answer, Wire

TELL = """
import os
from recorder import record

def tell(hook, **facts):
    record(hook, {"ppid": os.getppid(), **facts})
"""
EVERY_HOOK = (
    TELL
    + """
def nworkers_changed(server, new_value, old_value):
    tell("nworkers_changed", new=new_value, old=old_value)

def on_starting(server):
    tell("on_starting", server=server.pid, bind=server.cfg.bind, workers=server.num_workers)
    server.colour = "red"

def when_ready(server):
    tell("when_ready", colour=server.colour, listeners=[str(item) for item in server.LISTENERS])
    server.log.info("the %s is ready", "server")

def pre_fork(server, worker):
    tell("pre_fork", age=worker.age, pid=worker.pid, booted=worker.booted)
    worker.tag = f"tag {worker.age}"

def post_fork(server, worker):
    tell("post_fork", age=worker.age, own=worker.pid == os.getpid(), tag=worker.tag, server=server.pid)
    worker.log.info("worker %s", worker.age)

def post_worker_init(worker):
    tell("post_worker_init", age=worker.age, app=callable(worker.wsgi), alive=worker.alive)

def pre_request(worker, req):
    tell("pre_request", age=worker.age, method=req.method, uri=req.uri, path=req.path, query=req.query,
         version=req.version, headers=req.headers, peer=req.peer_addr[0], scheme=req.scheme)
    req.seen = True

def post_request(worker, req, environ, resp):
    tell("post_request", seen=req.seen, nr=worker.nr, status=resp.status, headers=resp.headers, sent=resp.sent,
         path=environ.get("PATH_INFO"))

def worker_int(worker):
    tell("worker_int", age=worker.age, alive=worker.alive)

def worker_abort(worker):
    tell("worker_abort", age=worker.age)

def worker_exit(server, worker):
    tell("worker_exit", age=worker.age, nr=worker.nr, server=server.pid)

def child_exit(server, worker):
    tell("child_exit", age=worker.age, pid=worker.pid, tag=worker.tag, known=worker.pid in server.WORKERS)

def on_reload(server):
    tell("on_reload", workers=server.num_workers)

def on_exit(server):
    tell("on_exit", colour=getattr(server, "colour", None))
"""
)


class Call(NamedTuple):
    """One hook that was called."""

    pid: int
    hook: str
    facts: dict[str, Any]


def calls(project: Project, *hooks: str) -> list[Call]:
    """The hooks called so far (or those of them)."""
    found = [Call(pid, *split(words)) for pid, words in project.recorded()]
    return [call for call in found if not hooks or call.hook in hooks]


def split(words: str) -> tuple[str, dict[str, Any]]:
    hook, _, facts = words.partition(" ")
    return hook, ast.literal_eval(facts) if facts else {}


def wait_for(project: Project, hook: str, count: int = 1, seconds: float = 20.0) -> None:
    """Wait until the hook has been called so often."""
    poll(lambda: len(calls(project, hook)) >= count, f"{count} calls of {hook} in {project.records}", seconds)


def get(server: Server, path: str = "/") -> int:
    return answer(server, path).status


def answer(server: Server, path: str = "/") -> Answer:
    with Wire(server.connect()) as wire:
        return wire.get(path, "Connection: close")


def master(project: Project) -> int:
    """The process that stands for the master in hooks."""
    return calls(project, "when_ready")[0].pid
