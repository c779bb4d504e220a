"""Hold requests inside the application until the test lets them go. Events, not sleeps.

The test makes a `Gate`; the application calls `wait_at_gate(path)` (see apps/gates.py), which
reports its pid and then blocks until the test releases it.
"""

from __future__ import annotations

import os
import select
from pathlib import Path


class Gate:
    """Two named pipes: `arrived` (application to test) and `release` (test to application)."""

    def __init__(self, directory: Path) -> None:
        self.path = directory
        directory.mkdir(parents=True)
        self.pipes: dict[str, int] = {}
        for name in ("arrived", "release"):
            os.mkfifo(directory / name)
            # Open for both, so that neither side ever waits for the other to open.
            self.pipes[name] = os.open(directory / name, os.O_RDWR | os.O_NONBLOCK)
        self.buffer = b""

    def arrived(self, seconds: float = 10.0) -> int:
        """Wait until one more request has reached the gate; the pid of its worker."""
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.pipes["arrived"]], [], [], seconds)
            assert ready, f"no request reached the gate in {seconds} s"
            self.buffer += os.read(self.pipes["arrived"], 4096)
        line, _, self.buffer = self.buffer.partition(b"\n")
        return int(line)

    def nobody_arrives(self, seconds: float) -> bool:
        """True when no further request reaches the gate within `seconds`."""
        if b"\n" in self.buffer:
            return False
        return not select.select([self.pipes["arrived"]], [], [], seconds)[0]

    def release(self, count: int = 1) -> None:
        """Let `count` requests go on (now or when they arrive)."""
        os.write(self.pipes["release"], b"." * count)

    def close(self) -> None:
        """Let everybody go on who still waits."""
        for pipe in self.pipes.values():
            os.close(pipe)
        self.pipes = {}
