"""A worker: loads the application, says so, and runs it until told to stop."""

from __future__ import annotations

import faulthandler
import os
import sys

from indrik import loader
from indrik.lean import _native
from indrik.messages import connect, describe, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable
    from typing import Any
else:
    # Without the enumerations that `signal` makes of its numbers.
    import _signal as signal

EXIT_CODES = {"import": 4, "interface": 4, "boot": 3, "lifespan": 3}
"""Gunicorn's: 4 when the application was not found, 3 when it failed while booting."""


def main(config: dict[str, Any], title: str, fds: list[int], app: Any) -> int:
    """Runs one worker and answers its exit code. ``app`` is None unless it was preloaded."""
    memory, request_wake, response_wake, descriptors, control_fd = fds
    for fd in fds:
        os.set_inheritable(fd, False)
    control = connect(control_fd)
    # The supervisor says when to begin: then it knows the worker and will hear of its end.
    if not control.recv(64):
        return 0
    _native.set_process_title(title)
    channel = _native.Channel(memory, request_wake, response_wake, descriptors)
    _set_signals(channel, control)
    try:
        run = _prepare(config, channel, control, app)
    except loader.LoadError as error:
        send(control, {"event": "boot_failed", **describe(error)})
        return EXIT_CODES[error.kind]
    return run()


def _prepare(config: dict[str, Any], channel: Any, control: socket.socket, app: Any) -> Callable[[], int]:
    spec = config["wsgi_app"]
    if app is None:
        app = loader.load(spec)
    interface = loader.interface_of(app, spec)
    worker_class = config["worker_class"]
    loader.check_class(interface, worker_class, spec)
    if interface != "wsgi":
        if interface == "asgi2":
            app = loader.asgi3_from_asgi2(app)
        return lambda: _run_asgi(config, channel, control, app)
    threaded = worker_class == "gthread" or config["threads"] > 1
    return lambda: _run_wsgi(config, channel, control, app, config["threads"] if threaded else 0)


def _options(config: dict[str, Any], multithread: bool) -> dict[str, Any]:
    return {
        "multiprocess": config["workers"] > 1,
        "multithread": multithread,
        "url_scheme": "http",
        "listeners": [(host, port) for host, port in config["listeners"]],
        "root_path": config["root_path"],
        # Where Gunicorn's users put the prefix their proxy strips.
        "script_name": os.environ.get("SCRIPT_NAME", config["root_path"]),
        "timeout": config["timeout"],
        "graceful_timeout": config["graceful_timeout"],
    }


def _run_wsgi(config: dict[str, Any], channel: Any, control: socket.socket, app: Any, threads: int) -> int:
    options = _options(config, threads > 0)
    _say_ready(control, "wsgi", max(threads, 1))
    if threads:
        _native.run_wsgi_threads(channel, app, options, threads)
    else:
        _native.run_wsgi_sync(channel, app, options)
    return 0


def _run_asgi(config: dict[str, Any], channel: Any, control: socket.socket, app: Any) -> int:
    from indrik import asgi

    ready = False

    def on_ready() -> None:
        nonlocal ready
        ready = True
        _say_ready(control, "asgi", config["worker_connections"])

    try:
        asgi.serve(channel, app, _options(config, False), on_ready)
    except Exception as error:
        if ready:
            raise
        failure = _startup_failure(error)
        send(control, {"event": "boot_failed", **describe(failure)})
        return EXIT_CODES[failure.kind]
    return 0


def _startup_failure(error: Exception) -> loader.LoadError:
    from indrik import asgi

    if not isinstance(error, asgi.LifespanFailed):
        return loader.boot_error("starting the event loop", error)
    # Either the application's own message or, when it raised, its traceback.
    text = str(error).strip()
    if "\n" in text:
        return loader.LoadError("lifespan", f"Application startup failed: {text.splitlines()[-1]}", "", text)
    return loader.LoadError("lifespan", f"Application startup failed: {text}")


def _say_ready(control: socket.socket, interface: str, capacity: int) -> None:
    send(control, {"event": "ready", "interface": interface, "capacity": capacity})


def _set_signals(channel: Any, control: socket.socket) -> None:
    """TERM stops gracefully, QUIT and ABRT at once, USR2 shows what every thread is doing.

    The terminal's INT and HUP reach the whole group and are the supervisor's to answer, as are
    the signals that mean something to it alone.
    """

    def stop(_number: int, _frame: Any) -> None:
        send(control, {"event": "stopping", "reason": "SIGTERM"})
        channel.request_shutdown()

    # Written by a C handler, so it works while the interpreter is stuck in an extension. By number,
    # because the application may replace sys.stderr. First, because it takes SIGABRT as well.
    faulthandler.enable(2)
    faulthandler.register(signal.SIGUSR2, file=2, all_threads=True, chain=False)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGQUIT, lambda _number, _frame: os._exit(0))
    signal.signal(signal.SIGABRT, _abort)


def _abort(_number: int, _frame: Any) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
