"""PasteDeploy: applications described by an ini file."""

from __future__ import annotations

import os
from typing import Any

from indrik import paths
from indrik.facade._finder import original
from indrik.facade.app.wsgiapp import WSGIApplication


def get_wsgi_app(config_uri: Any, name: str | None = None, defaults: Any = None) -> Any:
    """The application that ``FILE.ini#NAME`` describes; needs the PasteDeploy package."""
    from paste.deploy import loadapp

    uri = config_uri if config_uri.startswith("config:") else f"config:{config_uri}"
    return loadapp(uri, name=name, relative_to=os.getcwd(), global_conf=defaults)


def has_logging_config(config_file: str) -> bool:
    """Whether the file also configures logging."""
    import configparser

    parser = configparser.ConfigParser()
    try:
        parser.read_string(paths.read(config_file).decode(), config_file)
    except OSError:
        # As `ConfigParser.read` takes what is not there.
        return False
    return parser.has_section("loggers")


def serve(app: Any, global_conf: dict[str, Any], **local_conf: Any) -> None:
    """The entry point ``egg:gunicorn#main`` of a PasteDeploy file: serves the application."""
    config_file = global_conf["__file__"]

    class PasterServerApplication(WSGIApplication):
        def load_config(self) -> None:
            self.app_uri = config_file
            host, port = local_conf.pop("host", ""), local_conf.pop("port", "")
            bind = f"{host}:{port}" if host and port else host or (port and f":{port}")
            if bind:
                self.cfg.set("bind", bind.split(","))
            self.cfg.set("default_proc_name", config_file)
            for name, value in local_conf.items():
                if value and name in self.cfg.settings:
                    self.cfg.set(name.lower(), value)
            if local_conf.get("config"):
                self.load_config_from_file(local_conf["config"])

        def load(self) -> Any:
            return app

    PasterServerApplication().run()


def __getattr__(name: str) -> object:
    return original(__name__, name)
