"""A pytest plugin: which tests have anything to do with the server.

Some of Gunicorn's tests look at its modules in their own process, or at a library alone. Whatever they
show, they show nothing about Indrik. A test touches the server when it (or a fixture of its) starts a
process that is the server or imports `gunicorn` (which is Indrik's stand-in there), or connects to
somebody. Tests that do neither get the property `touches_server` = `no` in the results.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

IMPORTS_GUNICORN = re.compile(r"^\s*(?:import|from)\s+gunicorn\b", re.MULTILINE)
COMMAND = os.environ.get("ORACLE_COMMAND", "").split()


class Watch:
    """What happened since it was last asked; a fixture that lives longer counts for every test after it."""

    def __init__(self) -> None:
        self.has_touched = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            self.has_touched = True
        elif event == "subprocess.Popen":
            words = [os.fsdecode(word) for word in arguments[1] or () if isinstance(word, str | bytes | os.PathLike)]
            is_server = bool(COMMAND) and words[: len(COMMAND)] == COMMAND
            if is_server or any(IMPORTS_GUNICORN.search(word) for word in words):
                self.has_touched = True


WATCH = Watch()
sys.addaudithook(WATCH)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    WATCH.has_touched = False
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    finally:
        if not WATCH.has_touched:
            item.user_properties.append(("touches_server", "no"))
