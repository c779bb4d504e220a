"""WebSockets that a WSGI application speaks itself: what stands in the environ of a request that asks for one.

The socket is one end of a pair; the server copies between its other end and the client once the application has
written its `101`. `gunicorn.socket` is where Gunicorn has the client's own socket, and what simple-websocket
(Flask-Sock, Flask-SocketIO) and eventlet look for; gevent-websocket's users look for `wsgi.websocket`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import logging
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def preparer(kind: str) -> Callable[[dict[str, Any], int], socket.socket]:
    """For a kind of worker: what puts a socket with a number into an environ, and returns it."""
    has_gevent_websocket = kind == "gevent" and importlib.util.find_spec("geventwebsocket") is not None

    def prepare(environ: dict[str, Any], fd: int) -> socket.socket:
        # Looked up at each request: a hub's library, or the application, may have patched it.
        end: socket.socket = whole_sender(socket.socket)(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=fd)
        environ["gunicorn.socket"] = end
        if kind == "eventlet":
            environ["eventlet.input"] = EventletInput(end)
        if has_gevent_websocket:
            environ["wsgi.websocket"] = GeventWebSocket(environ, end)
            environ["wsgi.websocket_version"] = environ.get("HTTP_SEC_WEBSOCKET_VERSION")
        return end

    return prepare


@functools.cache
def whole_sender(base: type[Any]) -> type[Any]:
    """A class of sockets whose `send` sends all, as one of a socket that blocks does. Those of gevent and eventlet
    send what fits, and libraries that were written for threads lose the rest."""

    class OwnSocket(base):  # type: ignore[misc]
        def send(self, data: Any, *rest: Any, **options: Any) -> int:
            if self.gettimeout() == 0:
                return int(super().send(data, *rest, **options))
            view, sent = memoryview(data).cast("B"), 0
            while sent < len(view):
                sent += super().send(view[sent:], *rest, **options)
            return sent

    return OwnSocket


class EventletInput:
    """What eventlet's server has as its input, as far as its WebSockets need it."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def get_socket(self) -> socket.socket:
        """The socket of the request's client."""
        return self._end


class GeventWebSocket:
    """gevent-websocket's `WebSocket`, which answers the handshake when it is first used: until then the application
    may answer otherwise, or speak with another library."""

    def __init__(self, environ: dict[str, Any], end: socket.socket) -> None:
        self._environ = environ
        self._end = end
        self._opened: Any = None

    @property
    def origin(self) -> Any:
        return self._environ.get("HTTP_ORIGIN")

    @property
    def protocol(self) -> Any:
        return self._environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL")

    @property
    def version(self) -> Any:
        return self._environ.get("HTTP_SEC_WEBSOCKET_VERSION")

    @property
    def path(self) -> Any:
        return self._environ.get("PATH_INFO")

    @property
    def environ(self) -> dict[str, Any]:
        return self._environ

    def close(self, *arguments: Any, **options: Any) -> Any:
        """Closes it, if it was opened."""
        return None if self._opened is None else self._opened.close(*arguments, **options)

    @property
    def closed(self) -> bool:
        return self._opened is not None and self._opened.closed

    def __getattr__(self, name: str) -> Any:
        if self._opened is None:
            self._opened = self._open()
        return getattr(self._opened, name)

    def _open(self) -> Any:
        from geventwebsocket.websocket import Stream, WebSocket  # type: ignore[import-untyped,unused-ignore]

        key = self._environ.get("HTTP_SEC_WEBSOCKET_KEY", "").encode("latin-1")
        accept = base64.b64encode(hashlib.sha1(key + KEY_SUFFIX).digest()).decode()
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept}",
        ]
        offered = [name.strip() for name in (self.protocol or "").split(",") if name.strip()]
        if offered:
            lines.append(f"Sec-WebSocket-Protocol: {offered[0]}")
        self._end.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        handler = _Handler(self._environ, self._end)
        return WebSocket(self._environ, Stream(handler), handler)


class _Server:
    """No application of gevent-websocket's own classes stands behind the socket."""

    application = None


class _Handler:
    """What gevent-websocket's objects ask their handler for."""

    def __init__(self, environ: dict[str, Any], end: socket.socket) -> None:
        self.environ = environ
        self.socket = end
        self.rfile = end.makefile("rb", -1)
        self.logger = logging.getLogger("geventwebsocket")
        self.server = _Server()
        self.active_client = None
