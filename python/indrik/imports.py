"""Doing something with a library when, and only if, the application imports it.

A finder stands first among those that find modules, asks all the others for the module, and has the loader that they
name do its work, with a look at the module afterwards. So hooks of others (ddtrace, opentelemetry, newrelic) find what
they would have found without it, in whatever order they come, and a library that is never imported costs nothing.
"""

from __future__ import annotations

import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_wanted: dict[str, list[Callable[[ModuleType], None]]] = {}
_asking: set[tuple[int, str]] = set()
"""Who asks the others for which module at this moment."""


def when_imported(name: str, then: Callable[[ModuleType], None]) -> None:
    """Calls ``then`` with the module when it has been imported, or now if it has been; that ends nothing."""
    module = sys.modules.get(name)
    if module is not None and not _is_being_made(module):
        return _call(then, module)
    _wanted.setdefault(name, []).append(then)
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())


def catch_up() -> None:
    """Looks at what was imported past us, by a hook that asks nobody else."""
    for name in list(_wanted):
        module = sys.modules.get(name)
        if module is not None and not _is_being_made(module):
            for then in _wanted.pop(name, []):
                _call(then, module)


def _is_being_made(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _call(then: Callable[[ModuleType], None], module: ModuleType) -> None:
    try:
        then(module)
    except Exception as error:
        # Another version of it than we know: it works as it does without us.
        from indrik import logs

        logs.debug(f"This {module.__name__} is not what is known of that library", error)


class Finder:
    """Finds the modules that somebody waits for, by asking the others."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the others find, with the loader wrapped."""
        if name not in _wanted:
            return None
        me = (get_ident(), name)
        if me in _asking:
            # One of the others asks all of them in turn.
            return None
        _asking.add(me)
        try:
            spec = self._ask_others(name, path, target)
        finally:
            _asking.discard(me)
        if spec is not None and spec.loader is not None:
            _watch(spec.loader, spec, name)
        return spec

    def _ask_others(self, name: str, path: Any, target: Any) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                return spec
        return None


def _watch(loader: Any, spec: ModuleSpec, name: str) -> None:
    """Has the module looked at when this loader, or the one that somebody puts around it, has made it."""
    make = getattr(loader, "exec_module", None)
    if make is None:
        return

    def exec_module(module: ModuleType) -> None:
        # Of this loader, which may make others.
        if loader.__dict__.get("exec_module") is exec_module:
            del loader.exec_module
        make(module)
        if module.__name__ == name:
            for then in _wanted.pop(name, []):
                _call(then, module)

    try:
        loader.exec_module = exec_module
    except AttributeError:
        # Of a class that lets nobody: built-in and frozen modules, which are none of those that are waited for.
        return
