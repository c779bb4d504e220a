"""A worker: loads the application, says so, and runs it until told to stop."""

from __future__ import annotations

import atexit
import faulthandler
import os
import sys

from indrik import children, facade, imports, inside, libraries, loader, logs
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

WORKER_FAILED = 255
"""Gunicorn's code for a worker that had booted and raised an exception outside any request."""

DESCRIPTORS_LOST = 157
"""With this code it says that somebody has closed its own descriptors, as the supervisor knows too."""

EXIT_CODES = {"import": 4, "interface": 4, "boot": 3, "lifespan": 3}
"""Gunicorn's: 4 when the application was not found, 3 when it failed while booting."""

SHOW_STACKS = 16
"""SIGSTKFLT, which Linux never sends: at it the stacks go to the supervisor, which logs them in one piece."""

PULSES_IN_TIMEOUT = 4
"""Signs that the interpreter's lock is free, in a `deadlock_timeout`."""

LOOP_KINDS = ("asgi", "aiohttp")
"""Kinds of workers that run an event loop, whatever the application turns out to be."""

GREENLET_KINDS = ("gevent", "eventlet")
"""Kinds of workers that run each request on a greenlet."""

PATCHERS = {"gevent.monkey", "eventlet.patcher"}
"""Loaded where the standard library may have been patched."""


def main(config: dict[str, Any], title: str, fds: list[int], app: Any, hooks: Any) -> int | socket.socket:
    """Runs one worker and returns its exit code, or the socket of the zygote that it is to be.

    ``app`` is None unless it was preloaded, ``hooks`` unless the configuration has some.
    """
    *channel_fds, control_fd, stacks, metrics = fds
    for fd in fds:
        os.set_inheritable(fd, False)
    stacks = _native.move_high(stacks)
    control = connect(_native.move_high(control_fd))
    # The supervisor says when to begin: then it knows the worker and will hear of its end.
    if not control.recv(64):
        return 0
    _native.set_process_title(title)
    logs.enter_worker(lambda message: send(control, message))
    take_metrics(metrics, lambda message: send(control, message))
    libraries.enter_worker()
    channel = _native.Channel(*channel_fds)
    own = Own([*channel.descriptors(), control.fileno(), stacks])
    children.disown(own.descriptors, (signal.SIGUSR2, SHOW_STACKS))
    if hooks is not None:
        hooks.enter_worker(channel.served, lambda message: send(control, message))
    _set_signals(channel, control, hooks, stacks)
    look = inside.begin(channel, control)
    watcher = _watch(control, config, hooks) if config["reload"] else None
    farewell = Farewell()
    try:
        code = _run(config, channel, control, app, hooks, watcher, farewell)
        farewell.say()
        code = code or farewell.code
    except Exception as error:
        # Its standard error may lead nowhere, or where nobody looks.
        lost = own.are_lost()
        what = LOST if lost else f"Exception in worker process{_suspicion(config)}"
        logs.write("CRITICAL", what, error)
        code = DESCRIPTORS_LOST if lost else WORKER_FAILED
    finally:
        if watcher is not None:
            watcher.stop()
        look.stop()
        if hooks is not None:
            hooks.worker_exit()
    if code == DESCRIPTORS_LOST:
        # What the interpreter closes at its end may be somebody else's by now.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    if code == 0 and config["refork_after_requests"]:
        from indrik import refork

        children.stop()
        faulthandler.unregister(SHOW_STACKS)
        os.close(stacks)
        return refork.promote(config, control, hooks)
    return code


def take_metrics(table: int, tell: Callable[[dict[str, Any]], None]) -> None:
    """What the application counts goes into this table; ``tell`` sends a message to the supervisor."""
    report_metrics(tell)
    try:
        _native.attach_metrics(table)
    except OSError as error:
        # It counts for itself then.
        logs.write("WARNING", f"The metrics of this process are not shown: {error}")


def report_metrics(tell: Callable[[dict[str, Any]], None]) -> None:
    """Says who hears of metrics that are not kept."""
    _native.report_lost_metrics(lambda reason, text: tell({"event": "metric_lost", "reason": reason, "text": text}))


def _suspicion(config: dict[str, Any]) -> str:
    """What the failure of a worker may come from, as far as the settings tell."""
    limits = ", ".join(config["worker_rlimits"])
    return f" (the limits of worker_rlimits may be too low for it: {limits})" if limits else ""


LOST = (
    "The application has closed file descriptors that are not its own (with os.closerange, for example): this worker"
    " cannot go on"
)


class Own:
    """The descriptors that a worker lives by, as they were when it began."""

    def __init__(self, descriptors: list[int]) -> None:
        self.descriptors = descriptors
        self._files = [_file_of(fd) for fd in descriptors]

    def are_lost(self) -> bool:
        """Whether one is closed, or its number is another file's."""
        return [_file_of(fd) for fd in self.descriptors] != self._files


def _file_of(fd: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Farewell:
    """The handler for SIGTERM that the application has set in the place of ours. A worker is told to leave through
    its channel; what such a handler does is to be done all the same, once, at every stop."""

    def __init__(self) -> None:
        self.code = 0
        """What the handler wants the process to end with."""
        self._said = False

    def say(self) -> bool:
        """Calls the handler, if there is one and it has not been called; returns whether it was."""
        handler = signal.getsignal(signal.SIGTERM)
        if self._said or not callable(handler) or getattr(handler, "__module__", None) == __name__:
            return False
        self._said = True
        try:
            # An event loop's handlers hear of it as well.
            signal.raise_signal(signal.SIGTERM)
        except SystemExit as error:
            self.code = error.code if isinstance(error.code, int) else int(error.code is not None)
        return True


def _watch(control: socket.socket, config: dict[str, Any], hooks: Any) -> Any:
    from indrik import reloader

    return reloader.of_worker(config, control, hooks and hooks.code_changed)


def _run(
    config: dict[str, Any],
    channel: Any,
    control: socket.socket,
    app: Any,
    hooks: Any,
    watcher: Any,
    farewell: Farewell,
) -> int:
    try:
        try:
            if config["worker_no_new_privs"]:
                _gain_no_rights()
            if hooks is not None:
                hooks.post_fork()
            # With the rights of the server: the library may lie where the worker's user cannot read it.
            prepare_hub(config, forked=True)
            if config["identity"] is not None:
                _import_beforehand(config, app)
                _become_user(config)
            if watcher is not None:
                # Not sooner: its thread must not keep the rights that are given up here.
                watcher.start()
            run = _prepare(config, channel, control, app, hooks, farewell)
        except loader.LoadError as error:
            raise NotReady(error) from None
        except Exception as error:
            # Of ours, or of a library that the class needs: what the application raises is a `LoadError`.
            raise NotReady(loader.boot_error(f"preparing the worker{_suspicion(config)}", error)) from None
        if watcher is not None:
            watcher.refresh()
        if config["deadlock_timeout"]:
            channel.start_pulse(config["deadlock_timeout"] / PULSES_IN_TIMEOUT)
        try:
            return run()
        finally:
            channel.stop_pulse()
    except NotReady as error:
        if watcher is None:
            return _boot_failed(control, error.failure)
        watcher.failed(error.failure)
        send(control, {"event": "load_failed", **describe(error.failure)})
        return _run_wsgi(config, channel, control, watcher.page(error.failure), "sync", hooks)


def _gain_no_rights() -> None:
    """First of all: it holds for this thread and for those that it starts."""
    try:
        _native.gain_no_rights()
    except OSError as error:
        raise loader.LoadError("boot", f"cannot set no_new_privs: {error}", "leave worker_no_new_privs out") from None


def _import_beforehand(config: dict[str, Any], app: Any) -> None:
    """Imports what tells of a failure, and what the class runs requests with: the user that the worker becomes may
    not be allowed to read either. With the class "auto" that is known of a preloaded application only; of another one
    the failure is told."""
    # What formats a traceback, and what that loads only when it does.
    import linecache  # noqa: F401
    import traceback  # noqa: F401

    kind = config["worker_class"]
    if app is not None and not isinstance(app, loader.LoadError):
        kind = loader.kind_for(app, config)[1]
    if kind in LOOP_KINDS or config["asgi_loop"] != "auto":
        from indrik import asgi

        asgi.import_beforehand(config["asgi_loop"])
    if kind == "aiohttp":
        from indrik import aiohttp_app  # noqa: F401
    if kind in GREENLET_KINDS:
        from indrik import greenlets

        greenlets.hub_of(kind).prepare()
    if kind == "gthread":
        import threading  # noqa: F401
    if "asyncio" in sys.modules:
        # `_current_loop` asks it.
        from indrik import asgi  # noqa: F401
    if config["warmup"]:
        from indrik import warmup  # noqa: F401


def _become_user(config: dict[str, Any]) -> None:
    """Leaves the supervisor's user for the one that is set, before any code of the application runs."""
    identity = config["identity"]
    try:
        _native.become_user(identity["uid"], identity["gid"], identity["groups"])
    except OSError as error:
        message = f"cannot become user {identity['uid']}, group {identity['gid']}: {error}"
        raise loader.LoadError("boot", message, "the supervisor needs the right to change users") from None


class NotReady(Exception):
    """The worker failed after the application was loaded and before it was ready."""

    def __init__(self, failure: loader.LoadError) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _boot_failed(control: socket.socket, failure: loader.LoadError) -> int:
    send(control, {"event": "boot_failed", **describe(failure)})
    return failure.code if failure.kind == "exit" else EXIT_CODES[failure.kind]


def _prepare(
    config: dict[str, Any], channel: Any, control: socket.socket, app: Any, hooks: Any, farewell: Farewell
) -> Callable[[], int]:
    if config["spew"]:
        from indrik import spew

        spew.install()
    if isinstance(app, loader.LoadError):
        raise app
    loop = None
    if app is None:
        loop = _prepare_loop(config)
        before = _current_loop()
        app = loader.load_configured(config)
        if correlates(config):
            from indrik import correlation

            # Again, as the application may have put something in its place.
            correlation.install()
        # One that the application has made while it was imported, where no class said that there will be one.
        if loop is None and _current_loop() is not before:
            loop = _current_loop()
    imports.catch_up()
    interface, kind, notices = loader.kind_for(app, config)
    config["notices"] = notices
    if hooks is not None and interface == "wsgi":
        hooks.loaded(app)
    if kind in GREENLET_KINDS:
        return lambda: _run_greenlets(config, channel, control, app, kind, hooks)
    if kind in ("sync", "gthread"):
        return lambda: _run_wsgi(config, channel, control, app, kind, hooks)
    if kind == "aiohttp":
        from indrik.aiohttp_app import AiohttpApplication

        app = AiohttpApplication(app, config["graceful_timeout"])
        # aiohttp decides itself what becomes of a handler whose client has gone.
        config |= {"asgi_lifespan": "on", "asgi_disconnect_grace_period": None}
    elif interface == "asgi2":
        app = loader.asgi3_from_asgi2(app)
    around = {"event_loop": loop, "before_end": farewell.say}
    return lambda: _run_asgi(config, channel, control, app, kind, hooks, around)


def _prepare_loop(config: dict[str, Any]) -> Any:
    """Makes the loop that will serve the current one before the application is imported, as in Gunicorn: clients
    that are made then (`grpc.aio`, motor) bind themselves to it. None where the application may be WSGI, which should
    not pay for it."""
    if config["worker_class"] not in LOOP_KINDS and config["asgi_loop"] == "auto":
        return None
    from indrik import asgi

    try:
        return asgi.make_current(config["asgi_loop"])
    except Exception as error:
        raise loader.boot_error("making the event loop", error) from None


def _current_loop() -> Any:
    """The event loop that is current, if somebody has loaded what makes one."""
    if "asyncio" not in sys.modules:
        return None
    from indrik import asgi

    return asgi.current()


def prepare_hub(config: dict[str, Any], forked: bool) -> None:
    """Makes the standard library cooperate, if requests are to be greenlets.

    In the worker, before the application is imported; with preload that is in the zygote.
    """
    kind = config["worker_class"]
    if kind not in GREENLET_KINDS and not (forked and PATCHERS & sys.modules.keys()):
        return
    from indrik import greenlets

    # The configuration file may have patched already, and made the zygote a hub.
    inherited = greenlets.patched() if forked else None
    for loaded in greenlets.loaded() if forked else []:
        greenlets.hub_of(loaded).after_fork()
    if kind in GREENLET_KINDS and inherited != kind:
        greenlets.hub_of(kind).patch()


def _options(config: dict[str, Any], multithread: bool, hooks: Any) -> dict[str, Any]:
    options = {
        "multiprocess": config["workers"] > 1,
        "multithread": multithread,
        "url_scheme": "http",
        "listeners": [(host, port) for host, port in config["listeners"]],
        "root_path": config["root_path"],
        "sendfile": config["sendfile"],
        # Where Gunicorn's users put the prefix their proxy strips.
        "script_name": os.environ.get("SCRIPT_NAME", ""),
        "timeout": config["timeout"],
        "graceful_timeout": config["graceful_timeout"],
        "hooks": None if hooks is None else hooks.requests(),
        "routes": _wants_routes(config),
    }
    if correlates(config):
        from indrik import correlation

        options["correlation"] = correlation.option(config)
    if facade.SERVER_SOFTWARE != facade.SOFTWARE:
        options["server_software"] = facade.SERVER_SOFTWARE
    return options


def _wants_routes(config: dict[str, Any]) -> bool:
    """Whether the access log has the route of each request, or its span has, or the metrics have."""
    if config["tracing"] or config["slow_request_log"] or config["slow_request_paths"]:
        return True
    is_on = config["accesslog"] is not None or config["syslog"]
    is_logged = is_on and (config["log_format"] == "json" or "%(route)" in config["access_log_format"])
    is_watched = config["alert_log"] or config["alert_exec"] or config["alert_webhook"]
    return bool(is_logged or ((config["admin_bind"] or is_watched) and config["metrics_routes_max"]))


def correlates(config: dict[str, Any]) -> bool:
    """Whether requests are called something that the application's log records are to have."""
    return bool(config["request_id"] or config["tracing"])


def limits_requests(config: dict[str, Any]) -> bool:
    """Whether requests may be told to stop before they end."""
    return bool(config["request_timeout"] or config["request_timeout_paths"])


def _run_wsgi(config: dict[str, Any], channel: Any, control: socket.socket, app: Any, kind: str, hooks: Any) -> int:
    threads = config["threads"] if kind == "gthread" else 0
    options = _options(config, threads > 0, hooks) | {"socket": _socket_preparer(kind)}
    if limits_requests(config):
        from indrik import RequestTimeout

        channel.limit_requests(RequestTimeout)
        # Ignored elsewhere: event loops and hubs are told through the channel.
        signal.signal(signal.SIGURG, lambda _number, _frame: channel.interrupt())
    if threads:
        # What the loop needs is there before the worker is ready: its user may not be allowed to read it.
        try:
            import threading  # noqa: F401
        except Exception as error:
            raise NotReady(loader.boot_error("importing what threads need", error)) from None
    _say_ready(config, channel, control, "wsgi", kind, max(threads, 1), hooks)
    while True:
        try:
            if threads:
                _native.run_wsgi_threads(channel, app, options, threads)
            else:
                _native.run_wsgi_sync(channel, app, options)
            return 0
        except (SystemExit, KeyboardInterrupt) as error:
            # Of a request, which has been answered and is in the log.
            _leave(control, error)


def _socket_preparer(kind: str) -> Callable[[dict[str, Any], int], Any]:
    """Imports what it needs with the first WebSocket: most applications have none."""
    prepare: list[Any] = []

    def prepared(environ: dict[str, Any], fd: int) -> Any:
        if not prepare:
            from indrik import own_socket

            prepare.append(own_socket.preparer(kind))
        return prepare[0](environ, fd)

    return prepared


def _leave(control: socket.socket, error: BaseException) -> None:
    """The application asked for the end of its process. Other requests are in it, so it ends as any worker that is
    replaced does: when a successor is ready, and when those are finished."""
    logs.write("WARNING", f"The application ended itself ({error!r}); this worker serves on until it is replaced")
    send(control, {"event": "ends_itself"})


def _run_greenlets(
    config: dict[str, Any], channel: Any, control: socket.socket, app: Any, kind: str, hooks: Any
) -> int:
    from indrik import greenlets

    capacity = config["worker_connections"]
    own = {"limits_requests": limits_requests(config), "socket": _socket_preparer(kind)}
    options = _options(config, True, hooks) | own
    try:
        greenlets.hub_of(kind).prepare()
    except Exception as error:
        raise NotReady(loader.boot_error("making the hub", error)) from None
    _say_ready(config, channel, control, "wsgi", kind, capacity, hooks)
    greenlets.serve(kind, channel, app, options, capacity)
    return 0


def _run_asgi(
    config: dict[str, Any],
    channel: Any,
    control: socket.socket,
    app: Any,
    kind: str,
    hooks: Any,
    around: dict[str, Any],
) -> int:
    """``around``: options of `asgi.serve` beside those that are made here."""
    try:
        from indrik import asgi
    except Exception as error:
        raise NotReady(loader.boot_error("importing what an event loop needs", error)) from None

    ready = False

    def on_ready() -> None:
        nonlocal ready
        ready = True
        _say_ready(config, channel, control, "asgi", kind, config["worker_connections"], hooks)

    options = (
        _options(config, False, hooks)
        | {
            "loop": config["asgi_loop"],
            "threads": config["threads"],
            "lifespan": config["asgi_lifespan"],
            "disconnect_grace": config["asgi_disconnect_grace_period"],
            "leave": lambda error: _leave(control, error),
        }
        | around
    )
    if hooks is not None:
        # The loop is there by then, but does not run.
        options["before_start"] = lambda: hooks.loaded(app)
    try:
        asgi.serve(channel, app, options, on_ready)
    except Exception as error:
        if ready:
            raise
        raise NotReady(error if isinstance(error, loader.LoadError) else _startup_failure(config, error)) from error
    return 0


def _startup_failure(config: dict[str, Any], error: Exception) -> loader.LoadError:
    from indrik import asgi

    if not isinstance(error, asgi.LifespanFailed):
        return loader.boot_error(f"starting the event loop{_suspicion(config)}", error)
    # Either the application's own message or, when it raised, its traceback.
    text = str(error).strip()
    if "\n" in text:
        return loader.LoadError("lifespan", f"Application startup failed: {text.splitlines()[-1]}", "", text)
    return loader.LoadError("lifespan", f"Application startup failed: {text}")


def _say_ready(
    config: dict[str, Any],
    channel: Any,
    control: socket.socket,
    interface: str,
    kind: str,
    capacity: int,
    hooks: Any,
) -> None:
    if config["warmup"]:
        from indrik import warmup

        warmup.watch(len(config["warmup"]), channel.served, control)
    message = {"event": "ready", "interface": interface, "capacity": capacity, "kind": kind}
    send(control, message | {"notices": config.get("notices", [])})
    if hooks is not None and not hooks.worker.alive:
        # A hook decided so while the worker booted.
        send(control, {"event": "used_up"})


def _set_signals(channel: Any, control: socket.socket, hooks: Any, stacks: int) -> None:
    """TERM has the supervisor replace it, INT, QUIT and ABRT end it at once, USR2 shows what every thread is doing.

    The terminal's HUP reaches the whole group and is the supervisor's to answer, as are the
    signals that mean something to it alone. So is its INT, but there both mean the same.
    """

    def pass_on(number: int, _frame: Any) -> None:
        if children.is_foreign(number):
            return
        # It may be for everybody: then this worker is needed until what was accepted is finished.
        send(control, {"event": "sent_term"})

    def leave(code: int, hook: Callable[[], None] | None) -> Callable[[int, Any], None]:
        def handle(number: int, _frame: Any) -> None:
            if children.is_foreign(number):
                return
            if hook is not None:
                hook()
            # Not by an exception in whatever runs now; but what is to happen at the exit happens, as in Gunicorn.
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

        return handle

    # Written by a C handler, so it works while the interpreter is stuck in an extension. By number,
    # because the application may replace sys.stderr. First, because it takes SIGABRT as well.
    faulthandler.enable(logs.fd())
    faulthandler.register(signal.SIGUSR2, file=logs.fd(), all_threads=True, chain=False)
    faulthandler.register(SHOW_STACKS, file=stacks, all_threads=True, chain=False)
    signal.signal(signal.SIGTERM, pass_on)
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, leave(0, hooks and hooks.quit))
    signal.signal(signal.SIGABRT, leave(1, hooks and hooks.abort))
