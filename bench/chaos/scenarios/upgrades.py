"""The server itself is replaced by a new one, under load."""

from __future__ import annotations

import signal
import time

from ..load import Load, window
from ..project import Project
from ..report import Rows
from ..subjects import NotApplicable, Options, Subject, has_command, send

CONNECTIONS = 32
WORKERS = 2
STEP_LIMIT_S = 30.0
POLL_S = 0.02


def run(name: str, rows: Rows, full: bool) -> None:
    if name == "granian":
        raise NotApplicable("has no upgrade in place")
    upgrades = 20 if full else 3
    with Project() as project:
        options = Options(app="flask", workers=WORKERS)
        with Subject(name, options, project) as server, Load(server.port, connections=CONNECTIONS) as load:
            window(1.0)
            arrived = 0
            for version in range(2, upgrades + 2):
                project.change(VERSION=version)
                trouble = _upgrade(server, version)
                if trouble:
                    print(f"  upgrade {version}: {trouble}: {server.log_tail()}")
                    break
                arrived += 1
                time.sleep(0.3)
            result = load.stop()
        rows.zero("failed requests", result.failed, result.shown(), of=result.ok + result.failed)
        rows.check("upgrades that arrived", "all", f"{arrived} of {upgrades}", arrived == upgrades)


def _upgrade(server: Subject, version: int) -> str:
    """One upgrade; what went wrong, or nothing."""
    old = server.pid
    if server.name == "indrik" and has_command("upgrade"):
        code, words = server.indrik("upgrade")
        if code:
            return f"indrik upgrade ended with {code}: {words[-500:]}"
    else:
        send(old, signal.SIGUSR2)
        # As an operator does it: once the new one answers, the old one is told to go.
        if not server.wait_for_version(version, STEP_LIMIT_S, in_a_row=1):
            return "the new server never answered"
        time.sleep(0.5)
        send(old, signal.SIGTERM)
    deadline = time.monotonic() + STEP_LIMIT_S
    while time.monotonic() < deadline:
        if old not in server.alive() and server.pid != old and server.wait_for_version(version, 5.0):
            return ""
        time.sleep(POLL_S)
    return "the old server never left"
