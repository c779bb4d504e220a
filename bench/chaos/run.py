"""The entry of the fault harness: every scenario, one after the other, against one server or several.

    python3 bench/chaos/run.py                                   Indrik, bounded (about five minutes)
    python3 bench/chaos/run.py --full                            the whole bars (most of an hour)
    python3 bench/chaos/run.py --only reload stuck --server indrik gunicorn granian
    python3 bench/chaos/run.py --full --results bench/results/chaos.md

Exit code 0 if Indrik reached every bar. Everything happens on the loopback and in directories under /tmp that are
removed; each scenario has a limit of time. How to read the table: bench/chaos/README.md.
"""

from __future__ import annotations

import argparse
import resource
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import machine, peers  # noqa: E402

from chaos import report, scenarios, subjects  # noqa: E402
from chaos.report import Row, Rows  # noqa: E402

# Far above what each takes, so that a hang ends: seconds, bounded and whole.
SCENARIO_LIMIT_S = {False: 240, True: 2_400}


class Overdue(Exception):
    """A scenario took far too long."""


def main() -> int:
    chosen = arguments()
    wanted = [scenario for scenario in scenarios.ALL if not chosen.only or scenario.name in chosen.only]
    if "indrik" in chosen.server and not peers.INDRIK.exists():
        raise SystemExit("chaos: .venv/bin/indrik is missing; run `make build` first")
    if set(chosen.server) - {"indrik"}:
        peers.ensure()
    machine.end_cleanly_on_sigterm()
    machine.raise_open_files()
    # A thousand dumped cores would fill the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rows: list[Row] = []
    began = time.monotonic()
    for scenario in wanted:
        for server in chosen.server:
            rows += guarded(scenario, server, chosen.full and (server == "indrik" or chosen.full_peers))
            if chosen.results:
                write(chosen, rows, time.monotonic() - began)
    print(f"\n{report.terminal(rows)}\n({time.monotonic() - began:.0f} s)")
    return 1 if any(row.server == "indrik" and row.verdict == report.FAIL for row in rows) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Faults, and what is lost.")
    parser.add_argument("--server", nargs="+", choices=subjects.NAMES, default=["indrik"])
    parser.add_argument("--only", nargs="+", choices=[scenario.name for scenario in scenarios.ALL])
    parser.add_argument("--full", action="store_true", help="as much as the bars say, instead of a few minutes")
    parser.add_argument("--full-peers", action="store_true", help="with --full: the other servers as well")
    parser.add_argument("--results", type=Path, help="write the table there, as Markdown")
    return parser.parse_args()


def guarded(scenario: scenarios.Scenario, server: str, full: bool) -> list[Row]:
    """A scenario that fails or hangs is a failed bar, and the others still run."""
    print(f"== {scenario.name}: {server}: {scenario.title}", flush=True)
    rows = Rows(scenario.name, server)

    def overdue(*_: object) -> None:
        raise Overdue(f"not done after {SCENARIO_LIMIT_S[full]} s")

    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(SCENARIO_LIMIT_S[full])
    try:
        scenario.run(server, rows, full)
    except subjects.NotApplicable as reason:
        rows.none("–", str(reason))
    except (subjects.Failed, Overdue, OSError, subprocess.SubprocessError) as error:
        rows.check("it ran to its end", "yes", f"{type(error).__name__}: {error}", False)
    except Exception as error:  # noqa: BLE001 (a mistake of ours must not end the run)
        traceback.print_exc()
        rows.check("it ran to its end", "yes", f"{type(error).__name__}: {error}", False)
    finally:
        signal.alarm(0)
    return rows.rows


def amount(chosen: argparse.Namespace) -> str:
    if not chosen.full:
        return "bounded: a few of everything"
    return "as much as the bars say" + ("" if chosen.full_peers else " for Indrik, a few of everything for the others")


def write(chosen: argparse.Namespace, rows: list[Row], seconds: float) -> None:
    versions = peers.versions()
    used = {name: versions[name] for name in (*subjects.NAMES, "flask", "fastapi") if name in versions}
    # Nothing is pinned here: faults meet whatever the kernel does.
    described = [line.partition("; server on core")[0] for line in machine.describe(machine.pick_cores())]
    head = [
        f"# Faults, {time.strftime('%Y-%m-%d')}",
        "",
        *(f"- {line}" for line in described),
        "- " + ", ".join(f"{name} {version}" for name, version in used.items()),
        f"- {amount(chosen)}; {seconds / 60:.0f} minutes",
        "- bold: the bar is not reached; –: not measured, or the server has nothing of the kind",
        "- what each number means: `bench/chaos/README.md`",
    ]
    titles = {scenario.name: scenario.title for scenario in scenarios.ALL}
    chosen.results.parent.mkdir(parents=True, exist_ok=True)
    chosen.results.write_text(report.markdown(head, titles, rows))


if __name__ == "__main__":
    sys.exit(main())
