"""The logger that also sends metrics to statsd. Indrik's own metrics are sent by its front."""

from __future__ import annotations

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
    """Gunicorn's class name for it."""


def __getattr__(name: str) -> object:
    return original(__name__, name)
