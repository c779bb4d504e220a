"""Threads that go on for a request that was cancelled: the exception is raised in them as well.

Starlette and FastAPI run plain functions in threads of anyio's. Cancelling the request ends what waits for
the thread, and the thread itself would go on, perhaps for ever. Imported when that may have happened.
"""

from __future__ import annotations

import ctypes
import sys

from indrik import RequestTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

POOL = "anyio._backends._asyncio"
"""The module whose threads tell for whom they run."""


def stop() -> None:
    """Raises `RequestTimeout` in every thread whose caller was cancelled. One that waits in the kernel
    gets it when it returns."""
    for thread, frame in sys._current_frames().items():
        if _is_orphan(frame):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(RequestTimeout))


def _is_orphan(frame: FrameType | None) -> bool:
    called: FrameType | None = None
    while frame is not None:
        if frame.f_code.co_name == "run" and frame.f_globals.get("__name__") == POOL:
            # Only inside the function that it was given: between two of them it must not be disturbed.
            runs = called is not None and called.f_globals.get("__name__") not in ("queue", "threading", POOL)
            future = frame.f_locals.get("future")
            return runs and future is not None and bool(future.cancelled())
        called, frame = frame, frame.f_back
    return False
