"""Why workers start and end: in the log, in the counters, and in what operators are shown; and what the
server makes of workers that fail again and again."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.control import ctl
from support.server import Server, poll

pytestmark = pytest.mark.indrik_only

APP = """
import os, signal

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/exit":
        os._exit(7)
    if path == "/crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.fixture
def launch(start, tmp_path: Path) -> Callable[..., Server]:
    """Start a server on an application that the test may break; it lies in `tmp_path`."""
    (tmp_path / "shop.py").write_text(APP)
    return lambda *arguments: start("shop:app", *arguments, chdir=tmp_path)


def health(server: Server) -> dict[str, Any]:
    answer: dict[str, Any] = ctl(server, "show", "all")["health"]
    return answer


def ended(server: Server, reason: str, count: int = 1) -> None:
    """Wait until so many workers are counted that ended for this reason, and all places are filled."""

    def is_counted() -> bool:
        stats = ctl(server, "show", "stats")
        return bool(stats["ends"].get(reason, 0) >= count and stats["workers_ready"] == stats["workers_target"])

    poll(is_counted, f"{count} ends by {reason}")


def post(connect, server: Server, path: str) -> int:
    wire = connect(server)
    wire.send(f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
    return int(wire.read_answer().status)


def test_every_start_and_end_of_a_worker_has_its_reason(launch, connect):
    server = launch("--workers", "2", "--max-requests", "20", "--log-format", "json")
    poll(lambda: len(server.workers()) == 2, "two workers")
    os.kill(server.workers()[0], signal.SIGKILL)
    ended(server, "crash:SIGKILL")
    assert post(connect, server, "/exit") == 502
    ended(server, "exit:7")
    assert post(connect, server, "/crash") == 502
    ended(server, "crash:SIGSEGV")
    os.kill(server.workers()[0], signal.SIGTERM)
    ended(server, "outside")
    server.signal(signal.SIGTTIN)
    poll(lambda: len(server.workers()) == 3, "three workers")
    server.signal(signal.SIGTTOU)
    ended(server, "scale")
    ctl(server, "worker", "kill", str(server.workers()[0]))
    ended(server, "replaced")
    with connect(server) as wire:
        while not ctl(server, "show", "stats")["ends"].get("max_requests"):
            for _ in range(20):
                assert wire.get("/").status == 200
    server.signal(signal.SIGHUP)
    ended(server, "reload", 2)
    stats = ctl(server, "show", "stats")
    assert stats["starts"]["boot"] == 2 and stats["starts"]["reload"] == 2
    for reason in ("crash:SIGKILL", "exit:7", "crash:SIGSEGV", "outside", "replaced"):
        assert stats["starts"][reason] == stats["ends"][reason] == 1, (reason, stats)
    assert sum(stats["starts"].values()) == sum(stats["ends"].values()) + 2
    shown = ctl(server, "show", "workers")["workers"]
    assert [(worker["started_for"], worker["ends_for"]) for worker in shown] == [("reload", None)] * 2
    assert server.stop() == 0
    server.clean_stop = False
    entries = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    starts = [entry for entry in entries if entry["message"].startswith("Booting worker")]
    ends = [entry for entry in entries if "ended: " in entry["message"]]
    assert len(starts) == len(ends) == sum(stats["starts"].values())
    assert all({"worker", "generation", "place", "reason"} <= entry.keys() for entry in starts + ends)
    assert sorted(entry["worker"] for entry in ends) == sorted(entry["worker"] for entry in starts)
    assert [entry["reason"] for entry in ends][-2:] == ["shutdown"] * 2
    (recycled,) = [entry for entry in ends if entry["reason"] == "max_requests"][:1]
    assert recycled["requests"] >= 20 and recycled["uptime_s"] > 0


def test_the_log_says_the_reason_in_a_line_of_its_own_and_statsd_is_told(launch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        statsd = f"127.0.0.1:{receiver.getsockname()[1]}"
        server = launch("--workers", "1", "--statsd-host", statsd)
        (worker,) = server.workers()
        server.wait_for_log(rf"\[INFO\] Worker 1 \(pid:{worker}\) of generation 1 started: boot$")
        os.kill(worker, signal.SIGKILL)
        server.wait_for_log(
            rf"\[INFO\] Worker 1 \(pid:{worker}\) of generation 1 ended: crash:SIGKILL; it lived [0-9.]+ s "
        )
        server.wait_for_log(r"\[INFO\] Worker 2 \(pid:\d+\) of generation 1 started: crash:SIGKILL$")
        seen = ""
        wanted = ["starts.boot", "ends.crash_SIGKILL", "starts.crash_SIGKILL"]
        while not all(f"indrik.worker.{name}:1|c" in seen for name in wanted):
            seen += receiver.recv(65536).decode() + "\n"


def test_code_that_breaks_on_disk_leaves_the_other_workers_serving_until_it_is_mended(launch, connect, tmp_path):
    server = launch("--workers", "2")
    poll(lambda: health(server)["state"] == "ready", "a server that is well")
    (tmp_path / "shop.py").write_text("import nowhere_to_be_found\n")
    victim, survivor = server.workers()
    os.kill(victim, signal.SIGKILL)
    server.wait_for_log("No module named 'nowhere_to_be_found'")
    poll(lambda: health(server)["state"] == "degraded", "a server that is not well")
    told = health(server)
    assert told["ready"] is True
    assert told["why"].startswith("1 of 2 workers are ready") and "nowhere_to_be_found" in told["why"]
    wire = connect(server)
    for _ in range(20):
        assert wire.get("/").status == 200
    assert survivor in server.workers()
    (tmp_path / "shop.py").write_text(APP)
    poll(lambda: health(server)["state"] == "ready", "a server that is well again", 40)
    assert ctl(server, "show", "stats")["ends"]["boot_failed"] >= 1


def test_workers_that_keep_crashing_open_the_breaker_once_and_the_rest_serves(launch, connect, tmp_path):
    server = launch("--workers", "2")
    poll(lambda: health(server)["state"] == "ready", "a server that is well")
    # The new ones live just long enough to be called ready.
    crash = "import threading\nthreading.Timer(0.2, os._exit, [9]).start()\n"
    (tmp_path / "shop.py").write_text(APP + crash)
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_for_log(r"\[CRITICAL\] Workers keep failing: \d+ in a row, the last one by exit:9\. 1 of 2", 60)
    told = health(server)
    assert (told["state"], told["ready"]) == ("degraded", True)
    assert "tried one at a time" in told["why"]
    wire = connect(server)
    for _ in range(20):
        assert wire.get("/").status == 200
    (tmp_path / "shop.py").write_text(APP)
    server.signal(signal.SIGHUP)
    poll(lambda: health(server)["state"] == "ready", "the next generation")
    assert server.log().count("Workers keep failing") == 1


def test_a_worker_that_takes_longer_than_max_boot_time_is_killed_and_a_reload_given_up(launch, connect, tmp_path):
    server = launch("--workers", "1", "--max-boot-time", "2")
    (tmp_path / "shop.py").write_text("import threading\nthreading.Event().wait()\n")
    server.signal(signal.SIGHUP)
    server.wait_for_log(r"Worker \(pid:\d+\) was not ready within 2 s; killing it")
    server.wait_for_log("Generation 2 is given up")
    assert connect(server).get("/").status == 200
    poll(lambda: ctl(server, "show", "stats")["ends"].get("boot_timeout") == 1, "its end in the counts")
