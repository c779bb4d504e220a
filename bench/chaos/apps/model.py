"""A model of some size that requests only read: mostly numbers in blocks, and many small Python objects."""

from __future__ import annotations

import os

MIB = 1024 * 1024
BLOCKS = 54
BLOCK_BYTES = 8 * MIB
OBJECTS = 60_000

_size_mib = int(os.environ.get("CHAOS_MODEL_MIB", "0"))
blocks = [bytearray(os.urandom(4096)) * (BLOCK_BYTES // 4096) for _ in range(_size_mib * MIB // BLOCK_BYTES)]
words = {f"word {n}": (n, n * 0.5) for n in range(OBJECTS if _size_mib else 0)}


def look_up(number: int) -> int:
    """Reads here and there, as a recommendation or a classification does."""
    if not blocks:
        return 0
    found = words[f"word {number % OBJECTS}"][0]
    return (
        sum(blocks[(number + step) % len(blocks)][(number * 4099 + step * 65_537) % BLOCK_BYTES] for step in range(64))
        + found
    )
