"""Servers with settings, one for each set of them, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .server import Server

Configured = Callable[..., Server]
# `configured(**ASGI, name=value)`: the same for the ASGI application.
ASGI: dict[str, Any] = {"app": "asgi_app:app", "interface": "asgi", "worker_class": "asgi", "threads": 1}


@pytest.fixture(scope="module")
def configured(start_shared: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Configured:
    """`configured(name=value, …)`: a server whose `gunicorn.conf.py` has these settings.

    `app`, `interface`, `bind` and `environment` are those of `Server`.
    """
    servers: dict[str, Server] = {}

    def configured(
        app: str = "wsgi_app:app",
        interface: str = "wsgi",
        bind: str | None = None,
        environment: dict[str, str] | None = None,
        **settings: Any,
    ) -> Server:
        key = repr((app, bind, environment, sorted(settings.items())))
        if key not in servers:
            config = write(tmp_path_factory.mktemp("config") / "gunicorn.conf.py", settings)
            servers[key] = start_shared(app, "-c", str(config), interface=interface, bind=bind, environment=environment)
        return servers[key]

    return configured


def write(path: Path, settings: dict[str, Any]) -> Path:
    defaults: dict[str, Any] = {"workers": 1, "threads": 2}
    path.write_text("".join(f"{name} = {value!r}\n" for name, value in (defaults | settings).items()))
    return path
