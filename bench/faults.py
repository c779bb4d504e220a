"""The two fault bars, against the real server: workers are killed with SIGKILL while checked GETs are under way.

    python3 bench/faults.py                       both, against Indrik
    python3 bench/faults.py --server granian --only all_at_once     the same for a peer

all_at_once    every worker is killed in the same moment, again and again: the supervisor lives, no GET is lost
one_by_one     1,000 times a random worker is killed: no GET fails

The load is `load_check.py` on `/wait` of the `echo` app, 2 ms a request, so that a killed worker usually holds one.
Exit code 0 if both bars are reached. One line of JSON per bar.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import machine, peers, processes  # noqa: E402
from harness.servers import Kind, Server, ServerFailed, kinds  # noqa: E402

WORKERS = 4
CONNECTIONS = 8
ROUNDS_ALL_AT_ONCE = 20
KILLS_ONE_BY_ONE = 1_000
# For a killed worker's successor. Beyond it the run goes on with the workers there are, and says so.
RECOVERY_LIMIT_S = 5.0
# Between recovery and the next kill, so that requests are under way again, also those replayed.
GAP_S = 0.02
POLL_S = 0.002
LOAD_SECONDS_MAX = 1_800
LOAD_STOP_LIMIT_S = 60


def workers_of(server: Server) -> dict[int, int]:
    """Living workers: pid → start time, which tells a successor from a pid used again."""
    members = [s for s in processes.tree(server.pid) if s.pid != server.pid]
    if server.kind.name == "indrik":
        members = [s for s in members if processes.title(s.pid).startswith("indrik: worker")]
    else:
        members = [s for s in members if s.parent == server.pid and "resource_tracker" not in processes.title(s.pid)]
    return {s.pid: s.started_at_ticks for s in members}


class Faults:
    """A server under checked load, and what killing its workers did to it."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._random = random.Random(seed)
        self._recoveries_ms: list[float] = []
        self._not_recovered = 0
        self._kills = 0
        self._killed: set[int] = set()

    def wait_until_up(self) -> None:
        if not self._recover():
            raise ServerFailed(f"{WORKERS} workers never came up: {self._server.log_tail()}")
        self._recoveries_ms.clear()

    def all_at_once(self, rounds: int) -> None:
        for _ in range(rounds):
            self._kill(list(workers_of(self._server)))
            if not self._recover():
                return

    def one_by_one(self, kills: int) -> None:
        while self._kills < kills:
            alive = sorted(workers_of(self._server))
            if alive:
                self._kill([self._random.choice(alive)])
            if not self._recover():
                return

    def report(self, load: dict) -> dict:
        times = self._recoveries_ms or [0.0]
        return {
            "kills": self._kills,
            "master_alive": not self._server.death(),
            "recovery_ms_median": round(statistics.median(times), 1),
            "recovery_ms_max": round(max(times), 1),
            "not_recovered_in_time": self._not_recovered,
            "load": load,
        }

    def _kill(self, pids: list[int]) -> None:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
                self._kills += 1
            except ProcessLookupError:
                pass
        self._killed = set(pids)

    def _recover(self) -> bool:
        """Waits until all workers are there again. False if the supervisor is gone."""
        began = time.monotonic()
        while time.monotonic() - began < RECOVERY_LIMIT_S:
            if self._server.death():
                return False
            if len(set(workers_of(self._server)) - self._killed) >= WORKERS:
                self._recoveries_ms.append((time.monotonic() - began) * 1e3)
                self._see_an_answer()
                time.sleep(GAP_S)
                return True
            time.sleep(POLL_S)
        self._not_recovered += 1
        return not self._server.death()

    def _see_an_answer(self) -> None:
        """Waits for a request of our own. Those that lost their worker go before it, so they are done or nearly so:
        one that is killed a second time is a 502 by rule, and that is not what is measured here."""
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=RECOVERY_LIMIT_S)
        try:
            connection.request("GET", "/wait")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            self._not_recovered += 1
        finally:
            connection.close()


class CheckedLoad:
    """`load_check.py` as a process, from its start to its counts."""

    def __init__(self, port: int, path: str) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable, str(peers.BENCH / "load_check.py"), "--port", str(port), "--path", path,
                "--connections", str(CONNECTIONS), "--seconds", str(LOAD_SECONDS_MAX),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def stop(self) -> dict:
        self._process.send_signal(signal.SIGTERM)
        try:
            output, _ = self._process.communicate(timeout=LOAD_STOP_LIMIT_S)
            return json.loads(output)
        except (subprocess.TimeoutExpired, json.JSONDecodeError):
            self._process.kill()
            self._process.communicate()
            return {"ok": 0, "failed": -1, "by_kind": {"the load client did not report": 1}}


def run_bar(name: str, kind: Kind, kills: int, seed: int) -> bool:
    cores = machine.pick_cores()
    with Server(kind, "wsgi:echo", cores=cores.everything, workers=WORKERS) as server:
        faults = Faults(server, seed)
        faults.wait_until_up()
        load = CheckedLoad(server.port, "/wait")
        try:
            time.sleep(0.5)
            if name == "all_at_once":
                faults.all_at_once(kills)
            else:
                faults.one_by_one(kills)
        finally:
            counts = load.stop()
        report = faults.report(counts)
        # Each kill must have met traffic, or nothing was shown.
        passed = bool(report["master_alive"]) and counts["failed"] == 0 and counts["ok"] > report["kills"] > 0
        print(json.dumps({"bar": name, "server": kind.name, "passed": passed, **report}), flush=True)
        if not passed:
            print(server.log_tail(), file=sys.stderr)
        return passed


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills workers under load and counts what is lost.")
    parser.add_argument("--server", default="indrik")
    parser.add_argument("--only", choices=["all_at_once", "one_by_one"])
    parser.add_argument("--rounds", type=int, default=ROUNDS_ALL_AT_ONCE, help="of all_at_once (default 20)")
    parser.add_argument("--kills", type=int, default=KILLS_ONE_BY_ONE, help="of one_by_one (default 1000)")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    found = kinds("wsgi", [chosen.server])
    if not found:
        raise SystemExit(f"faults: no WSGI server {chosen.server!r} here; for indrik run `make build` first")
    if chosen.server != "indrik":
        peers.ensure()
    machine.end_cleanly_on_sigterm()
    machine.raise_open_files()
    amounts = {"all_at_once": chosen.rounds, "one_by_one": chosen.kills}
    names = [chosen.only] if chosen.only else list(amounts)
    results = [run_bar(name, found[0], amounts[name], chosen.seed) for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
