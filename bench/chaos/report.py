"""Rows with a verdict each, as a table for the terminal and as Markdown for `bench/results/`."""

from __future__ import annotations

from dataclasses import dataclass

PASS, FAIL, NONE = "pass", "FAIL", "–"


@dataclass(frozen=True)
class Row:
    """One bar, of one server."""

    scenario: str
    server: str
    what: str
    bar: str
    value: str
    verdict: str


class Rows:
    """The rows of one scenario of one server."""

    def __init__(self, scenario: str, server: str) -> None:
        self._scenario = scenario
        self._server = server
        self.rows: list[Row] = []

    def none(self, what: str, value: object) -> None:
        """Told, not judged."""
        self._add(what, "", value, NONE)

    def check(self, what: str, bar: str, value: object, reached: bool) -> None:
        self._add(what, bar, value, PASS if reached else FAIL)

    def zero(self, what: str, count: int, words: str = "", of: int = 0) -> None:
        shown = f"{count} of {of:,}" if of else f"{count}"
        self.check(what, "0", shown + (f" ({words})" if count and words else ""), count == 0)

    def at_most(self, what: str, limit: float, value: float, unit: str = "") -> None:
        self.check(what, f"≤ {number(limit)}{unit}", f"{number(value)}{unit}", value <= limit)

    def at_least(self, what: str, limit: float, value: float, unit: str = "") -> None:
        self.check(what, f"≥ {number(limit)}{unit}", f"{number(value)}{unit}", value >= limit)

    def _add(self, what: str, bar: str, value: object, verdict: str) -> None:
        row = Row(self._scenario, self._server, what, bar, str(value), verdict)
        self.rows.append(row)
        print(f"  {verdict:4}  {what}: {row.value}" + (f"  (bar {bar})" if bar else ""), flush=True)


def number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")


def terminal(rows: list[Row]) -> str:
    """The verdicts alone, aligned."""
    judged = [row for row in rows if row.verdict != NONE]
    width = max((len(f"{row.scenario}: {row.what}") for row in judged), default=0)
    lines = [
        f"{row.verdict:4}  {row.server:9} {f'{row.scenario}: {row.what}':{width}}  {row.value}  (bar {row.bar})"
        for row in judged
    ]
    failed = sum(1 for row in judged if row.verdict == FAIL)
    return "\n".join([*lines, "", f"{len(judged) - failed} of {len(judged)} bars reached"])


def markdown(head: list[str], titles: dict[str, str], rows: list[Row]) -> str:
    """One table for each scenario: a line for each bar, a column for each server."""
    servers = list(dict.fromkeys(row.server for row in rows))
    lines = [*head, ""]
    for scenario, title in titles.items():
        of_it = [row for row in rows if row.scenario == scenario]
        if not of_it:
            continue
        lines += [
            f"## {scenario}: {title}",
            "",
            f"| what | bar | {' | '.join(servers)} |",
            "|---" * (len(servers) + 2) + "|",
        ]
        for what in dict.fromkeys(row.what for row in of_it):
            cells = {row.server: row for row in of_it if row.what == what}
            bar = next((row.bar for row in cells.values() if row.bar), "")
            shown = [_cell(cells.get(server)) for server in servers]
            lines.append(f"| {what} | {bar} | {' | '.join(shown)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return NONE
    value = row.value.replace("|", "\\|").replace("\n", " ")
    return f"**{value}**" if row.verdict == FAIL else value
