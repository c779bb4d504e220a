"""Programs that embed the server: ``class App(BaseApplication)``, and ``App().run()``.

``run`` replaces the program by Indrik, whose zygotes run the program again, up to the call of ``run``:
there they have the application with its settings, its code as new as the program is, at every reload.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

from indrik import command, paths

VARIABLE = "INDRIK_EMBEDDED"
"""Tells zygotes which program to run, as JSON."""
OPTIONS = "GUNICORN_CMD_ARGS"
MODULE = "indrik_embedded"
"""The application is found as ``indrik_embedded:load()``."""

# `-m` would put the directory before the standard library.
_RUN = ("__init__()", "setup()", "run()")
"""What the program itself calls of an arbiter."""

_COMMAND = (
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); sys.argv[0] = 'indrik'; "
    "from indrik.__main__ import main; sys.exit(main())"
)


class Captured(BaseException):
    """Ends the program in a zygote, with the application it would have run, and by which class of
    arbiters. No ``except Exception`` of the program sees it."""

    def __init__(self, app: Any, arbiter: type | None) -> None:
        super().__init__("the program called run()")
        self.app = app
        self.arbiter = arbiter


_capturing = False
_arbiter: type | None = None


def start(app: Any, arbiter: type | None = None) -> None:
    """What ``run`` does: in the program, starts the server; in a zygote, hands over the application.
    ``arbiter`` is the class that was asked to run it, if it was one."""
    if _capturing:
        raise Captured(app, arbiter)
    import json

    main: Any = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    program: dict[str, Any] = {"argv": sys.argv, "line": sys.orig_argv, "path": sys.path, "cwd": os.getcwd()}
    if spec is not None and spec.name != "__main__":
        program["module"] = spec.name
    elif getattr(main, "__file__", None):
        program["file"] = os.path.abspath(main.__file__)
    else:
        sys.exit(
            "indrik: a program that runs the server must be a file or a module: its worker processes"
            " run it again, up to the call of run()"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    # Read already, by the program itself if it reads it at all; the supervisor would put it above that.
    program["options"] = os.environ.pop(OPTIONS, None)
    command.restore_search_path()
    environment = {**os.environ, VARIABLE: json.dumps(program)}
    # A fresh process: whatever the program imported or started is not the supervisor's to carry.
    options = command.interpreter_options(sys.orig_argv)
    os.execve(sys.executable, [sys.executable, *options, "-c", _COMMAND], environment)


def capture(program: dict[str, Any]) -> Any:
    """Runs the program in a zygote; returns the application it would have run.

    Raises ``RuntimeError`` if the program ends without calling ``run``, and what the program raises.
    """
    global _capturing, _arbiter
    sys.argv[:] = program["argv"]
    sys.orig_argv[:] = program["line"]
    sys.path[:] = program["path"]
    os.chdir(program["cwd"])
    if program["options"] is not None:
        os.environ[OPTIONS] = program["options"]
    _capturing = True
    try:
        if "module" in program:
            run_module(program["module"])
        else:
            run_script(program["file"])
    except Captured as captured:
        _arbiter = captured.arbiter
        return _offer(captured.app)
    finally:
        _capturing = False
    raise RuntimeError("the program ended without calling run()")


def notices() -> list[str]:
    """What is to be said of the program: the methods of an arbiter of its own that nobody calls."""
    from indrik import glance
    from indrik.classes import overridden
    from indrik.facade.arbiter import Arbiter

    if _arbiter is None or not issubclass(_arbiter, Arbiter):
        return []
    own = [name for name in overridden(_arbiter, Arbiter) if name not in _RUN]
    if not own:
        return []
    are = "is" if len(own) == 1 else "are"
    return [
        f"the arbiter {glance.type_name(_arbiter)!r}: its own {', '.join(own)} {are} not run: the supervisor sees to "
        "workers by itself; what the program does beside that belongs into the hooks"
    ]


def run_script(path: str) -> None:
    """Runs a file as the main program."""
    _run(compile(paths.source(path), path, "exec"), __file__=path)


def run_module(name: str) -> None:
    """Runs a module as ``python -m`` does."""
    from importlib.util import find_spec

    spec = find_spec(name)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"the module {name!r} is not found")
    code = spec.loader.get_code(name)  # type: ignore[attr-defined]
    _run(code, __file__=spec.origin, __spec__=spec, __package__=spec.parent)


def _run(code: Any, **names: Any) -> None:
    main = ModuleType("__main__")
    vars(main).update(__builtins__=__builtins__, **names)
    # It stays: pickles and the program's own classes refer to it.
    sys.modules["__main__"] = main
    exec(code, vars(main))


def _offer(app: Any) -> Any:
    """Makes the application's ``load`` importable."""
    module = ModuleType(MODULE)
    module.load = app.wsgi  # type: ignore[attr-defined]
    sys.modules[MODULE] = module
    return app
