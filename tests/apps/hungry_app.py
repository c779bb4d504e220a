"""An application that keeps what it is given: for tests of what the server does about memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from gates import wait_at_gate

HOARD: list[bytearray] = [bytearray(b"x") * (int(os.environ.get("HUNGRY_START_MIB", "0")) << 20)]


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Keeps `mib` MiB, waits at `gate` if there is one, and answers with its pid."""
    query = parse_qs(environ["QUERY_STRING"])
    HOARD.append(bytearray(b"x") * (int(query.get("mib", ["0"])[0]) << 20))
    if "gate" in query:
        wait_at_gate(query["gate"][0])
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
