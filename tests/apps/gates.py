"""The application's side of a gate (tests/support/gate.py)."""

from __future__ import annotations

import os
from pathlib import Path


def wait_at_gate(path: str) -> None:
    """Say who is here, then block until the test releases one request."""
    with (Path(path) / "arrived").open("wb", buffering=0) as arrived:
        arrived.write(f"{os.getpid()}\n".encode())
    with (Path(path) / "release").open("rb", buffering=0) as release:
        release.read(1)


def mark(path: str, text: str) -> None:
    """Leave a line in a file for the test to read."""
    with open(path, "a") as marks:
        marks.write(text + "\n")
