"""Hooks on imports (indrik/imports.py): they see what is imported and hide nothing from others."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from indrik import imports


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A library that counts how often it is made."""
    name = "a_library_of_this_test"
    (tmp_path / f"{name}.py").write_text(
        "import sys\nsys.made_by_this_test = getattr(sys, 'made_by_this_test', 0) + 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)
    vars(sys).pop("made_by_this_test", None)
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, imports.Finder)]


def test_a_module_is_shown_once_when_it_has_been_made(library: str) -> None:
    seen: list[ModuleType] = []
    imports.when_imported(library, seen.append)
    assert seen == []
    module = importlib.import_module(library)
    assert seen == [module]
    assert module.__loader__ is module.__spec__.loader  # type: ignore[union-attr]
    importlib.reload(module)
    assert (len(seen), vars(sys)["made_by_this_test"]) == (1, 2)


def test_a_module_that_is_there_is_shown_at_once(library: str) -> None:
    module = importlib.import_module(library)
    seen: list[ModuleType] = []
    imports.when_imported(library, seen.append)
    assert seen == [module]


@pytest.mark.parametrize("first", [True, False])
def test_a_hook_of_somebody_else_sees_the_module_too_whoever_comes_first(library: str, first: bool) -> None:
    asked: list[str] = []

    class Theirs:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            asked.append(name)
            spec = PathFinder.find_spec(name, path)
            if name == library and spec is not None:
                loader: Any = spec.loader
                make = loader.exec_module
                loader.exec_module = lambda module: (make(module), setattr(module, "theirs", True))
            return spec if name == library else None

    theirs = Theirs()
    if first:
        sys.meta_path.insert(0, theirs)  # type: ignore[arg-type]
    seen: list[ModuleType] = []
    imports.when_imported(library, seen.append)
    if not first:
        sys.meta_path.insert(0, theirs)  # type: ignore[arg-type]
    try:
        module = importlib.import_module(library)
    finally:
        sys.meta_path.remove(theirs)  # type: ignore[arg-type]
    # Theirs asks nobody else, so if it comes first we hear of it later.
    imports.catch_up()
    assert seen == [module]
    assert vars(module)["theirs"]
    assert library in asked


def test_a_look_that_fails_leaves_the_import_alone(library: str) -> None:
    def fail(_module: ModuleType) -> None:
        raise RuntimeError("another version")

    seen: list[ModuleType] = []
    imports.when_imported(library, fail)
    imports.when_imported(library, seen.append)
    module = importlib.import_module(library)
    assert seen == [module]


def test_a_module_that_is_not_there_is_not_found(library: str) -> None:
    imports.when_imported("no_such_library_at_all", lambda _module: None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_library_at_all")
