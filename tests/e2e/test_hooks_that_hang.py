"""Hooks that do not return: what waits for them names the one that it is."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.project import Project
from support.server import Server, poll

pytestmark = pytest.mark.indrik_only

HANGS = """
def hang(*_):
    open("in-hook", "w").close()
    open("never").read()

{hook} = {function}
"""
PARAMETERS = {"child_exit": "server, worker", "post_fork": "server, worker"}


@pytest.fixture
def project(tmp_path: Path, start) -> Project:
    project = Project(tmp_path / "project", start)
    os.mkfifo(project.directory / "never")
    return project


def hangs_in(project: Project, hook: str) -> None:
    parameters = PARAMETERS.get(hook, "server")
    project.config(HANGS.format(hook=hook, function=f"lambda {parameters}: hang()"))


@pytest.mark.parametrize(
    "hook, told",
    [
        ("when_ready", "the zygote was not ready within 3 s: the hook when_ready has not returned"),
        ("post_fork", r"Worker \(pid:\d+\) was not ready within 3 s: the hook post_fork has not returned; killing it"),
    ],
)
def test_a_start_that_waits_for_a_hook_names_it(project, tmp_path, hook, told):
    hangs_in(project, hook)
    options = ("--workers", "1", "--max-boot-time", "3")
    server = Server("app:app", *options, log_directory=tmp_path / "logs", cwd=project.directory)
    server.start()
    try:
        server.wait_for_log(told)
    finally:
        server.kill()


def test_a_zygote_that_does_not_answer_is_named_with_the_hook_that_it_is_in(project):
    hangs_in(project, "child_exit")
    server = project.start("--workers", "1")
    server.clean_stop = False
    os.kill(server.workers()[0], signal.SIGKILL)
    poll(lambda: (project.directory / "in-hook").exists(), "the hook")
    # Its successor was asked for, and is not wanted any more: the zygote has a moment to answer.
    server.signal(signal.SIGTERM)
    server.wait_for_log("does not answer a request to fork: the hook child_exit has not returned; killing it")
    assert server.wait_for_exit() == 0
