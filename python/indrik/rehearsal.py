"""Loading the application without serving it: for ``--check-config`` and ``indrik check``."""

from __future__ import annotations

from typing import Any

from indrik import classes, fork_safety, loader, logs, worker


def look(config: dict[str, Any], hooks: Any, before: fork_safety.Before) -> dict[str, Any]:
    """Takes the steps of a start that have no effect outside this process; raises :class:`loader.LoadError` where a
    start would end.

    ``hooks``: of the configuration file, none of which is called. ``before``: the descriptors and threads that were
    there before any code of the user's ran. Returns what the application is, and what there is to be said.
    """
    notices = classes.settle(config)
    if logs.in_python(config):
        _make_logger(hooks, config)
    worker.prepare_hub(config, forked=False)
    app = loader.load_configured(config)
    if config["preload_app"] and config["fork_safety"] != "off":
        notices += fork_safety.check(before, config["fork_safety"])
    interface, kind, remarks = loader.kind_for(app, config)
    return {
        "event": "checked",
        "interface": "WSGI" if interface == "wsgi" else "aiohttp" if kind == "aiohttp" else "ASGI",
        "notices": notices + remarks,
    }


def _make_logger(hooks: Any, config: dict[str, Any]) -> None:
    """The Python logger that the settings ask for. Its own logs go nowhere: they are not to be made."""
    from indrik import configuration

    cfg = (hooks or configuration.without_hooks()).mirrored(config)
    for name, value in (("errorlog", "-"), ("accesslog", None), ("syslog", False), ("capture_output", False)):
        cfg.set(name, value)
    logs.logger(cfg)
