"""Finding the application: ``MODULE``, ``MODULE:NAME``, ``MODULE:factory('argument')``.

Gunicorn's grammar, with dotted names allowed as well. Modules that only some failures need are
imported where they are used: a worker's memory is measured against the bare application. What tells of a failure is
imported before: a worker whose user cannot read our library has it all the same.
"""

from __future__ import annotations

import os
import sys

from indrik import glance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

DEFAULT_NAMES = ("application", "app")
"""Looked for, in this order, when the specification names no attribute."""

_COROUTINE_FLAG = 0x80
_VARARGS_FLAG = 0x04
_WRAPPERS_MAX = 32
"""How many decorators are looked through; a longer chain is a loop."""


class LoadError(Exception):
    """The application could not be loaded.

    ``kind`` is one of "import" (not found in its module, or not callable), "interface" (not what the
    worker class needs) and "boot" (a module is missing, or its own code raised): with Gunicorn's exit
    codes 4, 4 and 3. ``hint`` says what to do, ``traceback`` shows where its
    code failed; both may be empty.
    """

    def __init__(self, kind: str, message: str, hint: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.traceback = traceback
        self.code = 0
        """With the kind "exit", which is of hooks: the exit code that is wanted."""


def load_configured(config: dict[str, Any]) -> Any:
    """Returns the application the settings name; raises :class:`LoadError`."""
    if config.get("request_id") or config.get("tracing"):
        from indrik import correlation

        # Before anything is logged in a format that names what records have by it.
        correlation.install()
    if config["paste"]:
        from indrik import paste

        return paste.load(config["paste"], config["raw_paste_global_conf"])
    return load(config["wsgi_app"])


def load(spec: str) -> Any:
    """Imports and returns the application named by ``spec``; raises :class:`LoadError`."""
    module_name, _, expression = spec.partition(":")
    module_name = module_name.strip()
    if not module_name:
        raise LoadError("import", f"no module is named in {spec!r}", "write MODULE:CALLABLE, for example main:app")
    module = _import(module_name, spec)
    app = _evaluate(module, module_name, expression.strip())
    if app is None:
        raise LoadError("import", f"{spec!r} is None, not an application")
    if not callable(app):
        raise LoadError(
            "import",
            f"Application object must be callable: {spec!r} is of type {type(app).__name__!r}",
            _other_names(module, module_name),
        )
    return app


def _import(module_name: str, spec: str) -> ModuleType:
    try:
        __import__(module_name)
        return sys.modules[module_name]
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(missing + "."):
            raise LoadError("boot", f"No module named {missing!r}", _missing_hint(module_name, spec)) from None
        raise LoadError(
            "boot",
            f"{module_name!r} needs a module that is missing: {missing!r}",
            f"install it for {sys.executable}",
            format_traceback(error),
        ) from None
    except Exception as error:
        raise boot_error(f"importing {module_name!r}", error) from None
    except SystemExit as error:
        raise LoadError(
            "boot",
            f"importing {module_name!r} called sys.exit({error.code!r})",
            "move what runs a program under `if __name__ == '__main__':`",
            format_traceback(error),
        ) from None


def boot_error(doing: str, error: BaseException) -> LoadError:
    """The failure of the application's own code, with its traceback."""
    return LoadError("boot", f"{doing} raised {glance.failure(error)}", "", format_traceback(error))


SOURCE_BYTES_MAX = 1 << 20
"""A larger file is not read to find what it may be meant for."""


def _missing_hint(module_name: str, spec: str) -> str:
    """What may have been meant: looked at before it is said."""
    _, colon, expression = spec.partition(":")
    path = module_name if module_name.endswith(".py") else module_name.replace(".", "/") + ".py"
    if module_name.endswith(".py") or "/" in module_name:
        meant = _as_module(module_name, expression if colon else "")
        if meant:
            return meant
    elif os.path.exists(path):
        return f"{path} exists, but one of its directories is not a package on sys.path"
    elif "." in module_name and not colon:
        module, _, name = module_name.rpartition(".")
        found = module.replace(".", "/") + ".py"
        if name in _assigned(found):
            return f"did you mean '{module}:{name}'?"
    return f"looked in {os.getcwd()} and sys.path; check --chdir and --pythonpath"


def _as_module(path: str, expression: str) -> str:
    """What names the application of a file that was named as a file; empty if there is no such file."""
    path = os.path.normpath(path)
    if not os.path.isfile(path):
        path += ".py"
    if not os.path.isfile(path):
        # main/app for main:app
        path, _, expression = path.removesuffix(".py").rpartition("/")
        path += ".py"
        if expression not in _assigned(path):
            return ""
    directory, _, file = path.rpartition("/")
    module = file.removesuffix(".py")
    if not module.isidentifier():
        return f"{path} cannot be imported: give it a name that is a word of letters, digits and _"
    chdir = ""
    if directory and os.path.isfile(f"{directory}/__init__.py") and not path.startswith(("/", "../")):
        module = path.removesuffix(".py").replace("/", ".")
    elif directory:
        chdir = f" with --chdir {directory}"
    names = _assigned(path)
    if expression and ("*" in names or _first_name(expression) in names):
        return f"did you mean '{module}:{expression}'{chdir}?"
    there = next((name for name in DEFAULT_NAMES if name in names), "")
    if there:
        return f"did you mean '{module}:{there}'{chdir}?"
    return f"name the module and its application: '{module}:CALLABLE'{chdir}"


def _first_name(expression: str) -> str:
    """``create_app`` of ``create_app('production')``."""
    return expression.partition("(")[0].partition(".")[0].strip()


def _assigned(path: str) -> set[str]:
    """The names that a file gives something on its top level, ``*`` among them if it takes another's; none if it
    cannot be read."""
    import ast

    if not os.path.isfile(path):
        return set()
    try:
        with open(path, "rb") as file:
            body = ast.parse(file.read(SOURCE_BYTES_MAX)).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return set()
    names: set[str] = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def _evaluate(module: ModuleType, module_name: str, expression: str) -> Any:
    if not expression:
        for name in DEFAULT_NAMES:
            if hasattr(module, name):
                return getattr(module, name)
        raise LoadError(
            "import",
            f"Failed to find attribute {DEFAULT_NAMES[0]!r} or {DEFAULT_NAMES[1]!r} in {module_name!r}.",
            _other_names(module, module_name),
        )
    if expression.isidentifier():
        return _attribute(module, module_name, [expression])
    return _call(module, module_name, expression)


def _call(module: ModuleType, module_name: str, expression: str) -> Any:
    import ast

    bad = LoadError(
        "import",
        f"Failed to parse {expression!r} as an attribute name or function call.",
        "write a name, a dotted name, or a call with literal arguments: create_app('production')",
    )
    try:
        node = ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise bad from None
    call = node if isinstance(node, ast.Call) else None
    names: list[str] = []
    target = call.func if call else node
    while isinstance(target, ast.Attribute):
        names.append(target.attr)
        target = target.value
    if not isinstance(target, ast.Name):
        raise bad
    names.append(target.id)
    found = _attribute(module, module_name, names[::-1])
    if call is None:
        return found
    try:
        args = [ast.literal_eval(arg) for arg in call.args]
        kwargs = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    except ValueError:
        raise LoadError(
            "import",
            f"Failed to parse arguments as literal values: {expression!r}.",
            "only strings, numbers, lists, dicts, booleans and None can be given",
        ) from None
    return _make(found, expression, args, kwargs)


def _make(factory: Any, expression: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if not callable(factory):
        raise LoadError("import", f"{expression!r} is a call, but {type(factory).__name__!r} is not callable")
    try:
        return factory(*args, **kwargs)
    except TypeError as error:
        # Raised by the call itself, not inside the factory: the arguments do not fit.
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise LoadError("import", f"the arguments of {expression!r} do not fit: {error}") from None
        raise boot_error(f"calling {expression!r}", error) from None
    except Exception as error:
        raise boot_error(f"calling {expression!r}", error) from None


def _attribute(module: ModuleType, module_name: str, names: list[str]) -> Any:
    found: Any = module
    for name in names:
        try:
            found = getattr(found, name)
        except AttributeError:
            raise LoadError(
                "import",
                f"Failed to find attribute {'.'.join(names)!r} in {module_name!r}.",
                _other_names(module, module_name),
            ) from None
    return found


def _other_names(module: ModuleType, module_name: str) -> str:
    """Names the user may have meant: applications by the look of them, then factories."""
    meant: list[str] = []
    for name, value in glance.named(glance.attributes(module)):
        place = glance.place_of(value)
        if name.startswith("_") or not callable(value) or place == "builtins":
            continue
        is_class = glance.is_class(value)
        own = is_class or place == module_name
        takes = None if is_class or glance.is_lazy(value) else positional_count(value)
        if name in DEFAULT_NAMES or takes in (2, 3):
            meant.insert(0, f"{module_name}:{name}")
        elif own and name in ("create_app", "make_app", "get_app", "app_factory"):
            meant.append(f"{module_name}:{name}()")
    return f"did you mean {' or '.join(repr(name) for name in meant[:3])}?" if meant else ""


def interface_of(app: Any, spec: str) -> str:
    """ "wsgi", "asgi" or "asgi2" (the double callable), by the look of ``app``.

    Raises :class:`LoadError` when it is neither.
    """
    try:
        if _is_asgi2(app):
            return "asgi2"
        if _is_coroutine_function(app):
            return "asgi"
        count = positional_count(app)
    except Exception:
        # A lazy object that cannot say yet what it stands for.
        count = None
    if count is None or count == 2:
        # What cannot be looked into (compiled code, `*args`) is WSGI, as it would be in Gunicorn.
        return "wsgi"
    if count == 3:
        return "asgi"
    hint = "a WSGI application takes (environ, start_response), an ASGI application (scope, receive, send)"
    if count == 0:
        hint = f"if it makes the application, call it: '{spec}()'"
    raise LoadError(
        "interface", f"{spec!r} is neither a WSGI nor an ASGI application: it takes {count} arguments", hint
    )


def _is_asgi2(app: Any) -> bool:
    """A class made with the scope, whose instances take (receive, send)."""
    if isinstance(app, type):
        call = getattr(app, "__call__", None)
        return _count(call, bound=True) == 2 and _is_coroutine_function(call) and positional_count(app) == 1
    return not _is_coroutine_function(app) and positional_count(app) == 1


def asgi3_from_asgi2(app: Any) -> Any:
    """The double callable as a single one."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await app(scope)(receive, send)

    return application


def positional_count(app: Any) -> int | None:
    """How many positional arguments ``app`` must be given; None where that cannot be told."""
    app, given = _without_partial(app)
    if isinstance(app, type):
        found = _count(getattr(app, "__init__", None), bound=True)
    elif hasattr(app, "__code__") or hasattr(app, "__func__"):
        found = _count(app, bound=hasattr(app, "__func__"))
    else:
        found = _count(getattr(type(app), "__call__", None), bound=True)
    return None if found is None else max(found - given, 0)


def _count(function: Any, bound: bool) -> int | None:
    for _ in range(_WRAPPERS_MAX):
        function = getattr(function, "__func__", function)
        code: Any = getattr(function, "__code__", None)
        if not hasattr(code, "co_argcount"):
            return None
        if not code.co_flags & _VARARGS_FLAG:
            defaults = len(getattr(function, "__defaults__", None) or ())
            required = code.co_argcount - defaults - bound
            # (scope, receive=None, send=None) may be called with three: defaults count if needed.
            return required if required in (2, 3) else _clamp(required, code.co_argcount - bound)
        function = getattr(function, "__wrapped__", None)
    return None


def _clamp(required: int, possible: int) -> int:
    for wanted in (2, 3):
        if required < wanted <= possible:
            return wanted
    return required


def _is_coroutine_function(app: Any) -> bool:
    app, _ = _without_partial(app)
    for candidate in (app, getattr(type(app), "__call__", None)):
        for _ in range(_WRAPPERS_MAX):
            function = getattr(candidate, "__func__", candidate)
            # asgiref and inspect mark plain functions that return an awaitable.
            if hasattr(function, "_is_coroutine_mark") or hasattr(function, "_is_coroutine"):
                return True
            code = getattr(function, "__code__", None)
            if getattr(code, "co_flags", 0) & _COROUTINE_FLAG:
                return True
            candidate = getattr(function, "__wrapped__", None)
            if candidate is None:
                break
    return False


def _without_partial(app: Any) -> tuple[Any, int]:
    """The function inside ``functools.partial`` objects, and how many arguments they give it."""
    given = 0
    for _ in range(_WRAPPERS_MAX):
        function = getattr(app, "func", None)
        if function is None or type(app).__name__ != "partial":
            break
        given += len(app.args)
        app = function
    return app, given


AIOHTTP_MODULE = "aiohttp.web_app"
"""Where aiohttp's class of applications is defined."""


def is_aiohttp(app: Any) -> bool:
    """Whether ``app`` is an ``aiohttp.web.Application``, which has an interface of its own."""
    return any(base.__module__ == AIOHTTP_MODULE for base in type(app).__mro__)


def kind_for(app: Any, config: dict[str, Any]) -> tuple[str, str, list[str]]:
    """The interface of ``app``, the kind of worker that runs it, and what is to be said about that.

    Raises :class:`LoadError` when the configured worker class cannot run this kind of application.
    """
    spec, kind = config["paste"] or config["wsgi_app"], config["worker_class"]
    name = config["worker_class_spec"]["name"]
    if kind == "aiohttp":
        _check_aiohttp(app, spec, name)
        return "asgi", kind, []
    if is_aiohttp(app):
        if kind == "auto":
            return "asgi", "aiohttp", []
        raise LoadError(
            "interface",
            f"{spec!r} is an aiohttp.web.Application, but worker_class is {name!r}",
            "use --worker-class aiohttp.GunicornWebWorker, or leave the option out: the kind is then detected",
        )
    interface = interface_of(app, spec)
    if interface == "wsgi":
        if kind == "asgi":
            raise LoadError(
                "interface",
                f"{spec!r} is a WSGI application, but worker_class is {name!r}",
                "use --worker-class sync or gthread, or leave the option out: the kind is then detected",
            )
        if kind in ("auto", "sync"):
            kind = "gthread" if config["threads"] > 1 else "sync"
        return interface, kind, []
    if kind in ("gevent", "eventlet"):
        raise LoadError(
            "interface",
            f"{spec!r} is an ASGI application, but worker_class is {name!r}",
            "use --worker-class asgi, or leave the option out: the kind is then detected",
        )
    if kind in ("sync", "gthread"):
        return (
            interface,
            "asgi",
            [f"{spec!r} is an ASGI application: it runs as with worker_class 'asgi', not {name!r}"],
        )
    return interface, "asgi", []


def _check_aiohttp(app: Any, spec: str, name: str) -> None:
    """aiohttp's worker takes an application, or a coroutine function that makes one."""
    if is_aiohttp(app) or (_is_coroutine_function(app) and positional_count(app) == 0):
        return
    raise LoadError(
        "interface",
        f"{spec!r} is neither an aiohttp.web.Application nor a coroutine function that returns one, "
        f"but worker_class is {name!r}",
        "leave worker_class out: the kind is then detected",
    )


def format_traceback(error: BaseException) -> str:
    """The traceback without the frames of this package and of the import machinery."""
    try:
        import traceback
    except ImportError:
        # A worker's user who cannot read Python's own library; the error is about that too.
        return f"{type(error).__name__}: {error}; can user {os.geteuid()} read {sys.base_prefix}?\n"

    here = os.path.dirname(os.path.abspath(__file__))
    frame = error.__traceback__
    while frame is not None:
        name = frame.tb_frame.f_code.co_filename
        if not (name.startswith(here) or "importlib" in name):
            break
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))
