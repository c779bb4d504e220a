"""The metrics of ``prometheus_client``, in the table that the server shows: loaded with that library, if ever.

Each value of that library's metrics is one number, made by ``values.ValueClass``; ours keeps it in the table. So its
counters, gauges, histograms and summaries are one for all workers, without a directory of files and without
``mark_process_dead``. Where the application asks for that directory, the library is left alone.
"""

from __future__ import annotations

import os
from functools import wraps
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from indrik import libraries
from indrik.lean import _native

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

VARIABLES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
"""What tells that library to keep its values in files."""

_MODES = {
    "all": ("each", True),
    "liveall": ("each", True),
    "sum": ("sum", False),
    "livesum": ("sum", True),
    "min": ("min", False),
    "livemin": ("min", True),
    "max": ("max", False),
    "livemax": ("max", True),
    "mostrecent": ("last", False),
    "livemostrecent": ("last", True),
}
"""Modes of its gauges, as ours. Of "all" those that have ended are left out: they would be ever more."""

_PARTS = {"_bucket": "bucket", "_sum": "sum", "_count": "count"}
_KINDS = ("counter", "gauge", "histogram", "summary")

_enums: WeakSet[Any] = WeakSet()

_metrics: dict[tuple[object, ...], Any] = {}
"""Those that there are, by everything that makes them one."""


def keeps_files() -> bool:
    """Whether the library was told to keep its values in files."""
    return any(name in os.environ for name in VARIABLES)


def enter_values(values: ModuleType) -> None:
    """The library's values are made by us from now on."""
    if keeps_files():
        return
    plain = values.ValueClass
    if not isinstance(plain, type) or plain.__module__ == __name__:
        return

    def value_class(typ: str, metric_name: str, name: str, *arguments: Any, **named: Any) -> Any:
        try:
            return Value(typ, metric_name, name, *arguments, **named)
        except (KeyError, TypeError, ValueError) as error:
            _native.lose_metric("name", str(metric_name))
            _tell(error)
            return plain(typ, metric_name, name, *arguments, **named)

    values.ValueClass = value_class  # type: ignore[attr-defined]


def _tell(error: BaseException) -> None:
    from indrik import logs

    logs.debug("A metric of prometheus_client is not shown", error)


def _metric(kind: str, name: str, text: str, labels: Sequence[str], across: str, of_living: bool) -> Any:
    key = (kind, name, *labels, across, of_living)
    metric = _metrics.get(key)
    if metric is None:
        made = _native.Metric(kind, name, text, list(labels), across, of_living)
        metric = _metrics.setdefault(key, made)
    return metric


class Value:
    """One number of one of that library's metrics, as it calls it."""

    __slots__ = ("_exemplar", "get", "inc", "set")

    _multiprocess = False

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Sequence[str],
        labelvalues: Sequence[str],
        help_text: str,
        multiprocess_mode: str = "",
        **_more: object,
    ) -> None:
        if typ not in _KINDS:
            raise KeyError(typ)
        part = _PARTS.get(name.removeprefix(metric_name), "whole")
        across, of_living = _MODES[multiprocess_mode] if typ == "gauge" else ("sum", False)
        # The bound of a bucket is its last label.
        labels = labelnames[:-1] if part == "bucket" else labelnames
        metric = _metric(typ, metric_name, help_text, labels, across, of_living)
        series = metric.series(list(labelvalues), part)
        self.inc: Callable[[float], None] = series.add
        self.set: Callable[..., None] = series.set
        self.get: Callable[[], float] = series.get
        self._exemplar: Any = None
        # Shown from the start, as in that library.
        _ = series.is_kept

    def set_exemplar(self, exemplar: Any) -> None:
        """The last one; it is shown by the library itself only."""
        self._exemplar = exemplar

    def get_exemplar(self) -> Any:
        """The last one that this process has had."""
        return self._exemplar


def enter_metrics(metrics: ModuleType) -> None:
    """What that library keeps elsewhere than in values: info, enumerations, and gauges that are functions."""
    if keeps_files():
        return
    found = vars(metrics)
    _after(found.get("Info"), "info", _show_info)
    _after(found.get("Enum"), "__init__", _show_state)
    _after(found.get("Enum"), "state", _show_state)
    _after(found.get("Gauge"), "set_function", _hide)
    _convert_existing(metrics)


def _after(kind: Any, name: str, then: Callable[[Any], None]) -> None:
    """Has a method do more when it has done its own; that never raises."""
    method = getattr(kind, name, None)
    if method is None:
        return

    @wraps(method)
    def both(self: Any, *arguments: Any, **named: Any) -> Any:
        result = method(self, *arguments, **named)
        try:
            then(self)
        except Exception as error:
            _native.lose_metric("name", str(getattr(self, "_name", "")))
            _tell(error)
        return result

    setattr(kind, name, both)


def _show_info(info: Any) -> None:
    values: dict[str, str] = info._value
    names = sorted(values)
    metric = _metric("info", info._name, info._documentation, (*info._labelnames, *names), "max", True)
    series = metric.series([*info._labelvalues, *(str(values[name]) for name in names)])
    before = vars(info).get("_indrik_shown")
    if before is not None:
        before.set(0)
    series.set(1)
    info._indrik_shown = series


def _show_state(enum: Any) -> None:
    """How many workers are in which state. A zygote is none: what is made there is shown by each of its workers."""
    if enum._labelnames and not enum._labelvalues:
        return
    _enums.add(enum)
    if not libraries.is_worker:
        return
    metric = _metric("gauge", enum._name, enum._documentation, (*enum._labelnames, enum._name), "sum", True)
    for number, state in enumerate(enum._states):
        metric.series([*enum._labelvalues, state]).set(float(number == enum._value))


def show_states() -> None:
    """Shows the states of all that there are."""
    for enum in list(_enums):
        _show_state(enum)


def _hide(gauge: Any) -> None:
    """Its value is what a function of the application says when the library itself is asked, which nobody does here."""
    gauge._value.set(float("nan"))


def _convert_existing(metrics: ModuleType) -> None:
    """Metrics that were made before we came, as by what `sitecustomize` imports, keep what they have counted."""
    registry = getattr(metrics, "REGISTRY", None)
    known = list(getattr(registry, "_collector_to_names", {}))
    for metric in known:
        children = vars(metric).get("_metrics")
        for one in list(children.values()) if children else [metric]:
            _convert(one)


def _convert(metric: Any) -> None:
    had = _values_of(metric)
    if not had or any(isinstance(value, Value) for value in had):
        return
    numbers = [value.get() for value in had]
    metric._metric_init()
    for value, number in zip(_values_of(metric), numbers, strict=True):
        value.set(number)


def _values_of(metric: Any) -> list[Any]:
    own = vars(metric)
    found = [own[name] for name in ("_value", "_sum", "_count") if hasattr(own.get(name), "get_exemplar")]
    return found + list(own.get("_buckets", ()))
