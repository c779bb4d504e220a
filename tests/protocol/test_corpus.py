"""Gunicorn's request corpus: every status and close as Gunicorn's, or stricter and written down.

docs/compat/requests.md holds the table of the differences; a difference that is not in it fails,
and so does a row that no longer differs. Each case is sent whole, byte by byte and cut in two at
every offset (long ones at some), under the settings it asks for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.replay import Outcome, Talk, cut, replay
from support.server import IS_ORACLE, REPOSITORY, Server
from support.wire import Wire

CORPUS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).with_name("data") / "gunicorn-request-corpus.json").read_text()
)
SHARED_CORPUS = REPOSITORY.parent / "shared" / "data" / "gunicorn-request-corpus.json"
DIFFERENCES = REPOSITORY / "docs" / "compat" / "requests.md"
# Longer cases are sent in steps of more than a byte, and cut at some offsets only.
SHORT_BYTES = 400
STEPS_MAX = 400
CUTS_MAX = 200

GROUPS: dict[str, list[str]] = {}
for case_name, corpus_case in sorted(CORPUS.items()):
    GROUPS.setdefault(json.dumps(corpus_case["cfg"], sort_keys=True), []).append(case_name)


class Results(NamedTuple):
    """What came back for a case, sent in three ways."""

    whole: Outcome
    stepwise: Outcome
    cuts: dict[int, Outcome]


def gunicorn_outcome(name: str) -> Outcome:
    case = CORPUS[name]["gthread"]
    return Outcome(tuple(int(line.split()[1]) for line in case["status"]), case["closed"])


@cache
def recorded_differences() -> dict[str, tuple[str, str]]:
    """The rows `| case | Gunicorn | Indrik | why |` of the table: case -> (Gunicorn, Indrik)."""
    row = re.compile(r"^\| `((?:in)?valid/[^`]+)` \| ([^|]+) \| ([^|]+) \| [^|]{10,} \|$", re.MULTILINE)
    found = row.findall(DIFFERENCES.read_text())
    return {name: (gunicorn.strip(), indrik.strip()) for name, gunicorn, indrik in found}


def expected_outcome(name: str) -> Outcome:
    """What is worth waiting for."""
    recorded = None if IS_ORACLE else recorded_differences().get(name)
    if recorded is None:
        return gunicorn_outcome(name)
    statuses, _, closed = recorded[1].partition(", ")
    return Outcome(tuple(int(status) for status in statuses.split() if status != "none"), closed == "closed")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Results]:
    """The results of a case; all cases of its settings are sent with it, to one server."""
    known: dict[str, Results] = {}

    def of(name: str) -> Results:
        if name not in known:
            settings = json.dumps(CORPUS[name]["cfg"], sort_keys=True)
            known.update(send_all(settings, tmp_path_factory.mktemp("corpus")))
        return known[name]

    return of


def send_all(settings: str, directory: Path) -> dict[str, Results]:
    """Start a server with these settings and send it all their cases."""
    config = directory / "gunicorn.conf.py"
    values = {key: as_written(value) for key, value in json.loads(settings).items()}
    config.write_text("".join(f"{key} = {value!r}\n" for key, value in values.items()))
    # Gunicorn needs a thread for each request that is not complete.
    options = ["--worker-class", "gthread", "--threads", "400" if IS_ORACLE else "4", "--workers", "1"]
    log_directory = directory / "log"
    with Server("wsgi_app:app", "-c", str(config), *options, log_directory=log_directory) as server:
        wait_until_served(server)
        names = GROUPS[settings]
        whole = [talk(name, []) for name in names]
        stepwise = [talk(name, steps(CORPUS[name]["bytes"])) for name in names]
        cuts = {(name, at): talk(name, [at]) for name in names for at in cut_offsets(CORPUS[name]["bytes"])}
        replay(server, whole)
        replay(server, stepwise)
        replay(server, list(cuts.values()))
    found = {name: Results(whole[i].outcome(), stepwise[i].outcome(), {}) for i, name in enumerate(names)}
    for (name, at), held in cuts.items():
        found[name].cuts[at] = held.outcome()
    return found


def as_written(value: Any) -> Any:
    """A list as a configuration file has it."""
    return ",".join(value) if isinstance(value, list) else value


def wait_until_served(server: Server) -> None:
    """The worker must be ready before silence means something. Any answer will do."""
    with Wire(server.connect()) as wire:
        wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert wire.read_to_end().startswith(b"HTTP/1.1 ")


def talk(name: str, offsets: list[int]) -> Talk:
    data = CORPUS[name]["bytes"].encode("latin-1")
    half_close = CORPUS[name]["gthread"]["needed_half_close"]
    return Talk(cut(data, offsets), expected_outcome(name), half_close)


def steps(text: str) -> list[int]:
    return list(range(1, len(text), -(-len(text) // STEPS_MAX)))


def cut_offsets(text: str) -> list[int]:
    if len(text) <= SHORT_BYTES:
        return list(range(1, len(text)))
    return sorted({at * len(text) // CUTS_MAX for at in range(1, CUTS_MAX)})


@pytest.mark.parametrize("name", sorted(CORPUS))
def test_is_answered_as_by_gunicorn_or_as_recorded(results, name):
    gunicorn, got = gunicorn_outcome(name), results(name).whole
    as_gunicorn = got.statuses == gunicorn.statuses and (got.closed or not gunicorn.closed)
    recorded = None if IS_ORACLE else recorded_differences().get(name)
    if recorded is None:
        assert as_gunicorn, f"Gunicorn: {gunicorn}; got: {got}; not recorded in {DIFFERENCES.name}"
    else:
        assert recorded == (str(gunicorn), str(got)), "the recorded row is not what happens"
        assert not as_gunicorn, f"no difference any more: remove the row from {DIFFERENCES.name}"


@pytest.mark.parametrize("name", sorted(CORPUS))
def test_byte_by_byte_makes_no_difference(results, name):
    """The parser's answer must not depend on how the network cut the request."""
    assert results(name).stepwise.statuses == results(name).whole.statuses


@pytest.mark.parametrize("name", sorted(CORPUS))
def test_a_cut_at_any_offset_makes_no_difference(results, name):
    whole = results(name).whole
    other = {at: str(got) for at, got in results(name).cuts.items() if got.statuses != whole.statuses}
    assert not other, f"sent whole: {whole}; cut there: {other}"


@pytest.mark.indrik_only
def test_every_recorded_difference_is_stricter():
    for name, (gunicorn, indrik) in recorded_differences().items():
        assert name in CORPUS
        assert indrik.endswith("closed"), f"{name}: {gunicorn} became {indrik}"


def test_the_corpus_is_the_shared_one():
    if not SHARED_CORPUS.exists():
        pytest.skip("no shared corpus beside this checkout")
    assert json.loads(SHARED_CORPUS.read_text()) == CORPUS
