"""The response as ``post_request`` and the access log see it."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import indrik.facade as facade
from indrik.facade._finder import original


class Response:
    """What the application answered. Indrik's front sends it; this tells hooks what was sent."""

    def __init__(self, req: Any, sock: Any = None, cfg: Any = None) -> None:
        self.req = req
        self.sock = sock
        self.cfg = cfg
        self.version = facade.SERVER
        self.status: Any = None
        self.status_code: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.headers_sent = False
        self.response_length: int | None = None
        self.sent = 0
        self.chunked = False
        self.upgrade = False
        self.must_close = False

    def force_close(self) -> None:
        """The connection is the front's; it is noted only."""
        self.must_close = True

    def should_close(self) -> bool:
        """Whether the connection would have to be closed behind this response."""
        if self.must_close or self.req.should_close():
            return True
        if self.response_length is not None or self.chunked or self.req.method == "HEAD":
            return False
        code = self.status_code or 0
        return not (code < 200 or code in (204, 304))

    def default_headers(self) -> list[str]:
        """The lines that Gunicorn begins a response with. Configuration files override this to take
        the ``Server`` line away, which Indrik honours; it is not called for each response."""
        connection = "close" if self.should_close() else "keep-alive"
        return [
            f"HTTP/{self.req.version[0]}.{self.req.version[1]} {self.status}\r\n",
            f"Server: {self.version}\r\n",
            f"Date: {formatdate(usegmt=True)}\r\n",
            f"Connection: {connection}\r\n",
        ]


def server_line(cls: type[Any]) -> str | None:
    """The name in the ``Server`` line of a (perhaps overridden) response class; None without one."""
    from indrik.facade.http.message import Request

    response = cls(Request())
    response.status, response.status_code = "200 OK", 200
    for line in response.default_headers():
        name, _, value = line.partition(":")
        if name.lower() == "server":
            return str(value.strip())
    return None


def __getattr__(name: str) -> object:
    return original(__name__, name)
