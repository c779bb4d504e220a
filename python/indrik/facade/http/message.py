"""The request as ``pre_request`` and ``post_request`` see it."""

from __future__ import annotations

import io
from typing import Any

from indrik.facade._finder import original

MAX_REQUEST_LINE = 8190
MAX_HEADERS = 32768
DEFAULT_MAX_HEADERFIELD_SIZE = 8190


class Message:
    """Headers and a body."""

    def __init__(self) -> None:
        self.version: tuple[int, int] = (1, 1)
        self.headers: list[tuple[str, str]] = []
        self.trailers: list[tuple[str, str]] = []
        self.body: Any = None
        self.scheme = "http"
        self.must_close = False
        self.peer_addr: Any = None
        self.remote_addr: Any = None

    def force_close(self) -> None:
        """The connection is the front's; it is noted only."""
        self.must_close = True

    def should_close(self) -> bool:
        """Whether the client asked for the connection to be closed."""
        if self.must_close:
            return True
        for name, value in self.headers:
            if name == "CONNECTION":
                asked = value.lower().strip(" \t")
                if asked == "close":
                    return True
                if asked == "keep-alive":
                    return False
        return self.version <= (1, 0)


class Request(Message):
    """One request: what the client sent, read by the front."""

    def __init__(self) -> None:
        super().__init__()
        self.method = "GET"
        self.uri = "/"
        self.path = "/"
        self.query = ""
        self.fragment = ""
        self.req_number = 1
        self.proxy_protocol_info: dict[str, Any] | None = None

    @classmethod
    def received(
        cls,
        method: str,
        target: str,
        version: int,
        headers: list[tuple[str, str]],
        peer: tuple[str, int] | str,
        scheme: str,
        body: Any,
    ) -> Request:
        """From what the front read; names of headers come in upper case, ``version`` is 10 or 11; ``body`` is
        None if there is none."""
        request = cls()
        request.method = method
        request.uri = target
        request.path, request.query, request.fragment = split_target(target)
        request.version = divmod(version, 10)
        request.headers = headers
        request.peer_addr = request.remote_addr = peer
        request.scheme = scheme
        request.body = io.BytesIO() if body is None else body
        return request


def split_target(target: str) -> tuple[str, str, str]:
    """Path, query and fragment of a request's target, which may have a scheme and a host before them."""
    rest, _, fragment = target.partition("#")
    rest, _, query = rest.partition("?")
    scheme, mark, after = rest.partition("://")
    if mark and scheme.isalpha():
        _, slash, path = after.partition("/")
        rest = slash + path
    return rest, query, fragment


def __getattr__(name: str) -> object:
    return original(__name__, name)
