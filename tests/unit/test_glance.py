"""Looking at objects without running their code (indrik/glance.py), and who does so."""

from __future__ import annotations

import functools
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from indrik import children, classes, config_file, glance, loader, reloader


class Touched(Exception):
    """Somebody's code ran."""


def touch(*_: Any) -> Any:
    raise Touched


class Proxy:
    __slots__ = ()
    __class__ = property(touch)  # type: ignore[assignment]
    __dict__ = property(touch)  # type: ignore[assignment]
    __getattr__ = __eq__ = __hash__ = __len__ = __bool__ = __repr__ = touch  # type: ignore[assignment]

    def __call__(self) -> None:
        touch()


class Plain:
    def __init__(self) -> None:
        self.value = 1

    def method(self) -> None:
        return


class Speechless(Exception):
    def __str__(self) -> str:
        return touch()


def test_a_proxy_is_seen_as_what_it_is_and_not_asked():
    proxy = Proxy()
    assert glance.is_a(proxy, Proxy) and not glance.is_class(proxy)
    assert glance.attributes(proxy) == {}
    assert (glance.place_of(proxy), glance.name_of(proxy)) == (__name__, "Proxy")
    assert glance.is_lazy(proxy)
    assert not glance.is_lazy(Plain()) and not glance.is_lazy(touch)


def test_what_an_object_really_has_is_seen():
    assert glance.attributes(Plain()) == {"value": 1}
    assert glance.attributes(glance)["is_a"] is glance.is_a
    assert glance.attributes(3) == {}
    for function in (Plain.method, Plain().method, functools.partial(Plain().method)):
        assert glance.function_of(function) is Plain.method
    assert glance.name_of(Plain().method) == "Plain.method"
    assert glance.place_of(len) == "builtins" and glance.name_of(len) == "len"


def test_a_configuration_file_may_import_a_proxy(tmp_path: Path):
    module = ModuleType("conf")
    vars(module).update(current=Proxy(), both=[Proxy()], workers=2)
    values = config_file._values(module)
    assert values["workers"] == 2
    assert values["current"] == {config_file.CALLABLE_KEY: f"{__name__}.Proxy"}


def test_the_hint_for_a_name_that_is_not_there_asks_no_proxy():
    module = ModuleType("site")

    def handle(environ: Any, start_response: Any) -> None:
        return

    vars(module).update(current=Proxy(), handle=handle)
    assert loader._other_names(module, "site") == "did you mean 'site:handle'?"


def test_an_application_that_cannot_be_looked_into_is_wsgi():
    assert loader.interface_of(Proxy(), "site:app") == "wsgi"


def test_files_of_modules_are_found_past_a_proxy():
    assert reloader.module_files([Proxy(), glance]) == [glance.__file__]


def test_an_attribute_of_a_worker_class_is_not_asked():
    own: Any = type("Own", (Plain,), {"current": Proxy(), "run": lambda self: None})
    assert classes.overridden(own, Plain) == ["current()", "run()"]


@pytest.mark.parametrize(
    "tell", [lambda error: glance.failure(error), lambda error: str(loader.boot_error("it", error))]
)
def test_an_error_without_a_text_is_told_all_the_same(tell):
    assert "Speechless, whose text cannot be made (Touched)" in tell(Speechless())


def test_a_handler_from_nowhere_is_left_in_a_forked_child():
    handler: Any = [].append
    before = signal.signal(signal.SIGTERM, handler)
    try:
        children._reset_handlers()
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
