"""What tests of logs do: make requests, and wait for lines in files."""

from __future__ import annotations

import re
from pathlib import Path

from support.server import Server, poll
from support.wire import Wire


def get(server: Server, target: str, *headers: str) -> int:
    """The status of the answer to a request on a connection of its own."""
    with Wire(server.connect()) as wire:
        return wire.get(target, *headers).status


def wait_for(path: Path, pattern: str) -> re.Match[str]:
    """Wait until a file has a line that matches."""
    found: list[re.Match[str]] = []

    def look() -> bool:
        text = path.read_text("utf-8", "surrogateescape") if path.exists() else ""
        found.extend(match for line in text.splitlines() if (match := re.search(pattern, line)))
        return bool(found)

    poll(look, f"{pattern!r} in {path}")
    return found[0]
