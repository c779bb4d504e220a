"""The setting ``spew``: every line of Python that runs is printed."""

from __future__ import annotations

import linecache
import sys
import threading
from types import FrameType
from typing import Any


def install() -> None:
    """From now on; also in threads that start later."""
    threading.settrace(_trace)
    sys.settrace(_trace)


def _trace(frame: FrameType, event: str, _argument: Any) -> Any:
    if event == "line":
        name = frame.f_globals.get("__name__", "?")
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno, frame.f_globals).rstrip()
        print(f"{name}:{frame.f_lineno}: {text}", flush=True)
    return _trace
