"""Makes ``import gunicorn`` find the facade, and what the facade lacks in the real package.

Only what every process of Indrik has loaded anyway is imported here: installing the finder costs a
worker nothing until somebody imports ``gunicorn``.
"""

from __future__ import annotations

import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from types import ModuleType
else:
    Loader = object

PACKAGE = "gunicorn"
"""The name that the facade answers to."""
OURS = "indrik.facade"
"""Where its modules lie."""
ORIGINALS = "_indrik_original_gunicorn"
"""Modules of the real package are loaded under this name when a name is missing in ours."""

_HERE = os.path.dirname(os.path.abspath(__file__))
_STAND_IN = os.path.join(os.path.dirname(_HERE), "stand_in", "first_on_path")
"""`indrik.stand_in`'s directory."""


def install() -> None:
    """Puts the finder first; twice is once."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())


class Finder:
    """Finds ``gunicorn`` and its submodules."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The facade's module under Gunicorn's name, or Gunicorn's own."""
        if name != PACKAGE and not name.startswith(PACKAGE + "."):
            return None
        tail = name[len(PACKAGE) :]
        if tail == ".__main__":
            # Ours runs programs; that of the package runs the server.
            return None
        path = _HERE + tail.replace(".", "/")
        is_package = os.path.isdir(path)
        if is_package or (os.path.isfile(path + ".py") and not tail.startswith("._")):
            return ModuleSpec(name, Alias(OURS + tail), is_package=is_package)
        found = _find_original(name)
        if found is None:
            installed = _find_original(PACKAGE) is not None
            where = "the installed gunicorn package does not have it" if installed else "gunicorn is not installed"
            raise ModuleNotFoundError(f"indrik has no stand-in for the module {name!r}, and {where}", name=name)
        return found


class Alias(Loader):
    """A loader that gives a module which exists under another name."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._spec: ModuleSpec | None = None

    def create_module(self, _spec: ModuleSpec) -> ModuleType:
        """The module itself: one object under both names, so a change to it is seen by all."""
        __import__(self._target)
        module = sys.modules[self._target]
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has run already. The import system has just given it the alias's spec."""
        module.__spec__ = self._spec


def original(module: str, name: str) -> object:
    """What the real package has under ``name`` in the module that ours stands in for.

    Raises ``AttributeError`` if it has not, or is not installed.
    """
    tail = module[len(OURS) :]
    if not name.startswith("__"):
        submodule = f"{PACKAGE}{tail}.{name}"
        if hasattr(sys.modules[module], "__path__") and _find_original(submodule) is not None:
            # `from gunicorn.http import body` would look for it under our own name.
            __import__(submodule)
            return sys.modules[submodule]
        loaded = _load_original(tail)
        if loaded is not None and hasattr(loaded, name):
            value: object = getattr(loaded, name)
            return value
    where = "installed" if _find_original(PACKAGE) else "not installed"
    raise AttributeError(
        f"module {PACKAGE + tail!r} has no attribute {name!r}: indrik's stand-in lacks it,"
        f" and the gunicorn package, which could have it, is {where}"
    )


def _find_original(name: str) -> ModuleSpec | None:
    """Where the real package has the module, if it is installed and has it."""
    places: list[str] | None = None
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        # Where the stand-in for programs is on the path, it is no original.
        paths = places or [path for path in sys.path if path != _STAND_IN]
        spec = PathFinder.find_spec(".".join(parts[:end]), paths)
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or ())
    return spec


def _load_original(tail: str) -> ModuleType | None:
    name = ORIGINALS + tail
    if name in sys.modules:
        return sys.modules[name]
    spec = _find_original(PACKAGE + tail)
    if spec is None or spec.loader is None or spec.origin is None:
        return None
    from importlib.util import module_from_spec, spec_from_file_location

    own = spec_from_file_location(name, spec.origin)
    if own is None or own.loader is None:
        return None
    module = module_from_spec(own)
    sys.modules[name] = module
    try:
        own.loader.exec_module(module)
    except ImportError:
        del sys.modules[name]
        return None
    return module
