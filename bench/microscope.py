"""Where a server's CPU time goes: `perf record` of a pinned server under a scenario's load.

    python3 bench/microscope.py wsgi_hello indrik              the 40 hottest functions
    python3 bench/microscope.py asgi_hello indrik --graph      with callers (DWARF unwinding: larger, slower)
    python3 bench/microscope.py wsgi_hello bjoern --syscalls   system calls by number and time instead

Samples the `cpu-clock`, because virtual machines seldom have hardware counters. Build Indrik with debug information
(`[profile.fast]` or `CARGO_PROFILE_RELEASE_DEBUG=1`) to see names.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import load, machine, processes, scenarios  # noqa: E402
from harness.measure import Plain  # noqa: E402
from harness.servers import Server, kinds  # noqa: E402

SAMPLES_PER_SECOND = 1_999
LINES_SHOWN = 40


def main() -> int:
    parser = argparse.ArgumentParser(description="Profiles one server under one scenario's load.")
    parser.add_argument("scenario")
    parser.add_argument("server")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--graph", action="store_true", help="record call graphs")
    parser.add_argument("--syscalls", action="store_true", help="count system calls with strace -c")
    chosen = parser.parse_args()
    [scenario] = scenarios.named([chosen.scenario])
    if not isinstance(scenario.measure, Plain):
        raise SystemExit(f"microscope: {scenario.name} is not one plain load; take another scenario")
    found = kinds(scenario.interface, [chosen.server])
    if not found:
        raise SystemExit(f"microscope: no {scenario.interface} server {chosen.server!r} here")
    tool = "strace" if chosen.syscalls else "perf"
    if shutil.which(tool) is None:
        raise SystemExit(f"microscope: {tool} is missing; install it (Debian: apt-get install {_PACKAGES[tool]})")
    machine.end_cleanly_on_sigterm()
    cores = machine.pick_cores()
    plain = scenario.measure
    with Server(found[0], plain.app, cores=cores.server) as server:
        load.run(server.port, plain.request, 1, cores.load)
        wrk = load.Wrk(server.port, plain.request, chosen.seconds + 2, cores.load)
        pids = [str(stat.pid) for stat in processes.tree(server.pid)]
        try:
            if chosen.syscalls:
                _syscalls(pids, chosen.seconds, cores.load)
            else:
                _profile(pids, chosen.seconds, chosen.graph)
        finally:
            result = wrk.wait()
        print(f"{result.requests_per_second:,.0f} requests/s while watched")
    return 0


_PACKAGES = {"perf": "linux-perf", "strace": "strace"}


def _profile(pids: list[str], seconds: int, graph: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "perf.data")
        record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND), "-o", data]
        record += ["--call-graph", "dwarf,16384"] if graph else []
        subprocess.run([*record, "-p", ",".join(pids), "--", "sleep", str(seconds)], check=True)
        show = ["perf", "report", "-i", data, "--stdio", "--percent-limit", "0.3", "--sort", "comm,dso,symbol"]
        show += ["--no-children"] if graph else []
        done = subprocess.run(show, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("#")]
    print("\n".join(lines if graph else lines[:LINES_SHOWN]))


def _syscalls(pids: list[str], seconds: int, cores: str) -> None:
    """strace slows the server a lot; the numbers of calls per request are right, the times are not."""
    targets = [part for pid in pids for part in ("-p", pid)]
    command = ["timeout", "-s", "INT", str(seconds), "taskset", "-c", cores, "strace", "-c", "-f", *targets]
    subprocess.run(command, check=False)


if __name__ == "__main__":
    sys.exit(main())
