"""A memory limit for one process, so that the kernel's out-of-memory killer takes it and nobody else."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


class Unavailable(Exception):
    """No cgroup with the memory controller can be made here."""


class Limited:
    """`with Limited(BYTES) as group: group.take(pid)`. The group is gone after the block."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._directory: Path | None = None

    def __enter__(self) -> Limited:
        for parent, file in _places():
            directory = parent / f"indrik-chaos-{os.getpid()}"
            try:
                directory.mkdir()
                (directory / file).write_text(str(self._limit))
            except OSError:
                if directory.is_dir():
                    directory.rmdir()
                continue
            self._directory = directory
            return self
        raise Unavailable("no cgroup with the memory controller can be made")

    def __exit__(self, *_: object) -> None:
        if self._directory is None:
            return
        for pid in self._directory.joinpath("cgroup.procs").read_text().split():
            # It outlived the limit; it goes back to where it came from.
            self._directory.parent.joinpath("cgroup.procs").write_text(pid)
        self._directory.rmdir()

    def take(self, pid: int) -> bool:
        assert self._directory is not None, "the group is used outside its `with` block"
        try:
            (self._directory / "cgroup.procs").write_text(str(pid))
            return True
        except OSError:
            return False


def _places() -> list[tuple[Path, str]]:
    """Where a group may be made, and the file of its limit: version 2 first, then version 1."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own[controllers] = path.lstrip("/")
    places = []
    if (ROOT / "cgroup.controllers").exists():
        places.append((ROOT / own.get("", ""), "memory.max"))
    if (ROOT / "memory").is_dir():
        places += [(ROOT / "memory" / own.get("memory", ""), "memory.limit_in_bytes")]
        places += [(ROOT / "memory", "memory.limit_in_bytes")]
    return [(parent, file) for parent, file in places if parent.is_dir()]
