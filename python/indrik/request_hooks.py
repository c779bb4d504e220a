"""What is called around requests: ``pre_request``, ``post_request``, and a Python logger's access log.

The native server makes these calls only when a configuration asks for one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from indrik.facade.http.message import Request
from indrik.facade.http.wsgi import Response
from indrik.facade.util import unquote_to_wsgi_str

Hook = Callable[..., Any]


class RequestHooks:
    """The hooks around requests of one worker. Called from any of its threads."""

    def __init__(self, worker: Any, pre: Hook | None, post: Hook | None, access: Hook | None) -> None:
        self._worker = worker
        self._pre = pre
        self._post = post
        self._access = access

    request = staticmethod(Request.received)
    """The object that hooks see."""

    def before(self, req: Request) -> bool:
        """Before the application is called; whether the hook has changed the request. What it raises is
        answered as 500."""
        if self._pre is None:
            return False
        seen = _contents(req)
        self._pre(self._worker, req)
        return _contents(req) != seen

    def change(self, req: Request, environ: dict[str, Any]) -> None:
        """Puts the changes of the hook into the environ."""
        change_environ(req, environ)

    def after(
        self,
        req: Request,
        environ: dict[str, Any] | None,
        status: Any,
        headers: list[tuple[str, str]] | None,
        length: int | None,
        sent: int,
        headers_sent: bool,
        seconds: float,
    ) -> None:
        """After the application has returned. ``status`` is None when there is no response, which is
        also how an application that raised before it began one is told."""
        if self._access is not None:
            failed = status is None
            line = _response(
                req, "500 Internal Server Error" if failed else status, headers, length, sent, headers_sent
            )
            self._write(line, req, _environ(req) if environ is None else environ, seconds)
        if self._post is not None:
            made = None if environ is None else _response(req, status, headers, length, sent, headers_sent)
            self._call_post(req, {} if environ is None else environ, made)

    def after_asgi(
        self,
        req: Request,
        status: int | None,
        headers: list[tuple[str, str]],
        length: int | None,
        sent: int,
        headers_sent: bool,
        seconds: float,
    ) -> None:
        """The same for ASGI, with an environ that has what the access log names."""
        self.after(req, _environ(req), 500 if status is None else status, headers, length, sent, headers_sent, seconds)

    def _write(self, resp: Response, req: Request, environ: dict[str, Any], seconds: float) -> None:
        assert self._access is not None
        try:
            self._access(resp, req, environ, timedelta(seconds=seconds))
        except Exception:
            self._worker.log.exception("Exception while the access log was written")

    def _call_post(self, req: Request, environ: dict[str, Any], resp: Response | None) -> None:
        assert self._post is not None
        try:
            self._post(self._worker, req, environ, resp)
        except Exception:
            self._worker.log.exception("Exception in post_request hook")


def _response(
    req: Request,
    status: Any,
    headers: list[tuple[str, str]] | None,
    length: int | None,
    sent: int,
    headers_sent: bool,
) -> Response:
    resp = Response(req)
    resp.status = status
    resp.headers = headers or []
    resp.response_length = length
    resp.sent = sent
    resp.headers_sent = headers_sent
    if status is not None:
        resp.status_code = int(status[:3]) if isinstance(status, str) else int(status)
    return resp


def _contents(req: Request) -> tuple[Any, ...]:
    """What the environ is made of."""
    return req.method, req.uri, req.path, req.query, req.scheme, tuple(req.headers)


def change_environ(req: Request, environ: dict[str, Any]) -> None:
    """Makes an environ say what the request now says."""
    environ["REQUEST_METHOD"] = req.method
    environ["RAW_URI"] = req.uri
    environ["QUERY_STRING"] = req.query
    environ["wsgi.url_scheme"] = req.scheme
    environ["PATH_INFO"] = unquote_to_wsgi_str(req.path).removeprefix(environ.get("SCRIPT_NAME", ""))
    for name in [name for name in environ if name.startswith("HTTP_")]:
        del environ[name]
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        environ.pop(name, None)
    for name, value in req.headers:
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        joiner = "; " if key == "HTTP_COOKIE" else ","
        environ[key] = f"{environ[key]}{joiner}{value}" if key in environ else value


def _environ(req: Request) -> dict[str, Any]:
    """What WSGI would have of a request."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": req.method,
        "RAW_URI": req.uri,
        "PATH_INFO": req.path,
        "QUERY_STRING": req.query,
        "SERVER_PROTOCOL": f"HTTP/{req.version[0]}.{req.version[1]}",
        "REMOTE_ADDR": req.remote_addr[0] if isinstance(req.remote_addr, tuple) else req.remote_addr or "-",
        "wsgi.url_scheme": req.scheme,
    }
    for name, value in req.headers:
        environ["HTTP_" + name.replace("-", "_")] = value
    return environ
