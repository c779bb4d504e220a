"""The reloader's choice of files, and what it does with their changes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from indrik import loader, reloader


def module(name: str, file: Any) -> ModuleType:
    made = ModuleType(name)
    made.__file__ = file
    return made


class TestFiles:
    def test_modules_are_watched_by_their_source(self, tmp_path: Path):
        source = tmp_path / "compiled.py"
        source.write_text("")
        compiled = tmp_path / "only.pyc"
        modules = [
            module("plain", "/x/plain.py"),
            module("compiled", str(source) + "c"),
            module("only", str(compiled)),
            module("relative", "y.py"),
            module("builtin", None),
            module("odd", 7),
            None,
        ]
        wanted = ["/x/plain.py", str(source), str(compiled), os.path.abspath("y.py")]
        assert reloader.module_files(modules) == wanted

    def test_modules_that_load_when_they_are_touched_are_not_touched(self):
        class Lazy(ModuleType):
            def __getattribute__(self, name: str) -> Any:
                raise ImportError(f"{name} was asked for")

        lazy = Lazy("lazy")
        object.__getattribute__(lazy, "__dict__")["__file__"] = "/x/lazy.py"
        assert reloader.module_files([lazy, object()]) == ["/x/lazy.py"]

    def test_a_syntax_error_points_to_its_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "outer_module.py").write_text("import broken_module\n")
        (tmp_path / "broken_module.py").write_text("def (\n")
        files = self.files_of_failure("outer_module:app", tmp_path, monkeypatch)
        assert {str(tmp_path / "outer_module.py"), str(tmp_path / "broken_module.py")} <= set(files)

    def test_a_missing_module_points_to_where_it_may_appear(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        files = self.files_of_failure("a_missing.module:app", tmp_path, monkeypatch)
        assert {str(tmp_path / "a_missing.py"), str(tmp_path / "a_missing/__init__.py")} <= set(files)

    def files_of_failure(self, spec: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        monkeypatch.syspath_prepend(str(directory))
        with pytest.raises(loader.LoadError) as caught:
            loader.load(spec)
        return reloader.failure_files(caught.value)


class TestWatching:
    """With the real watch, waiting for its reports."""

    def config(self, **settings: Any) -> dict[str, Any]:
        return {"reload_extra_files": [], "reload_engine": "auto", "config_path": None, **settings}

    def test_a_change_is_reported_once_and_the_next_one_again(self, tmp_path: Path):
        extra = tmp_path / "page.html"
        extra.write_text("1")
        reports: list[list[tuple[str, str]]] = []
        told = threading.Semaphore(0)

        def report(files: list[tuple[str, str]]) -> None:
            reports.append(files)
            told.release()

        watcher = reloader.Reloader(self.config(reload_extra_files=[str(extra)]), report)
        watcher.start()
        try:
            for text in ("22", "333"):
                extra.write_text(text)
                assert told.acquire(timeout=20)
        finally:
            watcher.stop()
        assert [[path for path, _ in files] for files in reports] == [[str(extra)]] * 2
        assert reports[0] != reports[1]

    def test_it_stops_without_waiting_and_may_be_stopped_before_anything_happens(self):
        watcher = reloader.Reloader(self.config(reload_engine="poll"), lambda files: None)
        watcher.start()
        watcher.stop()
        assert watcher._running.acquire(False) is False

    def test_modules_imported_later_are_taken_in_by_a_refresh(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        source = tmp_path / "late.py"
        source.write_text("")
        told = threading.Event()
        watcher = reloader.Reloader(self.config(), lambda files: told.set())
        watcher.start()
        try:
            monkeypatch.setitem(sys.modules, "late_module", module("late_module", str(source)))
            watcher.refresh()
            source.write_text("changed")
            assert told.wait(20)
        finally:
            watcher.stop()


def test_the_page_shows_message_hint_and_traceback():
    error = loader.LoadError("boot", "it failed", "mend it", "Traceback …\ud800")
    watcher = reloader.Reloader({"reload_extra_files": None, "reload_engine": "poll", "config_path": None}, print)
    started: list[Any] = []
    body = b"".join(watcher.page(error)({}, lambda status, headers: started.extend([status, dict(headers)])))
    assert started[0].startswith("500 ")
    assert started[1]["Content-Type"] == "text/plain; charset=utf-8"
    assert started[1]["Content-Length"] == str(len(body))
    for part in ("it failed", "mend it", "Traceback"):
        assert part.encode() in body


PATCHED = """
import {library}
{patch}
import subprocess
import sys
sys.path.insert(0, {python!r})
from indrik import reloader
told = reloader._thread("allocate_lock")()
told.acquire()
watcher = reloader.Reloader(
    {{"reload_extra_files": [{file!r}], "reload_engine": "auto", "config_path": None}},
    lambda files: told.release(),
)
watcher.start()
open({file!r}, "w").write("changed")
# Holds the only thread the library knows of: nothing of it can run meanwhile.
assert told.acquire(True, 20)
watcher.stop()
print("seen")
"""


@pytest.mark.parametrize(
    ("library", "patch"),
    [("gevent.monkey", "gevent.monkey.patch_all()"), ("eventlet", "eventlet.monkey_patch()")],
)
def test_it_runs_in_a_real_thread_when_threads_are_patched(tmp_path: Path, library: str, patch: str):
    if find_spec(library.partition(".")[0]) is None:
        pytest.skip(f"{library} is not installed")
    file = tmp_path / "page.html"
    file.write_text("")
    python = str(Path(reloader.__file__).parent.parent)
    program = PATCHED.format(library=library, patch=patch, python=python, file=str(file))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "seen\n", done.stderr
