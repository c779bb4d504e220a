"""The zygote: reads the configuration file, imports the application (preload), forks workers.

The supervisor starts it with a message socket and talks to it in JSON, one message at a time. It
never starts a thread of its own: a fork copies only the thread that forks.

What it imports, every worker pays for, so it imports little: no ``typing``, nothing that needs
``re`` or ``enum``. The modules in C that ``signal`` and ``socket`` wrap do as well.
"""

from __future__ import annotations

import gc
import os
import sys

from indrik import classes, command, facade, libraries, loader, logs, worker
from indrik.lean import _native
from indrik.messages import connect, describe, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable
    from typing import Any
else:
    import _signal as signal

CONFIG_FILE = "gunicorn.conf.py"
"""Read when no file is named and the directory has one, as in `config_file`."""

EMBEDDED = "INDRIK_EMBEDDED"
"""The program that embeds the server, as `facade._embed` describes it; the application need not see it."""

OWN_PREFIX = "indrik"
"""The default of `proc_title_prefix`."""

_IGNORED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGTTIN", "SIGTTOU", "SIGUSR2")


def main(fd: int, words: list[str]) -> None:
    """Serves the supervisor on the inherited socket until it says so or has gone.

    ``words`` are the command that was typed, packed by `command`: code of the user's finds that in `sys`.
    """
    _take_signals()
    os.set_inheritable(fd, False)
    connection = connect(fd)
    send(connection, {"event": "here"})
    command.show(command.unpacked(words))
    facade.install()
    libraries.watch()
    # The listing's own descriptor is closed again, and its number is the next one given out.
    descriptors = {name for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")}
    before = descriptors, set(os.listdir("/proc/self/task"))
    Zygote(connection, before).serve()


def _take_signals() -> None:
    # A terminal or a service manager signals the whole group; when to leave is the supervisor's word.
    # Handled, not ignored: a program that a hook or the application starts would inherit that.
    for name in _IGNORED:
        signal.signal(getattr(signal, name), _do_nothing)
        signal.siginterrupt(getattr(signal, name), False)


def _do_nothing(_number: int, _frame: Any) -> None:
    return


class Zygote:
    """One generation: its configuration and, with preload, its application."""

    def __init__(self, connection: socket.socket, before: tuple[set[str], set[str]]) -> None:
        """``before``: the descriptors and threads that were there before any code of the user's ran."""
        self._connection = connection
        self._before = before
        self._config: dict[str, Any] = {}
        self._generation = 0
        self._title = ""
        self._app: Any = None
        self._hooks: Any = None
        self._entered = False
        self._stayed = False
        self._notices: list[str] = []

    def serve(self) -> None:
        """Does what it is told, until told to leave."""
        while True:
            if worker.PATCHERS & sys.modules.keys():
                from indrik import greenlets

                greenlets.wait_readable(self._connection.fileno())
            request, fds = receive(self._connection)
            if request is None:
                return
            op = request["op"]
            if op == "read_config":
                self._read_config(request)
            elif op == "starting":
                self._starting(request)
            elif op == "configure":
                self._configure(request)
            elif op == "check":
                self._check(request)
            elif op == "log":
                logs.take(request)
            elif op == "metric":
                logs.take_metric(request)
            elif op == "metrics":
                self._take_metrics(fds)
            elif op == "fork":
                self._fork(request["worker"], fds)
            elif op == "child_exit":
                self._hooks.child_exit(request["worker"], request["pid"])
            elif op == "workers_changed":
                self._hooks.workers_changed(request["workers"])
            elif op == "pre_exec":
                if self._hooks is not None:
                    self._hooks.pre_exec()
                self._tell({"event": "hook_done", "hook": "pre_exec"})
            elif op == "pre_stop":
                if self._hooks is not None:
                    self._hooks.pre_stop()
                self._tell({"event": "hook_done", "hook": "pre_stop"})
            elif op == "exit" and self._may_leave(request["last"]):
                return

    def _take_metrics(self, fds: list[int]) -> None:
        worker.take_metrics(fds[0], self._tell)

    def _tell(self, message: dict[str, Any]) -> None:
        send(self._connection, message)

    def _title_of(self, kind: str, details: str) -> str:
        """What `ps` shows. Under another prefix as of Gunicorn's processes, for those who look for them."""
        prefix = self._config["proc_title_prefix"]
        middle = f"{kind} {details}" if prefix == OWN_PREFIX else kind
        return f"{prefix}: {middle} [{self._title}]"

    def _may_leave(self, last: bool) -> bool:
        """Runs the last hook. Threads that hooks started, a metrics server for example, would end with
        this process: the first time it is only replaced by another zygote, it stays for their sake."""
        hooks = self._hooks
        if last:
            if hooks is not None and hooks.server is not None:
                hooks.on_exit()
            return True
        if self._stayed or hooks is None or hooks.server is None or not hooks.left_something_running():
            return True
        self._stayed = True
        _native.set_process_title(self._title_of("zygote", f"gen {self._generation}, kept for its threads"))
        self._tell({"event": "stays"})
        return False

    def _read_config(self, request: dict[str, Any]) -> None:
        path = request.get("path")
        if request.get("chdir"):
            os.chdir(request["chdir"])
        # Like an application, a configuration file may import what lies beside it.
        if sys.path[:1] != [os.getcwd()]:
            sys.path.insert(0, os.getcwd())
        program = os.environ.pop(EMBEDDED, None)
        if program is None and path is None and not os.path.exists(CONFIG_FILE):
            # Reading one takes Python's own parser, the largest module here.
            self._tell({"event": "config", "path": None, "values": {}, "lines": {}, "used": []})
            return
        from indrik import configuration

        try:
            found, self._hooks = configuration.read(path, program)
        except configuration.ConfigFileError as error:
            self._tell(
                {
                    "event": "config_failed",
                    "message": error.message,
                    "file": error.file,
                    "line": error.line,
                    "hint": error.hint,
                    "traceback": error.traceback,
                }
            )
            return
        self._tell({"event": "config", **found})

    def _starting(self, request: dict[str, Any]) -> None:
        """Before the sockets are bound; only asked for when a hook wants to know."""
        if self._boot(lambda: self._enter(request, None, True), lambda: self._hooks.on_starting()):
            self._tell({"event": "started"})

    def _configure(self, request: dict[str, Any]) -> None:
        before, announce = request["workers_before"], request["announce"]
        if not self._boot(lambda: self._enter(request, before, announce), lambda: self._announce(request)):
            return
        # What is frozen is never touched by the collector, so its pages stay shared with the workers.
        gc.collect()
        gc.freeze()
        workers = None if self._hooks is None else self._hooks.server.num_workers
        stays = self._hooks is not None and self._hooks.left_something_running()
        self._tell({"event": "ready", "workers": workers, "notices": self._notices, "stays": stays})

    def _boot(self, *steps: Callable[[], None]) -> bool:
        """Takes steps; a failure is told."""
        try:
            for step in steps:
                step()
        except loader.LoadError as error:
            self._tell({"event": "failed", **describe(error)})
            return False
        except OSError as error:
            failure = loader.LoadError("boot", str(error), "check --chdir and the permissions on it")
            self._tell({"event": "failed", **describe(failure)})
            return False
        return True

    def _enter(self, request: dict[str, Any], workers_before: int | None, announce: bool) -> None:
        """Takes the configuration into use, once."""
        if self._entered:
            return
        self._entered = True
        config = self._config = request["config"]
        self._generation = request["generation"]
        self._title = request["title"]
        # Named from where the server was started, which is left here.
        config["config_path"] = config["config"] and os.path.abspath(config["config"].removeprefix("file:"))
        enter(config)
        logs.begin(config)
        # Workers inherit the handler.
        signal.signal(signal.SIGUSR1, lambda _number, _frame: logs.reopen())
        let_setproctitle_look()
        _native.set_process_title(self._title_of("zygote", f"gen {self._generation}"))
        # Applications look for Gunicorn's name in it.
        os.environ["SERVER_SOFTWARE"] = facade.SERVER_SOFTWARE
        _check_room(config)
        self._notices = classes.settle(config)
        embed = sys.modules.get("indrik.facade._embed")
        if embed is not None:
            self._notices += embed.notices()
        if self._hooks is None and logs.in_python(config):
            from indrik import configuration

            self._hooks = configuration.without_hooks()
        if self._hooks is not None:
            self._hooks.begin(config, workers_before, announce, self._tell)
            if logs.in_python(config):
                self._tell({"event": "logs_ready"})
        if config["preload_app"]:
            worker.prepare_hub(config, forked=False)
            self._app = self._preload()
            if config["fork_safety"] != "off":
                self._notices += self._check_fork_safety()

    def _check_fork_safety(self) -> list[str]:
        """Says what the application has left open; the code for that is not kept."""
        from indrik import fork_safety

        try:
            return fork_safety.check(self._before, self._config["fork_safety"])
        finally:
            _forget("fork_safety")

    def _announce(self, request: dict[str, Any]) -> None:
        """The sockets are bound."""
        self._config["listeners"] = request["listeners"]
        self._config["identity"] = request["identity"]
        if self._hooks is None:
            return
        self._hooks.listen(request["listeners"])
        if not request["announce"]:
            return
        if request["workers_before"] is None:
            self._hooks.when_ready()
        else:
            self._hooks.on_reload()

    def _preload(self) -> Any:
        """The application, or why there is none, if workers are to show that and wait for a change."""
        try:
            return loader.load_configured(self._config)
        except loader.LoadError as error:
            if self._config["reload"]:
                return error
            raise

    def _check(self, request: dict[str, Any]) -> None:
        """Loads the application the way a worker does, for commands that do not serve."""
        from indrik import rehearsal

        config = request["config"]
        found: dict[str, Any] = {}
        os.environ["SERVER_SOFTWARE"] = facade.SERVER_SOFTWARE
        if self._boot(
            lambda: enter(config),
            lambda: _check_room(config),
            lambda: found.update(rehearsal.look(config, self._hooks, self._before)),
        ):
            self._tell(found)

    def _fork(self, number: int, fds: list[int]) -> None:
        hooks = self._hooks
        try:
            if hooks is not None:
                hooks.pre_fork(number)
            pid = _native.fork_worker()
        except loader.LoadError as error:
            _close(fds)
            self._tell({"event": "fork_refused", "worker": number, **describe(error)})
            return
        except (OSError, RuntimeError) as error:
            _close(fds)
            self._tell({"event": "fork_failed", "worker": number, "message": str(error)})
            return
        if pid == 0:
            self._connection.close()
            name = self._title_of("worker", f"{number} gen {self._generation}")
            outcome = worker.main(self._config, name, fds, self._app, hooks)
            if isinstance(outcome, int):
                sys.exit(outcome)
            return self._begin_again(outcome)
        _close(fds)
        if hooks is not None:
            hooks.forked(pid)
        self._tell({"event": "forked", "worker": number, "pid": pid})

    def _begin_again(self, connection: socket.socket) -> None:
        """This process was a worker, and is the zygote from now on."""
        self._connection = connection
        _take_signals()
        _native.set_process_title(self._title_of("zygote", f"gen {self._generation}"))
        worker.report_metrics(self._tell)
        libraries.is_worker = False
        if self._hooks is not None:
            self._hooks.connect(self._tell)
        _forget("refork")
        _forget("fork_safety")
        # What the requests have made is as good as preloaded now.
        gc.collect()
        gc.freeze()


def let_setproctitle_look() -> None:
    """Lets the package ``setproctitle``, if it is there, find the memory of the arguments.

    It knows that memory by the arguments in it, so it must look before a title overwrites them; later the
    application's own calls would do nothing.
    """
    # The package itself loads `logging`, which every worker would pay for: of it only the part in C.
    finder: Any = sys.modules["_frozen_importlib_external"].PathFinder
    package = finder.find_spec("setproctitle")
    part = package and finder.find_spec("setproctitle._setproctitle", package.submodule_search_locations)
    if not part:
        return
    try:
        module = sys.modules["_frozen_importlib"].module_from_spec(part)
        part.loader.exec_module(module)
        module.getproctitle()
    except (ImportError, AttributeError):
        # Another version of it: the application's titles may do nothing then.
        return


def enter(config: dict[str, Any]) -> None:
    """Takes the place the application expects: directory, environment, module search path."""
    os.chdir(config["chdir"])
    for name, value in config["raw_env"]:
        os.environ[name] = value
    cwd = os.getcwd()
    wanted = [*(os.path.abspath(path) for path in config["pythonpath"]), cwd]
    sys.path[:] = wanted + [path for path in sys.path if path not in wanted]


_KINDS_OF_MEMORY = {"as": "VmSize", "data": "VmData"}
"""Limits of memory that this process may be above already, and what it has of each in ``/proc/self/status``."""

_UNITS = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}

WORKER_ROOM_KIB = 16 * 1024
"""What a worker takes of both, beside what it shares with the zygote, before it loads the application."""


THREAD_STACK_KIB = 8 * 1024
"""What a thread takes of both, as systems have it by default."""


def _check_room(config: dict[str, Any]) -> None:
    check_limits(config["worker_rlimits"], config["threads"] if config["worker_class"] == "gthread" else 0)


def check_limits(limits: list[str], threads: int) -> None:
    """Raises `LoadError` for a limit under which no worker could do anything: what fails then, fails anywhere."""
    wanted = {name: soft for name, soft in map(_limit, limits) if name in _KINDS_OF_MEMORY and soft is not None}
    if not wanted:
        return
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        had = {
            kind: int(value.split()[0]) for kind, _, value in (line.partition(":") for line in file) if "kB" in value
        }
    for name, soft in wanted.items():
        room = WORKER_ROOM_KIB + threads * THREAD_STACK_KIB
        floor = (had.get(_KINDS_OF_MEMORY[name], 0) + room) // 1024 + 1
        if soft < floor * _UNITS["MiB"]:
            message = f"worker_rlimits: under {name}={soft // _UNITS['MiB']}MiB no worker can start"
            hint = (
                f"it has {name}={floor}MiB before it loads the application: allow more than that, or leave {name} out"
            )
            raise loader.LoadError("config", message, hint)


def _limit(text: str) -> tuple[str, int | None]:
    """Name and soft limit in bytes (None: none, or no size), as the supervisor writes it: ``as=2GiB:4GiB``."""
    name, _, amounts = text.partition("=")
    amount = amounts.partition(":")[0]
    for unit, factor in _UNITS.items():
        if amount.endswith(unit) and amount[: -len(unit)].isdigit():
            return name, int(amount[: -len(unit)]) * factor
    return name, int(amount) if amount.isdigit() else None


def _forget(name: str) -> None:
    """Lets go of a module of ours that is needed once."""
    sys.modules.pop(f"indrik.{name}", None)
    vars(sys.modules["indrik"]).pop(name, None)


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
