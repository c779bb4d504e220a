"""The control socket: Gunicorn's protocol, a length of four bytes and a JSON object each way."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path
from typing import Any

ANSWER_LIMIT_S = 10.0


class Control:
    """One connection to a server's control socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_LIMIT_S)
        self._socket.connect(str(path))

    def call(self, command: str) -> dict[str, Any]:
        message = json.dumps({"id": 1, "command": command, "args": []}).encode()
        self._socket.sendall(struct.pack(">I", len(message)) + message)
        (length,) = struct.unpack(">I", self._take(4))
        answer = json.loads(self._take(length))
        if answer.get("status") != "ok":
            raise OSError(f"{command}: {answer.get('error')}")
        return answer["data"]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise OSError("the control socket was closed")
            data += piece
        return data
