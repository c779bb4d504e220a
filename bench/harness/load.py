"""The load: wrk, run with `bench/wrk.lua`, or `bench/wire_client.py`, and what came out of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from . import peers

# A request slower than this is an error of the server, not patience of ours.
REQUEST_TIMEOUT_S = 10
# wrk stops by itself; this is for the case that it hangs.
WRK_GRACE_S = 30
RESULT_MARK = "BENCH_RESULT "


@dataclass(frozen=True)
class Request:
    """What is sent, over and over, on each of `connections` connections: by wrk, or, if it names one of its kinds,
    by `wire_client.py`."""

    connections: int
    wire: str = ""
    method: str = "GET"
    path: str = "/"
    body_bytes: int = 0
    close: bool = False
    threads: int = 1


@dataclass(frozen=True)
class Load:
    """One wrk run. Latencies in microseconds. `cpu_seconds` is what wrk itself used."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    errors: dict[str, int]
    cpu_seconds: float

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


class Wrk:
    """A wrk process that runs until it is waited for."""

    def __init__(self, port: int, request: Request, seconds: float, cores: str) -> None:
        environment = {
            **os.environ,
            "BENCH_METHOD": request.method,
            "BENCH_BODY_BYTES": str(request.body_bytes),
            "BENCH_CLOSE": "1" if request.close else "0",
        }
        # wrk takes whole seconds only.
        duration = max(1, round(seconds))
        self._limit_s = duration + WRK_GRACE_S
        command = [
            "wrk", "-t", str(request.threads), "-c", str(request.connections),
            "-d", f"{duration}s", "--timeout", f"{REQUEST_TIMEOUT_S}s", "-s", str(peers.BENCH / "wrk.lua"),
            f"http://127.0.0.1:{port}{request.path}",
        ]  # fmt: skip
        if request.wire:
            client = [sys.executable, str(peers.BENCH / "wire_client.py"), request.wire]
            command = [*client, *map(str, (port, duration, request.connections, request.body_bytes))]
        self._process = subprocess.Popen(
            ["taskset", "-c", cores, *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait(self) -> Load:
        before = os.times()
        try:
            output, _ = self._process.communicate(timeout=self._limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return Load(0, 0.0, 0.0, 0.0, {"wrk_hung": 1}, 0.0)
        except BaseException:
            self.kill()
            raise
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        for line in output.splitlines():
            if line.startswith(RESULT_MARK):
                return _parse(json.loads(line[len(RESULT_MARK) :]), spent)
        return Load(0, 0.0, 0.0, 0.0, {f"wrk: {output.strip()[-200:]}": 1}, spent)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def run(port: int, request: Request, seconds: float, cores: str) -> Load:
    return Wrk(port, request, seconds, cores).wait()


def _parse(raw: dict[str, float], cpu_seconds: float) -> Load:
    kinds = ("connect", "read", "write", "status", "timeout")
    return Load(
        requests=int(raw["requests"]),
        seconds=raw["microseconds"] / 1e6,
        p50_us=raw["p50_us"],
        p99_us=raw["p99_us"],
        errors={kind: int(raw[kind]) for kind in kinds if raw[kind]},
        cpu_seconds=cpu_seconds,
    )
