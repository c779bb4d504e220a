"""A quiet log: one entry for each thing that the server has come to, and the error last when a start fails."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from support.project import Project
from support.server import READY

pytestmark = pytest.mark.indrik_only

QUIET = {"INDRIK_LOG_ROUTINE": "auto"}
ENTRY = re.compile(r"(?m)^\[[^]]*\] \[\d+\] \[(?P<level>\S+)\] (?P<text>.*)$")


@pytest.fixture
def project(tmp_path: Path, start) -> Project:
    return Project(tmp_path, start)


def entries(log: str) -> list[str]:
    return [match["text"] for match in ENTRY.finditer(log)]


def test_a_start_a_reload_and_the_end_have_one_entry_each(start):
    server = start("wsgi_app:app", "--workers", "2", environment=QUIET)
    server.wait_for_log(READY)
    old = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_for_log("Generation 2 serves")
    server.wait_for_new_workers(old, 2)
    assert server.stop() == 0
    texts = entries(server.log())
    assert len(texts) == 3, texts
    assert texts[0] == "Ready" and texts[1].startswith("Generation 2 serves") and texts[2] == "Shutting down: Master"


def test_the_error_is_the_last_entry_and_the_only_one_when_a_start_fails(project):
    (project.directory / "app.py").write_text("import nothing_of_this_name\n")
    done = project.run("--bind", "127.0.0.1:0", "app:app", environment=QUIET)
    assert done.code == 3
    (text,) = entries(done.stderr)
    assert text.startswith("Worker failed to boot: 'app' needs a module that is missing")
    assert done.stderr.rstrip().endswith("No module named 'nothing_of_this_name'")


def test_debug_has_what_is_routine_and_a_worker_that_was_killed_is_always_told(start):
    server = start("wsgi_app:app", "--workers", "1", environment=QUIET)
    (worker,) = server.workers()
    with_routine = start("wsgi_app:app", "--log-level", "debug", environment=QUIET)
    with_routine.wait_for_log(r"\[INFO\] Booting worker with pid: \d+")
    os.kill(worker, signal.SIGKILL)
    server.wait_for_log(rf"\[INFO\] Worker 1 \(pid:{worker}\) of generation 1 ended: crash:SIGKILL")
    assert "Booting worker" not in server.log()


def test_levels_are_coloured_where_that_is_forced_and_nowhere_else(start, connect):
    forced = start("wsgi_app:app", environment=QUIET | {"FORCE_COLOR": "1"}, says_ready=False)
    forced.wait_for_log(r"\[\x1b\[32mINFO\x1b\[0m\] Ready")
    connect(forced).get("/raise")
    forced.wait_for_log(r"\[\x1b\[1;31mERROR\x1b\[0m\] Error handling request GET /raise")
    refused = start("wsgi_app:app", environment=QUIET | {"FORCE_COLOR": "1", "NO_COLOR": "1"})
    piped = start("wsgi_app:app", environment=QUIET)
    assert "\x1b" not in refused.log() + piped.log()
