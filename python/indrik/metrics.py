"""Metrics of the application, one number for all its workers: ``from indrik import metrics``.

::

    ORDERS = metrics.counter("orders", "Orders that were placed", ["country"])
    ORDERS.labels("se").inc()

Every process adds to a table in memory that the server has made for it; what is shown is the sum over all
processes, those that have ended included. An addition is one atomic operation: there is no lock and no file, and it
is safe in threads, greenlets and whatever the application forks. Metrics may be made at import, also of a preloaded
application. Outside of Indrik all of it works within the process.

What cannot be kept (a full table, a name with two meanings) is counted in ``indrik_app_metrics_lost_total`` and told of
once in the log; it raises nothing. What is wrong where a metric is made raises ``ValueError``.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import wraps
from time import perf_counter

from indrik.lean import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Any, Literal, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")
    AcrossWorkers = Literal["sum", "min", "max", "last", "each"]

__all__ = ["BUCKETS", "Counter", "Gauge", "Histogram", "Info", "counter", "gauge", "histogram", "info"]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds, as OpenTelemetry has them."""


class _Labelled:
    """What all metrics have: a series for each set of labels' values."""

    __slots__ = ("_labels", "_metric", "_series", "name")

    def __init__(self, metric: Any, name: str, labels: Sequence[str]) -> None:
        self.name = name
        self._metric = metric
        self._labels = tuple(labels)
        self._series: dict[tuple[str, ...], Any] = {}

    def _find(self, values: tuple[object, ...], named: dict[str, object]) -> Any:
        """The series of some values, as text."""
        if named:
            if values or named.keys() != set(self._labels):
                raise ValueError(f"metric {self.name!r} has the labels {', '.join(self._labels)}")
            values = tuple(named[name] for name in self._labels)
        texts = tuple(map(str, values))
        series = self._series.get(texts)
        if series is None:
            series = self._bind(self._metric.series(list(texts)))
            # One that has no room is looked for again: what is kept of series here never grows beyond the table.
            if series.series.is_kept:
                series = self._series.setdefault(texts, series)
        return series

    def _bind(self, series: Any) -> Any:
        raise NotImplementedError

    def _alone(self) -> Any:
        """The one series of a metric without labels, which is shown from the start."""
        if self._labels:
            return None
        series = self._metric.series([])
        _ = series.is_kept
        return series

    def __repr__(self) -> str:
        return f"<indrik.metrics.{type(self).__name__} {self.name!r}>"


def _needs_labels(*_arguments: object, **_named: object) -> Any:
    raise ValueError("this metric has labels: say of which values, with labels(...)")


class Counter(_Labelled):
    """Counts what only grows. Shown with ``_total`` behind its name."""

    __slots__ = ("inc", "series", "value")

    inc: Callable[..., None]
    """``inc(amount=1)``: counts more; ``ValueError`` for less than 0."""
    value: Callable[[], float]
    """What this process has counted."""

    def __init__(self, name: str, help: str = "", labels: Sequence[str] = ()) -> None:
        name = name.removesuffix("_total")
        super().__init__(_native.Metric("counter", name, help, list(labels)), name, labels)
        self._use(self._alone())

    def _use(self, series: Any) -> None:
        self.series = series
        self.inc = _needs_labels if series is None else series.count
        self.value = _needs_labels if series is None else series.get

    def _bind(self, series: Any) -> Counter:
        one = Counter.__new__(Counter)
        one.name, one._metric, one._labels, one._series = self.name, None, (), {}
        one._use(series)
        return one

    def labels(self, *values: object, **named: object) -> Counter:
        """The counter of these labels' values. Keep it where it is used often."""
        found: Counter = self._find(values, named)
        return found

    def count_exceptions(self, kinds: type[BaseException] | tuple[type[BaseException], ...] = Exception) -> _Counting:
        """Counts exceptions: for ``with``, or as a decorator."""
        return _Counting(self.inc, kinds)


class Gauge(_Labelled):
    """A number that goes up and down. ``across`` says how the numbers of several workers are one: their ``sum``, the
    ``min`` or ``max`` of workers that live, the ``last`` that was set, by whomever, or ``each`` with a label
    ``worker``."""

    __slots__ = ("dec", "inc", "series", "set", "value")

    inc: Callable[..., None]
    """``inc(amount=1)``"""
    dec: Callable[..., None]
    """``dec(amount=1)``"""
    set: Callable[[float], None]
    """``set(value)``"""
    value: Callable[[], float]
    """What this process has."""

    def __init__(self, name: str, help: str = "", labels: Sequence[str] = (), *, across: AcrossWorkers = "sum") -> None:
        metric = _native.Metric("gauge", name, help, list(labels), across, across != "last")
        super().__init__(metric, name, labels)
        self._use(self._alone())

    def _use(self, series: Any) -> None:
        self.series = series
        self.inc = _needs_labels if series is None else series.add
        self.dec = _needs_labels if series is None else series.subtract
        self.set = _needs_labels if series is None else series.set
        self.value = _needs_labels if series is None else series.get

    def _bind(self, series: Any) -> Gauge:
        one = Gauge.__new__(Gauge)
        one.name, one._metric, one._labels, one._series = self.name, None, (), {}
        one._use(series)
        return one

    def labels(self, *values: object, **named: object) -> Gauge:
        """The gauge of these labels' values. Keep it where it is used often."""
        found: Gauge = self._find(values, named)
        return found

    def track(self) -> _Tracking:
        """One more while something runs: for ``with``, or as a decorator."""
        return _Tracking(self)


class Histogram(_Labelled):
    """Counts observations by size. ``buckets`` are the upper bounds, included; one without a bound comes last."""

    __slots__ = ("_bounds", "observe", "series")

    observe: Callable[[float], None]
    """``observe(value)``"""

    def __init__(
        self, name: str, help: str = "", labels: Sequence[str] = (), *, buckets: Iterable[float] = BUCKETS
    ) -> None:
        bounds = [float(bound) for bound in buckets]
        if bounds and bounds[-1] == float("inf"):
            bounds.pop()
        metric = _native.Metric("histogram", name, help, list(labels), bounds=bounds)
        super().__init__(metric, name, labels)
        self._bounds = bounds
        self._use(self._alone())

    def _use(self, series: Any) -> None:
        self.series = series
        self.observe = _needs_labels if series is None else series.observe

    def _bind(self, series: Any) -> Histogram:
        one = Histogram.__new__(Histogram)
        one.name, one._metric, one._labels, one._series = self.name, None, (), {}
        one._bounds = self._bounds
        one._use(series)
        return one

    def labels(self, *values: object, **named: object) -> Histogram:
        """The histogram of these labels' values. Keep it where it is used often."""
        found: Histogram = self._find(values, named)
        return found

    def count(self) -> int:
        """What this process has observed."""
        return 0 if self.series is None else int(sum(self.series.values()[1:]))

    def sum(self) -> float:
        """What its observations are together."""
        return 0.0 if self.series is None else float(self.series.get())

    def bucket(self, value: float) -> int:
        """Which bucket a value falls into."""
        return bisect_left(self._bounds, value)

    def time(self) -> _Timing:
        """Observes how long something takes, in seconds: for ``with``, or as a decorator."""
        return _Timing(self.observe)


class Info:
    """What is known of the application: labels, of which the newest hold. Shown with ``_info`` behind its name."""

    __slots__ = ("_metric", "_names", "_now", "name")

    def __init__(self, name: str, help: str = "", **values: object) -> None:
        self.name = name.removesuffix("_info")
        if not values:
            raise ValueError(f"info {name!r} needs values: info({name!r}, {help!r}, version='1.2')")
        self._names = list(values)
        self._metric = _native.Metric("info", self.name, help, self._names, "max")
        self._now: Any = None
        self.set(**values)

    def set(self, **values: object) -> None:
        """Says something else, of the same names."""
        if values.keys() != set(self._names):
            raise ValueError(f"info {self.name!r} has the names {', '.join(self._names)}")
        before, self._now = self._now, self._metric.series([str(values[name]) for name in self._names])
        if before is not None:
            before.set(0)
        self._now.set(1)


class _Around:
    """What is done before and after: for ``with``, or as a decorator of a function, a coroutine too."""

    __slots__ = ()

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def _again(self) -> _Around:
        """For another call at the same time."""
        return self

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        # A function of coroutines has this flag; `inspect` is large.
        if getattr(getattr(function, "__code__", None), "co_flags", 0) & 0x80:

            @wraps(function)
            async def awaited(*arguments: P.args, **named: P.kwargs) -> Any:
                with self._again():
                    result: Any = function(*arguments, **named)
                    return await result

            wrapped: Any = awaited
            return wrapped  # type: ignore[no-any-return]

        @wraps(function)
        def called(*arguments: P.args, **named: P.kwargs) -> R:
            with self._again():
                return function(*arguments, **named)

        return called


class _Timing(_Around):
    __slots__ = ("_began", "_observe")

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._began = 0.0

    def __enter__(self) -> _Timing:
        self._began = perf_counter()
        return self

    def __exit__(self, *_error: object) -> None:
        self._observe(perf_counter() - self._began)

    def _again(self) -> _Timing:
        return _Timing(self._observe)


class _Tracking(_Around):
    __slots__ = ("_gauge",)

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge

    def __enter__(self) -> Gauge:
        self._gauge.inc()
        return self._gauge

    def __exit__(self, *_error: object) -> None:
        self._gauge.dec()


class _Counting(_Around):
    __slots__ = ("_inc", "_kinds")

    def __init__(self, inc: Callable[..., None], kinds: Any) -> None:
        self._inc = inc
        self._kinds = kinds

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind is not None and issubclass(kind, self._kinds):
            self._inc()


counter = Counter
gauge = Gauge
histogram = Histogram
info = Info
