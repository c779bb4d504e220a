"""The messages between the supervisor and the zygote or a worker: JSON, one per packet.

These processes are measured against the bare application, and ``json`` and ``socket`` cost more
memory than all of this package: they bring ``re``, ``enum`` and ``selectors`` with them. Of both
only the parts in C are used, which ``json`` and ``socket`` themselves are made of.
"""

from __future__ import annotations

from _json import encode_basestring, make_scanner
from errno import EBADF, ECONNRESET, ENOTSOCK, EPIPE
from sys import byteorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from indrik.loader import LoadError
else:
    import _socket as socket

MESSAGE_BYTES_MAX = 64 * 1024
"""The largest message either side sends."""
FORK_FDS = 9
"""Memory, wake, bells of worker and front, socket for files, lane, control socket, memory for stacks, table of
metrics."""

TEXT_CHARS_MAX = 10_000
"""A traceback is cut to this, so that it fits a message with room for the rest."""

_FD_BYTES = 4
_CUT_CHARS = 1000
"""What is left of each text of a message that is too large."""


class _Scan:
    """What the scanner asks of its ``JSONDecoder``."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


_scan = make_scanner(_Scan)  # type: ignore[arg-type]


def connect(fd: int) -> socket.socket:
    """The inherited descriptor of a socket, as a blocking socket."""
    connection = socket.socket(fileno=fd)
    connection.setblocking(True)
    return connection


def receive(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Waits for a message; returns it and the descriptors that came with it, or None at the end."""
    data, ancillary, flags, _ = connection.recvmsg(MESSAGE_BYTES_MAX, socket.CMSG_SPACE(FORK_FDS * _FD_BYTES))
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise RuntimeError(
            f"a message of more than {MESSAGE_BYTES_MAX} bytes or {FORK_FDS} descriptors came: two versions of indrik?"
        )
    fds: list[int] = []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(content) - len(content) % _FD_BYTES
            fds += [int.from_bytes(content[at : at + _FD_BYTES], byteorder) for at in range(0, whole, _FD_BYTES)]
    return (read(data) if data else None), fds


def read(data: bytes) -> Any:
    """What is in a message."""
    return _scan(data.decode(), 0)[0]


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Sends one message; a supervisor that has gone is noticed at the next receive."""
    data = _encode(message)
    if len(data) > MESSAGE_BYTES_MAX:
        if message.get("event") == "config":
            data = _encode(
                {
                    "event": "config_failed",
                    "file": message.get("path"),
                    "line": None,
                    "traceback": "",
                    "message": f"the settings are larger than {MESSAGE_BYTES_MAX} bytes",
                }
            )
        else:
            small = {key: value[:_CUT_CHARS] if isinstance(value, str) else value for key, value in message.items()}
            data = _encode(small)
    try:
        connection.send(data)
    except OSError as error:
        # The last two: the application has closed what it had not opened, or this is a child that has let go of it.
        if error.errno not in (EPIPE, ECONNRESET, EBADF, ENOTSOCK):
            raise


def describe(error: LoadError) -> dict[str, Any]:
    """The fields of a "failed" or "boot_failed" message."""
    return {
        "kind": error.kind,
        "message": cut(error.message),
        "hint": cut(error.hint),
        "traceback": cut(error.traceback),
        "code": error.code,
    }


def cut(text: str) -> str:
    """The beginning and the end of a text that is too long for a message."""
    if len(text) <= TEXT_CHARS_MAX:
        return text
    half = TEXT_CHARS_MAX // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"


def _encode(message: dict[str, Any]) -> bytes:
    return as_json(message).encode()


def as_json(value: Any) -> str:
    """A value as JSON."""
    if isinstance(value, str):
        # A traceback may hold lone surrogates, from file names that are not UTF-8. Shown as escapes;
        # as escapes of JSON itself the supervisor's parser would refuse them.
        return encode_basestring(value.encode("utf-8", "backslashreplace").decode())
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode_basestring(key)}:{as_json(item)}" for key, item in value.items()) + "}"
    return "[" + ",".join(map(as_json, value)) + "]"
