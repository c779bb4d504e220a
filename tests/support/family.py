"""Servers that leave the session of the test: daemons, and new masters beside old ones.

They are found by the directory they run in, which is the project's, and by nobody else's.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from support.project import Project
from support.server import COMMAND, IS_ORACLE, all_pids, poll, title_of


class Family:
    """Every process that runs in a project's directory."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def pids(self) -> list[int]:
        return [pid for pid in all_pids() if directory_of(pid) == self.project.directory]

    def children(self, pid: int) -> list[int]:
        return [child for child in self.pids() if parent_of(child) == pid]

    def workers(self, master: int) -> list[int]:
        """The workers of a master; a new master beside it is none of them."""
        if IS_ORACLE or not title_of(master).startswith("indrik: master"):
            return [pid for pid in self.children(master) if not self.children(pid) and "exec" not in title_of(pid)]
        return [pid for pid in self.children(master) if title_of(pid).startswith("indrik: worker")]

    def pid_in(self, name: str) -> int:
        """The pid in a file of the project, once it names a living process."""
        path = self.project.directory / name

        def read() -> int:
            text = path.read_text().strip() if path.exists() else ""
            return int(text) if text.isdigit() and int(text) in self.pids() else 0

        poll(read, f"a living process in {name}", 20)
        return read()

    def launch(self, *arguments: str, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command that is to leave a daemon behind."""
        options = ["--control-socket", str(self.project.directory / "control")] if IS_ORACLE else []
        errors = self.project.directory / "launch.log"
        with errors.open("w") as file:
            done = subprocess.run(
                [*COMMAND, *options, *arguments],
                cwd=self.project.directory,
                env=os.environ | self.project.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                timeout=seconds,
                start_new_session=True,
            )
        return subprocess.CompletedProcess(done.args, done.returncode, "", errors.read_text())

    def gone(self, pid: int, seconds: float = 20.0) -> None:
        poll(lambda: pid not in self.pids(), f"the end of {pid} {title_of(pid)}", seconds)

    def all_gone(self, seconds: float = 20.0) -> None:
        poll(lambda: not self.pids(), f"the end of {[title_of(pid) for pid in self.pids()]}", seconds)

    def kill(self) -> None:
        """Ends whatever is left."""
        for _ in range(5):
            for pid in self.pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


def directory_of(pid: int) -> Path | None:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return None


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: state, parent, group, session, …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X", "0", "0", "0"]


def parent_of(pid: int) -> int:
    return int(stat_of(pid)[1])


def ids_of(pid: int, field: str) -> list[int]:
    """The numbers of `Uid`, `Gid` or `Groups` in /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return [int(number) for number in line.split()[1:]]
    raise AssertionError(f"/proc/{pid}/status has no {field}")
