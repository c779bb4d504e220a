"""What a change costs: two builds of Indrik, each in a checkout of its own with its `.venv`, beside each other.

    python3 bench/compare.py pairs ../before wsgi_hello asgi_hello --pairs 9
    python3 bench/compare.py instructions ../before wsgi_hello asgi_hello

`pairs` measures both under the load of a scenario, in turn, and prints the ratio (after / before) of the CPU time per
request with a confidence interval of 95 %. `instructions` replays a fixed sequence of requests under callgrind, which
a busy machine hardly disturbs, and prints instructions per request of front and worker, and the functions in which
they differ most. It needs valgrind 3.22 or later (pidfd), and builds with symbols, as all of ours are.

Under callgrind time passes fifty times as fast for the front, so what it does at every tick weighs more than it does.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import machine, measure, peers, processes, scenarios  # noqa: E402
from harness.servers import KINDS, Kind  # noqa: E402

CONNECTIONS = 32
# The difference of a long replay and a short one is free of what start and end cost.
ROUNDS = (10, 110)
START_TIMEOUT_S = 60.0
REPLAY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
# Whether a start fails depends on the descriptors that valgrind finds free.
STARTS_MAX = 4
OPEN_FILES = 1024
# valgrind keeps files of its own above the soft limit: of the front's it leaves none to the zygote's.
OPEN_FILES_OF_ZYGOTE = 768
FUNCTIONS_SHOWN = 25
RESAMPLES = 10_000


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares this checkout's build with another one's.")
    parser.add_argument("how", choices=("pairs", "instructions"))
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    chosen = parser.parse_args()
    before = chosen.before.resolve()
    machine.end_cleanly_on_sigterm()
    for scenario in scenarios.named(chosen.scenarios):
        [kind] = [kind for kind in KINDS if kind.name == "indrik" and kind.interface == scenario.interface]
        if chosen.how == "pairs":
            pairs(scenario, kind, before, chosen.pairs, chosen.seconds)
        else:
            instructions(scenario, kind, before)
    return 0


# --- pairs


def pairs(scenario: scenarios.Scenario, kind: Kind, before: Path, count: int, seconds: float) -> None:
    cores, window = machine.pick_cores(), measure.Window(warm_up_s=1, seconds=seconds)

    def other(app: str, port: int, workers: int, threads: int) -> list[str]:
        return [str(before / ".venv/bin/indrik"), *kind.command(app, port, workers, threads)[1:]]

    builds = {"before": dataclasses.replace(kind, command=other), "after": kind}
    ratios = []
    for number in range(count):
        took = {}
        order = list(builds)
        random.Random(f"{scenario.name} {number}").shuffle(order)
        for name in order:
            sample = measure.guarded(scenario.measure, builds[name], cores, window)
            if sample.failure or sample.errors:
                raise SystemExit(f"{scenario.name}: {name} failed: {sample.failure} {dict(sample.errors)}")
            took[name] = sample.values["cpu_us"]
        ratios.append(took["after"] / took["before"])
        print(f"{scenario.name} {number + 1}/{count}: {took['before']:.2f} -> {took['after']:.2f} µs", flush=True)
    low, high = interval(ratios)
    print(f"{scenario.name}: {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})", flush=True)


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % of the medians of samples drawn from these."""
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return medians[RESAMPLES // 40], medians[-RESAMPLES // 40]


# --- instructions


def instructions(scenario: scenarios.Scenario, kind: Kind, before: Path) -> None:
    plain = scenario.measure
    if not isinstance(plain, measure.Plain) or plain.request.wire:
        raise SystemExit(f"compare: {scenario.name} is not one plain load; take another scenario")
    head = f"{plain.request.method} / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
    if plain.request.body_bytes:
        head += f"Content-Length: {plain.request.body_bytes}\r\n"
    request = head.encode() + b"\r\n" + b"x" * plain.request.body_bytes
    old, new = (counted(root, kind, plain.app, request) for root in (before, peers.ROOT))
    for process in ("front", "worker"):
        was, now = sum(old[process].values()), sum(new[process].values())
        print(f"{scenario.name} {process}: {was:,.0f} -> {now:,.0f} instructions per request ({now / was - 1:+.1%})")
        changes = {name: new[process][name] - old[process][name] for name in old[process] | new[process]}
        for name in sorted(changes, key=lambda name: -abs(changes[name]))[:FUNCTIONS_SHOWN]:
            was, now = old[process][name], new[process][name]
            print(f"    {changes[name]:+8.0f}  {was:7.0f} -> {now:7.0f}  {name[:120]}")


def counted(root: Path, kind: Kind, app: str, request: bytes) -> dict[str, Counter[str]]:
    """Instructions per request by process and function."""
    short, long = (replayed(root, kind, app, request, rounds) for rounds in ROUNDS)
    requests = (ROUNDS[1] - ROUNDS[0]) * CONNECTIONS
    result = {}
    for process in ("front", "worker"):
        names = short[process] | long[process]
        result[process] = Counter({n: (long[process][n] - short[process][n]) / requests for n in names})
    return result  # type: ignore[return-value]


def replayed(root: Path, kind: Kind, app: str, request: bytes, rounds: int) -> dict[str, Counter[str]]:
    for _ in range(STARTS_MAX):
        with tempfile.TemporaryDirectory() as folder:
            if run_once(root, kind, app, request, rounds, Path(folder)):
                log = (Path(folder) / "log").read_text(errors="replace")
                front = re.search(r"Listening at: .*\((\d+)\)", log)
                worker = re.search(r"Booting worker with pid: (\d+)", log)
                assert front and worker, log
                found = {"front": front[1], "worker": worker[1]}
                return {name: profile(Path(folder) / f"callgrind.{pid}") for name, pid in found.items()}
            last = (Path(folder) / "log").read_text(errors="replace")
    raise SystemExit(f"compare: the server does not start under callgrind:\n{last[-2000:]}")


def run_once(root: Path, kind: Kind, app: str, request: bytes, rounds: int, folder: Path) -> bool:
    """Whether the server started and answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not on the command line: the title of a process is written over it.
    (folder / ".valgrindrc").write_text(f"--callgrind:callgrind-out-file={folder}/callgrind.%p\n")
    command = kind.command(app, port, 1, 1)
    wrap(root, folder)
    environment = {
        **os.environ,
        "INDRIK_LOG_ROUTINE": "on",
        "HOME": str(folder),
        "PYTHONPATH": f"{folder}:{peers.site_packages()}",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    start = ["taskset", "-c", machine.pick_cores().server, "prlimit", f"--nofile={OPEN_FILES}", "--"]
    start += ["valgrind", "--tool=callgrind", str(root / ".venv/bin/python"), str(folder / "start.py"), *command[1:]]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*start, "--timeout", "0"], cwd=peers.APPS, env=environment, stdout=log, stderr=log)
        try:
            if not wait_until_it_answers(server, port, request):
                return False
            replay(port, request, rounds)
            return True
        finally:
            processes.end(server, STOP_TIMEOUT_S)


def wrap(root: Path, folder: Path) -> None:
    """A start of the command whose zygote runs under callgrind as well, and has a second thread: what forks workers
    in a process of one thread shares its memory in a way that valgrind cannot follow."""
    python, script = folder / "python", root / ".venv/bin/indrik"
    python.write_text(
        f"#!/bin/sh\nulimit -Sn {OPEN_FILES_OF_ZYGOTE}\n"
        f'INDRIK_IN_ZYGOTE=1 exec valgrind --tool=callgrind {root}/.venv/bin/python "$@"\n'
    )
    python.chmod(0o755)
    found = re.search(r"^from \S+ import main$", script.read_text(), re.MULTILINE)
    assert found, script
    (folder / "start.py").write_text(
        f"import sys\nsys.argv[0] = {str(script)!r}\nsys.executable = {str(python)!r}\n{found[0]}\nsys.exit(main())\n"
    )
    (folder / "sitecustomize.py").write_text(
        "import os, threading, time\n"
        "if os.environ.pop('INDRIK_IN_ZYGOTE', None):\n"
        "    threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()\n"
    )


def wait_until_it_answers(server: subprocess.Popen[bytes], port: int, request: bytes) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), START_TIMEOUT_S) as connection:
                connection.sendall(request)
                read_answer(connection)
                return True
        except OSError:
            time.sleep(0.2)
    return False


def replay(port: int, request: bytes, rounds: int) -> None:
    """In each round every connection sends one request, then every answer is read."""
    connections = [socket.create_connection(("127.0.0.1", port), REPLAY_TIMEOUT_S) for _ in range(CONNECTIONS)]
    for _ in range(rounds):
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            read_answer(connection)
    for connection in connections:
        connection.close()


def read_answer(connection: socket.socket) -> None:
    head, left = b"", None
    while b"\r\n\r\n" not in head:
        piece = connection.recv(65_536)
        if not piece:
            raise ConnectionResetError("no answer")
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"compare: {head[:80]!r}")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    assert length, head
    left = int(length[1]) - len(body)
    while left:
        piece = connection.recv(min(left, 1 << 20))
        if not piece:
            raise ConnectionResetError("the answer broke off")
        left -= len(piece)


def profile(path: Path) -> Counter[str]:
    """Instructions by function, its own only."""
    names, cost = {}, Counter[str]()
    function, is_call = "", False
    for line in lines(path):
        if match := re.match(r"(c?fn)=\((\d+)\)(?: (.*))?$", line):
            if match[3]:
                # Without the hashes that differ from build to build.
                names[match[2]] = re.sub(r"::h[0-9a-f]{16}|'\d+$", "", match[3])
            function = names[match[2]] if match[1] == "fn" else function
        elif line.startswith("calls="):
            is_call = True
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            if not is_call:
                cost[function] += int(line.split()[1])
            is_call = False
    return cost


def lines(path: Path) -> Iterator[str]:
    with path.open(errors="replace") as file:
        for line in file:
            yield line.rstrip("\n")


if __name__ == "__main__":
    sys.exit(main())
