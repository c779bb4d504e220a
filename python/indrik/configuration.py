"""A configuration as the zygote reads it: its values for the supervisor, its hooks for itself.

It comes from a configuration file, or from a program that embeds the server.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

from indrik import config_file, facade, glance
from indrik.config_file import ConfigFileError
from indrik.facade._settings import HOOKS, OWN_HOOKS

__all__ = ["ConfigFileError", "read"]


def read(path: str | None, program: str | None) -> tuple[dict[str, Any], Any]:
    """The values as the supervisor's `config` message has them, and the hooks (None without any).

    ``program`` describes an embedding program, as JSON. Raises :class:`ConfigFileError`.
    """
    if program is not None:
        return _embedded(json.loads(program))
    found = config_file.read(path)
    values = config_file.latest()
    hooks, bad = _hooks(values, found["path"], found["lines"], None)
    # Told together with everything else that is wrong.
    found["values"].update({error.name: {config_file.WRONG_KEY: error.message} for error in bad})
    return {**found, **_changes(), "hooks": _names(hooks)}, hooks


def without_hooks() -> Any:
    """For a configuration without hooks whose logs a Python logger writes: it has the same objects."""
    from indrik.hooks import Hooks

    return Hooks({}, config_file.latest(), {})


def _hooks(values: dict[str, Any], path: str | None, lines: dict[str, int], program: Any) -> tuple[Any, list[Any]]:
    if program is None and all(values.get(name) is None for name in (*HOOKS, *OWN_HOOKS)):
        return None, []
    from indrik.hooks import Hooks, collect

    found, bad = collect(values)
    places = {name: f"{path}:{lines[name]}" if name in lines else str(path) for name in found}
    return Hooks(found, values, places, program), bad


def _changes() -> dict[str, Any]:
    """What the configuration changed in Gunicorn's modules."""
    software = facade.SERVER_SOFTWARE != facade.SOFTWARE or facade.SERVER != facade.NAME
    if not software and "indrik.facade.http.wsgi" not in sys.modules:
        return {}
    from indrik.hooks import server_header

    return {"server_header": server_header()}


def _embedded(program: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    from indrik.facade import _embed
    from indrik.hooks import embedded_values

    shown = program.get("file") or f"python -m {program['module']}"
    try:
        app = _embed.capture(program)
    except (Exception, SystemExit) as error:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        raise ConfigFileError(f"the program failed: {glance.failure(error)}", shown, None, text) from error
    values = embedded_values(app)
    data = config_file.data({**values, "wsgi_app": f"{_embed.MODULE}:load()"})
    data.setdefault("proc_name", os.path.basename(shown))
    hooks, bad = _hooks(values, shown, {}, app)
    if bad:
        raise ConfigFileError(f"{bad[0].name} {bad[0].message}", shown)
    return {"path": shown, "values": data, "lines": {}, **_changes(), "hooks": _names(hooks)}, hooks


def _names(hooks: Any) -> list[str]:
    return [] if hooks is None else list(hooks.found)
