"""One measurement: a fresh server, a warm-up, then a window in which requests and CPU time are counted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from . import load, processes
from .load import Load, Request
from .machine import Cores
from .servers import Kind, Server, ServerFailed

MIB = 1024 * 1024


@dataclass(frozen=True)
class Window:
    """How long to warm up and to measure, seconds."""

    warm_up_s: float
    seconds: float


@dataclass
class Sample:
    """What one run of one server gave. `values` by metric name, units in the name; empty `errors` means it counts."""

    values: dict[str, float] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    failure: str = ""

    @property
    def counts(self) -> bool:
        return not self.errors and not self.failure


@dataclass(frozen=True)
class Check:
    """A request every server must answer alike before it is measured."""

    expected: bytes
    method: str = "GET"
    path: str = "/"
    body: bytes | None = None


@dataclass(frozen=True)
class Plain:
    """One wrk against one path. Every scenario but the three of `special.py` is of this kind."""

    app: str
    request: Request
    check: Check
    pinned: bool = True
    same_core: bool = False

    def __call__(self, kind: Kind, cores: Cores, window: Window) -> Sample:
        server_cores, load_cores = cores.server, cores.load
        if not self.pinned:
            server_cores = load_cores = cores.everything
        if self.same_core:
            load_cores = cores.server
        with Server(kind, self.app, cores=server_cores) as server:
            server.check(self.check.method, self.check.path, self.check.body, self.check.expected)
            load.run(server.port, self.request, window.warm_up_s, load_cores)
            sample = Sample()
            measure_into(sample, server, self.request, window.seconds, load_cores)
            return sample


def measure_into(sample: Sample, server: Server, request: Request, seconds: float, load_cores: str) -> Load:
    """Runs the load once and puts speed, CPU time per request, latency and memory into `sample`."""
    started = time.monotonic()
    cpu_before, busy_before = processes.cpu_seconds(server.pid), processes.machine_busy_seconds()
    result = load.run(server.port, request, seconds, load_cores)
    cpu = processes.cpu_seconds(server.pid) - cpu_before
    busy = processes.machine_busy_seconds() - busy_before
    elapsed = time.monotonic() - started
    sample.errors.update(result.errors)
    sample.failure = sample.failure or server.death()
    if result.requests == 0:
        sample.failure = sample.failure or "no request was answered"
        return result
    sample.values.update(
        rps=result.requests_per_second,
        cpu_us=cpu / result.requests * 1e6,
        p50_us=result.p50_us,
        p99_us=result.p99_us,
        pss_mib=processes.tree_pss_bytes(server.pid) / MIB,
        server_cpu_share=cpu / elapsed,
        # What neither the server nor wrk used: other programs and the hypervisor. Noise, as a share of one core.
        foreign_cpu_share=max(0.0, busy - cpu - result.cpu_seconds) / elapsed,
    )
    return result


def guarded(measure, kind: Kind, cores: Cores, window: Window) -> Sample:  # noqa: ANN001 (any scenario's callable)
    """A server that fails spoils its own cell, not the whole bench."""
    try:
        return measure(kind, cores, window)
    except ServerFailed as error:
        return Sample(failure=str(error))
    except OSError as error:
        return Sample(failure=f"{type(error).__name__}: {error}")
