"""Reading ``gunicorn.conf.py``: Python that assigns settings.

The file is executed as it is; what it leaves behind at its top level is turned into plain data for
the Rust side, which checks it against the table of settings.
"""

from __future__ import annotations

import ast
import importlib
import json
import math
import os
import sys
import traceback
from collections.abc import Iterator
from importlib.machinery import SourcelessFileLoader
from types import CodeType, FunctionType, MethodType, ModuleType, TracebackType
from typing import Any

from indrik import glance, paths

DEFAULT_NAME = "gunicorn.conf.py"
"""Read when no file is named and the directory has one."""

MODULE_NAME = "__config__"
"""The file's name among the modules, as in Gunicorn: hooks and pickles find it there."""

CALLABLE_KEY = "__callable__"
"""Marks a function or class among the values; its name follows."""

OBJECT_KEY = "__object__"
"""Marks what is neither data nor callable; its type's name follows. An error if it is a setting."""

WRONG_KEY = "__wrong__"
"""Marks a setting that Python could not make sense of; the reason follows."""

CLASSES = ("worker_class", "logger_class")
"""Settings that are classes, functions that return one, or import paths."""

_DEPTH_MAX = 16
"""Deeper nesting counts as an object, as does a structure inside itself."""

_VALUES_CHARS_MAX = 40_000
"""All values as JSON together: they travel in one packet of 64 KiB, with lines and names. The
largest ones that do not fit count as objects; settings are small, data beside them may not be."""


class ConfigFileError(Exception):
    """The configuration file could not be read or failed while it ran.

    ``file`` and ``line`` say where, as far as known, ``hint`` what to do; ``traceback`` shows how its
    code failed.
    """

    def __init__(
        self, message: str, file: str | None, line: int | None = None, traceback: str = "", hint: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.traceback = traceback
        self.hint = hint


def read(path: str | None, cwd: str | None = None) -> dict[str, Any]:
    """Executes a configuration file and returns ``{"path", "values", "lines", "used"}``.

    ``path`` is ``FILE``, ``file:FILE``, ``python:MODULE``, or None for :data:`DEFAULT_NAME` in
    ``cwd``; without such a file the result's path is None and there are no values. ``lines`` has
    the line of each name's last assignment at the top level; imported names have none. ``used`` has
    the assigned names that the file reads somewhere.
    """
    directory = cwd if cwd is not None else os.getcwd()
    if path is None:
        if not os.path.exists(os.path.join(directory, DEFAULT_NAME)):
            return {"path": None, "values": {}, "lines": {}, "used": []}
        path = DEFAULT_NAME
    if path.startswith("python:"):
        module, source = _import(path)
    else:
        module, source = execute(path, os.path.join(directory, path.removeprefix("file:")))
    _latest.clear()
    _latest.update(vars(module))
    tree = ast.parse(source)
    lines = _lines(tree)
    used = sorted(lines.keys() & _used(tree))
    return {"path": path, "values": _values(module), "lines": lines, "used": used}


_latest: dict[str, Any] = {}


def latest() -> dict[str, Any]:
    """What the configuration that was read last left at its top level, as it is: hooks, loggers."""
    return _latest


def data(values: dict[str, Any]) -> dict[str, Any]:
    """Values as JSON has them."""
    return {name: _data(value) for name, value in values.items()}


def execute(shown: str, path: str) -> tuple[ModuleType, str]:
    """Runs a file; nothing is cached, so that a reload sees every change. Returns it and its text, which a
    compiled one does not have."""
    try:
        if path.endswith(".pyc"):
            source, code = "", _compiled(shown, path)
        else:
            source, code = paths.source(path), None
    except FileNotFoundError:
        message = f"config: the configuration file {shown!r} does not exist"
        hint = f"{path} was looked for: name a file that is there with -c (--config)"
        raise ConfigFileError(message, None, hint=hint) from None
    except OSError as error:
        message = f"config: the configuration file {shown!r} cannot be read: {error.strerror}"
        raise ConfigFileError(message, None, hint="let the user who starts the server read it") from None
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ConfigFileError(f"the configuration file is not Python text: {error}", shown) from None
    module = ModuleType(MODULE_NAME)
    module.__file__ = path
    sys.modules[MODULE_NAME] = module
    try:
        exec(code or compile(source, path, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        raise _failed(error, shown, path) from error
    return module, source


class _Compiled(SourcelessFileLoader):
    def get_data(self, path: str) -> bytes:
        """Waits for nobody."""
        return paths.read(path)


def _compiled(shown: str, path: str) -> CodeType:
    try:
        code = _Compiled(MODULE_NAME, path).get_code(MODULE_NAME)
    except (ImportError, EOFError, ValueError, TypeError) as error:
        raise ConfigFileError(f"the configuration file was not compiled by this Python: {error}", shown) from None
    assert code is not None
    return code


def _import(shown: str) -> tuple[ModuleType, str]:
    name = shown.removeprefix("python:")
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _failed(error, shown, shown) from error
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py"):
        return module, ""
    return module, paths.source(file)


def _failed(error: BaseException, shown: str, path: str) -> ConfigFileError:
    """Says what the file's own code raised, without our frames above it."""
    own = error.__traceback__
    while own is not None and own.tb_frame.f_code.co_filename == __file__:
        own = own.tb_next
    if isinstance(error, SyntaxError):
        message = f"{type(error).__name__}: {error.msg}"
    else:
        message = glance.failure(error).removesuffix(": ")
    if isinstance(error, SystemExit):
        message = f"it ended the program with {message}"
    text = "".join(traceback.format_exception(type(error), error.with_traceback(own), own))
    return ConfigFileError(f"the configuration file failed: {message}", shown, _line(error, own, path), text)


def _line(error: BaseException, own: TracebackType | None, path: str) -> int | None:
    """The innermost line of the file that was running, or the line that is not Python."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno
    lines = [line for frame, line in traceback.walk_tb(own) if frame.f_code.co_filename == path]
    return lines[-1] if lines else None


def _values(module: ModuleType) -> dict[str, Any]:
    values = {name: _value(name, value) for name, value in vars(module).items() if _may_be_setting(name, value)}
    left = _VALUES_CHARS_MAX
    for size, name in sorted((len(json.dumps(value)) + len(name), name) for name, value in values.items()):
        left -= size
        if left < 0:
            values[name] = {OBJECT_KEY: f"{type(vars(module)[name]).__name__} too large for a setting"}
    return values


def _value(name: str, value: Any) -> Any:
    if name in CLASSES and glance.is_a(value, FunctionType, MethodType):
        try:
            value = _latest[name] = value()
        except Exception as error:
            return {WRONG_KEY: f"calling the function {_name(value)} failed: {glance.failure(error)}"}
    return _data(value)


def _may_be_setting(name: str, value: object) -> bool:
    return not name.startswith("_") and not glance.is_a(value, ModuleType)


def _data(value: Any, inside: tuple[int, ...] = ()) -> Any:
    """``value`` as JSON has it; what JSON has not is marked. ``inside``: the containers around it.

    By its real type: what the file imports from the application may be a proxy that cannot be asked yet."""
    if value is None or glance.is_a(value, bool):
        return value
    if glance.is_a(value, int):
        return int(value)
    if glance.is_a(value, float) and math.isfinite(value):
        return float(value)
    if glance.is_a(value, os.PathLike):
        value = os.fspath(value)
    if glance.is_a(value, str) and _is_unicode(value):
        return str.__str__(value)
    if glance.is_a(value, list, tuple, set, frozenset, dict):
        return _container(value, inside)
    if callable(value):
        return {CALLABLE_KEY: _name(value)}
    return {OBJECT_KEY: type(value).__name__}


def _container(value: Any, inside: tuple[int, ...]) -> Any:
    if id(value) in inside or len(inside) == _DEPTH_MAX:
        return {OBJECT_KEY: type(value).__name__}
    inside = (*inside, id(value))
    if isinstance(value, dict):
        if not all(isinstance(key, str) and _is_unicode(key) for key in value):
            return {OBJECT_KEY: "dict with keys that are not text"}
        return {str.__str__(key): _data(item, inside) for key, item in value.items()}
    items = [_data(item, inside) for item in value]
    # A set has no order of its own; without one the same file would give a different configuration.
    return sorted(items, key=repr) if isinstance(value, (set, frozenset)) else items


def _is_unicode(text: str) -> bool:
    """Half a surrogate pair, as undecodable bytes in a path leave, has no place in JSON."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(value: Any) -> str:
    """A class or function by the name one would import it under."""
    module, name = glance.place_of(value), glance.name_of(value)
    return f"{module}.{name}" if module and module != MODULE_NAME else name


def _lines(tree: ast.Module) -> dict[str, int]:
    """Where each name is assigned at the top level; the last place, which usually is the one that counts."""
    return {name: line for node in _top_level(tree.body) for name, line in _assigned(node)}


def _used(tree: ast.Module) -> set[str]:
    """Every name that is read somewhere in the file."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of the file, also those inside ``if``, ``try``, ``with`` and loops."""
    for node in body:
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for field in ("body", "orelse", "handlers", "finalbody"):
                for part in getattr(node, field, []):
                    yield from _top_level(part.body if isinstance(part, ast.ExceptHandler) else [part])


def _assigned(node: ast.stmt) -> Iterator[tuple[str, int]]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node.name, node.lineno
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    for target in targets:
        for part in ast.walk(target) if target is not None else ():
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield part.id, node.lineno
