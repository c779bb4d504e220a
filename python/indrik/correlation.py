"""What the current request is called, in the application's log records.

Loaded only where the settings ask for it: it loads `logging`.

Records get their fields from the logger that makes them, and not from `logging.setLogRecordFactory`: what a factory
has put into a record cannot be given as `extra`, and an application that does so already would fail.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

Names = tuple[str | None, str | None, str | None]
"""The request's id, the trace and the span of the server; each None where there is none."""

_current: ContextVar[Names | None] = ContextVar("indrik_correlation", default=None)
_OUTSIDE: Names = (None, None, None)
_FIELDS = ("request_id", "trace_id", "span_id")
_NONE = "-"
"""What stands where there is no request: formats that name a field work everywhere."""


def option(config: dict[str, Any]) -> tuple[ContextVar[Names | None], str, bool]:
    """What the native server needs to know: where names go, and where they come from."""
    header = config["request_id_header"] if config["request_id"] else ""
    return _current, header, config["tracing"]


def install() -> None:
    """Lets every logger put the names into its records, once."""
    make = logging.Logger.makeRecord
    if not getattr(make, "adds_request", False):
        logging.Logger.makeRecord = _adding(make)  # type: ignore[method-assign]


def _adding(make: Any) -> Any:
    def makeRecord(self: logging.Logger, *arguments: Any, **named: Any) -> logging.LogRecord:  # noqa: N802
        record: logging.LogRecord = make(self, *arguments, **named)
        fields = record.__dict__
        for field, name in zip(_FIELDS, _current.get() or _OUTSIDE, strict=True):
            # What the application says itself stays.
            fields.setdefault(field, _NONE if name is None else name)
        return record

    makeRecord.adds_request = True  # type: ignore[attr-defined]
    return makeRecord
