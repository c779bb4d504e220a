"""The application's side of a gate (tests/support/gate.py)."""

from __future__ import annotations

import os
from pathlib import Path


def wait_at_gate(path: str) -> None:
    """Say who is here, then block until the test releases one request."""
    # Opened before it says so: a test that ends at once finds nobody who has yet to open what it closes. Neither open
    # waits for the test's end of the pipe, which may be closed already; then the read ends at once.
    release = os.open(Path(path) / "release", os.O_RDONLY | os.O_NONBLOCK)
    arrived = os.open(Path(path) / "arrived", os.O_RDWR)
    try:
        os.set_blocking(release, True)
        os.write(arrived, f"{os.getpid()}\n".encode())
        os.read(release, 1)
    finally:
        os.close(release)
        os.close(arrived)


def mark(path: str, text: str) -> None:
    """Leave a line in a file for the test to read."""
    with open(path, "a") as marks:
        marks.write(text + "\n")
