"""A program on a terminal of a certain size, in tmux: its keys and its screen."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess

from support.server import poll

numbers = itertools.count()


class Screen:
    """One program on a terminal of its own. Use as a context manager."""

    def __init__(self, *command: str, columns: int, rows: int) -> None:
        self.socket = f"indrik-{os.getpid()}-{next(numbers)}"
        # What it leaves on the terminal can still be read when it has ended.
        line = f"{shlex.join(command)}; echo ended with $?; stty -a | grep -o -- '-*echo ' | head -1; exec cat"
        size = ("-x", str(columns), "-y", str(rows))
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, "sh", "-c", line)

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self.tmux("kill-server")

    def tmux(self, *words: str) -> str:
        command = ["tmux", "-L", self.socket, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tmux("send-keys", key)

    def resize(self, columns: int, rows: int) -> None:
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def text(self) -> str:
        return self.tmux("capture-pane", "-p")

    def shows(self, *parts: str, seconds: float = 15) -> str:
        """Wait until all of it is on the screen; the screen."""
        last = [""]

        def has_all() -> bool:
            last[0] = self.text()
            return all(part in last[0] for part in parts)

        try:
            poll(has_all, f"{parts} on the screen", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{last[0]}") from None
        return last[0]
