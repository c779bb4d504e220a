"""The bars: what Indrik must reach, each computed from the medians of the same run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from .measure import Sample

# scenario → server → samples of all runs
Results = dict[str, dict[str, list[Sample]]]


def median(results: Results, scenario: str, server: str, metric: str) -> float | None:
    """The median over the runs; None if the server was not measured, or if any of its runs had an error."""
    samples = results.get(scenario, {}).get(server, [])
    if not samples or not all(sample.counts for sample in samples):
        return None
    values = [sample.values[metric] for sample in samples if metric in sample.values]
    return statistics.median(values) if values else None


@dataclass(frozen=True)
class Bar:
    """`value` gives the number to compare, or None when it cannot be computed from this run."""

    what: str
    limit: float
    at_least: bool
    value: Callable[[Results], float | None]
    unit: str = "×"

    def verdict(self, results: Results) -> tuple[float | None, str]:
        value = self.value(results)
        if value is None:
            return None, "not measured"
        reached = value >= self.limit if self.at_least else value <= self.limit
        return value, "pass" if reached else "FAIL"


def _ratio(scenario: str, peer: str, metric: str, *, invert: bool) -> Callable[[Results], float | None]:
    """Indrik ÷ peer, or peer ÷ Indrik where less is better and the bar says "as fast as"."""

    def value(results: Results) -> float | None:
        ours, theirs = median(results, scenario, "indrik", metric), median(results, scenario, peer, metric)
        if not ours or not theirs:
            return None
        return theirs / ours if invert else ours / theirs

    return value


def _faster(scenario: str, peer: str, limit: float, what: str) -> Bar:
    return Bar(f"{what}: CPU speed against {peer}", limit, True, _ratio(scenario, peer, "cpu_us", invert=True))


def _own(scenario: str, metric: str, scale: float = 1.0) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        number = median(results, scenario, "indrik", metric)
        return None if number is None else number * scale

    return value


_FLASK_PEERS = ("granian", "bjoern", "fastpysgi", "gunicorn-gthread")
_FASTAPI_PEERS = ("fastpysgi", "uvicorn", "gunicorn-asgi")

ALL: list[Bar] = [
    _faster("wsgi_hello", "granian", 1.6, "WSGI hello"),
    _faster("wsgi_hello", "bjoern", 0.95, "WSGI hello"),
    Bar(
        "WSGI hello, both cores shared: requests/s against granian",
        3.0,
        True,
        _ratio("wsgi_hello_shared", "granian", "rps", invert=False),
    ),
    _faster("asgi_hello", "granian", 2.0, "ASGI hello"),
    _faster("asgi_hello", "fastpysgi", 1.5, "ASGI hello"),
    *(_faster("flask_json", peer, 1.0, "Flask") for peer in _FLASK_PEERS),
    _faster("flask_json", "gunicorn-sync", 2.6, "Flask"),
    *(_faster("fastapi", peer, 1.0, "FastAPI") for peer in _FASTAPI_PEERS),
    _faster("fastapi", "granian", 1.06, "FastAPI"),
    Bar("1 connection: p50 against bjoern", 1.4, False, _ratio("latency_1conn", "bjoern", "p50_us", invert=False)),
    Bar("1 connection: p50 against granian", 0.7, False, _ratio("latency_1conn", "granian", "p50_us", invert=False)),
    Bar("Mixed: p99 of the fast requests", 15.0, False, _own("mixed", "p99_us", 1e-3), "ms"),
    Bar("Mixed: fast requests/s", 1_700.0, True, _own("mixed", "rps"), "/s"),
    Bar("10,000 idle connections: memory", 60.0, False, _own("idle_10000", "idle_memory_mib"), "MiB"),
    Bar("10,000 idle connections: CPU speed kept", 0.9, True, _own("idle_10000", "throughput_kept")),
    Bar("10,000 idle connections: requests/s kept", 0.9, True, _own("idle_10000", "rps_kept")),
    Bar("Supervisor and front at rest", 30.0, False, _own("rest", "supervisor_mib"), "MiB"),
    Bar("Zygote and worker over the bare app, hello", 8.0, False, _own("rest", "overhead_mib"), "MiB"),
    Bar("Zygote and worker over the bare app, Flask", 8.0, False, _own("rest_flask", "overhead_mib"), "MiB"),
]
