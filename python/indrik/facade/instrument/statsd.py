"""The logger that also sends metrics to statsd.

With the default ``logger_class`` the metrics of requests, workers and the log are sent by Indrik
itself, and this class only sends what the application hands it (``extra={"metric": …}``) and what
workers log. Where a Python logger writes the logs, everything is sent from here.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

from indrik.facade._finder import original
from indrik.facade.glogging import Logger

METRIC_VAR = "metric"
VALUE_VAR = "value"
MTYPE_VAR = "mtype"
GAUGE_TYPE = "gauge"
COUNTER_TYPE = "counter"
HISTOGRAM_TYPE = "histogram"
TIMER_TYPE = "timer"


class Statsd(Logger):
    """Gunicorn's logger with metrics. Sending never waits; what cannot be sent is lost."""

    def __init__(self, cfg: Any) -> None:
        self.sock: Any = None
        self.prefix = ""
        self.dogstatsd_tags = ""
        super().__init__(cfg)
        self.prefix = cfg.statsd_prefix.rstrip(".") + "." if cfg.statsd_prefix else ""
        self.dogstatsd_tags = cfg.dogstatsd_tags
        host = cfg.statsd_host
        family = socket.AF_UNIX if isinstance(host, str) else socket.AF_INET
        if not isinstance(host, str) and host and ":" in host[0]:
            family = socket.AF_INET6
        try:
            self.sock = socket.socket(family, socket.SOCK_DGRAM)
            self.sock.setblocking(False)
            self.sock.connect(host)
        except Exception:
            self.sock = None

    def critical(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes and counts."""
        super().critical(msg, *args, **kwargs)
        self.increment("gunicorn.log.critical", 1)

    def error(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes and counts."""
        super().error(msg, *args, **kwargs)
        self.increment("gunicorn.log.error", 1)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes and counts."""
        super().warning(msg, *args, **kwargs)
        self.increment("gunicorn.log.warning", 1)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes and counts."""
        super().exception(msg, *args, **kwargs)
        self.increment("gunicorn.log.exception", 1)

    def info(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes, and sends a metric that comes along."""
        self.log(logging.INFO, msg, *args, **kwargs)

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes, and sends a metric that comes along."""
        self.log(logging.DEBUG, msg, *args, **kwargs)

    def log(self, lvl: Any, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Writes, unless there is nothing to say, and sends a metric that comes along in ``extra``."""
        try:
            self._send_extra(kwargs.get("extra") or {})
            if msg:
                super().log(lvl, msg, *args, **kwargs)
        except Exception:
            super().warning("Failed to log to statsd", exc_info=True)

    def _send_extra(self, extra: dict[str, Any]) -> None:
        metric, value, kind = extra.get(METRIC_VAR), extra.get(VALUE_VAR), extra.get(MTYPE_VAR)
        if not metric or value is None:
            return
        send = {
            GAUGE_TYPE: self.gauge,
            COUNTER_TYPE: self.increment,
            HISTOGRAM_TYPE: self.histogram,
            TIMER_TYPE: self.timer,
        }.get(kind or "")
        if send is not None:
            send(metric, value)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        """Writes the line, and sends how long the request took and how it ended."""
        super().access(resp, req, environ, request_time)
        status = resp.status.decode() if isinstance(resp.status, bytes) else resp.status
        code = int(status.split(None, 1)[0]) if isinstance(status, str) else status
        self.timer("gunicorn.request.duration", request_time.seconds * 1000 + request_time.microseconds / 1000)
        self.increment("gunicorn.requests", 1)
        self.increment(f"gunicorn.request.status.{code}", 1)

    def gauge(self, name: str, value: Any) -> None:
        """It is this many now."""
        self._sock_send(f"{self.prefix}{name}:{value}|g")

    def increment(self, name: str, value: Any, sampling_rate: float = 1.0) -> None:
        """It happened this often more."""
        self._sock_send(f"{self.prefix}{name}:{value}|c|@{sampling_rate}")

    def decrement(self, name: str, value: Any, sampling_rate: float = 1.0) -> None:
        """The opposite."""
        self._sock_send(f"{self.prefix}{name}:-{value}|c|@{sampling_rate}")

    def timer(self, name: str, value: Any) -> None:
        """It took this many milliseconds."""
        self._sock_send(f"{self.prefix}{name}:{value}|ms")

    def histogram(self, name: str, value: Any) -> None:
        """One of the values of a distribution."""
        self._sock_send(f"{self.prefix}{name}:{value}|h")

    def _sock_send(self, msg: Any) -> None:
        try:
            data = msg.encode("ascii") if isinstance(msg, str) else msg
            if self.dogstatsd_tags:
                data += b"|#" + self.dogstatsd_tags.encode("ascii")
            if self.sock:
                self.sock.send(data)
        except OSError:
            # Nobody listens, or not fast enough.
            return
        except Exception:
            super().warning("Error sending message to statsd", exc_info=True)


def __getattr__(name: str) -> object:
    return original(__name__, name)
