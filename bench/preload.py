"""What preloading shares, and what a fork of a large zygote costs, with the model of `apps/model.py`.

    python3 bench/preload.py                    both kinds of model, 440 MB, 8 workers
    python3 bench/preload.py --kind arrays      one of them
    python3 bench/preload.py --set refork_after_requests=2000

Two bars: the PSS of zygote and 8 workers after 10,000 requests is at most 1.25 times that of zygote and one worker;
from `worker add 7` until 8 workers are ready it takes at most 150 ms (the median of several tries). Objects of Python
are measured and shown, but no bar: their reference counts are written when they are read. One line of JSON per kind.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
INDRIK = BENCH.parent / ".venv" / "bin" / "indrik"

WORKERS = 8
REQUESTS = 10_000
TRIES = 5
SHARED_BAR = 1.25
READY_BAR_MS = 150.0
START_LIMIT_S = 120.0
POLL_S = 0.001


class Run:
    """One server with the model, on a port of its own."""

    def __init__(self, kind: str, mib: int, options: list[str]) -> None:
        environment = os.environ | {"MODEL_KIND": kind, "MODEL_MIB": str(mib), "INDRIK_LOG_ROUTINE": "on"}
        command = [str(INDRIK), "--bind", "127.0.0.1:0", "--workers", "1", "--preload", "--worker-class", "sync"]
        path = Path(tempfile.mkdtemp()) / "control"
        command += ["--control-socket", str(path), "--chdir", str(BENCH / "apps"), *options, "model:app"]
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.port = self._await_port()
        self._control = socket.socket(socket.AF_UNIX)
        self._control.connect(str(path))
        self._number = 0

    def __enter__(self) -> Run:
        self.wait_ready(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def ctl(self, command: str, *arguments: object) -> dict:
        """A command over the control socket: a process for each would be measured as well."""
        self._number += 1
        text = json.dumps({"id": self._number, "command": command, "args": arguments}).encode()
        self._control.sendall(len(text).to_bytes(4, "big") + text)
        size = int.from_bytes(self._receive(4), "big")
        answer = json.loads(self._receive(size))
        assert answer["status"] == "ok", answer
        return answer["data"]

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self._control.recv(size - len(data))
        return data

    def wait_ready(self, count: int) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while len(self._workers("ready")) != count or len(self._workers()) != count:
            assert time.monotonic() < deadline, "the workers did not get ready"
            time.sleep(POLL_S * 20)

    def scale_up_ms(self) -> float:
        """From the command until as many as wanted are ready, which the log says."""
        began = time.monotonic()
        self.ctl("worker add", WORKERS - 1)
        while len(self._workers("ready")) < WORKERS:
            time.sleep(POLL_S)
        return (time.monotonic() - began) * 1e3

    def scale_down(self) -> None:
        self.ctl("worker remove", WORKERS - 1)
        self.wait_ready(1)

    def load(self, requests: int) -> None:
        """So many requests, on 8 connections in turn, so that every worker gets its part."""
        command = ["wrk", "-t1", "-c8", "-d1s", f"http://127.0.0.1:{self.port}/"]
        before = self._served()
        while self._served() - before < requests:
            subprocess.run(command, capture_output=True, check=True)

    def _served(self) -> int:
        return sum(worker["requests"] for worker in self._workers())

    def _workers(self, state: str = "") -> list[dict]:
        workers = self.ctl("show", "workers")["workers"]
        return [worker for worker in workers if state in ("", worker["state"])]

    def pss_mib(self) -> dict[str, float]:
        """By the name of the process: zygote, and the workers added up."""
        found = {"zygote": 0.0, "workers": 0.0}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                title = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
                parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                if parent != self._process.pid:
                    continue
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            size = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
            found["zygote" if "zygote" in title else "workers"] += size
        return found

    def _await_port(self) -> int:
        assert self._process.stderr is not None
        port = 0
        for line in self._process.stderr:
            if "Listening at: http://127.0.0.1:" in line:
                port = int(line.partition("http://127.0.0.1:")[2].split()[0])
            if "Control socket listening" in line:
                return port
        raise SystemExit("the server did not start")


def measure(kind: str, mib: int, options: list[str]) -> dict:
    with Run(kind, mib, options) as run:
        run.load(REQUESTS // WORKERS)
        one = run.pss_mib()
        times = []
        for number in range(TRIES):
            if number:
                run.scale_down()
            times.append(run.scale_up_ms())
        eight_before = run.pss_mib()
        run.load(REQUESTS)
        eight = run.pss_mib()
    ratio = sum(eight.values()) / sum(one.values())
    return {
        "model": kind,
        "mib": mib,
        "pss_one_mib": {name: round(size, 1) for name, size in one.items()},
        "pss_eight_fresh_mib": {name: round(size, 1) for name, size in eight_before.items()},
        "pss_eight_mib": {name: round(size, 1) for name, size in eight.items()},
        "shared_ratio": round(ratio, 3),
        "ready_ms": [round(ms, 1) for ms in times],
        "ready_ms_median": round(statistics.median(times), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=["arrays", "objects"], action="append")
    parser.add_argument("--mib", type=int, default=440)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a long option of the server")
    arguments = parser.parse_args()
    options = [f"--{setting.replace('_', '-')}" for setting in arguments.set]
    reached = True
    for kind in arguments.kind or ["arrays", "objects"]:
        row = measure(kind, arguments.mib, options)
        if kind == "arrays":
            reached &= row["shared_ratio"] <= SHARED_BAR and row["ready_ms_median"] <= READY_BAR_MS
        print(json.dumps(row), flush=True)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
