"""Ask a running server through its control socket, as an operator does: `indrik ctl`."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from support.server import APPS, COMMAND, Server, poll, workers_said

ANSWER_SECONDS = 30.0


def ctl(server: Server, *words: str) -> Any:
    """The answer of `indrik ctl WORDS` to this server."""
    command = [*COMMAND, "ctl", "--pid", str(server.process.pid), "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, cwd=APPS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def all_ready(server: Server) -> Server:
    """The server, once every worker that its command line asks for has loaded the application."""
    count = workers_said(server.command)
    poll(lambda: ctl(server, "show", "stats")["workers_ready"] >= count, f"{count} workers that are ready", 20)
    return server
