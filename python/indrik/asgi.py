"""Serves an ASGI application: the event loop and the lifespan.

Requests and WebSockets are `_native.AsgiServer`'s; this module makes the loop, runs the lifespan
around it, and logs what applications raise.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from indrik import _native, inside, logs

Message = dict[str, Any]
Application = Callable[..., Awaitable[None]]

#: Seconds between two signs of life of the loop.
HEARTBEAT_SECONDS_MAX = 1.0
#: As many fall into a `timeout` that is so short that one a second would be few.
HEARTBEATS_IN_TIMEOUT = 4
#: Seconds that the application's tasks get to end after they were cancelled at the exit.
CANCEL_SECONDS_MAX = 5.0
#: Turns of the loop in which a signal that was raised reaches a handler.
TURNS_OF_A_SIGNAL = 5
LOOPS = ("auto", "asyncio", "uvloop")
LIFESPANS = ("auto", "on", "off")


class LifespanFailed(Exception):
    """The application could not start up. The text is its message or its traceback."""


class ClientDisconnected(OSError):
    """`send` was called, but the client is gone."""


def serve(channel: Any, app: Application, options: dict[str, Any], on_ready: Callable[[], None]) -> None:
    """Serves until the channel's shutdown flag is set and nothing is left to do.

    `on_ready` is called when the application has started up. Options beyond those of the native
    server: `loop` ("auto", "asyncio", "uvloop"), `lifespan` ("auto", "on", "off"), `disconnect_grace`
    (seconds after which the coroutine of a client that has gone is cancelled; None: never),
    `event_loop` (one that is current already), `threads` (for what blocks; 1: as many as the libraries think
    right), `before_start`, which is called when there is a loop and before anything runs on it, `leave`, which is
    called with the exception when the application asks for the end of its process, and `before_end`, which is
    called when all requests have ended and returns whether it has sent this process a signal.

    Raises `LifespanFailed` if the application cannot start, `ValueError` for a bad option and
    `RuntimeError` if the channel breaks.
    """
    lifespan_mode = options.get("lifespan") or "auto"
    if lifespan_mode not in LIFESPANS:
        raise ValueError(f"lifespan {lifespan_mode!r} is not one of {', '.join(LIFESPANS)}")
    loop = options.get("event_loop") or make_current(options.get("loop") or "auto")
    try:
        before_start = options.get("before_start")
        if before_start is not None:
            before_start()
        _serve_on(loop, channel, app, dict(options), lifespan_mode, on_ready)
    finally:
        try:
            _end_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def make_current(kind: str) -> asyncio.AbstractEventLoop:
    """A new event loop, which is the current one from now on."""
    loop = new_event_loop(kind)
    asyncio.set_event_loop(loop)
    return loop


def import_beforehand(kind: str) -> None:
    """Imports what `serve` needs later, while that may be read."""
    # Loaded by their first user, in the standard library and in the native module.
    import sysconfig

    from indrik import orphans  # noqa: F401

    # Asked for by the native module; it reads a file of its own.
    sysconfig.get_config_var("Py_GIL_DISABLED")

    new_event_loop(kind).close()


def current() -> asyncio.AbstractEventLoop | None:
    """The event loop that somebody has made current, if it can be run. Asking asyncio would make one."""
    policy = getattr(asyncio.events, "_event_loop_policy", None)
    loop: asyncio.AbstractEventLoop | None = getattr(getattr(policy, "_local", None), "_loop", None)
    return None if loop is None or loop.is_closed() or loop.is_running() else loop


def new_event_loop(kind: str) -> asyncio.AbstractEventLoop:
    """An event loop: uvloop's if it is installed, unless `kind` says otherwise."""
    if kind not in LOOPS:
        raise ValueError(f"event loop {kind!r} is not one of {', '.join(LOOPS)}")
    if kind != "asyncio":
        try:
            import uvloop
        except ImportError:
            if kind == "uvloop":
                raise ValueError(
                    "event loop 'uvloop' is not installed: install it (pip install uvloop) or use 'auto'"
                ) from None
        else:
            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return loop
    return asyncio.SelectorEventLoop()


def _serve_on(
    loop: asyncio.AbstractEventLoop,
    channel: Any,
    app: Application,
    options: dict[str, Any],
    lifespan_mode: str,
    on_ready: Callable[[], None],
) -> None:
    if options.get("threads", 1) > 1:
        loop.run_until_complete(_size_threads(options["threads"]))
    lifespan = Lifespan(app, required=lifespan_mode == "on")
    if lifespan_mode != "off":
        loop.run_until_complete(lifespan.start_up())
    options["state"] = lifespan.state
    failure: list[BaseException] = []

    def stop(error: BaseException | None) -> None:
        if error is not None:
            failure.append(error)
        loop.stop()

    leave = options.get("leave") or (lambda _error: loop.stop())
    hooks: dict[str, Any] = {
        "report": report,
        "stop": stop,
        "exit": leave,
        "wrap": _wrap,
        "client_gone": ClientDisconnected,
    }
    grace = options.get("disconnect_grace")
    if grace is not None:
        hooks["gone"] = lambda exchange: loop.call_later(grace, exchange.give_up)
    server = _native.AsgiServer(channel, app, loop, options, hooks)
    inside.watch_loop(loop, lifespan.task)

    timeout = options.get("timeout") or HEARTBEAT_SECONDS_MAX * HEARTBEATS_IN_TIMEOUT
    beat_seconds = min(HEARTBEAT_SECONDS_MAX, timeout / HEARTBEATS_IN_TIMEOUT)

    def beat() -> None:
        channel.heartbeat()
        server.look_for_credit()
        loop.call_later(beat_seconds, beat)

    beat()
    loop.add_reader(server.fileno(), server.on_wake)
    loop.call_soon(server.on_turn)
    on_ready()
    try:
        _run(loop, leave)
    finally:
        loop.remove_reader(server.fileno())
        server.close()
        before_end = options.get("before_end")
        if before_end is not None:
            loop.run_until_complete(_say(before_end))
        loop.run_until_complete(lifespan.shut_down())
    if failure:
        raise RuntimeError(f"the worker cannot go on serving: {failure[0]}") from failure[0]


def _run(loop: asyncio.AbstractEventLoop, leave: Callable[[BaseException], None]) -> None:
    """Runs the loop until it is stopped. `sys.exit()` in a task or a callback of the application ends the loop's
    turn and nobody's request: the worker goes on until it is told to leave."""
    while True:
        try:
            return loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            logs.write("ERROR", "Exception in a task or callback of the ASGI application", error)
            leave(error)


async def _say(before_end: Callable[[], bool]) -> None:
    """Calls it while the loop runs: only then does a signal reach the loop's handlers, and that takes some turns."""
    if before_end():
        for _ in range(TURNS_OF_A_SIGNAL):
            await asyncio.sleep(0)


async def _size_threads(count: int) -> None:
    """As many threads for what blocks: in the loop's own executor, and in anyio's, which Starlette uses."""
    from concurrent.futures import ThreadPoolExecutor

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(count, thread_name_prefix="asyncio"))
    if "anyio" in sys.modules:
        import anyio.to_thread

        anyio.to_thread.current_default_thread_limiter().total_tokens = count


class Lifespan:
    """The lifespan protocol, from the server's side."""

    def __init__(self, app: Application, *, required: bool = False) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._required = required
        self.task: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._started: asyncio.Future[None] | None = None
        self._stopped: asyncio.Future[None] | None = None
        self._supported = False
        self._failed = False
        self._foreign = False

    async def start_up(self) -> None:
        """Runs the application's start-up. One that raises before it has said anything is served without lifespan
        events, as the specification wants, unless the lifespan is required."""
        loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        self._stopped = loop.create_future()
        self._events.put_nowait({"type": "lifespan.startup"})
        self.task = loop.create_task(self._run())
        await self._started

    async def shut_down(self) -> None:
        """Runs the application's shutdown, if it has started up."""
        if not self._supported or self.task is None or self.task.done():
            return
        assert self._stopped is not None
        self._events.put_nowait({"type": "lifespan.shutdown"})
        await self._stopped

    async def _run(self) -> None:
        assert self._started is not None and self._stopped is not None
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._events.get, self._send)
        except Exception as error:
            self._ended(error)
        except BaseException:
            # The loop is going away, or the application exits.
            for future in (self._started, self._stopped):
                if not future.done():
                    future.cancel()
            raise
        else:
            self._ended(None)

    def _ended(self, error: Exception | None) -> None:
        """The application's lifespan coroutine is over."""
        assert self._started is not None and self._stopped is not None
        if not self._started.done():
            if error is not None and self._required:
                self._started.set_exception(LifespanFailed(_text_of(error)))
                return self._stopped.set_result(None)
            if error is not None and self._knows_lifespan(error):
                text = "The application raised in its lifespan startup; it is served without lifespan (asgi_lifespan)"
                logs.write("ERROR", text, error)
            self._started.set_result(None)
        elif error is not None and not self._failed:
            logs.write("ERROR", "Exception in 'lifespan' protocol", error)
        if not self._stopped.done():
            self._stopped.set_result(None)

    def _knows_lifespan(self, error: Exception) -> bool:
        """Whether what it raised is news. One that does not even look at the scope's type takes the event too, but then
        misses a key of an HTTP message or sends one."""
        return self._events.empty() and not self._foreign and not isinstance(error, KeyError)

    async def _send(self, message: Message) -> None:
        assert self._started is not None and self._stopped is not None
        kind = message["type"]
        if kind == "lifespan.startup.complete" and not self._started.done():
            self._supported = True
            self._started.set_result(None)
        elif kind == "lifespan.startup.failed" and not self._started.done():
            self._failed = True
            text = message.get("message", "") or "the application gave no reason"
            self._started.set_exception(LifespanFailed(text))
        elif kind == "lifespan.shutdown.complete" and self._may_stop():
            self._stopped.set_result(None)
        elif kind == "lifespan.shutdown.failed" and self._may_stop():
            text = message.get("message", "") or "the application gave no reason"
            logs.write("ERROR", f"Application shutdown failed: {text}")
            self._stopped.set_result(None)
        else:
            self._foreign = not kind.startswith("lifespan.")
            raise RuntimeError(f"Unexpected ASGI message {kind!r} in the lifespan protocol.")

    def _may_stop(self) -> bool:
        assert self._stopped is not None
        return self._supported and not self._stopped.done()


async def _wrap(app_or_awaitable: Any, *arguments: Any) -> None:
    """A coroutine for an application that is none, or gives none."""
    if arguments:
        app_or_awaitable = app_or_awaitable(*arguments)
    await app_or_awaitable


def report(scope: Message | None, error: BaseException, gone: bool) -> None:
    """Logs what an application raised. That the client is gone is no fault of it."""
    if gone and (isinstance(error, asyncio.CancelledError) or _comes_from_disconnect(error)):
        return
    what = ""
    if scope:
        what = f" ({scope.get('method', 'WEBSOCKET')} {scope.get('path', '')})"
    logs.write("ERROR", f"Exception in ASGI application{what}", error)
    if isinstance(error, asyncio.CancelledError):
        from indrik import orphans

        orphans.stop()


def _comes_from_disconnect(error: BaseException | None) -> bool:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ClientDisconnected):
            return True
        nested = getattr(error, "exceptions", None)
        if nested and all(_comes_from_disconnect(inner) for inner in nested):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _text_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancels what still runs, and gives it a limited time to end."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        waiting: Coroutine[Any, Any, Any] = asyncio.wait(tasks, timeout=CANCEL_SECONDS_MAX)
        loop.run_until_complete(waiting)
