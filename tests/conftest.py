"""Fixtures of all end-to-end and protocol tests."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from support import server as server_module
from support.gate import Gate
from support.pki import Pki
from support.server import COMMAND, IS_ORACLE, Server, StartServer
from support.wire import Wire

numbers = itertools.count()


def pytest_sessionstart() -> None:
    # For the servers: a module that is written twice in a second with the same size would be read once.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    # Tests look for Gunicorn's lines, and a failure is told by what happened in the course of things.
    os.environ["INDRIK_LOG_ROUTINE"] = "on"
    if not Path(COMMAND[0]).exists():
        pytest.exit(f"{COMMAND[0]} does not exist: run `make build` or `make test` first", 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if IS_ORACLE:
        skip = pytest.mark.skip(reason="Gunicorn, the oracle, does not have this")
        for item in items:
            if item.get_closest_marker("indrik_only"):
                item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if report.failed:
        for server in server_module.running:
            report.sections.append((f"log of {server.url}", server.log_tail()))
            report.sections.append(("logs are kept in", str(server.log_directory)))
    if report.when == "teardown":
        server_module.running[:] = [server for server in server_module.running if server.process.poll() is None]
    return report


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers for this test alone; each is stopped and checked at its end."""
    yield from starting(tmp_path)


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start servers that all tests of a module share."""
    yield from starting(tmp_path_factory.mktemp("servers"))


def starting(directory: Path) -> Iterator[StartServer]:
    started: list[Server] = []

    def start(app: str, *arguments: str, **options: Any) -> Server:
        logs = directory / f"server-{next(numbers)}"
        server = Server(app, *arguments, log_directory=logs, **options)
        started.append(server.__enter__())
        return server

    yield start
    errors = []
    for server in reversed(started):
        try:
            server.__exit__(None)
        except AssertionError as error:
            errors.append(error)
            server.kill()
    if errors:
        raise errors[0]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.close()


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    pki = Pki(trustme.CA(), tmp_path)
    pki.authority.cert_pem.write_to_path(str(pki.ca))
    pki.renew()
    return pki


@pytest.fixture
def connect() -> Iterator[Callable[..., Wire]]:
    """Open raw connections to a server; closed at the end of the test."""
    wires: list[Wire] = []

    def connect(server: Server, seconds: float = 10.0) -> Wire:
        wires.append(Wire(server.connect(), seconds))
        return wires[-1]

    yield connect
    for wire in wires:
        wire.socket.close()
