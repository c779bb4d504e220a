"""What the other tests here stand on: a project is found, hooks are recorded, commands are run."""

from __future__ import annotations

import re

import pytest
from support.server import REPOSITORY
from support.wire import Wire

DIFFERENCES = REPOSITORY / "docs" / "compat" / "gunicorn.md"
SECTIONS = [
    "Settings",
    "Configuration files",
    "Hooks",
    "Signals",
    "Processes",
    "Workers",
    "Logs",
    "Requests and answers",
    "Control",
    "Exit codes",
    "Gunicorn's own test suites",
]


def test_gunicorn_conf_py_of_the_directory_is_read_by_itself(project):
    project.config("""
        import recorder
        recorder.record("read")
        workers = 1
        proc_name = "shop"
    """)
    server = project.start()
    with Wire(server.connect()) as wire:
        assert wire.get("/here").text.endswith(" /here")
    assert project.words()[0] == "read"


def test_the_application_may_be_named_by_the_configuration(project):
    project.config("wsgi_app = 'app:app'\nworkers = 1\n")
    with Wire(project.start(app="").connect()) as wire:
        assert wire.get("/").status == 200


def test_a_sound_project_passes_check_config(project):
    project.config("workers = 1\n")
    done = project.run("--check-config", "app:app")
    assert done.code == 0, done.output


def test_a_configuration_that_raises_fails_check_config(project):
    project.config("workers = 1\nraise KeyError('a secret')\n")
    done = project.run("--check-config", "app:app")
    assert done.code == 1
    assert "a secret" in done.output


@pytest.mark.indrik_only
@pytest.mark.parametrize("section", SECTIONS)
def test_the_page_of_differences_has_the_section(section):
    assert f"\n## {section}\n" in DIFFERENCES.read_text()


@pytest.mark.indrik_only
def test_every_row_of_the_page_of_differences_is_complete():
    rows = [line for line in DIFFERENCES.read_text().splitlines() if line.startswith("|")]
    for row in rows:
        cells = re.split(r"(?<!\\)\|", row.strip("|"))
        assert len(cells) >= 3 and all(cell.strip() for cell in cells), row
