"""Programs that start `python -m gunicorn`, or the command `gunicorn`, get Indrik where they are told to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import HELPERS
from support.server import IS_ORACLE, poll, title_of
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
