"""Reload on code change: watches the files this worker runs and tells the supervisor which changed.

The supervisor answers with a new generation, so this worker goes on serving until its successor is
ready. An application that cannot be loaded is replaced by a page with its traceback, in a worker
that watches on: the next save brings the next try.
"""

from __future__ import annotations

import glob
import os
import sys

from indrik import glance
from indrik.lean import _native
from indrik.messages import send

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from typing import Any

    from indrik.loader import LoadError

TICK_SECONDS = 1.0
"""How often newly imported modules and newly matching files are looked for."""
POLL_SECONDS = 1.0
"""How often files are looked at without events: as in Gunicorn."""
SAFETY_SECONDS = 2.0
"""How often they are looked at besides, where events may be missing (network file systems)."""
NEVER_SECONDS = 1e9
STOP_SECONDS_MAX = 5.0
FILES_TOLD_MAX = 50
"""Changed files named to the supervisor; the rest of a large change is left out."""
PATH_CHARS_MAX = 500
GLOB_CHARACTERS = frozenset("*?[")


class Reloader:
    """Watches in a thread of its own, which the application's patches do not reach."""

    def __init__(self, config: dict[str, Any], report: Callable[[list[tuple[str, str]]], None]) -> None:
        self._report = report
        self._extra = [os.path.abspath(name) for name in config["reload_extra_files"] or ()]
        # `python:MODULE` is no file, and is watched as a module.
        if config["config_path"] and os.path.exists(config["config_path"]):
            self._extra.append(config["config_path"])
        self._of_failure: list[str] = []
        self._watch = _open(config["reload_engine"])
        self._running: Any = None
        self._stopping = False

    def start(self) -> None:
        """Begins to watch what is imported so far."""
        self.refresh()
        self._running = _thread("allocate_lock")()
        self._running.acquire()
        _thread("start_new_thread")(self._run, ())

    def refresh(self) -> None:
        """Takes in what has been imported meanwhile."""
        found = module_files(sys.modules.values()) + self._of_failure
        self._watch.update(found, _expanded(self._extra))

    def failed(self, error: LoadError) -> None:
        """The application could not be loaded: what might mend it is watched too."""
        self._of_failure = failure_files(error)
        if self._running is None:
            self.start()
        else:
            self.refresh()

    def page(self, error: LoadError) -> Callable[..., list[bytes]]:
        """A WSGI application that answers everything with the failure, as text."""
        parts = [error.message, error.hint, error.traceback, "It is loaded again as soon as a file changes."]
        text = "The application could not be loaded.\n\n" + "\n\n".join(part for part in parts if part) + "\n"
        body = text.encode("utf-8", "backslashreplace")

        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
            start_response("500 Internal Server Error", headers)
            return [body]

        return application

    def stop(self) -> None:
        """Ends the thread, before the interpreter ends."""
        self._stopping = True
        self._watch.stop()
        if self._running is not None:
            self._running.acquire(True, STOP_SECONDS_MAX)

    def _run(self) -> None:
        try:
            while not self._stopping:
                changes = self._watch.wait(TICK_SECONDS)
                if changes:
                    changes.sort()
                    self._report([(path[:PATH_CHARS_MAX], stamp) for path, stamp in changes[:FILES_TOLD_MAX]])
                self.refresh()
        except OSError as error:
            os.write(2, f"The reloader cannot go on, changes are not seen any more: {error}\n".encode())
        finally:
            self._running.release()


def of_worker(config: dict[str, Any], control: socket.socket, changed: Callable[[], None] | None = None) -> Reloader:
    """One that tells the supervisor, when it is started. ``changed`` is called after that, in the
    watching thread."""

    def report(files: list[tuple[str, str]]) -> None:
        send(control, {"event": "changed", "files": [list(file) for file in files]})
        if changed is not None:
            changed()

    return Reloader(config, report)


def module_files(modules: Iterable[Any]) -> list[str]:
    """The source files of modules; of a compiled one the source it was made from, if that is there."""
    files = []
    for module in tuple(modules):
        # Looked up beside the module's own ways: some modules import themselves when asked.
        name = glance.attributes(module).get("__file__")
        if not glance.is_a(name, str) or not name:
            continue
        if name.endswith((".pyc", ".pyo")) and os.path.exists(name[:-1]):
            name = name[:-1]
        files.append(name if name[0] == "/" else os.path.abspath(name))
    return files


def failure_files(error: LoadError) -> list[str]:
    """The files a failure points to: those in the traceback, and where a missing module might appear."""
    files: set[str] = set()
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, SyntaxError) and cause.filename:
            files.add(os.path.abspath(cause.filename))
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            files.update(_places_of(cause.name))
        trace = cause.__traceback__
        while trace is not None:
            files.add(trace.tb_frame.f_code.co_filename)
            trace = trace.tb_next
        cause = cause.__cause__ or cause.__context__
    return sorted(name for name in files if name.startswith("/"))


def _places_of(module: str) -> list[str]:
    path = module.replace(".", "/")
    directories = [os.path.abspath(entry) for entry in sys.path]
    return [f"{directory}/{path}{end}" for directory in directories for end in (".py", "/__init__.py")]


def _expanded(names: Iterable[str]) -> list[str]:
    files = []
    for name in names:
        files += glob.glob(name, recursive=True) if GLOB_CHARACTERS.intersection(name) else [name]
    return files


def _open(engine: str) -> Any:
    """By events where they can be had, unless polling is asked for."""
    if engine == "poll":
        return _native.FileWatch(False, POLL_SECONDS)
    try:
        return _native.FileWatch(True, NEVER_SECONDS if engine == "inotify" else SAFETY_SECONDS)
    except OSError as error:
        os.write(2, f"No inotify ({error}); files are looked at every {POLL_SECONDS:g} s instead\n".encode())
        return _native.FileWatch(False, POLL_SECONDS)


def _thread(name: str) -> Any:
    """A function of ``_thread`` as it was before gevent or eventlet put their own in its place."""
    import _thread

    if "gevent.monkey" in sys.modules:
        return sys.modules["gevent.monkey"].get_original("_thread", name)
    if "eventlet.patcher" in sys.modules:
        return getattr(sys.modules["eventlet.patcher"].original("_thread"), name)
    return getattr(_thread, name)
