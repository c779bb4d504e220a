"""A warm worker becomes the zygote: what it has to be for that, and what it gives up.

Loaded by the worker that is asked, when its loop has ended. The supervisor has sent it a socket; it
answers on the worker's own whether it can fork. If not, it leaves like any worker.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from indrik import fork_safety, glance, logs
from indrik.messages import connect, cut, receive, send

if TYPE_CHECKING:
    import signal
    import socket
else:
    import _signal as signal


THREADS_END_SECONDS = 1.0
"""How long threads may take to end that served requests."""

STANDARD_STREAMS = {"0", "1", "2"}
"""What may be open without being asked about, besides what is the server's own."""


def promote(config: dict[str, Any], control: socket.socket, hooks: Any) -> int | socket.socket:
    """The zygote's socket, if this worker was asked to be one and can; otherwise its exit code."""
    control.setblocking(False)
    try:
        order, fds = receive(control)
        # Who wants to look into a worker may have asked just before.
        while order is not None and not fds:
            order, fds = receive(control)
    except BlockingIOError:
        return 0
    finally:
        control.setblocking(True)
    if order is None or not fds:
        return 0
    why = _unfit(config)
    if why:
        os.close(fds[0])
        send(control, {"event": "promotion_refused", "why": cut(why)})
        return 0
    _leave_the_worker(hooks)
    # It has left the user that workers leave, and cannot do so again.
    config["identity"] = None
    os.set_inheritable(fds[0], False)
    send(control, {"event": "promoted"})
    control.close()
    return connect(fds[0])


def _unfit(config: dict[str, Any]) -> str:
    """What forks of this process would not survive. Connections that requests have opened count:
    every worker would use the same ones."""
    threads = _threads()
    if threads:
        threading = sys.modules.get("threading")
        known = [thread.name for thread in threading.enumerate()] if threading is not None else []
        names = ", ".join(name for name in known if name != "MainThread")
        return f"it has {threads} threads of its own ({names or 'of a library in C'})"
    if config["fork_safety"] == "off":
        return ""
    gc.collect()
    try:
        found = fork_safety.look((STANDARD_STREAMS, set()))
    except Exception as error:
        found = [f"what it has open cannot be told: {glance.failure(error)}"]
    return "; ".join(found) + " (close it in the hook worker_exit)" if found else ""


def _threads() -> int:
    """Threads beside this one. Those that served have left the loop, and may not be gone yet."""
    until = monotonic() + THREADS_END_SECONDS
    while (count := len(os.listdir("/proc/self/task")) - 1) and monotonic() < until:
        sleep(0.001)
    return count


def _leave_the_worker(hooks: Any) -> None:
    """Takes back what made a worker of a process that a zygote had forked."""
    # Its handlers refer to the channel, which is closed with them.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT, signal.SIGWINCH):
        signal.signal(number, signal.SIG_DFL)
    faulthandler.unregister(signal.SIGUSR2)
    logs.leave_worker()
    if hooks is not None:
        hooks.leave_worker()
