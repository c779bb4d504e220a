"""Run Gunicorn's own tests against Gunicorn and against Indrik, and compare with what is recorded.

    python tests/oracle/run_suites.py                      everything, both servers
    python tests/oracle/run_suites.py --suite blackbox --server indrik -- -k sighup

Nothing of Gunicorn's tests is part of this repository: its source distribution is downloaded into the
work directory (`--work`, default target/oracle), together with an environment of its own that holds
the frameworks. The tests speak to running servers over sockets; only how these are started is replaced.

`expected.toml` records what does not pass and why. The command fails when a test fails that is not
recorded there, and when a recorded one passes: for a pattern, when no test that it names fails any more.
Tests that have nothing to do with the server (`touched.py`) are counted apart from those that pass.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from dataclasses import dataclass, field
from pathlib import Path

import tomllib
from environment import SERVERS, Environment
from suites import SUITES, run_suite

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent


@dataclass
class Report:
    """What one suite showed about one server."""

    server: str
    suite: str
    outcomes: dict[str, str]
    recorded: dict[str, str]
    unexpected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        rows: dict[str, set[str]] = {}
        for name, outcome in self.outcomes.items():
            row = self.row_of(name)
            if row is not None:
                rows.setdefault(row, set()).add(outcome)
            elif outcome == "failed":
                self.unexpected.append(f"{name} failed and is not recorded")
        for row, outcomes in rows.items():
            if "failed" not in outcomes and outcomes != {"skipped"}:
                what = f"every test that {row} names passed" if "*" in row else f"{row} passed"
                self.unexpected.append(f"{what}: remove it from expected.toml")

    def row_of(self, name: str) -> str | None:
        """The recorded row for this test: exact names first, then patterns."""
        if name in self.recorded:
            return name
        matching = (row for row in self.recorded if fnmatch.fnmatchcase(name, row.replace("[", "[[]")))
        return next(matching, None)

    def count(self, outcome: str) -> int:
        return sum(1 for value in self.outcomes.values() if value == outcome)

    def row(self) -> str:
        total, passed, skipped = len(self.outcomes), self.count("passed"), self.count("skipped")
        failed = [name for name, outcome in self.outcomes.items() if outcome == "failed"]
        recorded = sum(1 for name in failed if self.row_of(name) is not None)
        cells = [self.suite, self.server, total, passed, recorded, skipped, self.count("apart"), len(self.unexpected)]
        return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> int:
    options, pytest_arguments = parse_arguments()
    environment = Environment(options.work, options.nginx)
    environment.prepare()
    recorded = tomllib.loads((HERE / "expected.toml").read_text())
    reports = []
    for suite in options.suite or SUITES:
        for server in options.server or SERVERS:
            print(f"== {suite} against {server}", flush=True)
            outcomes = run_suite(suite, server, environment, pytest_arguments)
            reports.append(Report(server, suite, outcomes, recorded.get(server, {}).get(suite, {})))
    print("\n| suite | server | tests | passed | recorded as different | skipped | not about the server | unexpected |")
    print("|---|---|---|---|---|---|---|---|")
    for report in reports:
        print(report.row())
    lines = [f"{report.server}, {report.suite}: {line}" for report in reports for line in report.unexpected]
    print("\n".join(["", *lines]) if lines else "\nall as recorded")
    empty = [report for report in reports if not report.outcomes]
    for report in empty:
        print(f"{report.server}, {report.suite}: no test was run; see the output above")
    return 1 if lines or empty else 0


def parse_arguments() -> tuple[argparse.Namespace, list[str]]:
    own, after = sys.argv[1:], []
    if "--" in own:
        own, after = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", action="append", choices=list(SUITES), help="may be repeated; default: all")
    parser.add_argument("--server", action="append", choices=SERVERS, help="may be repeated; default: both")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "target" / "oracle", help="default: target/oracle")
    parser.add_argument("--nginx", default="nginx", help="the nginx of the proxy tests; without one they are skipped")
    return parser.parse_args(own), after


if __name__ == "__main__":
    sys.exit(main())
