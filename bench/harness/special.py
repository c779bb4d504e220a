"""The scenarios that one wrk cannot make: slow beside fast requests, 10,000 idle connections, memory at rest."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass

from . import load, peers, processes
from .load import Request, Wrk
from .machine import Cores
from .measure import MIB, Sample, Window, measure_into
from .servers import Kind, Server, ServerFailed

# The slow requests are under way before the fast ones start, and until after they end.
SLOW_LEAD_S = 1.0
SLOW_TAIL_S = 2.0
IDLE_OPEN_TIMEOUT_S = 120
HELLO = b"Hello, World!"
# A process at rest after a few requests: longer than any start-up work and any allocator's habit.
REST_SETTLE_S = 1.0
IDLE_SETTLE_S = 2.0
REST_REQUESTS = 200


@dataclass(frozen=True)
class Mixed:
    """Two connections ask for 200 ms of waiting and sixteen for 1 ms; only the fast ones are measured."""

    app: str = "wsgi:mixed"
    workers: int = 4
    gthread_threads: int = 2
    slow: Request = Request(connections=2, path="/slow")
    fast: Request = Request(connections=16, path="/fast")

    def __call__(self, kind: Kind, cores: Cores, window: Window) -> Sample:
        with Server(kind, self.app, cores=cores.server, workers=self.workers, threads=self.gthread_threads) as server:
            server.check("GET", "/fast", None, HELLO)
            load.run(server.port, self.fast, window.warm_up_s, cores.load)
            slow = Wrk(server.port, self.slow, SLOW_LEAD_S + window.seconds + SLOW_TAIL_S, cores.load)
            time.sleep(SLOW_LEAD_S)
            sample = Sample()
            try:
                measure_into(sample, server, self.fast, window.seconds, cores.load)
            except BaseException:
                slow.kill()
                raise
            slow_result = slow.wait()
            sample.values["slow_rps"] = slow_result.requests_per_second
            for name, count in slow_result.errors.items():
                sample.errors[f"slow {name}"] = count
            return sample


@dataclass(frozen=True)
class Idle:
    """Throughput and memory of one server without, and then with, `connections` idle ones that each made a request."""

    app: str = "wsgi:hello"
    connections: int = 10_000
    request: Request = Request(connections=64)

    def __call__(self, kind: Kind, cores: Cores, window: Window) -> Sample:
        with Server(kind, self.app, cores=cores.server) as server:
            server.check("GET", "/", None, HELLO)
            load.run(server.port, self.request, window.warm_up_s, cores.load)
            without = Sample()
            measure_into(without, server, self.request, window.seconds, cores.load)
            memory_before = processes.tree_pss_bytes(server.pid)
            client = _IdleClient(server.port, self.connections, cores.load)
            try:
                opened = client.open()
                # Idle is who has been so for a moment: servers may give buffers back then.
                time.sleep(IDLE_SETTLE_S)
                memory_after = processes.tree_pss_bytes(server.pid)
                sample = Sample(failure=without.failure, errors=without.errors)
                measure_into(sample, server, self.request, window.seconds, cores.load)
                alive = client.count_alive()
            finally:
                client.stop()
            sample.values.update(
                idle_opened=opened,
                idle_alive=alive,
                idle_memory_mib=(memory_after - memory_before) / MIB,
            )
            if opened < self.connections or alive < self.connections:
                sample.errors["idle connections lost"] = self.connections - min(opened, alive)
            if without.values and sample.values.get("rps"):
                sample.values["rps_without_idle"] = without.values["rps"]
                sample.values["throughput_kept"] = without.values["cpu_us"] / max(sample.values["cpu_us"], 1e-9)
                sample.values["rps_kept"] = sample.values["rps"] / without.values["rps"]
            return sample


class _IdleClient:
    """`bench/idle_client.py` as a process of its own: its memory and its poll set must not disturb the harness."""

    def __init__(self, port: int, connections: int, cores: str) -> None:
        self._process = subprocess.Popen(
            ["taskset", "-c", cores, sys.executable, str(peers.BENCH / "idle_client.py"), str(port), str(connections)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def open(self) -> int:
        """Blocks until all are open and served, or the client gave up; returns how many are."""
        return self._answer()

    def count_alive(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write("count\n")
        self._process.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.strip().isdigit():
            raise ServerFailed("the idle client ended early; its message is above")
        return int(line)


@dataclass(frozen=True)
class Rest:
    """Memory of a server that has served a few requests and now waits, beside a bare Python with the same app."""

    app: str = "wsgi:hello"

    def __call__(self, kind: Kind, cores: Cores, window: Window) -> Sample:
        bare = self._bare_python_bytes()
        with Server(kind, self.app, cores=cores.everything) as server:
            for _ in range(REST_REQUESTS):
                server.fetch()
            time.sleep(REST_SETTLE_S)
            parts = {"supervisor": 0, "zygote": 0, "worker": 0}
            members = processes.tree(server.pid)
            for stat in members:
                parts[_role(stat.pid, server.pid, alone=len(members) == 1)] += processes.pss_bytes(stat.pid)
        values = {f"{name}_mib": size / MIB for name, size in parts.items()}
        values["pss_mib"] = sum(parts.values()) / MIB
        values["bare_app_mib"] = bare / MIB
        values["overhead_mib"] = (parts["zygote"] + parts["worker"] - bare) / MIB
        values["processes"] = len(members)
        return Sample(values=values)

    def _bare_python_bytes(self) -> int:
        """The app imported by the same interpreter with no server at all."""
        module = self.app.partition(":")[0]
        python = peers.INDRIK_PYTHON if peers.INDRIK_PYTHON.exists() else peers.VENV / "bin" / "python"
        code = f"import sys; sys.path[:0] = sys.argv[1:]; import {module}; print(1, flush=True); input()"
        process = subprocess.Popen(
            [str(python), "-c", code, str(peers.APPS), str(peers.site_packages())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            process.stdout.readline()
            return processes.pss_bytes(process.pid)
        finally:
            process.kill()
            process.communicate()


def _role(pid: int, root: int, *, alone: bool) -> str:
    """The supervisor is the root, unless it does the work itself; the zygote says so in its title."""
    if pid == root and not alone:
        return "supervisor"
    return "zygote" if processes.title(pid).startswith("indrik: zygote") else "worker"
