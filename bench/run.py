"""Benches Indrik beside its peers: `python3 bench/run.py`, or `make bench`. See bench/README.md.

python3 bench/run.py                                  everything, about an hour and a half
python3 bench/run.py --quick                          everything once, briefly: does the harness work?
python3 bench/run.py --scenario wsgi_hello --server indrik bjoern granian
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import bars, machine, measure, peers, report, scenarios, servers  # noqa: E402

RUNS_LEAST = 5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benches Indrik beside its peers.")
    names = ", ".join(scenario.name for scenario in scenarios.ALL)
    parser.add_argument("--scenario", nargs="+", metavar="NAME", help=f"only these: {names}")
    known = list(dict.fromkeys(kind.name for kind in servers.KINDS))
    parser.add_argument("--server", nargs="+", choices=known, metavar="NAME", help=f"only these: {', '.join(known)}")
    parser.add_argument("--runs", type=int, default=RUNS_LEAST, help="runs of each server (default 5)")
    parser.add_argument("--seconds", type=float, default=3, help="length of a measurement, whole seconds (default 3)")
    parser.add_argument("--quick", action="store_true", help="one run of one second: a check, not a measurement")
    parser.add_argument("--seed", type=int, default=20_240, help="seed of the order of the servers")
    parser.add_argument("--out", type=Path, help="result file (default bench/results/DATE-TIME.md)")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.runs, chosen.seconds = 1, 1
    return chosen


def main() -> int:
    chosen = arguments()
    wanted = scenarios.named(chosen.scenario)
    if chosen.server and "indrik" in chosen.server and not peers.INDRIK.exists():
        raise SystemExit("bench: .venv/bin/indrik is missing; run `make build` first")
    machine.require_tools()
    peers.ensure()
    machine.end_cleanly_on_sigterm()
    machine.raise_open_files()
    cores = machine.pick_cores()
    now = datetime.datetime.now(datetime.UTC)
    out = chosen.out or peers.BENCH / "results" / f"{now:%Y-%m-%d-%H%M}.md"
    conditions = report.Conditions(
        date=f"{now:%Y-%m-%d %H:%M} UTC",
        machine=machine.describe(cores),
        versions=peers.versions(),
        runs=chosen.runs,
        seconds=chosen.seconds,
        seed=chosen.seed,
        notes=_notes(chosen, cores),
    )
    window = measure.Window(warm_up_s=1, seconds=chosen.seconds)
    results: bars.Results = {}
    for scenario in wanted:
        results[scenario.name] = run_scenario(scenario, chosen, cores, window)
        report.write(out, conditions, wanted, results)
    print(f"bench: written to {os.path.relpath(out)}")
    failed = [bar.what for bar in bars.ALL if bar.verdict(results)[1] == "FAIL"]
    for what in failed:
        print(f"bench: bar not reached: {what}")
    return 1 if failed else 0


def run_scenario(
    scenario: scenarios.Scenario, chosen: argparse.Namespace, cores: machine.Cores, window: measure.Window
) -> dict[str, list[measure.Sample]]:
    """All servers once, then all again: what drifts on the machine then drifts for all of them."""
    kinds = [k for k in servers.kinds(scenario.interface, chosen.server) if k.name not in scenario.without]
    samples: dict[str, list[measure.Sample]] = {kind.name: [] for kind in kinds}
    print(f"\n{scenario.name}: {scenario.title}", flush=True)
    for number in range(chosen.runs):
        order = list(kinds)
        random.Random(f"{chosen.seed} {scenario.name} {number}").shuffle(order)
        for kind in order:
            started = time.monotonic()
            sample = measure.guarded(scenario.measure, kind, cores, window)
            samples[kind.name].append(sample)
            print(f"  {number + 1}/{chosen.runs} {kind.name:17} {_line(scenario, sample)}"
                  f"  [{time.monotonic() - started:.1f} s]", flush=True)  # fmt: skip
    return samples


def _line(scenario: scenarios.Scenario, sample: measure.Sample) -> str:
    shown = "  ".join(f"{name} {sample.values[name]:,.2f}" for name in scenario.columns if name in sample.values)
    trouble = " ".join(f"{kind}={count}" for kind, count in sample.errors.items())
    failure = sample.failure and f"FAILED {sample.failure}"
    return " ".join(filter(None, [shown, trouble and f"ERRORS {trouble}", failure]))


def _notes(chosen: argparse.Namespace, cores: machine.Cores) -> list[str]:
    notes = []
    if chosen.runs < RUNS_LEAST:
        notes.append(f"**not a measurement**: {chosen.runs} run(s) only, at least {RUNS_LEAST} are needed")
    if cores.server == cores.load:
        notes.append("**one core only**: server and load share it, so requests/s mean little")
    if not peers.INDRIK.exists():
        notes.append("Indrik is not installed in `.venv`: peers only")
    return notes


if __name__ == "__main__":
    sys.exit(main())
