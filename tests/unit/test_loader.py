"""Finding and judging the application (indrik/loader.py)."""

from __future__ import annotations

import functools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from indrik import loader
from indrik.loader import LoadError, interface_of

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into a directory of its own, which is the working directory and importable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def put(name: str, source: str) -> str:
        path = tmp_path / (name.replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return name

    yield put
    for name in set(sys.modules) - before:
        del sys.modules[name]


WSGI = """
def {name}(environ, start_response):
    return [b"{name}"]
"""


def failure(spec: str) -> LoadError:
    with pytest.raises(LoadError) as caught:
        loader.load(spec)
    return caught.value


def test_a_named_callable_is_found(write: Write) -> None:
    write("named_mod", WSGI.format(name="handler"))
    assert loader.load("named_mod:handler")(None, None) == [b"handler"]


def test_without_a_name_application_is_preferred_to_app(write: Write) -> None:
    write("both_mod", WSGI.format(name="app") + WSGI.format(name="application"))
    write("only_app_mod", WSGI.format(name="app"))
    assert loader.load("both_mod")(None, None) == [b"application"]
    assert loader.load("only_app_mod")(None, None) == [b"app"]


def test_a_factory_is_called_with_literal_arguments(write: Write) -> None:
    write("factory_mod", "def make(name, debug=False):\n    return lambda e, s: (name, debug)\n")
    assert loader.load("factory_mod:make('prod', debug=True)")(None, None) == ("prod", True)


def test_a_dotted_name_is_followed(write: Write) -> None:
    write("dotted_mod", "class site:\n    @staticmethod\n    def app(e, s): return 1\n")
    assert loader.load("dotted_mod:site.app")(None, None) == 1


def test_arguments_that_are_no_literals_are_refused(write: Write) -> None:
    write("literal_mod", "def make(x): return x\n")
    assert failure("literal_mod:make(open('x'))").kind == "import"
    assert failure("literal_mod:make[0]").kind == "import"
    assert failure("literal_mod:make(").kind == "import"


def test_arguments_that_do_not_fit_are_the_users_mistake_and_a_type_error_inside_is_the_apps(
    write: Write,
) -> None:
    write("fit_mod", "def make(x): return x\ndef bad(): return 1 + ''\n")
    assert failure("fit_mod:make()").kind == "import"
    assert failure("fit_mod:bad()").kind == "boot"


def test_a_missing_module_is_told_from_a_missing_module_inside_it(write: Write) -> None:
    write("needy_mod", "import not_installed_anywhere\n")
    missing = failure("no_such_mod:app")
    assert (missing.kind, missing.traceback) == ("boot", "")
    assert "no_such_mod" in missing.message
    inside = failure("needy_mod:app")
    assert inside.kind == "boot"
    assert "not_installed_anywhere" in inside.message
    assert "needy_mod.py" in inside.traceback


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        ("flasky.py", "did you mean 'flasky:app'?"),
        ("./flasky.py", "did you mean 'flasky:app'?"),
        ("flasky.py:nothing", "did you mean 'flasky:app'?"),
        ("flasky.py:make('x')", "did you mean 'flasky:make('x')'?"),
        ("flasky/app", "did you mean 'flasky:app'?"),
        ("flasky.app", "did you mean 'flasky:app'?"),
        ("starred.py:app", "did you mean 'starred:app'?"),
        ("factory.py", "name the module and its application: 'factory:CALLABLE'"),
        ("below/web.py", "did you mean 'web:application' with --chdir below?"),
        ("below/web", "did you mean 'web:application' with --chdir below?"),
        ("package/web.py:app", "did you mean 'package.web:app'?"),
        ("with-dash.py", "with-dash.py cannot be imported"),
    ],
)
def test_what_is_suggested_for_a_file_name_is_in_that_file(write: Write, named: str, hint: str) -> None:
    write("flasky", "import os\napp = object()\ndef make(name): pass\n")
    write("starred", "from flasky import *\n")
    write("factory", "def create_app(): pass\n")
    write("below/web", "application: object = object()\n")
    write("package/__init__", "")
    write("package/web", "from flasky import app\n")
    write("with-dash", "app = 1\n")
    assert failure(named).hint.startswith(hint), failure(named).hint


@pytest.mark.parametrize("named", ["nothing.py", "nothing/app", "flasky.nothing", "."])
def test_nothing_is_suggested_where_nothing_is(write: Write, named: str) -> None:
    write("flasky", "app = object()\n")
    assert "did you mean" not in failure(named).hint


def test_a_missing_attribute_gets_the_names_that_are_there_as_a_hint(write: Write) -> None:
    write("hint_mod", WSGI.format(name="server") + "def create_app(): pass\n")
    assert "'hint_mod:server'" in failure("hint_mod:app").hint
    assert "create_app()" in failure("hint_mod").hint


@pytest.mark.parametrize("value", ["3", "None", "'text'"])
def test_what_is_not_callable_is_no_application(write: Write, value: str) -> None:
    name = f"value_mod_{abs(hash(value))}"
    write(name, f"app = {value}\n")
    assert failure(f"{name}:app").kind == "import"


def test_an_exception_while_importing_comes_with_its_traceback_and_without_ours(
    write: Write,
) -> None:
    write("raising_mod", "def fail():\n    raise ValueError('deep')\nfail()\n")
    error = failure("raising_mod:app")
    assert error.kind == "boot"
    assert "ValueError: deep" in error.traceback
    assert "loader.py" not in error.traceback
    assert "importlib" not in error.traceback


def test_a_syntax_error_and_an_exit_are_boot_failures(write: Write) -> None:
    write("syntax_mod", "def broken(:\n")
    write("exit_mod", "raise SystemExit(7)\n")
    assert failure("syntax_mod:app").kind == "boot"
    assert "sys.exit(7)" in failure("exit_mod:app").message


def wsgi(environ: Any, start_response: Any) -> Any: ...


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def plain_asgi(scope: Any, receive: Any, send: Any) -> Any: ...


class WsgiObject:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...

    def method(self, environ: Any, start_response: Any) -> Any: ...


class AsgiObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...


class WsgiClass:
    def __init__(self, environ: Any, start_response: Any) -> None: ...

    def __iter__(self) -> Any: ...


class Asgi2Class:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


def asgi2(scope: Any) -> Any: ...


def with_extra(environ: Any, start_response: Any, config: Any = None) -> Any: ...


def after_extra(config: Any, environ: Any, start_response: Any) -> Any: ...


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("app", "interface"),
    [
        (wsgi, "wsgi"),
        (asgi, "asgi"),
        (plain_asgi, "asgi"),
        (WsgiObject(), "wsgi"),
        (WsgiObject().method, "wsgi"),
        (AsgiObject(), "asgi"),
        (AsgiObject().method, "asgi"),
        (WsgiClass, "wsgi"),
        (Asgi2Class, "asgi2"),
        (asgi2, "asgi2"),
        (with_extra, "wsgi"),
        (functools.partial(after_extra, {}), "wsgi"),
        (functools.partial(asgi), "asgi"),
        (decorated(wsgi), "wsgi"),
        (decorated(asgi), "asgi"),
        (lambda *args: None, "wsgi"),
        (lambda environ, start_response: [], "wsgi"),
    ],
)
def test_the_interface_is_seen_by_the_look_of_the_application(app: Any, interface: str) -> None:
    assert interface_of(app, "main:app") == interface


def test_a_function_without_arguments_is_taken_for_a_factory_in_the_hint() -> None:
    with pytest.raises(LoadError) as caught:
        interface_of(lambda: None, "main:create_app")
    assert caught.value.kind == "interface"
    assert "main:create_app()" in caught.value.hint


def wsgi(_environ: Any, _start_response: Any) -> Any: ...


async def asgi(_scope: Any, _receive: Any, _send: Any) -> None: ...


def judge(app: Any, kind: str, threads: int = 1) -> tuple[str, str, list[str]]:
    name = {"name": kind, "object": False}
    config = {"wsgi_app": "main:app", "paste": None, "threads": threads}
    return loader.kind_for(app, config | {"worker_class": kind, "worker_class_spec": name})


def test_the_application_decides_where_no_class_is_named() -> None:
    assert judge(wsgi, "auto") == ("wsgi", "sync", [])
    assert judge(wsgi, "auto", threads=4) == ("wsgi", "gthread", [])
    assert judge(asgi, "auto") == ("asgi", "asgi", [])


def test_a_named_class_is_kept_where_it_fits() -> None:
    assert judge(wsgi, "gevent")[1] == "gevent"
    assert judge(wsgi, "gthread")[1] == "gthread"
    assert judge(asgi, "asgi")[1] == "asgi"


def test_asgi_runs_under_the_classes_for_threads_with_a_remark() -> None:
    for kind in ("sync", "gthread"):
        interface, runs, notices = judge(asgi, kind)
        assert (interface, runs) == ("asgi", "asgi")
        assert kind in notices[0]


def test_a_worker_class_for_the_other_interface_is_refused() -> None:
    for app, kind in [(asgi, "gevent"), (asgi, "eventlet"), (wsgi, "asgi"), (wsgi, "aiohttp")]:
        with pytest.raises(LoadError) as caught:
            judge(app, kind)
        assert caught.value.kind == "interface"
