"""What a server costs: CPU time and memory of its whole process tree, read from /proc.

A process belongs to the tree if it descends from the process we started or is in its session. Workers are often
double-forked and re-parented, so a walk over parents alone would miss some of them; the session catches these.
"""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that the benches use. Times are in clock ticks (10 ms)."""

    pid: int
    state: str
    parent: int
    session: int
    own_ticks: int
    reaped_children_ticks: int
    started_at_ticks: int


def read_stat(pid: int) -> Stat | None:
    """None if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is in parentheses and may itself hold spaces and parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(
        pid=pid,
        state=fields[0],
        parent=int(fields[1]),
        session=int(fields[3]),
        own_ticks=int(fields[11]) + int(fields[12]),
        reaped_children_ticks=int(fields[13]) + int(fields[14]),
        started_at_ticks=int(fields[19]),
    )


def tree(root: int) -> list[Stat]:
    """The living processes of the server started as `root`, root included, zombies left out."""
    stats = [s for s in map(read_stat, _all_pids()) if s is not None]
    members = {s.pid for s in stats if s.pid == root or s.session == root}
    grew = True
    while grew:
        grew = False
        for stat in stats:
            if stat.parent in members and stat.pid not in members:
                members.add(stat.pid)
                grew = True
    return [s for s in stats if s.pid in members and s.state != "Z"]


def cpu_seconds(root: int) -> float:
    """User and system time of all threads of all processes of the tree since they started.

    Reaped children count too: a worker that dies between two calls moves its time to the parent, and the sum stays.
    """
    ticks = sum(s.own_ticks + s.reaped_children_ticks for s in tree(root))
    return ticks / TICKS_PER_SECOND


def pss_bytes(pid: int) -> int:
    """Proportional set size: shared pages are divided among the processes that share them. 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def rss_bytes(pid: int) -> int:
    """Resident memory, shared pages counted whole. 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def tree_pss_bytes(root: int) -> int:
    return sum(pss_bytes(s.pid) for s in tree(root))


def title(pid: int) -> str:
    """The command line of a process, or the title it gave itself. Empty if it is gone."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return raw.replace(b"\0", b" ").decode("utf-8", "replace").strip()


def machine_busy_seconds() -> float:
    """CPU time spent by the whole machine, stolen time included, to see how much of it was not ours."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def end(process: subprocess.Popen[bytes], limit_s: float) -> None:
    """Asks a process to end, and ends it if it has not within the limit."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
