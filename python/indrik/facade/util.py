"""Helpers of Gunicorn that configurations, applications and worker classes use."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import urllib.parse
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from indrik.facade._finder import OURS, PACKAGE, original
from indrik.paths import opener

HOP_BY_HOP = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization te trailers"
    " transfer-encoding upgrade server date".split()
)
hop_headers = set(HOP_BY_HOP)
"""Headers that a response of the application may not have."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def get_arity(function: Callable[..., Any]) -> int:
    """How many positional parameters a function has, those with a default included."""
    return sum(parameter.kind in _POSITIONAL for parameter in inspect.signature(function).parameters.values())


def load_class(uri: Any, default: str = "gunicorn.workers.sync.SyncWorker", section: str = "gunicorn.workers") -> Any:
    """A class by its dotted path, the short name of a worker class, or ``egg:DISTRIBUTION#NAME``."""
    if inspect.isclass(uri):
        return uri
    try:
        if uri.startswith("egg:"):
            distribution, _, name = uri[4:].partition("#")
            return _entry_point(section, name or default, distribution)
        if "." not in uri:
            from indrik.facade.workers import SUPPORTED_WORKERS

            short = uri.lstrip("#")
            if short not in SUPPORTED_WORKERS:
                return _entry_point(section, short, None)
            uri = SUPPORTED_WORKERS[short]
        if uri.startswith(PACKAGE + "."):
            uri = _own(uri)
        module, _, name = uri.rpartition(".")
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        raise RuntimeError(f"class uri {uri!r} invalid or not found: {error}") from error


def _own(uri: str) -> str:
    """The facade's class, also where nobody has put the finder in front of the real package."""
    from importlib.util import find_spec

    own = OURS + uri.removeprefix(PACKAGE)
    try:
        return own if find_spec(own.rpartition(".")[0]) else uri
    except ModuleNotFoundError:
        return uri


def _entry_point(group: str, name: str, distribution: str | None) -> Any:
    from importlib.metadata import entry_points

    for point in entry_points(group=group, name=name):
        if distribution is None or (point.dist is not None and point.dist.name == distribution):
            return point.load()
    raise ImportError(f"no entry point {name!r} in {group!r}")


def import_app(module: str) -> Any:
    """The application that ``MODULE:NAME`` names."""
    from indrik import loader
    from indrik.facade.errors import AppImportError

    try:
        return loader.load(module)
    except loader.LoadError as error:
        if error.kind == "boot":
            raise ImportError(error.message) from error
        raise AppImportError(error.message) from error


def parse_address(netloc: str, default_port: str = "8000") -> Any:
    """``HOST:PORT`` as a pair, ``unix:PATH`` as the path, ``fd://N`` as the number."""
    for prefix in ("unix://", "unix:"):
        if netloc.startswith(prefix):
            return netloc[len(prefix) :]
    if netloc.startswith("fd://"):
        if not netloc[5:].isdigit():
            raise RuntimeError(f"{netloc[5:]!r} is not a valid file descriptor.")
        return int(netloc[5:])
    netloc = netloc.removeprefix("tcp://")
    if netloc.startswith("["):
        host, _, rest = netloc[1:].partition("]")
        port = rest.removeprefix(":") or default_port
    else:
        host, _, port = netloc.partition(":")
        host, port = host or "0.0.0.0", port or default_port
    if not port.isdigit():
        raise RuntimeError(f"{port!r} is not a valid port number.")
    return host.lower(), int(port)


def getcwd() -> str:
    """The directory as the shell names it, if that is where we are."""
    here = os.getcwd()
    shown = os.environ.get("PWD", here)
    try:
        return shown if os.path.samefile(shown, here) else here
    except OSError:
        return here


def http_date(timestamp: float | None = None) -> str:
    """A date as in HTTP headers."""
    return formatdate(timestamp, usegmt=True)


def is_hoppish(header: str) -> bool:
    """Whether the header concerns the connection only."""
    return header.lower().strip() in hop_headers


def is_ipv6(addr: str) -> bool:
    """Whether it is an address of IPv6."""
    import socket

    try:
        socket.inet_pton(socket.AF_INET6, addr)
    except (OSError, ValueError):
        return False
    return True


def close_on_exec(fd: int) -> None:
    """Makes a descriptor not outlive an exec."""
    os.set_inheritable(fd, False)


def set_non_blocking(fd: int) -> None:
    """Makes a descriptor non-blocking."""
    os.set_blocking(fd, False)


def close(sock: Any) -> None:
    """Closes a socket that may be closed."""
    try:
        sock.close()
    except OSError:
        pass


def unlink(filename: str) -> None:
    """Removes a file that may not be there."""
    try:
        os.unlink(filename)
    except FileNotFoundError:
        pass


def chown(path: str, uid: int, gid: int) -> None:
    """Gives a file to somebody."""
    os.chown(path, uid, gid)


def get_username(uid: int) -> str:
    """A user's name."""
    import pwd

    return pwd.getpwuid(uid).pw_name


def check_is_writable(path: str) -> None:
    """Raises ``RuntimeError`` for a file that cannot be appended to."""
    try:
        with open(path, "a", opener=opener):
            pass
    except OSError as error:
        raise RuntimeError(f"Error: {path!r} isn't writable [{error!r}]") from error


def to_bytestring(value: str | bytes, encoding: str = "utf8") -> bytes:
    """Text as bytes."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value.encode(encoding)


def bytes_to_str(value: str | bytes) -> str:
    """Bytes as text, one character for each."""
    return value if isinstance(value, str) else value.decode("latin1")


def unquote_to_wsgi_str(string: str) -> str:
    """A percent-encoded path as ``PATH_INFO`` has it."""
    return urllib.parse.unquote_to_bytes(string).decode("latin-1")


def warn(msg: str) -> None:
    """Writes a warning to standard error."""
    sys.stderr.write("".join(f"!!! {line}\n" for line in ("", "WARNING: " + msg, "")))
    sys.stderr.flush()


def make_fail_app(msg: str | bytes) -> Callable[..., Any]:
    """A WSGI application that answers 500 with this text."""
    body = to_bytestring(msg)

    def app(_environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        start_response("500 Internal Server Error", headers)
        return [body]

    return app


def __getattr__(name: str) -> object:
    return original(__name__, name)
