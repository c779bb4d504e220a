"""The ``gunicorn`` command as a class."""

from __future__ import annotations

import os
from typing import Any

from indrik.facade._finder import original
from indrik.facade.app.base import Application
from indrik.facade.errors import ConfigError


class WSGIApplication(Application):
    """Runs the application that the command line names."""

    def init(self, parser: Any, opts: Any, args: Any) -> None:
        """Takes the application's name."""
        self.app_uri: str | None = None
        if opts.paste:
            self.app_uri = os.path.abspath(opts.paste)
            if not os.path.exists(self.app_uri.partition("#")[0]):
                raise ConfigError(f"{opts.paste!r} not found")
            self.cfg.set("default_proc_name", self.app_uri.partition("#")[0])
        elif args:
            self.cfg.set("default_proc_name", args[0])
            self.app_uri = args[0]

    def load_config(self) -> None:
        """Settings, and the application's name if the configuration file has it."""
        super().load_config()
        if self.app_uri is None:
            if self.cfg.wsgi_app is None:
                raise ConfigError("No application module specified.")
            self.app_uri = self.cfg.wsgi_app

    def load_wsgiapp(self) -> Any:
        """The application by its name."""
        from indrik.facade.util import import_app

        assert self.app_uri is not None
        return import_app(self.app_uri)

    def load_pasteapp(self) -> Any:
        """The application of a PasteDeploy file."""
        from indrik.facade.app.pasterapp import get_wsgi_app

        return get_wsgi_app(self.app_uri, defaults=self.cfg.paste_global_conf)

    def load(self) -> Any:
        """The application."""
        return self.load_wsgiapp() if self.cfg.paste is None else self.load_pasteapp()


def run(prog: str | None = None) -> None:
    """The ``gunicorn`` command; this is the ``indrik`` one."""
    import sys

    from indrik.__main__ import main

    sys.exit(main())


def __getattr__(name: str) -> object:
    return original(__name__, name)
