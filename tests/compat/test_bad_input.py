"""Whatever is wrong: one clear message that names the place, the right exit code, and nothing left behind."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import NamedTuple

import pytest
from support.server import IS_ORACLE, all_pids, title_of


class Wrong(NamedTuple):
    """One mistake. `code` is Gunicorn's; `ours` where we answer differently (docs/compat/gunicorn.md)."""

    name: str
    code: int
    arguments: tuple[str, ...] = ()
    config: str = ""
    # What our message names: the place first, then what is wrong there.
    named: tuple[str, ...] = ()
    app: str = "app:app"
    ours: int | None = None


IN_FILE = r"gunicorn\.conf\.py:1"
CASES = [
    Wrong("an unknown flag", 2, arguments=("--no-such-flag",), named=("--no-such-flag",)),
    Wrong("a flag without its value", 2, arguments=("--workers",), named=("--workers",), app=""),
    Wrong("a flag's value of the wrong type", 2, ("--backlog", "many"), named=("--backlog", "backlog"), ours=1),
    Wrong("a value of the wrong type", 1, config="workers = 'many'", named=(IN_FILE, "workers")),
    Wrong("a value out of bounds", 1, config="workers = -1", named=(IN_FILE, "workers")),
    Wrong("a switch that is none", 1, config="preload_app = 'perhaps'", named=(IN_FILE, "preload_app")),
    Wrong("a file that is not there", 1, ("--config", "other.py"), named=("other.py",)),
    Wrong("a module that is not there", 1, ("--config", "python:other.file"), named=("other",)),
    Wrong("a syntax error", 1, config="workers = = 1", named=(IN_FILE, "syntax|Syntax")),
    Wrong("a file that raises", 1, config="raise KeyError('a secret')", named=(r"gunicorn\.conf\.py", "a secret")),
    Wrong("a hook with too few parameters", 1, config="def post_fork(server): pass", named=(IN_FILE, "post_fork")),
    Wrong("a hook that is no function", 1, config="when_ready = 7", named=(IN_FILE, "when_ready")),
    Wrong("an unknown user", 1, ("--user", "nobody-of-that-name"), named=("user", "nobody-of-that-name")),
    Wrong("an unknown group", 1, ("--group", "none-of-that-name"), named=("group", "none-of-that-name")),
    Wrong("a bad address", 1, ("--bind", "127.0.0.1:http"), named=("--bind", "127.0.0.1:http")),
    Wrong("a pid file that cannot be written", 1, ("--pid", "/nowhere/at/all.pid"), named=("/nowhere/at/all.pid",)),
    Wrong("a log that cannot be written", 1, ("--error-logfile", "/nowhere/error.log"), named=("/nowhere/error.log",)),
    Wrong("an access log that cannot be written", 1, ("--access-logfile", "/nowhere/a.log"), named=("/nowhere/a.log",)),
    Wrong("a directory that is not there", 1, ("--chdir", "/nowhere"), named=("/nowhere",)),
    Wrong("an unknown worker class", 1, ("--worker-class", "no.such.Class"), named=(r"no\.such",)),
    Wrong("a certificate that is not there", 1, ("--certfile", "/nowhere/a.pem"), named=("/nowhere/a.pem",), ours=1),
    Wrong("an application that is not there", 3, app="other:app", named=("other",)),
    Wrong("an attribute that is not there", 4, app="app:other", named=("other",)),
]
# What Gunicorn does here instead of ending with a code of its own is its defect.
ONLY_OURS = {"a certificate that is not there"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_one_message_names_the_place_and_nothing_is_left(case, project):
    if IS_ORACLE and case.name in ONLY_OURS:
        pytest.skip("Gunicorn starts all the same")
    left = {"records.txt", "left.pid", "left.socket"}
    if case.config:
        project.config(case.config + "\n")
    arguments = list(case.arguments)
    if "--bind" not in arguments:
        arguments = ["--bind", f"unix:{project.directory}/left.socket", *arguments]
    if "--pid" not in arguments:
        arguments = ["--pid", "left.pid", *arguments]
    application = [case.app] if case.app else []
    # The application before the flags, so that a flag at the end may miss its value.
    done = project.run(*application, "--workers", "1", *arguments)
    expected = case.code if IS_ORACLE or case.ours is None else case.ours
    assert done.code == expected, done.output
    if not IS_ORACLE:
        for words in case.named:
            assert re.search(words, done.output), f"{words} is not named in:\n{done.output}"
        told = [line for line in done.output.splitlines() if re.search(r"error:|\[ERROR\]", line)]
        assert len(told) == 1, done.output
        assert not left & set(os.listdir(project.directory))
    mine = str(project.directory)
    assert not [pid for pid in all_pids() if pid != os.getpid() and mine in title_of(pid)]


def test_a_taken_port_is_named(project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = project.run("app:app", "--bind", f"127.0.0.1:{port}", "--pid", "left.pid")
    assert done.code == 1
    assert re.search(rf"(?i)in use: .*{port}|{port}.*in use", done.output), done.output
    assert IS_ORACLE or not (project.directory / "left.pid").exists()


def test_a_pid_file_of_a_running_server_is_left_alone(project):
    server = project.start("--pid", "server.pid")
    file: Path = project.directory / "server.pid"
    done = project.run("app:app", "--bind", "127.0.0.1:0", "--pid", "server.pid")
    assert done.code == 1
    assert str(server.process.pid) in done.output
    assert file.read_text().strip() == str(server.process.pid)
