"""``Config`` and ``Setting`` as hooks, loggers and embedding programs use them."""

from __future__ import annotations

import copy
import inspect
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

from indrik.facade import util
from indrik.facade._finder import original
from indrik.facade._settings import DEFAULT_FROM_ENVIRONMENT, HOOKS, SECTIONS
from indrik.facade.errors import ConfigError

PLATFORM = sys.platform


def validate_bool(val: Any) -> bool | None:
    """A boolean, or its name."""
    if val is None or isinstance(val, bool):
        return val
    if not isinstance(val, str):
        raise TypeError(f"Invalid type for casting: {val}")
    known = {"true": True, "false": False}
    if val.lower().strip() not in known:
        raise ValueError(f"Invalid boolean: {val}")
    return known[val.lower().strip()]


def validate_pos_int(val: Any) -> int:
    """A number that is not negative, or its text."""
    number = int(val) if isinstance(val, int) else int(val, 0)
    if number < 0:
        raise ValueError(f"Value must be positive: {number}")
    return number


def auto_int(_context: Any, text: str) -> int:
    """A number in any notation; a leading zero means octal."""
    if len(text) > 1 and text[0] == "0" and text[1].isdigit():
        return int(text, 8)
    return int(text, 0)


def validate_string(val: Any) -> str | None:
    """Text."""
    if val is None:
        return None
    if not isinstance(val, str):
        raise TypeError(f"Not a string: {val}")
    return val.strip()


def validate_list_string(val: Any) -> list[Any]:
    """A list of texts, or one."""
    if not val:
        return []
    return [validate_string(item) for item in ([val] if isinstance(val, str) else val)]


def validate_string_to_list(val: Any) -> list[str]:
    """Texts with commas between them."""
    if isinstance(val, (list, tuple)):
        return [str(item) for item in val]
    text = validate_string(val)
    return [part.strip() for part in text.split(",") if part] if text else []


def validate_dict(val: Any) -> dict[Any, Any]:
    """A dict."""
    if not isinstance(val, dict):
        raise TypeError(f"Value is not a dictionary: {val} ")
    return val


def validate_class(val: Any) -> Any:
    """A class, its path, or a function that gives either."""
    if inspect.isfunction(val) or inspect.ismethod(val):
        val = val()
    return val if inspect.isclass(val) else validate_string(val)


def validate_callable(arity: int) -> Callable[[Any], Any]:
    """A check for a function with so many parameters (-1: any), or the dotted path of one."""

    def check(val: Any) -> Any:
        function = resolve_callable(val)
        if arity not in (-1, util.get_arity(function)):
            raise TypeError(f"Value must have an arity of: {arity}")
        return function

    return check


def resolve_callable(val: Any) -> Any:
    """The function itself, or the one that a dotted path names; raises ``TypeError``."""
    if isinstance(val, str):
        module, dot, name = val.rpartition(".")
        if not dot:
            raise TypeError(f"Value '{val}' is not import string. Format: module[.submodules...].object")
        try:
            val = getattr(__import__(module, fromlist=[name]), name)
        except ImportError as error:
            raise TypeError(str(error)) from error
        except AttributeError as error:
            raise TypeError(f"Can not load '{name}' from '{module}'") from error
    if not callable(val):
        raise TypeError(f"Value is not callable: {val}")
    return val


def validate_post_request(val: Any) -> Any:
    """A function with four parameters; three and two are made into four."""
    function = resolve_callable(val)
    arity = util.get_arity(function)
    if arity == 4:
        return function
    if arity not in (2, 3):
        raise TypeError("Value must have an arity of: 4")
    return lambda worker, req, environ, resp: function(*(worker, req, environ)[:arity])


def validate_user(val: Any) -> int:
    """A user by name or number."""
    import pwd

    if val is None:
        return os.geteuid()
    if isinstance(val, int) or val.isdigit():
        return int(val)
    try:
        return pwd.getpwnam(val).pw_uid
    except KeyError:
        raise ConfigError(f"No such user: '{val}'") from None


def validate_group(val: Any) -> int:
    """A group by name or number."""
    import grp

    if val is None:
        return os.getegid()
    if isinstance(val, int) or val.isdigit():
        return int(val)
    try:
        return grp.getgrnam(val).gr_gid
    except KeyError:
        raise ConfigError(f"No such group: '{val}'") from None


def validate_proxy_protocol(val: Any) -> str:
    """Which versions of the PROXY protocol are understood."""
    if val is None or isinstance(val, bool):
        return "auto" if val else "off"
    text = str(val).lower().strip()
    known = {"": "off", "false": "off", "none": "off", "true": "auto"}
    text = known.get(text, text)
    if text not in ("off", "v1", "v2", "auto"):
        raise ValueError(f"Invalid proxy_protocol: {val}")
    return text


def validate_statsd_address(val: Any) -> Any:
    """Where statsd listens."""
    text = validate_string(val)
    return None if text is None else util.parse_address(text, "8125")


VALIDATORS: dict[str, Callable[[Any], Any]] = {
    "any": lambda val: val,
    "text": validate_string,
    "int": validate_pos_int,
    "octal": validate_pos_int,
    "flag": validate_bool,
    "flag_off": validate_bool,
    "list": validate_list_string,
    "commas": validate_string_to_list,
    "dict": validate_dict,
    "class": validate_class,
    "user": validate_user,
    "group": validate_group,
    "proxy": validate_proxy_protocol,
    "statsd": validate_statsd_address,
}
KNOWN_SETTINGS: list[type[Setting]] = []
"""The classes of all settings; subclasses of :class:`Setting` with a name join it."""


class Setting:
    """One setting: what it is called, and its value."""

    name: Any = None
    value: Any = None
    section: Any = None
    cli: Any = None
    validator: Any = None
    type: Any = None
    meta: Any = None
    action: Any = None
    default: Any = None
    short: Any = ""
    desc: Any = ""
    nargs: Any = None
    const: Any = None
    order = 0
    given = False
    """Whether it was set, be it to its default: then it is what somebody wants, and no other default counts."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.name:
            cls.order = len(KNOWN_SETTINGS)
            if inspect.isfunction(cls.__dict__.get("validator")):
                cls.validator = staticmethod(cls.__dict__["validator"])
            cls.desc = inspect.cleandoc(cls.desc or "")
            cls.short = (cls.desc.splitlines() or [""])[0]
            KNOWN_SETTINGS.append(cls)

    def __init__(self) -> None:
        if self.default is not None:
            self.set(self.default)
        self.given = False

    def add_option(self, parser: Any) -> None:
        """Adds the setting to the command line."""
        if not self.cli:
            return
        keywords: dict[str, Any] = {"dest": self.name, "action": self.action or "store", "default": None}
        if keywords["action"] == "store":
            keywords["type"] = self.type or str
        for name, value in (("metavar", self.meta), ("nargs", self.nargs), ("const", self.const)):
            if value is not None:
                keywords[name] = value
        parser.add_argument(*self.cli, help=f"{self.short} [{self.default}]".replace("%", "%%"), **keywords)

    def copy(self) -> Setting:
        """Another one with the same value."""
        return copy.copy(self)

    def get(self) -> Any:
        """The value."""
        return self.value

    def set(self, val: Any) -> None:
        """Checks the value and takes it."""
        if not callable(self.validator):
            raise TypeError(f"Invalid validator: {self.name}")
        self.value = self.validator(val)
        self.given = True

    def __lt__(self, other: Setting) -> bool:
        return bool(self.section == other.section and self.order < other.order)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}={self.value!r}>"


def _no_hook(*_arguments: Any) -> None:
    """Stands for a hook that is not set."""


def _make(section: str, name: str, cli: tuple[str, ...], kind: str, default: Any) -> None:
    space: dict[str, Any] = {"name": name, "section": section, "cli": list(cli), "default": default}
    if kind == "hook":
        space["default"] = staticmethod(default_hook(name))
        validator = validate_post_request if name == "post_request" else validate_callable(HOOKS[name][0])
    else:
        validator = VALIDATORS[kind]
    space["validator"] = staticmethod(validator)
    actions = {"flag": "store_true", "flag_off": "store_const", "list": "append"}
    space["action"] = actions.get(kind)
    if kind == "flag_off":
        space["const"] = False
    if kind == "int":
        space["type"] = int
    if kind == "octal":
        space["type"] = lambda text: auto_int(None, text)
    if kind == "proxy":
        space.update(nargs="?", const="auto")
    made = type(_class_name(name), (Setting,), space)
    globals().setdefault(made.__name__, made)


_CLASS_NAMES = {
    "pre_fork": "Prefork",
    "post_fork": "Postfork",
    "nworkers_changed": "NumWorkersChanged",
    "ssl_context": "NewSSLContext",
}
"""The hooks whose classes Gunicorn calls otherwise than its rule says."""


def _class_name(name: str) -> str:
    return _CLASS_NAMES.get(name) or "".join(part.capitalize() for part in name.split("_"))


def default_hook(name: str) -> Callable[..., Any]:
    """A function of the right arity that does nothing (``ssl_context``: makes the default context), named as in
    Gunicorn: programs show what they find, and compare names."""
    count = HOOKS[name][0]
    one: Callable[..., Any] = lambda a: _no_hook()  # noqa: E731
    two: Callable[..., Any] = lambda a, b: _no_hook()  # noqa: E731
    three: Callable[..., Any] = lambda a, b, c: _no_hook()  # noqa: E731
    four: Callable[..., Any] = lambda a, b, c, d: _no_hook()  # noqa: E731
    hook = (one, two, three, four)[count - 1]
    if name == "ssl_context":
        hook = lambda config, default_ssl_context_factory: default_ssl_context_factory()  # noqa: E731
    hook.__name__, hook.__qualname__ = name, f"{_class_name(name)}.{name}"
    return hook


for _section, _rows in SECTIONS.items():
    for _row in _rows:
        _make(_section, *_row)


def make_settings(ignore: Any = None) -> dict[str, Setting]:
    """Every setting with its default."""
    return {cls.name: cls() for cls in KNOWN_SETTINGS if cls.name not in (ignore or ())}


class Config:
    """All settings; each is an attribute, and is changed by :meth:`set`."""

    def __init__(self, usage: str | None = None, prog: str | None = None) -> None:
        self.settings = make_settings()
        self.usage = usage
        self.prog = prog or os.path.basename(sys.argv[0] if sys.argv else "gunicorn")
        self.env_orig = os.environ.copy()
        for name, variable in DEFAULT_FROM_ENVIRONMENT.items():
            if os.environ.get(variable):
                self.set(name, os.environ[variable])
        if os.environ.get("PORT"):
            self.set("bind", [f"0.0.0.0:{os.environ['PORT']}"])
        self.set("chdir", util.getcwd())
        self.set("user", os.geteuid())
        self.set("group", os.getegid())
        for setting in self.settings.values():
            setting.given = False

    def __str__(self) -> str:
        width = max(map(len, self.settings))
        return "\n".join(f"{name:{width}} = {_shown(self.settings[name].value)}" for name in sorted(self.settings))

    def __getattr__(self, name: str) -> Any:
        if name == "settings" or name not in self.settings:
            raise AttributeError(f"No configuration setting for: {name}")
        return self.settings[name].get()

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "settings" and name in self.settings:
            raise AttributeError("Invalid access!")
        super().__setattr__(name, value)

    def set(self, name: str, value: Any) -> None:
        """Changes a setting; raises what its check raises."""
        if name not in self.settings:
            raise AttributeError(f"No configuration setting for: {name}")
        self.settings[name].set(value)

    def validate(self) -> None:
        """Settings are checked against each other by Indrik itself."""

    def get_cmd_args_from_env(self) -> list[str]:
        """The options in ``GUNICORN_CMD_ARGS``."""
        return shlex.split(self.env_orig.get("GUNICORN_CMD_ARGS", ""))

    def parser(self) -> Any:
        """A parser for the command line."""
        from argparse import SUPPRESS, ArgumentParser

        from indrik.facade import __version__

        parser = ArgumentParser(usage=self.usage, prog=self.prog)
        version = f"%(prog)s (version {__version__})\n"
        parser.add_argument("-v", "--version", action="version", default=SUPPRESS, version=version)
        parser.add_argument("args", nargs="*", help=SUPPRESS)
        for setting in self.settings.values():
            setting.add_option(parser)
        return parser

    @property
    def worker_class_str(self) -> str:
        """The worker class as it is shown."""
        uri = self.settings["worker_class"].get()
        if not isinstance(uri, str):
            return str(uri.__name__)
        return "gthread" if _is_sync(uri) and self.threads > 1 else uri

    @property
    def worker_class(self) -> Any:
        """The class itself."""
        uri = self.settings["worker_class"].get()
        if isinstance(uri, str) and _is_sync(uri) and self.threads > 1:
            uri = "gunicorn.workers.gthread.ThreadWorker"
        return util.load_class(uri)

    @property
    def address(self) -> list[Any]:
        """Where the server listens."""
        return [util.parse_address(bind) for bind in self.settings["bind"].get()]

    @property
    def uid(self) -> Any:
        """Whom workers run as."""
        return self.settings["user"].get()

    @property
    def gid(self) -> Any:
        """The group workers run as."""
        return self.settings["group"].get()

    @property
    def proc_name(self) -> Any:
        """The name that processes are shown with."""
        return self.settings["proc_name"].get() or self.settings["default_proc_name"].get()

    @property
    def logger_class(self) -> Any:
        """The class of the logger."""
        uri = self.settings["logger_class"].get()
        if uri in ("simple", "gunicorn.glogging.Logger"):
            uri = "gunicorn.instrument.statsd.Statsd" if self.statsd_host else "gunicorn.glogging.Logger"
        return util.load_class(uri, default="gunicorn.glogging.Logger", section="gunicorn.loggers")

    @property
    def is_ssl(self) -> Any:
        """Whether TLS is wanted."""
        return self.certfile or self.keyfile

    @property
    def ssl_options(self) -> dict[str, Any]:
        """The settings about TLS."""
        return {name: setting.get() for name, setting in self.settings.items() if setting.section == "SSL"}

    @property
    def env(self) -> dict[str, str]:
        """Variables that workers get."""
        pairs = {}
        for item in self.settings["raw_env"].get() or ():
            name, equals, value = util.bytes_to_str(item).partition("=")
            if not equals:
                raise RuntimeError(f"environment setting {item!r} invalid")
            pairs[name] = value
        return pairs

    @property
    def sendfile(self) -> bool:
        """Whether files are sent by the kernel."""
        if self.settings["sendfile"].get() is not None:
            return False
        return os.environ.get("SENDFILE", "y").lower() in ("y", "1", "yes", "true")

    @property
    def reuse_port(self) -> Any:
        """Whether every worker would listen for itself."""
        return self.settings["reuse_port"].get()


def _is_sync(uri: str) -> bool:
    return uri == "sync" or uri.endswith("SyncWorker")


def _shown(value: Any) -> Any:
    return f"<{value.__qualname__}()>" if callable(value) and hasattr(value, "__qualname__") else value


def get_default_config_file() -> str | None:
    """The configuration file in the current directory, if there is one."""
    path = os.path.join(os.path.abspath(os.getcwd()), "gunicorn.conf.py")
    return path if os.path.exists(path) else None


def __getattr__(name: str) -> object:
    return original(__name__, name)
