"""Compatibility with Gunicorn: every test here runs against Gunicorn first, then against Indrik.

    INDRIK_TEST_COMMAND=.venv/bin/gunicorn .venv/bin/python -m pytest tests/compat    (make test-oracle)
    .venv/bin/python -m pytest tests/compat

A test states what Gunicorn does. Where Indrik deliberately does something else, the test is marked
`indrik_only` or branches on `IS_ORACLE`, and docs/compat/gunicorn.md has a row for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.project import Project
from support.server import Server


@pytest.fixture
def project(tmp_path: Path, start: Callable[..., Server]) -> Project:
    """A directory with an `app.py`; the server is started in it, as a team would."""
    return Project(tmp_path / "project", start)
