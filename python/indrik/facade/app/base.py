"""The base of applications that configure the server by themselves."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from indrik.facade._finder import original
from indrik.facade.config import Config, get_default_config_file


class BaseApplication:
    """An application and its settings. Subclasses override :meth:`load_config` and :meth:`load`."""

    def __init__(self, usage: str | None = None, prog: str | None = None) -> None:
        self.usage = usage
        self.prog = prog
        self.cfg: Any = None
        self.callable: Any = None
        self.logger: Any = None
        self.do_load_config()

    def do_load_config(self) -> None:
        """Makes the settings; a mistake in them ends the program."""
        try:
            self.load_default_config()
            self.load_config()
            self.cfg.validate()
        except Exception as error:
            print(f"\nError: {error}", file=sys.stderr, flush=True)
            sys.exit(1)

    def load_default_config(self) -> None:
        """Begins with the defaults."""
        self.cfg = Config(self.usage, prog=self.prog)

    def init(self, parser: Any, opts: Any, args: Any) -> Any:
        """Takes what the command line has beside options."""
        raise NotImplementedError

    def load(self) -> Any:
        """Gives the WSGI or ASGI application."""
        raise NotImplementedError

    def load_config(self) -> None:
        """Sets settings."""
        raise NotImplementedError

    def reload(self) -> None:
        """Makes the settings again."""
        self.do_load_config()

    def wsgi(self) -> Any:
        """The application, loaded once."""
        if self.callable is None:
            self.callable = self.load()
        return self.callable

    def run(self) -> None:
        """Runs the server; does not return."""
        from indrik.facade._embed import start

        start(self)


class Application(BaseApplication):
    """One that also reads the command line and a configuration file."""

    def chdir(self) -> None:
        """Goes to the configured directory, which also becomes importable."""
        os.chdir(self.cfg.chdir)
        if self.cfg.chdir not in sys.path:
            sys.path.insert(0, self.cfg.chdir)

    def get_config_from_filename(self, filename: str) -> dict[str, Any]:
        """What a configuration file assigns."""
        if not os.path.exists(filename):
            raise RuntimeError(f"{filename!r} doesn't exist")
        from indrik.config_file import ConfigFileError, execute

        try:
            module, _source = execute(filename, os.path.abspath(filename))
        except ConfigFileError as error:
            print(f"Failed to read config file: {filename}\n{error.traceback}", file=sys.stderr, flush=True)
            sys.exit(1)
        return vars(module)

    def get_config_from_module_name(self, module_name: str) -> dict[str, Any]:
        """What a configuration module assigns."""
        import importlib

        return vars(importlib.import_module(module_name))

    def load_config_from_module_name_or_filename(self, location: str) -> dict[str, Any]:
        """Takes the settings of ``FILE``, ``file:FILE`` or ``python:MODULE``."""
        if location.startswith("python:"):
            values = self.get_config_from_module_name(location[len("python:") :])
        else:
            values = self.get_config_from_filename(location.removeprefix("file:"))
        for name, value in list(values.items()):
            if name in self.cfg.settings:
                try:
                    self.cfg.set(name, value)
                except Exception:
                    print(f"Invalid value for {name}: {value}\n", file=sys.stderr, flush=True)
                    raise
        return values

    def load_config_from_file(self, filename: str) -> dict[str, Any]:
        """Takes the settings of a file."""
        return self.load_config_from_module_name_or_filename(filename)

    def load_config(self) -> None:
        """Settings of the program, the configuration file, the environment, the command line."""
        parser = self.cfg.parser()
        args = parser.parse_args()
        own = self.init(parser, args, args.args)
        self.chdir()
        for name, value in (own or {}).items():
            self.cfg.set(name.lower(), value)
        env_args = parser.parse_args(self.cfg.get_cmd_args_from_env())
        location = args.config or env_args.config or get_default_config_file()
        if location:
            self.load_config_from_file(location)
        for given in (env_args, args):
            for name, value in vars(given).items():
                if value is not None and name != "args":
                    self.cfg.set(name.lower(), value)
        self.chdir()

    def run(self) -> None:
        """Runs the server, or only checks the configuration."""
        if self.cfg.print_config:
            print(self.cfg)
        if self.cfg.print_config or self.cfg.check_config:
            try:
                self.load()
            except Exception:
                print("\nError while loading the application:\n", file=sys.stderr)
                traceback.print_exc()
                sys.exit(1)
            sys.exit(0)
        super().run()


def __getattr__(name: str) -> object:
    return original(__name__, name)
