"""What `make test-suites` makes of results: what it counts as passed, and what it reports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tomllib")
ORACLE = Path(__file__).resolve().parent.parent / "oracle"


@pytest.fixture
def oracle(monkeypatch):
    """The runner's modules, which live beside the tests and not in a package."""
    monkeypatch.syspath_prepend(str(ORACLE))
    import run_suites
    import suites

    return run_suites, suites


def unexpected(oracle, recorded: dict[str, str], outcomes: dict[str, str]) -> list[str]:
    run_suites, _ = oracle
    return run_suites.Report("indrik", "blackbox", outcomes, recorded).unexpected


def test_a_failure_that_is_not_recorded_is_reported(oracle):
    outcomes = {"a.py::one": "failed", "a.py::two[x]": "failed", "a.py::three": "passed"}
    assert unexpected(oracle, {"a.py::two*": "why"}, outcomes) == ["a.py::one failed and is not recorded"]


def test_a_pattern_is_reported_once_nothing_that_it_names_fails(oracle):
    recorded = {"a.py::*": "why"}
    half = {"a.py::one": "passed", "a.py::two": "failed"}
    assert unexpected(oracle, recorded, half) == []
    reported = unexpected(oracle, recorded, half | {"a.py::two": "passed", "a.py::three": "skipped"})
    assert reported == ["every test that a.py::* names passed: remove it from expected.toml"]
    assert unexpected(oracle, recorded, dict.fromkeys(half, "skipped")) == []


def test_an_exact_row_is_reported_when_its_test_passes(oracle):
    recorded = {"a.py::one": "why", "a.py::*": "why"}
    outcomes = {"a.py::one": "passed", "a.py::two": "failed"}
    assert unexpected(oracle, recorded, outcomes) == ["a.py::one passed: remove it from expected.toml"]


def test_tests_that_do_not_touch_the_server_are_told_from_those_that_pass(oracle, tmp_path):
    _, suites = oracle
    (tmp_path / "test_a.py").write_text(
        """
import socket, subprocess, sys, pytest

@pytest.fixture(scope="module")
def server():
    listener = socket.create_server(("127.0.0.1", 0))
    yield listener.getsockname()
    listener.close()

def test_connects(server):
    socket.create_connection(server).close()

def test_starts_it():
    subprocess.run([sys.executable, "-m", "indrik_is_here"], capture_output=True)

def test_imports_it_elsewhere():
    subprocess.run([sys.executable, "-c", "\\n  import gunicorn.arbiter"], capture_output=True)

def test_looks_at_a_library():
    subprocess.run([sys.executable, "-c", "print('import gunicorn')"], capture_output=True)

def test_fails():
    assert False
"""
    )
    result = tmp_path / "results.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "touched", "-o", "junit_family=xunit1"]
    subprocess.run(
        [*command, f"--junitxml={result}", "test_a.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ORACLE), "ORACLE_COMMAND": f"{sys.executable} -m indrik_is_here"},
        capture_output=True,
        check=False,
    )
    outcomes = {name.split("::")[1]: outcome for name, outcome in suites.read_results(result).items()}
    assert outcomes == {
        "test_connects": "passed",
        "test_starts_it": "passed",
        "test_imports_it_elsewhere": "passed",
        "test_looks_at_a_library": "apart",
        "test_fails": "failed",
    }
