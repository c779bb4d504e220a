"""The result file: Markdown for people, and the same numbers as JSON beside it."""

from __future__ import annotations

import dataclasses
import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from . import bars
from .bars import Results, median
from .scenarios import Scenario

_HEADINGS = {
    "rps": "requests/s",
    "cpu_us": "CPU per request, µs",
    "p50_us": "p50, µs",
    "p99_us": "p99, µs",
    "pss_mib": "memory (PSS), MiB",
    "slow_rps": "slow requests/s",
    "rps_without_idle": "requests/s without the idle ones",
    "throughput_kept": "CPU speed kept",
    "rps_kept": "requests/s kept",
    "idle_memory_mib": "memory of the idle ones, MiB",
    "idle_alive": "idle ones alive at the end",
    "supervisor_mib": "supervisor (and front), MiB",
    "zygote_mib": "zygote, MiB",
    "worker_mib": "worker, MiB",
    "bare_app_mib": "bare Python with the app, MiB",
    "overhead_mib": "zygote + worker − bare, MiB",
    "processes": "processes",
}
# More of these is better; of everything else, less.
_MORE_IS_BETTER = {"rps"}
# Above this share of one core used by other programs, a scenario is marked as disturbed.
FOREIGN_SHARE_NOISY = 0.05


@dataclass(frozen=True)
class Conditions:
    """What the head of the report says about the run."""

    date: str
    machine: list[str]
    versions: dict[str, str]
    runs: int
    seconds: float
    seed: int
    notes: list[str]


def write(path: Path, conditions: Conditions, scenarios: list[Scenario], results: Results) -> None:
    """Called after each scenario, so that a bench that is stopped leaves what it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(conditions, scenarios, results))
    raw = {
        "conditions": dataclasses.asdict(conditions),
        "results": {
            scenario: {server: [dataclasses.asdict(s) for s in samples] for server, samples in by_server.items()}
            for scenario, by_server in results.items()
        },
    }
    path.with_suffix(".json").write_text(json.dumps(raw, indent=1) + "\n")


def markdown(conditions: Conditions, scenarios: list[Scenario], results: Results) -> str:
    lines = [f"# Bench of {conditions.date}", ""]
    lines += [f"- {line}" for line in conditions.machine]
    lines += [
        "- " + ", ".join(f"{name} {version}" for name, version in conditions.versions.items()),
        f"- medians of {conditions.runs} interleaved runs of {conditions.seconds:g} s, each on a fresh server after a "
        f"warm-up; order shuffled with seed {conditions.seed}",
        *(f"- {note}" for note in conditions.notes),
        "- how it is measured and how to read it: `bench/README.md`",
        "",
    ]
    lines += _bars_table(results)
    for scenario in scenarios:
        if scenario.name in results:
            lines += _scenario_table(scenario, results)
    return "\n".join(lines) + "\n"


def _bars_table(results: Results) -> list[str]:
    lines = ["## Bars", "", "| what | must be | is | |", "|---|---|---|---|"]
    for bar in bars.ALL:
        value, verdict = bar.verdict(results)
        shown = "–" if value is None else f"{_number(value)} {bar.unit}"
        sign = "≥" if bar.at_least else "≤"
        lines.append(f"| {bar.what} | {sign} {_number(bar.limit)} {bar.unit} | {shown} | {verdict} |")
    return [*lines, ""]


def _scenario_table(scenario: Scenario, results: Results) -> list[str]:
    headings = [_HEADINGS[column] for column in scenario.columns]
    lines = [
        f"## {scenario.name}: {scenario.title}",
        "",
        f"| server | {' | '.join(headings)} | Indrik against it | range of {_HEADINGS[scenario.decides]} |",
        "|---" * (len(headings) + 3) + "|",
    ]
    troubles = []
    for server, samples in results[scenario.name].items():
        bad = [sample for sample in samples if not sample.counts]
        if bad:
            troubles.append(f"- {server}: {len(bad)} of {len(samples)} runs failed: {_trouble(bad)}")
            lines.append(f"| {server} | " + " | ".join(["failed"] * len(headings)) + " | – | – |")
            continue
        cells = [_number(median(results, scenario.name, server, column)) for column in scenario.columns]
        ratio = _against(scenario, server, results)
        spread = _spread([s.values[scenario.decides] for s in samples if scenario.decides in s.values])
        lines.append(f"| {server} | {' | '.join(cells)} | {ratio} | {spread} |")
    lines.append("")
    lines += troubles
    values = [sample.values for samples in results[scenario.name].values() for sample in samples]
    noise = [v["foreign_cpu_share"] for v in values if "foreign_cpu_share" in v]
    if noise and statistics.median(noise) > FOREIGN_SHARE_NOISY:
        lines.append(
            f"- Disturbed: other programs used {statistics.median(noise):.0%} of a core (median), "
            f"{max(noise):.0%} at most, while this was measured."
        )
    if lines[-1]:
        lines.append("")
    return lines


def _against(scenario: Scenario, server: str, results: Results) -> str:
    """How many times as good as `server` Indrik is, by the deciding metric: above 1 is better, whatever the metric."""
    ours = median(results, scenario.name, "indrik", scenario.decides)
    theirs = median(results, scenario.name, server, scenario.decides)
    if server == "indrik" or not ours or not theirs:
        return "–"
    return f"{(ours / theirs if scenario.decides in _MORE_IS_BETTER else theirs / ours):.2f} ×"


def _trouble(samples: list) -> str:
    counts: dict[str, int] = {}
    for sample in samples:
        for kind, count in sample.errors.items():
            counts[kind] = counts.get(kind, 0) + count
    parts = [f"{kind} errors: {count}" for kind, count in counts.items()]
    parts += sorted({sample.failure.replace("\n", " / ") for sample in samples if sample.failure})
    return "; ".join(parts)


def _spread(values: list[float]) -> str:
    return f"{_number(min(values))} – {_number(max(values))}" if values else "–"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")
