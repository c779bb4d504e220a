"""The logger that hooks call, that configuration files subclass, and that writes Gunicorn's format.

With the default settings nothing of this is loaded: Indrik writes its logs itself. With a
``logger_class`` or one of the ``logconfig`` settings, an object of this class writes them, the error
log in the zygote and in the workers, the access log in the workers.
"""

from __future__ import annotations

import configparser
import io
import logging
import logging.config
import logging.handlers
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

from indrik import paths
from indrik.facade import util
from indrik.facade._finder import original

ERROR_FORMAT = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
DATE_FORMAT = "[%Y-%m-%d %H:%M:%S %z]"

SYSLOG_FACILITIES = dict(logging.handlers.SysLogHandler.facility_names)
"""Facilities by name."""
SYSLOG_SEND_SECONDS = 1.0
"""How long a syslog server may take to read a message over a stream."""

CONFIG_DEFAULTS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": {
            "level": "INFO",
            "handlers": ["error_console"],
            "propagate": True,
            "qualname": "gunicorn.error",
        },
        "gunicorn.access": {
            "level": "INFO",
            "handlers": ["console"],
            "propagate": True,
            "qualname": "gunicorn.access",
        },
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stdout"},
        "error_console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"},
    },
    "formatters": {"generic": {"format": ERROR_FORMAT, "datefmt": DATE_FORMAT, "class": "logging.Formatter"}},
}
"""What ``logconfig_dict`` and ``logconfig_json`` are laid over, one top-level key at a time."""

_CONFIG_ERRORS = (AttributeError, ImportError, KeyError, OSError, TypeError, ValueError, configparser.Error)


class SafeAtoms(dict[str, Any]):
    """The atoms of an access log's line: quotes are escaped, and what is missing is a hyphen."""

    def __init__(self, atoms: dict[str, Any]) -> None:
        super().__init__(
            (key, value.replace('"', '\\"') if isinstance(value, str) else value) for key, value in atoms.items()
        )

    def __getitem__(self, key: str) -> Any:
        return self.get(key.lower() if key.startswith("{") else key, "-")


def loggers() -> list[logging.Logger]:
    """Every logger but the root."""
    return [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]


def parse_syslog_address(addr: str) -> tuple[Any, Any]:
    """``udp://``, ``tcp://`` or ``unix://`` as the kind of socket and what the handler calls an address."""
    import socket

    scheme, _, rest = addr.partition("://")
    if scheme == "unix":
        path, _, kind = rest.partition("#")
        return {"dgram": socket.SOCK_DGRAM, "stream": socket.SOCK_STREAM}.get(kind), path
    if scheme not in ("udp", "tcp"):
        raise RuntimeError("invalid syslog address")
    host, port = rest, ""
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    elif ":" in rest:
        host, _, port = rest.partition(":")
    if port and not port.isdigit():
        raise RuntimeError(f"{port!r} is not a valid port number.")
    stream_or_not = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    return stream_or_not, (host.lower() or "localhost", int(port or 514))


class JSONFormatter(logging.Formatter):
    """An object in each line, with the fields of Indrik's own error log."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        import json
        from datetime import datetime

        message, _, details = super().format(record).partition("\n")
        fields = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "log": "error",
            "level": record.levelname,
            "pid": record.process,
            "message": message,
        }
        if details:
            fields["details"] = details
        return json.dumps(fields)


class Logger:
    """Error log and access log as loggers of Python, ``gunicorn.error`` and ``gunicorn.access``."""

    LOG_LEVELS = {
        "critical": logging.CRITICAL,
        "error": logging.ERROR,
        "warning": logging.WARNING,
        "info": logging.INFO,
        "debug": logging.DEBUG,
    }
    loglevel = logging.INFO
    error_fmt = ERROR_FORMAT
    datefmt = DATE_FORMAT
    access_fmt = "%(message)s"
    syslog_fmt = "[%(process)d] %(message)s"
    atoms_wrapper_class: Any = SafeAtoms

    def __init__(self, cfg: Any) -> None:
        self.error_log = logging.getLogger("gunicorn.error")
        self.error_log.propagate = False
        self.access_log = logging.getLogger("gunicorn.access")
        self.access_log.propagate = False
        self.error_handlers: list[logging.Handler] = []
        self.access_handlers: list[logging.Handler] = []
        self.logfile: Any = None
        self.lock = threading.Lock()
        self.cfg = cfg
        self.setup(cfg)

    def setup(self, cfg: Any) -> None:
        """Takes the settings into use; raises ``RuntimeError`` for a logging configuration that is wrong."""
        self.cfg = cfg
        self._access_log_enabled = self._wants_access_log()
        self.loglevel = self.LOG_LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        self.error_log.setLevel(self.loglevel)
        self.access_log.setLevel(logging.INFO)
        self._capture_output()
        self._set_handler(self.error_log, cfg.errorlog, self._error_formatter())
        if cfg.accesslog is not None:
            self._set_handler(self.access_log, cfg.accesslog, fmt=logging.Formatter(self.access_fmt), stream=sys.stdout)
        if cfg.syslog:
            self._set_syslog_handler(self.error_log, cfg, self.syslog_fmt, "error")
            if not cfg.disable_redirect_access_to_syslog:
                self._set_syslog_handler(self.access_log, cfg, self.syslog_fmt, "access")
        try:
            self._configure_logging(cfg)
        except _CONFIG_ERRORS as error:
            cause = f": {error.__cause__}" if error.__cause__ else ""
            raise RuntimeError(f"{error}{cause}") from error

    def _error_formatter(self) -> logging.Formatter:
        if getattr(self.cfg, "log_format", "text") == "json" and self.error_fmt == ERROR_FORMAT:
            return JSONFormatter()
        return logging.Formatter(self.error_fmt, self.datefmt)

    def _configure_logging(self, cfg: Any) -> None:
        """The first of ``logconfig_dict``, ``logconfig_json`` and ``logconfig`` that is set."""
        if cfg.logconfig_dict:
            logging.config.dictConfig({**CONFIG_DEFAULTS, **cfg.logconfig_dict})
        elif cfg.logconfig_json:
            import json

            given = json.loads(paths.read(cfg.logconfig_json).decode())
            logging.config.dictConfig({**CONFIG_DEFAULTS, **given})
        elif cfg.logconfig:
            if not os.path.exists(cfg.logconfig):
                raise RuntimeError(f"Error: log config '{cfg.logconfig}' not found")
            places = {"__file__": cfg.logconfig, "here": os.path.dirname(cfg.logconfig)}
            parser = _parsed(cfg.logconfig, {**CONFIG_DEFAULTS, **places})
            logging.config.fileConfig(parser, disable_existing_loggers=False)

    def critical(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes to the error log."""
        self.error_log.critical(msg, *args, **kwargs)

    def error(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes to the error log."""
        self.error_log.error(msg, *args, **kwargs)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes to the error log."""
        self.error_log.warning(msg, *args, **kwargs)

    def info(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes to the error log."""
        self.error_log.info(msg, *args, **kwargs)

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes to the error log."""
        self.error_log.debug(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes to the error log, with the traceback."""
        self.error_log.exception(msg, *args, **kwargs)

    def log(self, lvl: Any, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes to the error log at a level given by name or number."""
        if isinstance(lvl, str):
            lvl = self.LOG_LEVELS.get(lvl.lower(), logging.INFO)
        self.error_log.log(lvl, msg, *args, **kwargs)

    @property
    def access_log_enabled(self) -> bool:
        """Whether an access log is wanted."""
        # A subclass may have its own `setup`.
        return bool(getattr(self, "_access_log_enabled", None) or self._wants_access_log())

    def _wants_access_log(self) -> bool:
        cfg = self.cfg
        return bool(
            cfg.accesslog
            or cfg.logconfig
            or cfg.logconfig_dict
            or cfg.logconfig_json
            or (cfg.syslog and not cfg.disable_redirect_access_to_syslog)
        )

    def atoms(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> dict[str, Any]:
        """What a line of the access log may name. ``request_time`` is a ``timedelta``."""
        status = resp.status.split(None, 1)[0] if isinstance(resp.status, str) else resp.status
        sent = getattr(resp, "sent", None)
        micros = request_time.seconds * 1_000_000 + request_time.microseconds
        line = f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} {environ['SERVER_PROTOCOL']}"
        atoms: dict[str, Any] = {
            "h": environ.get("REMOTE_ADDR", "-"),
            "l": "-",
            "u": self._get_user(environ) or "-",
            "t": self.now(),
            "r": line,
            "s": status,
            "m": environ.get("REQUEST_METHOD"),
            "U": environ.get("PATH_INFO"),
            "q": environ.get("QUERY_STRING"),
            "H": environ.get("SERVER_PROTOCOL"),
            "b": "-" if sent is None else str(sent),
            "B": sent,
            "f": environ.get("HTTP_REFERER", "-"),
            "a": environ.get("HTTP_USER_AGENT", "-"),
            "T": request_time.seconds,
            "D": micros,
            "M": micros // 1000,
            "L": f"{request_time.seconds}.{request_time.microseconds:06d}",
            "p": f"<{os.getpid()}>",
        }
        sources: tuple[tuple[str, Any], ...] = (
            ("i", getattr(req, "headers", req)),
            ("o", resp.headers),
            ("e", environ),
        )
        for letter, source in sources:
            pairs = source.items() if hasattr(source, "items") else source
            atoms.update((f"{{{name.lower()}}}{letter}", value) for name, value in pairs)
        return atoms

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        """Writes the access log's line about a request."""
        if not self.access_log_enabled:
            return
        atoms = self.atoms_wrapper_class(self.atoms(resp, req, environ, request_time))
        try:
            self.access_log.info(self.cfg.access_log_format, atoms)
        except Exception:
            self.error(traceback.format_exc())

    def now(self) -> str:
        """The time as the access log shows it."""
        return time.strftime("[%d/%b/%Y:%H:%M:%S %z]")

    def reopen_files(self) -> None:
        """Opens log files anew, after somebody has moved them away."""
        self._capture_output()
        for handler in _file_handlers():
            handler.acquire()
            try:
                if handler.stream:
                    handler.close()
                    handler.stream = handler._open()
            finally:
                handler.release()

    def close_on_exec(self) -> None:
        """Makes log files not outlive an exec."""
        for handler in _file_handlers():
            if handler.stream:
                os.set_inheritable(handler.stream.fileno(), False)

    def _capture_output(self) -> None:
        """What the application prints goes to the error log, if that is a file and the settings say so."""
        if not self.cfg.capture_output or self.cfg.errorlog in ("-", None):
            return
        for stream in sys.stdout, sys.stderr:
            stream.flush()
        with self.lock:
            if self.logfile is not None:
                self.logfile.close()
            self.logfile = open(self.cfg.errorlog, "a+", opener=paths.opener)  # noqa: SIM115
            for number in 1, 2:
                os.dup2(self.logfile.fileno(), number)

    def _get_gunicorn_handler(self, log: logging.Logger) -> logging.Handler | None:
        return next((handler for handler in log.handlers if getattr(handler, "_gunicorn", False)), None)

    def _set_handler(self, log: logging.Logger, output: str | None, fmt: logging.Formatter, stream: Any = None) -> None:
        """Replaces the handlers of an earlier :meth:`setup`; those of the application stay."""
        for old in [handler for handler in log.handlers if getattr(handler, "_gunicorn", False)]:
            log.removeHandler(old)
        if output is None:
            return
        handler: Any
        if output == "-":
            handler = logging.StreamHandler(stream)
        else:
            util.check_is_writable(output)
            handler = _FileHandler(output)
            try:
                # Workers that run as this user open it as well.
                os.chown(handler.baseFilename, self.cfg.user, self.cfg.group)
            except OSError:
                # It is not ours, as /dev/null.
                pass
        handler.setFormatter(fmt)
        handler._gunicorn = True
        log.addHandler(handler)

    def _set_syslog_handler(self, log: logging.Logger, cfg: Any, fmt: str, name: str) -> None:
        """A server that cannot be reached is complained of, and done without."""
        prefix = cfg.syslog_prefix or cfg.proc_name.replace(":", ".")
        facility = SYSLOG_FACILITIES.get(cfg.syslog_facility.lower())
        if facility is None:
            raise RuntimeError("unknown facility name")
        kind, address = parse_syslog_address(cfg.syslog_addr)
        try:
            handler: Any = logging.handlers.SysLogHandler(address=address, facility=facility, socktype=kind)
            handler.socket.settimeout(SYSLOG_SEND_SECONDS)
        except OSError as error:
            self.warning("Cannot reach the syslog server at %s: %s", cfg.syslog_addr, error)
            return
        handler.setFormatter(logging.Formatter(f"gunicorn.{prefix}.{name}: ".replace("%", "%%") + fmt))
        handler._gunicorn = True
        log.addHandler(handler)

    def _get_user(self, environ: dict[str, Any]) -> str | None:
        kind, _, value = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if kind.lower() != "basic":
            return None
        from base64 import b64decode

        try:
            return b64decode(value.strip()).partition(b":")[0].decode()
        except ValueError as error:
            self.debug("Couldn't get username: %s", error)
            return None


class _FileHandler(logging.FileHandler):
    """A log file that is opened, and opened anew, without a wait."""

    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=paths.opener)


def _parsed(path: str, defaults: dict[str, Any]) -> configparser.ConfigParser:
    """A file for ``fileConfig``, which would open it by itself and wait."""
    parser = configparser.ConfigParser(defaults)
    parser.read_file(io.TextIOWrapper(io.BytesIO(paths.read(path))), path)
    return parser


def _file_handlers() -> Iterator[logging.FileHandler]:
    for log in [logging.root, *loggers()]:
        for handler in log.handlers:
            if isinstance(handler, logging.FileHandler):
                yield handler


def __getattr__(name: str) -> object:
    return original(__name__, name)
