"""What a worker had before it ended stands in the log, although nothing was written down for it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from typing import Any

import pytest
from support.server import COMMAND, Server, poll

DIES = """
import os

def app(environ, start_response):
    if environ["PATH_INFO"] == "/die":
        os._exit(9)
    start_response("204 No Content", [])
    return []
"""

pytestmark = pytest.mark.indrik_only


def entry(server: Server, pattern: str, worker: int) -> str:
    """The entry of several lines that matches; it stands before the line that says why a worker ended."""
    server.wait_for_log(rf"\(pid:{worker}\) of generation 1 ended: ")
    found = re.search(pattern, server.log())
    assert found, server.log()
    return found[0]


def told(server: Server) -> list[dict[str, Any]]:
    """What `indrik events` says, when it knows of a crash."""
    command = [*COMMAND, "events", "--pid", str(server.process.pid), "--json"]

    def events() -> list[dict[str, Any]]:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return [json.loads(line) for line in ran.stdout.splitlines()]

    poll(lambda: any(it["kind"] == "crash" for it in events()), "the crash")
    return events()


@pytest.mark.parametrize("app", ["wsgi_app:app", "asgi_app:app"])
def test_a_worker_that_is_killed_shows_its_last_requests_with_their_answers(start, connect, app):
    server = start(app, "--workers", "1")
    with connect(server) as wire:
        for number in range(20):
            wire.get(f"/hello?n={number}")
        wire.get('/nowhere?"quoted"')
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    lines = entry(server, rf"\(pid:{worker}\) ended with no request in it\n(  .*\n)+", worker).splitlines()
    assert lines[1] == "  before, the last first:"
    last = r'  GET /nowhere\?\\"quoted\\" from 127\.0\.0\.1, answered \d+ in [0-9.]+ ms'
    assert re.fullmatch(last, lines[2]), lines[2]
    shown = [re.match(r"  GET /hello\?n=(\d+) from 127\.0\.0\.1, answered (\d+) in ", line) for line in lines[3:]]
    assert [int(match[1]) for match in shown if match] == list(range(19, 4, -1))
    assert len(lines) == 18
    (crash,) = [it for it in told(server) if it["kind"] == "crash"]
    assert [line.strip() for line in lines[2:10]] == crash["requests"]


def test_a_worker_that_a_request_ends_shows_that_one_and_those_before(start, connect, tmp_path):
    (tmp_path / "dies.py").write_text(DIES)
    server = start("dies:app", "--workers", "1", chdir=tmp_path)
    (worker,) = server.workers()
    with connect(server) as wire:
        wire.get("/before")
        wire.send(b"POST /die HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert wire.read_answer().status == 502
    shown = entry(server, rf"\(pid:{worker}\) ended with requests in it:\n(  .*\n)+", worker)
    running, before = shown.split("  before, the last first:\n")
    assert re.search(r"\n  POST /die from 127\.0\.0\.1, for [0-9.]+ s\n", running), shown
    assert re.match(r"  GET /before from 127\.0\.0\.1, answered 204 in ", before), shown
