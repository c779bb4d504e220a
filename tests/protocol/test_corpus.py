"""Gunicorn's request corpus: every status and close as Gunicorn's, or stricter and written down.

docs/compat/requests.md holds the table of the differences; a difference that is not in it fails,
and so does a row that no longer differs.
"""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.server import IS_ORACLE, REPOSITORY, Server
from support.wire import Wire

CORPUS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).with_name("data") / "gunicorn-request-corpus.json").read_text()
)
SHARED_CORPUS = REPOSITORY.parent / "shared" / "data" / "gunicorn-request-corpus.json"
DIFFERENCES = REPOSITORY / "docs" / "compat" / "requests.md"
# Group 0: the cases on default settings.
GROUP_0 = sorted(name for name, case in CORPUS.items() if not case["cfg"])
IDLE_SECONDS = 0.2


class Outcome(NamedTuple):
    statuses: tuple[int, ...]
    closed: bool

    def __str__(self) -> str:
        numbers = " ".join(map(str, self.statuses)) or "none"
        return f"{numbers}, {'closed' if self.closed else 'open'}"


@pytest.fixture(scope="module")
def server(start_shared) -> Server:
    """Its application reads the whole body and answers 200 with a Content-Length."""
    server: Server = start_shared("wsgi_app:app", "--workers", "1", "--threads", "4")
    # `replay` takes silence for an end, so the worker must be ready before the first case.
    with Wire(server.connect()) as wire:
        assert wire.get("/hello").status == 200
    return server


def recorded_differences() -> dict[str, tuple[str, str]]:
    """The rows `| case | Gunicorn | Indrik | why |` of the table: case -> (Gunicorn, Indrik)."""
    row = re.compile(r"^\| `((?:in)?valid/[^`]+)` \| ([^|]+) \| ([^|]+) \| [^|]{10,} \|$", re.MULTILINE)
    found = row.findall(DIFFERENCES.read_text())
    return {name: (gunicorn.strip(), indrik.strip()) for name, gunicorn, indrik in found}


@pytest.mark.parametrize("name", GROUP_0)
def test_is_answered_as_by_gunicorn_or_as_recorded(server, name):
    case = CORPUS[name]["gthread"]
    gunicorn = Outcome(tuple(int(line.split()[1]) for line in case["status"]), case["closed"])
    got = replay(server, CORPUS[name]["bytes"].encode("latin-1"))
    as_gunicorn = got.statuses == gunicorn.statuses and (got.closed or not gunicorn.closed)
    recorded = None if IS_ORACLE else recorded_differences().get(name)
    if recorded is None:
        assert as_gunicorn, f"Gunicorn: {gunicorn}; got: {got}; not recorded in {DIFFERENCES.name}"
    else:
        assert recorded == (str(gunicorn), str(got)), "the recorded row is not what happens"
        assert not as_gunicorn, f"no difference any more: remove the row from {DIFFERENCES.name}"


@pytest.mark.indrik_only
def test_every_recorded_difference_is_stricter():
    for name, (gunicorn, indrik) in recorded_differences().items():
        assert name in GROUP_0
        assert indrik.endswith("closed"), f"{name}: {gunicorn} became {indrik}"


def test_the_corpus_is_the_shared_one():
    if not SHARED_CORPUS.exists():
        pytest.skip("no shared corpus beside this checkout")
    assert json.loads(SHARED_CORPUS.read_text()) == CORPUS


@pytest.mark.parametrize("name", [name for name in GROUP_0 if len(CORPUS[name]["bytes"]) < 300])
def test_byte_by_byte_makes_no_difference(server, name):
    """The parser's answer must not depend on how the network cut the request."""
    data = CORPUS[name]["bytes"].encode("latin-1")
    assert replay(server, data, step=1).statuses == replay(server, data).statuses


def replay(server: Server, data: bytes, step: int = 0) -> Outcome:
    """Send the bytes; read until the server is silent; half-close if nothing came at all."""
    received, half_closed = b"", False
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):  # refused midway: the answer is still to be read
            for start in range(0, len(data), step or max(len(data), 1)):
                connection.sendall(data[start : start + (step or len(data))])
        connection.settimeout(IDLE_SECONDS)
        while True:
            try:
                part = connection.recv(65536)
            except ConnectionError:
                return outcome(received, closed=True)
            except TimeoutError:
                if received or half_closed:
                    return outcome(received, closed=False)
                half_closed = True
                connection.shutdown(socket.SHUT_WR)
                continue
            if not part:
                return outcome(received, closed=True)
            received += part


def outcome(received: bytes, closed: bool) -> Outcome:
    statuses = re.findall(rb"HTTP/1\.[01] (\d{3})[ \r]", received)
    return Outcome(tuple(int(status) for status in statuses if status != b"100"), closed)
