"""Ask a running server through its control socket, as an operator does: `indrik ctl`."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from support.server import APPS, COMMAND, Server

ANSWER_SECONDS = 30.0


def ctl(server: Server, *words: str) -> Any:
    """The answer of `indrik ctl WORDS` to this server."""
    command = [*COMMAND, "ctl", "--pid", str(server.process.pid), "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, cwd=APPS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
