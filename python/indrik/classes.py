"""Worker classes: from what the configuration names to what runs.

The names in use are one table on the Rust side. What it does not know is a class of the user's: it is
imported here, and the nearest class among its bases says what runs instead of it.
"""

from __future__ import annotations

import sys

from indrik.lean import _native
from indrik.loader import LoadError, format_traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PACKAGES = {"gevent": "gevent", "eventlet": "eventlet", "aiohttp": "aiohttp"}
"""What has to be installed for a kind of worker; its name for pip."""

ENTRY_POINTS = "gunicorn.workers"
"""The group that `egg:DISTRIBUTION#NAME` looks into."""

KWARGS_HONOURED = {"loop": "asgi_loop", "lifespan": "asgi_lifespan", "root_path": "root_path"}
"""What of a Uvicorn worker's CONFIG_KWARGS is done, and the setting that it stands for."""

KWARGS_MOOT = {"http", "ws", "app", "interface"}
"""What of it makes no difference: the front speaks HTTP and WebSocket itself."""

Row = tuple[str, str, str, bool, bool]
"""What the table says of a class: kind, remark, event loop, whether it cancels the coroutine of a client
that has gone, and whether it takes the client's address from X-Forwarded-For."""

_LOOPS = ("auto", "asyncio", "uvloop")
_LIFESPANS = ("auto", "on", "off")
_FROM_OBJECT = frozenset(vars(object)) - {"__init__", "__new__"}


def settle(config: dict[str, Any]) -> list[str]:
    """Decides the kind of worker and puts it into ``config``; returns what is to be said about it.

    Raises :class:`LoadError` when the class cannot be found, or its library is not installed.
    """
    name = config["worker_class_spec"]["name"]
    notes: list[str] = []
    if config["worker_class"] == "custom":
        row = _settle_custom(config, name, notes)
    else:
        row = _native.worker_class_of(name)
        if row is not None and row[1]:
            notes.append(f"worker_class {name!r}: {row[1]}")
    if row is not None:
        _settle_loop(config, row)
    kind = config["worker_class"]
    if kind in PACKAGES:
        _need_package(PACKAGES[kind], f"worker_class {name!r}")
    if kind in ("asgi", "aiohttp") and config["asgi_loop"] == "uvloop":
        _need_package("uvloop", "asgi_loop 'uvloop'")
    return notes


def _settle_custom(config: dict[str, Any], name: str, notes: list[str]) -> Row:
    given = _class_of(config, name)
    base, row = _nearest(given, name)
    kind = row[0]
    config["worker_class"] = "gthread" if kind == "sync" and config["threads"] > 1 else kind
    text = f"worker_class {name!r} runs as {config['worker_class']}"
    if row[1]:
        text += f" ({row[1]})"
    notes.append(text)
    own = overridden(given, base)
    if own:
        notes.append(
            f"worker_class {name!r}: its own {', '.join(own)} {'is' if len(own) == 1 else 'are'} not "
            "run; what must happen in each worker belongs into the hooks post_fork or post_worker_init"
        )
    if row[4] and config["real_ip_header"] == "off":
        notes.append(
            f"worker_class {name!r}: Uvicorn takes the client's address from X-Forwarded-For of trusted proxies; "
            "set real_ip_header = 'x-forwarded-for' for the same here"
        )
    kwargs = getattr(given, "CONFIG_KWARGS", None)
    if isinstance(kwargs, dict) and kind == "asgi":
        _settle_kwargs(config, name, kwargs, notes)
    return row


def _settle_loop(config: dict[str, Any], row: Row) -> None:
    """What the class of that name does without being told."""
    _, _, loop, cancels, _ = row
    if loop and config["asgi_loop"] == "auto":
        config["asgi_loop"] = loop
    if not cancels:
        config["asgi_disconnect_grace_period"] = None


def _settle_kwargs(config: dict[str, Any], name: str, kwargs: dict[str, Any], notes: list[str]) -> None:
    ignored = []
    for key, value in kwargs.items():
        setting = KWARGS_HONOURED.get(key)
        allowed = {"loop": _LOOPS, "lifespan": _LIFESPANS}.get(key)
        if setting is not None and isinstance(value, str) and (allowed is None or value in allowed):
            config[setting] = value
        elif key not in KWARGS_MOOT:
            ignored.append(f"{key}={value!r}")
    if ignored:
        notes.append(f"worker_class {name!r}: of its CONFIG_KWARGS {', '.join(ignored)} has no effect")


def _class_of(config: dict[str, Any], name: str) -> type:
    """The class: from the configuration file if it holds the class, else imported."""
    found = _from_config_file(config)
    if found is None:
        found = _entry_point(name) if name.startswith("egg:") else _import(name)
    if not isinstance(found, type) and callable(found):
        # Gunicorn takes a function that returns the class.
        try:
            found = found()
        except Exception as error:
            from indrik import glance

            message = f"worker_class {name!r}: calling it raised {glance.failure(error)}"
            raise LoadError("config", message, "", format_traceback(error)) from None
    if not isinstance(found, type):
        raise LoadError("config", f"worker_class {name!r} is of type {type(found).__name__!r}, not a class", _hint())
    return found


def _from_config_file(config: dict[str, Any]) -> Any:
    """The object itself, where the configuration file holds one."""
    if not config["worker_class_spec"]["object"]:
        return None
    from indrik import config_file

    return config_file.latest().get("worker_class")


def _import(name: str) -> Any:
    module_name, _, attribute = name.rpartition(".")
    try:
        __import__(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        hint = _hint()
        if module_name == missing or module_name.startswith(missing + "."):
            hint = f"looked on sys.path; if it is a package, install it: pip install {missing.partition('.')[0]}"
        raise LoadError("config", f"worker_class {name!r}: No module named {missing!r}", hint) from None
    except Exception as error:
        from indrik import glance

        message = f"worker_class {name!r}: importing {module_name!r} raised {glance.failure(error)}"
        raise LoadError("config", message, "", format_traceback(error)) from None
    try:
        return getattr(sys.modules[module_name], attribute)
    except AttributeError:
        raise LoadError("config", f"worker_class {name!r}: {module_name!r} has no {attribute!r}", _hint()) from None


def _entry_point(name: str) -> Any:
    from importlib.metadata import PackageNotFoundError, distribution

    package, _, wanted = name.removeprefix("egg:").partition("#")
    try:
        points = distribution(package).entry_points.select(group=ENTRY_POINTS, name=wanted)
    except PackageNotFoundError:
        message = f"worker_class {name!r}: the distribution {package!r} is not installed"
        raise LoadError("config", message, f"install it: pip install {package}") from None
    for point in points:
        return _import(point.value.replace(":", "."))
    raise LoadError("config", f"worker_class {name!r}: {package!r} has no worker class {wanted!r}", _hint())


def _nearest(given: type, name: str) -> tuple[type, Row]:
    """The first of its bases that the table knows, with its row."""
    for base in given.__mro__:
        # What a class of Gunicorn's is derived from here is our stand-in for it.
        module = base.__module__.replace("indrik.facade.", "gunicorn.", 1)
        row = _native.worker_class_of(f"{module}.{base.__qualname__}")
        if row is not None:
            return base, row
    raise LoadError(
        "config",
        f"worker_class {name!r} is a server of its own: it is derived from no worker class that Indrik can stand for",
        "use one that is derived from Gunicorn's, Uvicorn's or aiohttp's worker classes, or leave the setting out",
    )


def overridden(given: type, base: type) -> list[str]:
    """Methods that are defined between the class and its base that stands for it."""
    from indrik import glance

    names: dict[str, None] = {}
    for part in given.__mro__:
        if part is base:
            break
        for name, value in vars(part).items():
            is_code = callable(value) or glance.is_a(value, classmethod, staticmethod, property)
            if is_code and name not in _FROM_OBJECT and not glance.is_class(value):
                names[name] = None
    return [f"{name}()" for name in names]


def _need_package(package: str, who: str) -> None:
    from importlib.util import find_spec

    try:
        found = find_spec(package) is not None
    except ImportError:
        found = False
    if not found:
        raise LoadError(
            "config",
            f"{who} needs the package {package!r}, which is not installed",
            f"install it: {sys.executable} -m pip install {package}",
        )


def _hint() -> str:
    return "write sync, gthread, gevent, eventlet, asgi, or the dotted path of a worker class"
