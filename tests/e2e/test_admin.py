"""The admin listener: looking at a server and steering it, from before its first worker to its last moment."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import socket
from pathlib import Path

import pytest
from support.admin import Admin
from support.control import all_ready
from support.family import Family
from support.project import Project
from support.server import APPS, poll

pytestmark = pytest.mark.indrik_only


@pytest.fixture
def admin() -> Admin:
    return Admin()


def test_the_server_is_shown_as_it_is(start, admin) -> None:
    server = all_ready(start("wsgi_app:app", "--workers", "2", *admin.option))
    health = admin.json("/health")
    assert (health["alive"], health["ready"], health["state"]) == (True, True, "ready")
    assert admin.ask("/ready").status == 200
    status = admin.json("/status")
    assert status["server"]["pid"] == server.process.pid
    assert status["census"]["wanted"] == 2
    workers = status["workers"]
    assert sorted(worker["pid"] for worker in workers) == sorted(server.workers())
    assert all(worker["rss_bytes"] > worker["pss_bytes"] > 0 for worker in workers)
    rows = list(csv.DictReader(io.StringIO(admin.ask("/status?format=csv").body.decode())))
    assert [int(row["pid"]) for row in rows] == [worker["pid"] for worker in workers]
    lines = admin.ask("/nginx_status").body.decode().split("\n")
    assert lines[0].startswith("Active connections: ") and lines[1] == "server accepts handled requests"
    assert lines[3].startswith("Reading: ")


def test_requests_in_flight_are_shown_where_they_are(start, admin, gate, connect) -> None:
    server = all_ready(start("wsgi_app:app", "--workers", "1", *admin.option))
    target = f"/gate?gate={gate.path}"
    first, second = connect(server), connect(server)
    first.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
    worker = gate.arrived()
    second.send("GET /second HTTP/1.1\r\nHost: x\r\n\r\n")
    poll(lambda: len(admin.json("/requests")["in_flight"]) == 2, "two requests in flight")
    held, waiting = admin.json("/requests")["in_flight"]
    assert (held["method"], held["target"], held["phase"]) == ("GET", target, "app")
    assert held["pid"] == worker and held["app_us"] <= held["age_us"]
    assert waiting["phase"] in {"queue", "ahead"} and waiting["app_us"] is None
    assert waiting["target"] == "/second"
    assert len(admin.json("/requests?limit=1")["in_flight"]) == 1
    gate.release()
    poll(lambda: admin.json("/requests")["in_flight"] == [], "no request in flight")


def test_it_answers_before_there_is_a_worker_and_tells_what_is_missing(start, admin, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "boot")
    (tmp_path / "late.py").write_text("open('boot').read()\nfrom wsgi_app import app\n")
    options = ("--workers", "1", *admin.option, "--pythonpath", str(APPS))
    server = start("late:app", *options, chdir=tmp_path, says_ready=False)
    assert admin.ask("/health").status == 200
    answered = admin.ask("/ready")
    assert (answered.status, answered.json["reasons"]) == (503, ["0 of 1 workers are ready"])
    poll(lambda: [worker["booted"] for worker in admin.json("/status")["workers"]] == [False], "a worker that boots")
    (tmp_path / "boot").write_text("")
    poll(lambda: admin.ask("/ready").status == 200, "readiness")
    server.wait_for_log("Ready")


def test_events_are_told_as_they_happen_and_again_from_where_somebody_was(start, admin) -> None:
    server = all_ready(start("wsgi_app:app", "--workers", "1", *admin.option))
    with admin.stream() as events:
        assert next(events)["event"] == "start"
        server.signal(signal.SIGHUP)
        deploy = next(event for event in events if event["event"] == "deploy")
        assert json.loads(deploy["data"])["generation"] == 2
        os.kill(server.workers(generation=2)[0], signal.SIGKILL)
        crash = next(event for event in events if event["event"] == "crash")
        assert "SIGKILL" in crash["data"]
    with admin.stream({"Last-Event-ID": deploy["id"]}) as events:
        assert int(next(events)["id"]) == int(deploy["id"]) + 1
    with admin.stream({"Last-Event-ID": "999999"}) as events:
        assert next(events)["event"] == "start", "another server's number means from the start"


def test_the_owner_steers_it_over_a_unix_socket_and_must_say_what_twice(start, tmp_path: Path) -> None:
    admin = Admin(tmp_path / "admin.sock")
    server = all_ready(start("wsgi_app:app", "--workers", "1", *admin.option))
    assert admin.ask("/api/reload", "POST", {}).status == 400
    wrong = admin.ask("/api/reload", "POST", {"confirm": "restart"})
    assert wrong.status == 400 and "reload" in wrong.json["hint"]
    assert admin.act("reload").json == {"status": "reloading"}
    admin.wait_for_event("deploy")
    added = admin.ask("/api/command", "POST", {"command": "worker add 1", "confirm": "worker add 1"})
    assert added.json["total"] == 2
    poll(lambda: len(server.workers()) == 2, "two workers")
    assert "asked for" in server.wait_for_log('Admin: user .* asked for "worker add 1": done').group()
    gone = admin.ask("/api/command", "POST", {"command": "worker kill 1", "confirm": "worker kill 1"})
    assert gone.status == 409 and "not found" in gone.json["error"]
    assert admin.ask("/api/command", "POST", {"command": "make tea", "confirm": "make tea"}).status == 400
    assert admin.ask("/api/reload", "POST", {"confirm": "reload", "force": True}).status == 400


def test_what_is_wrong_is_answered_with_a_status_and_json(start, admin) -> None:
    start("wsgi_app:app", *admin.option)
    host = b"\r\nHost: localhost\r\n"
    for expected, request in {
        404: b"GET /nothing HTTP/1.1" + host + b"\r\n",
        405: b"DELETE /health HTTP/1.1" + host + b"\r\n",
        400: b"GET /status?what=this HTTP/1.1" + host + b"\r\n",
        421: b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        401: b"POST /api/reload HTTP/1.1" + host + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        431: b"GET /health HTTP/1.1" + host + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n",
    }.items():
        answer = admin.raw(request)
        assert answer.startswith(b"HTTP/1.1 %d " % expected), (request[:60], answer[:200])
        if expected != 431:
            head, _, body = answer.partition(b"\r\n\r\n")
            assert json.loads(body)["status"] == expected
            assert b"no-store" in head and b"nosniff" in head and b"frame-ancestors 'none'" in head
    assert admin.ask("/health?anything=goes").status == 200
    assert admin.ask("/status", "GET", b"x").status == 400


def test_an_upgrade_hands_the_listener_over_and_it_answers_throughout(tmp_path: Path, start, admin) -> None:
    project = Project(tmp_path / "project", start)
    family = Family(project)
    server = project.start("--workers", "1", "--pid", "pid", *admin.option)
    server.clean_stop = False
    old = server.process.pid
    assert admin.json("/status")["server"]["pid"] == old
    assert asked_by_owner(old, "upgrade").startswith(b"HTTP/1.1 200")
    # Every answer in between is one, whoever gives it.
    poll(lambda: admin.json("/status")["server"]["pid"] != old, "the new server's answer", 20)
    server.wait_for_exit()
    new = admin.json("/status")["server"]["pid"]
    assert new == family.pid_in("pid") and admin.ask("/ready").status == 200
    os.kill(new, signal.SIGTERM)
    family.all_gone()


def asked_by_owner(pid: int, command: str) -> bytes:
    """The server's own user needs no token, over the socket that is always there."""
    namespace = os.stat("/proc/self/ns/pid").st_ino
    body = json.dumps({"confirm": command}).encode()
    lines = [f"POST /api/{command} HTTP/1.1", "Host: x", "Content-Type: application/json", "Connection: close"]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}"]) + "\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0indrik/{os.geteuid()}/{namespace}/{pid}/admin")
        connection.sendall(head.encode() + body)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def test_clients_that_say_half_a_word_leave_room_for_others(start, admin) -> None:
    start("wsgi_app:app", *admin.option)
    slow = [admin.connect() for _ in range(40)]
    for connection in slow:
        connection.sendall(b"GET /hea")
    assert admin.ask("/health").status == 200
    more = [admin.connect() for _ in range(30)]
    told = [connection.recv(4096) for connection in more[-2:]]
    assert all(answer.startswith(b"HTTP/1.1 503 ") and b"retry-after" in answer for answer in told)
    for connection in slow + more:
        connection.close()
