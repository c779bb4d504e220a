"""Run the commands that steer a running server, as an operator does."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from support.server import COMMAND, Server


def run(server: Server | None, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """`indrik WORDS` for this server (`None`: whichever is meant); it must end with this code."""
    target = ["--pid", str(server.process.pid)] if server else []
    done = subprocess.run([*COMMAND, *words, *target], capture_output=True, text=True, timeout=60)
    if code is not None:
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def answer(server: Server, *words: str, code: int | None = 0) -> Any:
    """What a command answers, as JSON."""
    return json.loads(run(server, *words, "--json", code=code).stdout)


def begin(server: Server, *words: str) -> subprocess.Popen[str]:
    """A command that takes its time."""
    command = [*COMMAND, *words, "--pid", str(server.process.pid)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
