"""An application with a large read-mostly model, for measuring what preloading shares.

`MODEL_KIND` says what the model is made of, `MODEL_MIB` how large it is:

arrays    buffers of numbers, as NumPy, array.array and bytes hold them: reading writes nothing
objects   a dict of records, each a dict of str, int, float and a list: reading counts references, which writes

Each request reads `READS` places of it by chance, so that 10,000 requests have read everywhere.
"""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Callable, Iterable

KIND = os.environ.get("MODEL_KIND", "arrays")
MIB = int(os.environ.get("MODEL_MIB", "440"))
READS = 16
ARRAY_BYTES = 4 << 20
# What a record below takes with its parts, in resident memory.
RECORD_BYTES = 912


def _arrays() -> list[array[float]]:
    return [array("d", bytes(ARRAY_BYTES)) for _ in range((MIB << 20) // ARRAY_BYTES)]


def _objects() -> dict[int, dict[str, object]]:
    return {
        number: {
            "id": number + 1_000_000,
            "name": f"article number {number}",
            "price": number * 0.01,
            "tags": [f"tag {number % 977}", f"group {number % 31}"],
            "stock": {"north": number % 5_000 + 300, "south": number % 7_000 + 300},
        }
        for number in range((MIB << 20) // RECORD_BYTES)
    }


MODEL = _arrays() if KIND == "arrays" else _objects()
_random = random.Random()


def _read_arrays() -> float:
    return sum(MODEL[_random.randrange(len(MODEL))][_random.randrange(ARRAY_BYTES // 8)] for _ in range(READS))


def _read_objects() -> float:
    total = 0.0
    for _ in range(READS):
        record = MODEL[_random.randrange(len(MODEL))]
        total += record["price"] + record["stock"]["north"] + len(record["tags"][0])
    return total


_read = _read_arrays if KIND == "arrays" else _read_objects


def app(environ: dict, start_response: Callable[..., object]) -> Iterable[bytes]:
    """Reads from the model."""
    body = f"{_read():.2f}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
