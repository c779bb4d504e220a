"""What is around requests in a worker: the event loop of modules, exit functions, handlers of signals, its death."""

from __future__ import annotations

import json
import os
import signal

import pytest
from support.server import IS_ORACLE, free_port
from support.wire import Wire

# A client that binds itself to the loop that is current while modules are imported, as `grpc.aio` and motor do.
BOUND_AT_IMPORT = """
import asyncio, json, warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    LOOP = asyncio.get_event_loop_policy().get_event_loop()
done = LOOP.create_future()
LOOP.call_soon(done.set_result, "made at import")

async def app(scope, receive, send):
    assert scope["type"] == "http", scope["type"]
    same = asyncio.get_running_loop() is LOOP
    body = json.dumps([same, type(LOOP).__module__.partition(".")[0], same and await done]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
LAST_WORDS = """
import atexit, os, signal
from recorder import record

atexit.register(record, "atexit")

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"x"]
"""
OWN_HANDLER = """
import signal, sys
from recorder import record

def on_term(number, frame):
    record(f"handler {number}")
    sys.exit(0)

signal.signal(signal.SIGTERM, on_term)

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"x"]
"""
# Gunicorn's own worker has the loop's handler; only what is set in the process can be there as well.
LOOP_HANDLER = """
import asyncio, signal
from recorder import record

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, record, "handler of the loop")
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        record("shutdown")
        return await send({"type": "lifespan.shutdown.complete"})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})
"""
DIES_OUTSIDE = """
import signal

def fail(number, frame):
    raise RuntimeError("the sky is falling")

signal.signal(signal.SIGALRM, fail)

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"x"]
"""
# Its import ends when somebody has written to the pipe.
WAITS_AT_IMPORT = """
import os
from recorder import record
record("imports")
if os.path.exists("pipe"):
    open("pipe").read()

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"x"]
"""
DIES_WHEN_READY = """
import os, signal

def post_worker_init(worker):
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
"""
# Looks at its own task in its first step, or after it has waited.
TASKS = """
import asyncio, io, json

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        raise KeyError("no lifespan")
    if scope["path"] == "/later":
        await asyncio.sleep(0)
    coroutine = asyncio.current_task().get_coro()
    stack = io.StringIO()
    asyncio.current_task().print_stack(file=stack)
    seen = [coroutine.__name__, coroutine.__qualname__, coroutine.cr_code.co_name]
    seen += ["in application" in stack.getvalue(), asyncio.iscoroutine(coroutine)]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})
app = application
"""
NO_THREADS = """
import sys
sys.modules["threading"] = None

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"x"]
"""


def ask(server) -> str:
    with Wire(server.connect()) as wire:
        return wire.get("/", "Connection: close").text


@pytest.mark.parametrize("arguments", [("-k", "asgi"), ("-k", "asgi", "--asgi-loop", "asyncio"), ()])
def test_the_loop_that_is_current_at_import_is_the_loop_that_serves(project, arguments):
    if IS_ORACLE and not arguments:
        pytest.skip("Gunicorn has to be told that the application is ASGI")
    project.write("app.py", BOUND_AT_IMPORT)
    server = project.start("-w", "1", *arguments, interface="wsgi")
    same, module, result = json.loads(ask(server))
    assert (same, result) == (True, "made at import")
    assert module == ("uvloop" if arguments == ("-k", "asgi") else "asyncio")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("arguments", [("-k", "sync"), ("-k", "gthread", "--threads", "2")])
def test_exit_functions_are_called_whatever_ends_the_server(project, number, arguments):
    project.write("app.py", LAST_WORDS)
    server = project.start("-w", "1", *arguments)
    assert ask(server) == "x"
    assert server.stop(number) == 0
    assert project.words() == ["atexit"]


def test_the_application_s_own_handler_of_sigterm_is_called_at_a_stop(project):
    project.write("app.py", OWN_HANDLER)
    server = project.start("-w", "1")
    assert ask(server) == "x"
    assert server.stop() == 0
    assert project.words() == ["handler 15"]


@pytest.mark.indrik_only
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_handler_of_sigterm_that_the_loop_has_is_called_at_a_stop(project, loop):
    project.write("app.py", LOOP_HANDLER)
    server = project.start("-w", "1", "-k", "asgi", "--asgi-loop", loop)
    assert ask(server) == "x"
    assert server.stop() == 0
    assert project.words() == ["handler of the loop", "shutdown"]


def test_an_exception_outside_requests_ends_the_worker_and_stands_in_the_error_log(project):
    project.write("app.py", DIES_OUTSIDE)
    server = project.start("-w", "1", "--error-logfile", "error.txt")
    assert ask(server) == "x"
    (worker,) = server.workers()
    os.kill(worker, signal.SIGALRM)
    server.wait_for_new_workers([worker])
    text = (project.directory / "error.txt").read_text()
    assert "Exception in worker process" in text
    assert "Traceback" in text and "RuntimeError: the sky is falling" in text


@pytest.mark.indrik_only
def test_a_worker_that_cannot_load_what_its_loop_needs_is_not_ready(project):
    project.write("app.py", NO_THREADS)
    done = project.run("-k", "gthread", "--threads", "2", "-b", f"127.0.0.1:{free_port()}", "app:app")
    assert done.code == 3
    assert "importing what threads need raised ModuleNotFoundError" in done.stderr
    assert "Ready" not in done.stderr


@pytest.mark.indrik_only
@pytest.mark.parametrize("arguments", [(), ("--preload",)])
def test_a_stop_during_a_reload_that_imports_ends_the_import_without_an_alarm(project, arguments):
    project.write("app.py", WAITS_AT_IMPORT)
    server = project.start("-w", "1", *arguments)
    os.mkfifo(project.directory / "pipe")
    server.signal(signal.SIGHUP)
    project.wait_for_records("imports", "imports")
    assert server.stop() == 0
    log = server.log()
    assert not [line for line in log.splitlines() if "[WARNING]" in line or "[ERROR]" in line or "Fatal" in line], log


@pytest.mark.indrik_only
def test_a_start_none_of_whose_workers_lives_has_failed(project):
    project.config(DIES_WHEN_READY)
    done = project.run("-w", "1", "-b", f"127.0.0.1:{free_port()}", "app:app")
    assert done.code == 3
    assert "No worker has finished a request or lived for long since the start" in done.stderr


@pytest.mark.parametrize("path", ["/at-once", "/later"])
def test_the_task_of_a_request_has_a_coroutine_with_a_name_and_a_stack(project, path):
    project.write("app.py", TASKS)
    server = project.start("-w", "1", "-k", "asgi")
    with Wire(server.connect()) as wire:
        name, qualname, code, in_stack, is_coroutine = json.loads(wire.get(path, "Connection: close").body)
    if IS_ORACLE:
        # Its task is the connection's, which has a coroutine of its own.
        assert isinstance(name, str) and isinstance(code, str) and is_coroutine
    else:
        assert (name, qualname, code) == ("application",) * 3
        assert in_stack and is_coroutine
