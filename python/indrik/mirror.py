"""Gunicorn's ``Config`` as hooks and loggers see it, filled from Indrik's settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from indrik.facade import util
from indrik.facade.config import Config

KINDS = {
    "sync": "gunicorn.workers.sync.SyncWorker",
    "gthread": "gunicorn.workers.gthread.ThreadWorker",
    "gevent": "gunicorn.workers.ggevent.GeventWorker",
    "eventlet": "gunicorn.workers.geventlet.EventletWorker",
    "tornado": "gunicorn.workers.gtornado.TornadoWorker",
    "asgi": "gunicorn.workers.gasgi.ASGIWorker",
}
"""The class that hooks see for each kind of worker."""

_COMMAS = ("pythonpath", "forwarded_allow_ips", "proxy_allow_ips", "forwarder_headers")
"""Settings that Gunicorn wants as one text."""


_OBJECTS = ("logconfig_dict",)
"""Settings that only a configuration can make, and that may hold what is no plain data."""


def defaults() -> Any:
    """A ``Config`` as Gunicorn makes it."""
    return Config(prog="gunicorn")


def config(values: dict[str, Any], hooks: dict[str, Callable[..., Any]], settled: dict[str, Any]) -> Any:
    """Defaults, then the configuration's own values as they are, then what was settled after all.

    ``values``: by the configuration file. ``settled``: from the supervisor, in its own notation.
    """
    cfg = defaults()
    for name, setting in cfg.settings.items():
        if name in hooks:
            setting.value = hooks[name]
            continue
        if values.get(name) is not None:
            _set(cfg, name, values[name])
            if name in _OBJECTS:
                continue
        if name in settled and settled[name] is not None and name != "worker_class":
            value = _gunicorns(name, settled[name])
            if value is not None:
                _set(cfg, name, value)
    # Not one of Gunicorn's settings, but its logger looks at it.
    cfg.log_format = settled.get("log_format", "text")
    if "worker_class" not in values and settled.get("worker_class") in KINDS:
        _set(cfg, "worker_class", settled["worker_class"])
    return cfg


def _set(cfg: Any, name: str, value: Any) -> None:
    """What does not pass Gunicorn's check stays at its default: Indrik's settings may be wider."""
    try:
        cfg.set(name, value)
    except Exception:
        return


def _gunicorns(name: str, value: Any) -> Any:
    """A settled value in Gunicorn's notation; None for what the configuration file holds itself."""
    if name == "sendfile":
        # Gunicorn's setting is None where nobody switched it off.
        return None if value else False
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if name == "bind":
        return [_address(item) for item in value]
    if name == "raw_env":
        return ["=".join(pair) if isinstance(pair, list) else pair for pair in value]
    if name in _COMMAS:
        return ",".join(value) if isinstance(value, list) else value
    if name == "logger_class" and isinstance(value, dict):
        return None if value["object"] else value["name"]
    if name in ("statsd_host", "syslog_addr") and isinstance(value, dict):
        return _server(name, value)
    if name in ("accesslog", "errorlog") and isinstance(value, dict):
        return value["path"] if value.get("kind") == "file" else "-"
    return value


def _address(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    if item["kind"] == "unix":
        return f"unix:{item['path']}"
    if item["kind"] == "fd":
        return f"fd://{item['fd']}"
    host = f"[{item['host']}]" if ":" in item["host"] else item["host"]
    return f"{host}:{item['port']}"


def _server(name: str, item: dict[str, Any]) -> str:
    if item["kind"] == "unix":
        stream = item.get("stream")
        return f"unix://{item['path']}{'' if stream is None else '#stream' if stream else '#dgram'}"
    host = f"[{item['host']}]" if ":" in item["host"] else item["host"]
    scheme = f"{item['kind']}://" if name == "syslog_addr" else ""
    return f"{scheme}{host}:{item['port']}"


def worker_class(settled: dict[str, Any]) -> Any:
    """The class of ``worker`` in hooks."""
    kind = settled.get("worker_class")
    if kind not in KINDS:
        kind = "gthread" if settled.get("threads", 1) > 1 else "sync"
    return util.load_class(KINDS[kind])
