"""Programs that start `python -m gunicorn`, or the command `gunicorn`, get Indrik where they are told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.control import ctl
from support.family import parent_of
from support.project import HELPERS
from support.server import IS_ORACLE, Server, all_pids, poll, title_of
from support.wire import Wire

pytestmark = pytest.mark.indrik_only

APP = """
import gunicorn
from gunicorn.http.body import ChunkedReader

def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{gunicorn.__version__} {ChunkedReader.__module__}".encode()]
"""
BIN = Path(sys.executable).parent


def search_path() -> str:
    command = [sys.executable, "-m", "indrik.stand_in"]
    environment = os.environ | {"PYTHONPATH": str(HELPERS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("command", [(sys.executable, "-m", "gunicorn"), (str(BIN / "gunicorn"),)])
def test_the_module_and_the_command_are_indrik(project, command):
    assert not IS_ORACLE
    project.write("app.py", APP)
    # What follows is the command of the tests, which starts nothing: it is an option's value.
    server = project.start(launcher=(*command, "--name"), environment={"PYTHONPATH": search_path()})
    with Wire(server.connect()) as wire:
        # What the stand-in lacks is the installed package's, not the stand-in's again.
        assert wire.get("/", "Connection: close").text == "27.0.1 gunicorn.http.body"
    assert title_of(server.process.pid).startswith("indrik: master")


def test_without_the_variable_the_installed_package_is_what_it_was():
    command = [sys.executable, "-m", "gunicorn", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("gunicorn (version")


def test_titles_are_those_of_gunicorn_if_that_is_wanted(project):
    server = project.start("--proc-title-prefix", "gunicorn", "--name", "shop", "-w", "2")
    # In the order in which they were started; the zygote is one child more.
    wanted = [
        "gunicorn: master [shop]",
        "gunicorn: worker [shop]",
        "gunicorn: worker [shop]",
        "gunicorn: zygote [shop]",
    ]
    poll(lambda: sorted(server.titles()) == wanted, "Gunicorn's titles")


AIRFLOW = """
import setproctitle

def post_worker_init(_):
    setproctitle.setproctitle("[ready] " + setproctitle.getproctitle())
"""
ON_STARTING = """
def on_starting(server):
    with open("started", "a") as file:
        file.write("x")
"""


class Monitor:
    """What Airflow's `GunicornMonitor` looks at: it takes every child of the master for a worker."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def children(self) -> list[int]:
        return [pid for pid in all_pids() if parent_of(pid) == self.server.process.pid]

    def ready(self) -> int:
        return sum(title_of(pid).startswith("[ready] ") for pid in self.children())

    def becomes(self, count: int) -> None:
        """Waits as it does: for so many children, all of which are ready."""
        poll(lambda: len(self.children()) == count and self.ready() == count, f"{count} children, all ready", 30)


@pytest.mark.parametrize("hooks", ["", AIRFLOW, AIRFLOW + ON_STARTING], ids=["no hooks", "worker's", "on_starting"])
def test_a_program_that_counts_the_children_of_the_master_finds_the_workers(project, hooks):
    if hooks:
        pytest.importorskip("setproctitle")
    else:
        hooks = AIRFLOW.replace("def post_worker_init(_):", "if True:")
    project.config(hooks)
    command = (sys.executable, "-m", "gunicorn", "-w", "3", "--name")
    server = project.start(launcher=command, environment={"PYTHONPATH": search_path()})
    server.clean_stop = False
    monitor = Monitor(server)
    count = lambda wanted: poll(lambda: len(monitor.children()) == wanted, f"{wanted} children", 30)  # noqa: E731
    becomes = monitor.becomes if "post_worker_init" in hooks else count
    becomes(3)
    server.signal(signal.SIGTTIN)
    becomes(4)
    server.signal(signal.SIGTTOU)
    becomes(3)
    victim = monitor.children()[0]
    os.kill(victim, signal.SIGKILL)
    poll(lambda: victim not in monitor.children(), "the end of a worker")
    becomes(3)
    server.signal(signal.SIGHUP)
    poll(lambda: ctl(server, "show", "stats")["generation"] == 2, "the next generation", 30)
    becomes(3)
    with Wire(server.connect()) as wire:
        assert wire.get("/", "Connection: close").status == 200
    if "on_starting" in hooks:
        # Not run again by the zygotes that came later.
        assert (project.directory / "started").read_text() == "x"
    assert server.stop() == 0


def test_a_zygote_that_dies_while_it_forks_is_started_again(project):
    project.config("import os\ndef post_fork(server, worker): pass\n")
    command = (sys.executable, "-m", "gunicorn", "-w", "2", "--name")
    server = project.start(launcher=command, environment={"PYTHONPATH": search_path()})
    monitor = Monitor(server)
    poll(lambda: len(monitor.children()) == 2, "two children", 30)

    def zygotes() -> list[int]:
        return [pid for pid in monitor.children() if pid not in server.workers()]

    server.signal(signal.SIGTTIN)
    poll(lambda: bool(zygotes()) or len(server.workers()) == 3, "a zygote", 30)
    for zygote in zygotes():
        os.kill(zygote, signal.SIGKILL)
    poll(lambda: len(server.workers()) == 3 and len(monitor.children()) == 3, "three workers and nothing else", 30)


def test_hooks_of_the_master_keep_the_zygote(project):
    project.config("def child_exit(server, worker): pass\n")
    command = (sys.executable, "-m", "gunicorn", "-w", "2", "--name")
    server = project.start(launcher=command, environment={"PYTHONPATH": search_path()})
    monitor = Monitor(server)
    poll(lambda: ctl(server, "show", "stats")["workers_ready"] == 2, "two workers")
    assert len(monitor.children()) == 3
