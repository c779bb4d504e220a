"""Workers that die while they work: SIGKILL, SIGSEGV, `os._exit`, and the kernel's out-of-memory killer."""

from __future__ import annotations

import random
import signal
import statistics
import time

from .. import cgroup
from ..load import Load, Result
from ..project import Project
from ..report import Rows
from ..subjects import Options, Subject, send

WORKERS = 4
GET_CONNECTIONS = 8
POST_CONNECTIONS = 4
SEED = 1
# For a dead worker's successor. Beyond it the run goes on with the workers there are, and counts it.
RECOVERY_LIMIT_S = 10.0
# Between recovery and the next death, so that requests are under way again, also those run again: one that loses its
# worker twice is a 502 by rule, and that is not what is measured.
GAP_S = 0.03
POLL_S = 0.005
FAILURES_EXPLAINED_MAX = 20
OOM_LIMIT_BYTES = 192 * 1024 * 1024

EXIT_SIGNAL = signal.SIGRTMIN + 5
EAT_SIGNAL = signal.SIGRTMIN + 6
# Ways to die, and how often of a hundred each is taken.
WAYS = {"SIGKILL": (signal.SIGKILL, 40), "SIGSEGV": (signal.SIGSEGV, 30), "os._exit": (EXIT_SIGNAL, 30)}
OOM_DEATHS = {False: 2, True: 20}


class Killer:
    """Kills one worker after another and waits for each one's successor."""

    def __init__(self, server: Subject) -> None:
        self._server = server
        self._random = random.Random(SEED)
        self.deaths: dict[str, int] = {}
        # When, how and whom.
        self.moments: list[tuple[float, str, int]] = []
        self.recoveries_ms: list[float] = []
        self.not_recovered = 0
        # Workers alive at the moment of a death.
        self.most = 0

    def kill(self, count: int) -> None:
        ways, weights = list(WAYS), [weight for _, weight in WAYS.values()]
        for _ in range(count):
            way = self._random.choices(ways, weights)[0]
            self._end_one(way, lambda pid, way=way: send(pid, WAYS[way][0]))
            if not self._server.is_up():
                return

    def run_out_of_memory(self, count: int) -> str:
        """In a cgroup of each victim's own; says why if there is none to be had."""
        for _ in range(count):
            try:
                with cgroup.Limited(OOM_LIMIT_BYTES) as group:

                    def end(pid: int, group: cgroup.Limited = group) -> bool:
                        return group.take(pid) and send(pid, EAT_SIGNAL)

                    self._end_one("OOM", end)
            except cgroup.Unavailable as reason:
                return str(reason)
            if not self._server.is_up():
                return ""
        return ""

    def _end_one(self, way: str, end) -> None:  # noqa: ANN001 (a function of a pid)
        alive = self._server.workers()
        if not alive:
            self.not_recovered += 1
            return
        victim = self._random.choice(sorted(alive))
        if not end(victim):
            return
        self.deaths[way] = self.deaths.get(way, 0) + 1
        began = time.monotonic()
        self.moments.append((began, way, victim))
        self.most = max(self.most, len(alive))
        while time.monotonic() - began < RECOVERY_LIMIT_S:
            if self._has_recovered(victim, alive[victim]):
                self.recoveries_ms.append((time.monotonic() - began) * 1e3)
                self._server.fetch("/wait", seconds=RECOVERY_LIMIT_S)
                time.sleep(GAP_S)
                return
            if not self._server.is_up():
                return
            time.sleep(POLL_S)
        self.not_recovered += 1

    def _has_recovered(self, victim: int, started: int) -> bool:
        if self._server.workers().get(victim) == started:
            return False
        try:
            return len(self._server.ready_pids()) >= WORKERS
        except OSError:
            return False


def run(name: str, rows: Rows, full: bool) -> None:
    for app, count in (
        ("flask", 800 if full else 100),
        ("fastapi", 200 if full else 15),
    ):
        _run(name, app, rows, count, OOM_DEATHS[full] if app == "flask" else 0)


def _run(name: str, app: str, rows: Rows, count: int, oom: int) -> None:
    with Project() as project:
        # Flask's workers come from a preloaded zygote, or a thousand imports would be waited for.
        preload = app == "flask" and name != "granian"
        options = Options(app=app, workers=WORKERS, preload=preload)
        with Subject(name, options, project) as server:
            gets = Load(server.port, connections=GET_CONNECTIONS, path="/wait", seed=1)
            posts = Load(server.port, connections=POST_CONNECTIONS, path="/wait", post_percent=100, seed=2)
            killer = Killer(server)
            with gets, posts:
                time.sleep(0.5)
                killer.kill(count)
                no_oom = killer.run_out_of_memory(oom)
                lives = server.is_up()
                got, posted = gets.stop(), posts.stop()
        _tell(rows, app, killer, lives)
        _explain(killer, got)
        if no_oom:
            rows.none(f"{app}: out of memory", f"not possible here: {no_oom}")
        rows.zero(f"{app}: failed GETs", got.failed, got.shown(), of=got.ok + got.failed)
        _posts(rows, app, posted, project)


def _tell(rows: Rows, app: str, killer: Killer, lives: bool) -> None:
    shown = ", ".join(f"{count} {way}" for way, count in killer.deaths.items())
    rows.none(f"{app}: most workers alive at a time", killer.most)
    rows.none(f"{app}: deaths", f"{sum(killer.deaths.values())} ({shown})")
    rows.check(f"{app}: the server lives", "yes", "yes" if lives else "no", lives)
    rows.zero(f"{app}: deaths without a successor within {RECOVERY_LIMIT_S:.0f} s", killer.not_recovered)
    if killer.recoveries_ms:
        median, worst = statistics.median(killer.recoveries_ms), max(killer.recoveries_ms)
        rows.none(f"{app}: until all workers are ready again", f"median {median:.0f} ms, worst {worst:.0f} ms")


def _explain(killer: Killer, got: Result) -> None:
    """For each lost GET: the deaths of the two seconds before it."""
    for at, kind, _, number in got.failures[:FAILURES_EXPLAINED_MAX]:
        near = [f"{way} of {pid} {at - when:.3f} s before" for when, way, pid in killer.moments if 0 <= at - when < 2]
        print(f"  GET {number}: {kind}; {', '.join(near)}", flush=True)


def _posts(rows: Rows, app: str, posted: Result, project: Project) -> None:
    runs = project.runs()
    lost = [number for _, kind, _, number in posted.failures if kind == "status_502"]
    never_started = sum(1 for number in lost if number not in runs)
    twice = sum(1 for count in runs.values() if count > 1)
    rows.none(f"{app}: POSTs answered, and 502", f"{posted.ok:,} and {len(lost)}")
    rows.zero(f"{app}: failed POSTs that are no clean 502", posted.failed_but("status_502"), posted.shown())
    rows.zero(f"{app}: 502 for a POST that never started", never_started)
    rows.zero(f"{app}: POSTs that ran twice", twice)
