"""Hooks: the functions of a configuration file that are called as the server and its workers live.

A :class:`Hooks` is made in the zygote, which stands for Gunicorn's arbiter, and is forked into the
workers. Only configurations that have hooks load this module: it imports what Gunicorn's own objects
are made of.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from indrik import facade, glance, logs, mirror
from indrik.facade import util
from indrik.facade._settings import HOOKS, OWN_HOOKS
from indrik.facade.arbiter import Arbiter
from indrik.facade.config import resolve_callable
from indrik.loader import LoadError

PARAMETERS = {
    "pre_fork": "server, worker",
    "post_fork": "server, worker",
    "post_worker_init": "worker",
    "worker_int": "worker",
    "worker_abort": "worker",
    "pre_request": "worker, req",
    "post_request": "worker, req, environ, resp",
    "child_exit": "server, worker",
    "worker_exit": "server, worker",
    "nworkers_changed": "server, new_value, old_value",
    "ssl_context": "config, default_ssl_context_factory",
    "on_dirty_starting": "arbiter",
    "dirty_post_fork": "arbiter, worker",
    "dirty_worker_init": "worker",
    "dirty_worker_exit": "arbiter, worker",
}
"""What each hook is given; ``server`` where it is not named here."""

TOLD_OF_WORKERS = ("post_fork", "post_worker_init")
"""Hooks of workers that the supervisor waits for. Of the zygote's it waits for all."""


class BadHook(Exception):
    """A hook that cannot be called: no function, or the wrong number of parameters."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


def collect(values: dict[str, Any]) -> tuple[dict[str, Callable[..., Any]], list[BadHook]]:
    """The hooks among a configuration's values, and what is wrong with others. None is unset."""
    found: dict[str, Callable[..., Any]] = {}
    bad: list[BadHook] = []
    for name in (*HOOKS, *OWN_HOOKS):
        if values.get(name) is None:
            continue
        try:
            found[name] = _checked(name, values[name])
        except BadHook as error:
            bad.append(error)
    return found, bad


def _checked(name: str, value: Any) -> Callable[..., Any]:
    try:
        function = resolve_callable(value)
        arity = util.get_arity(function)
    except (TypeError, ValueError) as error:
        raise BadHook(name, f"cannot be used: {error}") from error
    allowed = HOOKS.get(name) or OWN_HOOKS[name]
    if arity not in allowed:
        wanted = PARAMETERS.get(name, "server")
        counts = " or ".join(map(str, sorted(allowed)))
        raise BadHook(
            name,
            f"must have {counts} parameter{'s' * (counts != '1')} ({wanted}), but {_shown(function)} has {arity}",
        )
    if name == "post_request" and arity < 4:
        return lambda worker, req, environ, resp: function(*(worker, req, environ)[:arity])
    checked: Callable[..., Any] = function
    return checked


def _shown(function: Any) -> str:
    return glance.name_of(function)


def server_header() -> str | None:
    """The ``Server`` header that the configuration asks for by changing Gunicorn's modules: empty for
    none at all, None when nothing was changed."""
    wsgi = sys.modules.get("indrik.facade.http.wsgi")
    if wsgi is not None and wsgi.Response.__module__ != wsgi.__name__:
        line = wsgi.server_line(wsgi.Response)
        if line != facade.SERVER:
            return line or ""
    for changed, original in ((facade.SERVER, facade.NAME), (facade.SERVER_SOFTWARE, facade.SOFTWARE)):
        if changed != original:
            return str(changed)
    return None


class Listener:
    """Where the front listens, as ``server.LISTENERS`` and ``worker.sockets`` have it."""

    def __init__(self, host: str, port: int | None) -> None:
        self._host = host
        self._port = port

    def getsockname(self) -> Any:
        """Host and port, or the path."""
        return self._host.removeprefix("unix:") if self._port is None else (self._host, self._port)

    def __str__(self) -> str:
        if self._port is None:
            return self._host
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"


class App:
    """``server.app`` and ``worker.app``, unless a program that embeds the server has its own."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self.callable: Any = None

    def wsgi(self) -> Any:
        """The application, once it is loaded."""
        return self.callable


class Hooks:
    """The hooks of one generation, with the objects they are given."""

    def __init__(
        self,
        found: dict[str, Callable[..., Any]],
        values: dict[str, Any],
        places: dict[str, str],
        program: Any = None,
    ) -> None:
        """``places``: where each hook is written. ``program``: the application of an embedding program."""
        self.found = found
        self._values = values
        self._places = places
        self._program = program
        self.server: Any = None
        self.worker: Any = None
        self._coming: Any = None
        self._started_threads = False
        self._tell: Callable[[dict[str, Any]], None] | None = None

    def mirrored(self, config: dict[str, Any]) -> Any:
        """The settings as hooks and loggers see them."""
        return mirror.config(self._values, self.found, config)

    # --- in the zygote ---

    def begin(
        self,
        config: dict[str, Any],
        workers_before: int | None,
        announce: bool,
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        """Makes ``server``; calls ``nworkers_changed``, if this is to be announced. ``tell`` sends a
        message to the supervisor."""
        if self.server is not None:
            return
        self._tell = tell
        cfg = self.mirrored(config)
        app = self._program or App(cfg)
        app.cfg = cfg
        server = self.server = Arbiter(app)
        server.log = logs.logger(cfg)
        # Programs signal the arbiter by it; the zygote's parent is the supervisor.
        server.pid = os.getppid()
        server.worker_class = mirror.worker_class(config)
        server._num_workers = workers_before
        if announce:
            self.call("nworkers_changed", server, cfg.workers, workers_before)
        server._num_workers = cfg.workers
        server.connect(Wishes(tell))

    def listen(self, listeners: list[Any]) -> None:
        """Notes where the front listens."""
        self.server.LISTENERS = [Listener(host, port) for host, port in listeners]

    def on_starting(self) -> None:
        """Before the sockets are bound."""
        self._call_and_count_threads("on_starting")

    def when_ready(self) -> None:
        """Before the first worker is forked."""
        self._call_and_count_threads("when_ready")

    def on_reload(self) -> None:
        """In a new generation's zygote, before its first worker is forked."""
        self.call("on_reload", self.server)

    def pre_exec(self) -> None:
        """Before the supervisor replaces itself."""
        self.attempt("pre_exec", self.server)

    def pre_stop(self) -> None:
        """The end is announced; everything is served on."""
        self.attempt("pre_stop", self.server)

    def on_exit(self) -> None:
        """After the last worker has gone."""
        self.attempt("on_exit", self.server)

    def left_something_running(self) -> bool:
        """Whether the hooks of the start started threads, which would end with this process."""
        return self._started_threads and threads() > 1

    def pre_fork(self, number: int) -> None:
        """Makes the worker's object and shows it to the hook."""
        server = self.server
        server.worker_age = max(server.worker_age, number)
        self._coming = self._new_worker(number)
        self.call("pre_fork", server, self._coming)

    def forked(self, pid: int) -> None:
        """The zygote's side after a fork."""
        self._coming.pid = pid
        self.server.WORKERS[pid] = self._coming

    def child_exit(self, number: int, pid: int) -> None:
        """A worker has ended; one of an earlier generation was not made here."""
        worker = self.server.WORKERS.pop(pid, None)
        if worker is None:
            worker = self._new_worker(number)
            worker.pid = pid
        self.attempt("child_exit", self.server, worker)

    def workers_changed(self, count: int) -> None:
        """The supervisor wants another number of workers."""
        old, self.server._num_workers = self.server.num_workers, count
        self.attempt("nworkers_changed", self.server, count, old)

    def _new_worker(self, number: int) -> Any:
        server = self.server
        made = server.worker_class(
            number, server.pid, server.LISTENERS, server.app, server.timeout / 2, server.cfg, server.log
        )
        return made

    # --- in the worker ---

    def enter_worker(self, served: Callable[[], int], tell: Callable[[dict[str, Any]], None]) -> None:
        """The worker's side after the fork. ``tell`` sends a message to the supervisor."""
        self.worker = self._coming
        self.worker.in_process(served, lambda: tell({"event": "used_up"}))
        self._tell = tell
        # The zygote's socket is not this process's.
        self.server.connect(None)

    def leave_worker(self) -> None:
        """In a worker that becomes the zygote: workers that it forks are not this one."""
        self.worker = self._coming = None

    def connect(self, tell: Callable[[dict[str, Any]], None]) -> None:
        """The zygote has another socket."""
        self._tell = tell
        self.server.connect(Wishes(tell))

    def post_fork(self) -> None:
        """First thing in the worker."""
        self.call("post_fork", self.server, self.worker)

    def loaded(self, app: Any) -> None:
        """The application is there, and not yet called."""
        self.server.app.callable = self.worker.wsgi = self.worker.asgi = app
        self.call("post_worker_init", self.worker)
        self.worker.booted = True

    def quit(self) -> None:
        """SIGQUIT: the worker ends at once."""
        self.worker._alive = False
        self.attempt("worker_int", self.worker)
        self.worker_exit()

    def code_changed(self) -> None:
        """A file of this worker was changed, so it will be followed by another one. In the thread that
        saw it, as in Gunicorn."""
        if self.worker._alive:
            self.worker._alive = False
            self.attempt("worker_int", self.worker)

    def abort(self) -> None:
        """SIGABRT: the worker hung."""
        self.worker._alive = False
        self.worker.aborted = True
        self.attempt("worker_abort", self.worker)
        self.worker_exit()

    def worker_exit(self) -> None:
        """Last thing in the worker."""
        self.attempt("worker_exit", self.server, self.worker)

    def requests(self) -> Any:
        """What is called around requests, or None if nothing is."""
        pre, post, access = self.found.get("pre_request"), self.found.get("post_request"), logs.access()
        if pre is None and post is None and access is None:
            return None
        from indrik.request_hooks import RequestHooks

        return RequestHooks(self.worker, pre, post, access)

    # --- calling ---

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a hook; what it raises is a failure to boot."""
        function = self.found.get(name)
        if function is None:
            return
        tell = self._tell if self.worker is None or name in TOLD_OF_WORKERS else None
        if tell is not None:
            # Should it not return, the supervisor names it.
            tell({"event": "hook", "hook": name})
        try:
            function(*arguments)
        except SystemExit as error:
            raise _exit(name, error) from None
        except Exception as error:
            place = f" ({self._places[name]})" if name in self._places else ""
            message = f"the hook {name}{place} raised {glance.failure(error)}"
            # A worker has failed to boot by it, as by its application; the server has not started by it.
            kind = "hook" if self.worker is None else "boot"
            raise LoadError(kind, message, "", _traceback(error)) from None
        finally:
            if tell is not None:
                tell({"event": "hook", "hook": None})

    def _call_and_count_threads(self, name: str) -> None:
        before = threads()
        self.call(name, self.server)
        self._started_threads = self._started_threads or threads() > before

    def attempt(self, name: str, *arguments: Any) -> None:
        """Calls a hook; what it raises is logged, and life goes on."""
        try:
            self.call(name, *arguments)
        except LoadError as error:
            self.server.log.error("%s\n%s", error.message[0].upper() + error.message[1:], error.traceback.rstrip())


class Wishes:
    """What hooks want of the supervisor."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell = tell

    def want_workers(self, count: int) -> None:
        """So many workers."""
        self._tell({"event": "want_workers", "workers": max(int(count), 0)})


def _exit(name: str, error: SystemExit) -> LoadError:
    """A hook that calls `sys.exit`, to refuse the start with a code and perhaps a text of its own."""
    code = error.code if isinstance(error.code, int) else int(error.code is not None)
    failure = LoadError("exit", f"the hook {name} called sys.exit({error.code!r})")
    failure.code = code
    return failure


def threads() -> int:
    """Threads of this process, also those that Python does not know."""
    return len(os.listdir("/proc/self/task"))


def _traceback(error: BaseException) -> str:
    """Without our own frame on top."""
    inner = error.__traceback__.tb_next if error.__traceback__ else None
    return "".join(traceback.format_exception(type(error), error, inner or error.__traceback__))


def embedded_values(app: Any) -> dict[str, Any]:
    """The settings that an embedding program has set, as a configuration file would have them."""
    defaults = mirror.defaults()
    values = {}
    for name, setting in app.cfg.settings.items():
        value = setting.get()
        before = defaults.settings[name].get() if name in defaults.settings else None
        is_default_hook = name in HOOKS and value is setting.default
        is_given = setting.given and value is not None
        if (is_given or value != before) and not is_default_hook and name not in ("config", "default_proc_name"):
            values[name] = value
    return values
