"""The logs of a zygote and its workers.

By default Indrik's Rust writes them: the front the access log, every process its own lines of the
error log, through one descriptor that the workers inherit. Where the settings ask for a Python
logger (``logger_class``, ``logconfig*``), that one writes both: the zygote what the supervisor says,
each worker its own lines and the access log's.

Python's ``logging`` is large, so it is loaded only where it is needed.
"""

from __future__ import annotations

import os
import sys

from indrik.lean import _native
from indrik.loader import LoadError
from indrik.messages import cut
from indrik.paths import open_append

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

OUR_CLASSES = ("gunicorn.glogging.Logger", "gunicorn.instrument.statsd.Statsd", "simple")
"""Logger classes that ask for nothing but what Indrik does by itself."""

_log_fd = 2
_debug_entries_left = 100
_config: dict[str, Any] = {}
_logger: Any = None
_tell: Callable[[dict[str, Any]], None] | None = None
_saw: Callable[[BaseException], None] | None = None


def begin(config: dict[str, Any]) -> None:
    """Opens the error log; raises ``OSError``. Workers inherit it."""
    global _log_fd, _config
    _config = config
    target = config["errorlog"]
    if target["kind"] == "file":
        fd = open_append(target["path"])
        # A number that no standard stream can take if the application closes one.
        if _log_fd > 2:
            os.dup2(fd, _log_fd, inheritable=False)
            os.close(fd)
        else:
            _log_fd = fd
        if config.get("capture_output"):
            _capture(_log_fd)
    _native.set_log(_log_fd, config.get("log_format") == "json", _sink())


def in_python(config: dict[str, Any]) -> bool:
    """Whether a Python logger writes the logs, as the supervisor sees it too."""
    given = config.get("logger_class") or {"name": OUR_CLASSES[0], "object": False}
    settings = ("logconfig", "logconfig_dict", "logconfig_json")
    return bool(given["object"] or given["name"] not in OUR_CLASSES or any(config.get(name) for name in settings))


def logger(cfg: Any) -> Any:
    """The logger that hooks use: the one that writes the logs, where a Python logger does, or one that
    writes as Indrik itself would. Made once; raises :class:`LoadError`."""
    global _logger
    if _logger is None:
        try:
            made = cfg.logger_class
            # As Gunicorn lets a logger prepare itself.
            if hasattr(made, "install"):
                made.install()
            _logger = made(cfg)
        except (Exception, SystemExit) as error:
            raise _wrong(error) from error
        _native.set_log(_log_fd, _config.get("log_format") == "json", _sink())
    return _logger


def enter_worker(tell: Callable[[dict[str, Any]], None]) -> None:
    """In a worker: ``tell`` sends a message to the supervisor, which has the ways to syslog and statsd."""
    global _tell
    if _config.get("syslog") or _config.get("statsd_host"):
        _tell = tell
        _native.set_log(_log_fd, _config.get("log_format") == "json", _sink())


def leave_worker() -> None:
    """In a worker that becomes the zygote."""
    global _tell
    _tell = None
    _native.set_log(_log_fd, _config.get("log_format") == "json", _sink())


def _sink() -> Callable[[str, str, BaseException | None], None] | None:
    """What the native module gives its entries to, if it does not write them itself."""
    return _writer() if _saw is None else _show_and_write


def _writer() -> Callable[[str, str, BaseException | None], None] | None:
    if in_python(_config) and _logger is not None:
        return _take
    return None if _tell is None else _copy


def watch_errors(saw: Callable[[BaseException], None] | None) -> None:
    """``saw`` is given the exception of each entry that has one, from now on."""
    global _saw
    _saw = saw
    _native.set_log(_log_fd, _config.get("log_format") == "json", _sink())


def _show_and_write(level: str, text: str, error: BaseException | None) -> None:
    if error is not None and _saw is not None:
        _saw(error)
    writer = _writer()
    if writer is None:
        _native.write_log(level, _with_traceback(text, error))
    else:
        writer(level, text, error)


def _copy(level: str, text: str, error: BaseException | None) -> None:
    """Writes an entry, and tells the supervisor."""
    shown = _with_traceback(text, error)
    _native.write_log(level, shown)
    if _tell is not None:
        _tell({"event": "logged", "level": level, "text": cut(shown), "exception": error is not None})


def _with_traceback(text: str, error: BaseException | None) -> str:
    if error is not None:
        text = f"{text}\n{_traceback(error).rstrip()}"
    return text.encode("utf-8", "backslashreplace").decode()


def _traceback(error: BaseException) -> str:
    try:
        import traceback
    except ImportError:
        # A user who cannot read Python's own library, say: the entry is written all the same.
        from indrik import glance

        return glance.failure(error)
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def reopen() -> None:
    """Opens the files anew, after somebody has moved them away. What cannot be opened is written on."""
    try:
        begin(_config)
        if _logger is not None:
            _logger.reopen_files()
    except Exception as error:
        write("ERROR", f"Cannot reopen the log: {error}")


def fd() -> int:
    """The error log's descriptor, for what writes without Python."""
    return _log_fd


def write(level: str, text: str, error: BaseException | None = None) -> None:
    """Writes an entry of a level ("ERROR"), with the traceback of an exception."""
    sink = _sink()
    if sink is None:
        _native.write_log(level, _with_traceback(text, error))
    else:
        sink(level, text, error)


def debug(text: str, error: BaseException | None = None) -> None:
    """Writes an entry for those who look for a fault in the server: only at ``loglevel = debug``, and not more than
    so many times in a process, as it may come from what clients send."""
    global _debug_entries_left
    if _config.get("loglevel") == "debug" and _debug_entries_left > 0:
        _debug_entries_left -= 1
        write("DEBUG", text, error)


def take(request: dict[str, Any]) -> None:
    """The zygote's part: an entry of the supervisor, about another process and of another moment."""
    import logging

    made = logging.getLogRecordFactory()

    def factory(*arguments: Any, **keywords: Any) -> logging.LogRecord:
        record = made(*arguments, **keywords)
        record.process = request["pid"]
        record.created = request["time"]
        record.msecs = int(record.created % 1 * 1000) + 0.0
        return record

    logging.setLogRecordFactory(factory)
    try:
        _take(request["level"], request["text"], None)
    finally:
        logging.setLogRecordFactory(made)


def take_metric(request: dict[str, Any]) -> None:
    """The zygote's part: a number for statsd."""
    extra = {"metric": request["name"], "value": request["value"], "mtype": request["kind"]}
    _logger.debug(f"{request['name']}: {request['value']}", extra=extra)


def access() -> Callable[[Any, Any, Any, Any], None] | None:
    """What writes the access log in a worker, or None where the front does: a function of response,
    request, environ and duration."""
    if not in_python(_config) or _logger is None:
        return None
    left_out = Exclude(_config.get("access_log_exclude") or [])
    log = _logger

    def respond(resp: Any, req: Any, environ: Any, duration: Any) -> None:
        path = str(environ.get("RAW_URI", "")).partition("?")[0]
        if not left_out.covers(path) or _status(resp) >= 500:
            log.access(resp, req, environ, duration)

    return respond


class Exclude:
    """Paths that get no line, as in the front: ``*`` stands for anything."""

    def __init__(self, patterns: list[str]) -> None:
        self._patterns = [pattern.split("*") for pattern in patterns]

    def covers(self, path: str) -> bool:
        """Whether the path is left out."""
        return any(_matches(pieces, path) for pieces in self._patterns)


def _matches(pieces: list[str], path: str) -> bool:
    first, *middle = pieces
    if not middle:
        return path == first
    last = middle.pop()
    if not path.startswith(first):
        return False
    at = len(first)
    for piece in middle:
        found = path.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(path) - at >= len(last) and path.endswith(last)


def _status(resp: Any) -> int:
    status = getattr(resp, "status", 0)
    try:
        return int(str(status).split(None, 1)[0])
    except (ValueError, IndexError):
        return 0


def _take(level: str, text: str, error: BaseException | None) -> None:
    """Gives an entry to the Python logger."""
    if error is not None:
        _logger.exception(text, exc_info=error)
    else:
        getattr(_logger, level.lower())(text)


def _capture(fd: int) -> None:
    """What the application prints goes to the log."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        if stream is not None:
            stream.flush()
        os.dup2(fd, number)


def _wrong(error: BaseException) -> LoadError:
    import traceback

    shown = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    what = f"the Python logger cannot be set up: {error or type(error).__name__}"
    hint = "look at logger_class, logconfig, logconfig_dict and logconfig_json"
    return LoadError("config", what, hint, "" if isinstance(error, RuntimeError) else shown)
