"""The admin listener: looking at a server and steering it, from before its first worker to its last moment."""

from __future__ import annotations

import csv
import ctypes
import io
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.admin import Admin
from support.control import all_ready
from support.family import Family
from support.project import Project
from support.server import APPS, COMMAND, poll

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
    poll(lambda: admin.json("/requests")["in_flight"][0]["app_us"] > 20_000, "a request that is slow")
    gate.release()
    poll(lambda: admin.json("/requests")["in_flight"] == [], "no request in flight")
    first.read_answer()
    assert connect(server).get("/raise").status == 500
    shown = admin.json("/requests")
    assert [(one["target"], one["status"], one["pid"]) for one in shown["failed"]] == [("/raise", 500, worker)]
    slowest = next(one for one in shown["slowest"] if one["target"] == target)
    assert slowest["status"] == 200 and slowest["took_us"] >= slowest["app_us"] > 0


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
    host = b"\r\nHost: localhost\r\nConnection: close\r\n"
    for expected, request in {
        404: b"GET /nothing HTTP/1.1" + host + b"\r\n",
        405: b"DELETE /health HTTP/1.1" + host + b"\r\n",
        400: b"GET /status?what=this HTTP/1.1" + host + b"\r\n",
        421: b"GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
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


def test_beside_a_new_master_only_that_one_answers_and_no_worker_has_its_sockets(
    tmp_path: Path, start, admin: Admin
) -> None:
    project = Project(tmp_path / "project", start)
    family = Family(project)
    server = project.start("--workers", "1", "--pid", "pid", *admin.option)
    server.clean_stop = False
    old = server.process.pid
    server.signal(signal.SIGUSR2)
    new = family.pid_in("pid.2")
    poll(lambda: {answering(admin) for _ in range(10)} == {new}, "the new master's answers alone", 20)
    listening = socket_at(admin.port)
    holders = {pid for pid in family.pids() if f"socket:[{listening}]" in open_files(pid)}
    assert holders == {old, new}
    os.kill(new, signal.SIGTERM)
    poll(lambda: answering(admin) == old, "the old master's answer", 20)
    os.kill(old, signal.SIGTERM)
    family.all_gone()


def answering(admin: Admin) -> int:
    return int(admin.json("/health")["pid"])


def socket_at(port: int) -> str:
    """The number of the socket that listens there on loopback."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return next(row[9] for row in rows if row[1] == f"0100007F:{port:04X}" and row[3] == "0A")


def open_files(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.append(str(link.readlink()))
    return found


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


def token(name: str, scope: str, file: Path) -> str:
    """A new token that the file knows."""
    command = [*COMMAND, "token", "new", name, "--scope", scope, "--file", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_tokens_permit_what_their_scope_says_and_are_never_shown(start, admin, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    read, operate = token("grafana", "read", file), token("deploy", "operate", file)
    assert file.stat().st_mode & 0o777 == 0o600 and operate not in file.read_text()
    options = ("--env", "PASSWORD=geheim", "--admin-tokens", str(file), *admin.option)
    server = all_ready(start("wsgi_app:app", "--workers", "1", *options))
    assert admin.ask("/api/settings").status == 401
    shown = admin.ask("/api/settings", token=read)
    assert shown.status == 200 and b"geheim" not in shown.body
    secret = next(row for row in shown.json["settings"] if row["name"] == "raw_env")
    assert secret["secret"] and secret["value"] is None and secret["is_set"]
    assert admin.act("reload", token=read).status == 403
    assert admin.act("reload", token=operate).status == 200
    assert "token deploy" not in admin.wait_for_event("operator")["text"], "who may only look"
    told = admin.ask("/events?format=json", token=read).json["events"]
    assert 'token deploy asked for "reload": done' in [event["text"] for event in told]
    file.write_text("".join(line for line in file.read_text().splitlines(True) if "deploy" not in line))
    poll(lambda: admin.act("reload", token=operate).status == 401, "the end of the token")
    assert operate not in server.log() and read not in server.log()


def test_a_token_has_no_file_read_and_what_it_does_is_one_line(start, connect, admin, tmp_path: Path) -> None:
    operate = token("deploy", "operate", tmp_path / "tokens")
    options = ("--admin-tokens", str(tmp_path / "tokens"), "--log-level", "critical", *admin.option)
    server = all_ready(start("wsgi_app:app", "--workers", "1", *options, says_ready=False))
    secret = tmp_path / "secret"
    secret.write_text("geheim")
    refused = admin.act("maintenance", "on", "page", str(secret), token=operate)
    assert refused.status == 403 and "may not name a file" in refused.json["error"]
    assert connect(server).get("/").status == 200
    forged = 'x"\n[2026-12-01 10:00:00 +0000] [1] [INFO] Admin: token alice asked for "shutdown": done'
    wrong = {"changes": {forged: 1}, "confirm": forged}
    assert admin.ask("/api/settings", "PATCH", wrong, token=operate).status == 422
    assert admin.act("scale", 2, token=operate).status == 200
    subprocess.run([*COMMAND, "scale", "--pid", str(server.process.pid), "1"], check=True, capture_output=True)
    server.wait_for_log(rf'Admin: user {os.geteuid()} \(pid \d+\) asked for "scale 1": done')
    told = [line.partition("Admin: ")[2] for line in server.log().splitlines() if "alice" in line or "Admin:" in line]
    assert [line[: line.index(" asked for")] for line in told[:3]] == ["token deploy"] * 3, told
    assert 'asked for "scale 2": done' in told[2] and len(told) == 4, told


def test_guessing_tokens_takes_longer_and_longer_and_is_logged(start, admin, tmp_path: Path) -> None:
    good = token("deploy", "operate", tmp_path / "tokens")
    server = start("wsgi_app:app", "--admin-tokens", str(tmp_path / "tokens"), *admin.option)
    statuses = [admin.ask("/status", token=f"guess-{number}").status for number in range(8)]
    assert statuses == [401] * 6 + [429] * 2
    later = admin.ask("/status", token="another guess")
    assert later.status == 429 and int(later.headers["retry-after"]) >= 1
    assert admin.ask("/health", token="yesterday's").status == 200, "probes are answered whatever they bring"
    assert admin.ask("/status", token=good).status == 200, "a right one is not refused for the wrong ones of others"
    server.wait_for_log(r"Admin: a wrong token from 127.0.0.1 \(try 6\)")
    assert admin.ask("/status").status == 200, "who brings none needs none to look"


def test_a_page_of_another_site_changes_nothing(start, tmp_path: Path) -> None:
    """Over TCP, with a good token: as a browser would that has one."""
    admin = Admin()
    good = token("deploy", "operate", tmp_path / "tokens")
    start("wsgi_app:app", "--admin-tokens", str(tmp_path / "tokens"), "--admin-hosts", "ops.example", *admin.option)
    body = {"confirm": "reload"}

    def status(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return admin.ask("/api/reload", "POST", body, headers=sent, token=good).status

    assert status(Origin="http://evil.example") == 403
    assert status(Origin="null") == 403
    assert status(Sec_Fetch_Site="cross-site") == 403
    assert status(Content_Type="text/plain") == 415
    assert status(Content_Type="application/x-www-form-urlencoded") == 415
    assert status(Host="evil.example") == 421
    assert status(Host="ops.example", Origin="http://ops.example", Sec_Fetch_Site="same-origin") == 200


def test_settings_are_changed_by_hand_after_they_were_checked_and_a_failed_reload_keeps_the_old_ones(
    tmp_path: Path, start, admin
) -> None:
    project = Project(tmp_path / "project", start)
    project.write("app.py", "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n")
    server = all_ready(project.start("--workers", "1", "--timeout", "30", *admin.option))

    def set_(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "set", "--pid", str(server.process.pid), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    def timeout() -> Any:
        rows = owner_settings(server.process.pid)
        return next(row for row in rows if row["name"] == "timeout")

    dry = set_("timeout=45s", "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "timeout = 45s (30s before)\n")
    wrong = set_("timeout=soon", "user=root", "wrkers=3")
    assert (
        wrong.returncode == 1
        and "timeout" in wrong.stderr
        and "user" in wrong.stderr
        and "did you mean" in wrong.stderr
    )
    assert set_("timeout=45s").returncode == 0
    poll(lambda: timeout()["value"] == "45s", "the new timeout")
    row = timeout()
    assert row["by_hand"] and row["otherwise"] == "30s" and "set by hand" in row["origin"]
    project.write("app.py", "raise RuntimeError('broken')\n")
    assert set_("timeout=50s").returncode == 0
    admin.wait_for_event("reload_failed")
    project.write("app.py", "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n")
    before = admin.wait_for_event("reload_failed")["number"]
    server.signal(signal.SIGHUP)
    admin.wait_for_event("deploy", after=before)
    assert timeout()["value"] == "45s", "what held before the reload that failed"
    assert set_("--reset", "timeout").returncode == 0
    poll(lambda: timeout()["value"] == "30s" and not timeout()["by_hand"], "what the command line says")
    assert set_("timeout=30s").returncode == 0
    poll(lambda: timeout()["by_hand"], "a change by hand that changes no value")
    assert set_("--reset", "timeout").returncode == 0
    poll(lambda: not timeout()["by_hand"], "its end")
    assert "generation 6" not in server.log(), "neither needs a reload"


def test_settings_by_hand_that_are_rolled_back_after_they_were_in_use_are_shown_as_they_are(
    tmp_path: Path, start, connect
) -> None:
    admin = Admin(tmp_path / "admin.sock")
    project = Project(tmp_path / "project", start)
    project.write(
        "app.py",
        "def app(environ, start_response):\n    start_response(open('status').read(), [])\n    return [b'']\n",
    )
    project.write("status", "200 OK")
    server = all_ready(project.start("--workers", "1", "--timeout", "30", *admin.option))

    def timeout() -> tuple[str, bool]:
        row = next(row for row in admin.json("/api/settings")["settings"] if row["name"] == "timeout")
        return row["value"], row["by_hand"]

    changes = {"timeout": "50s", "reload_soak_s": 60}
    sent = {"changes": changes, "confirm": ",".join(sorted(changes))}
    assert admin.ask("/api/settings", "PATCH", sent).json["reloading"]
    poll(lambda: timeout() == ("50s", True), "the new generation, in its soak")
    project.write("status", "500 No")

    def is_given_up() -> bool:
        connect(server).get("/")
        return any(event["kind"] == "reload_failed" for event in admin.events())

    poll(is_given_up, "the end of the new generation")
    poll(lambda: timeout() == ("30s", False), "the settings of the generation that serves")


def owner_settings(pid: int) -> Any:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0indrik/{os.geteuid()}/{os.stat('/proc/self/ns/pid').st_ino}/{pid}/admin")
        connection.sendall(b"GET /api/settings HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return json.loads(answer.partition(b"\r\n\r\n")[2])["settings"]


def test_the_description_for_programs_is_true(start, tmp_path: Path) -> None:
    admin = Admin(tmp_path / "admin.sock")
    all_ready(start("wsgi_app:app", "--workers", "1", *admin.option))
    description = admin.json("/api/openapi.json")
    assert description["openapi"] == "3.1.0"
    names = set()
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            names.add(operation["operationId"])
            if path.startswith("/dashboard") or path == "/api/watch":
                continue
            if method == "get":
                suffix = {"/events": "?format=json", "/api/profile": "?seconds=0.1"}.get(path, "")
                assert admin.ask(path + suffix).status == 200, path
                unknown = admin.ask(f"{path}?nobody=knows", "HEAD").status
                strict = path not in {"/health", "/ready", "/nginx_status", "/metrics", "/api/openapi.json"}
                assert (unknown == 400) == strict, path
            else:
                # It is there, and wants to be told what twice.
                assert admin.ask(path, method.upper(), {}).status == 400, path
    assert len(names) == sum(len(operations) for operations in description["paths"].values())


def test_the_whole_body_and_the_whole_head_have_limits(start, tmp_path: Path) -> None:
    admin = Admin(tmp_path / "admin.sock")
    start("wsgi_app:app", *admin.option)
    head = b"POST /api/command HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunks = b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n%b\r\n" % (b"x" * 0x10000) * 17
    assert admin.raw(head + chunks).startswith(b"HTTP/1.1 413")
    assert admin.raw(head + b"Content-Length: 99999999999\r\n\r\n").startswith(b"HTTP/1.1 413")
    assert admin.ask("/status?" + "a" * 5000).status == 400
    assert admin.raw(b"\x16\x03\x01\x02\x00").startswith(b"HTTP/1.1 400")


def test_an_order_is_withdrawn_when_the_loop_does_not_answer(start, tmp_path: Path) -> None:
    """The loop is the main thread: traced and stopped alone, it stands still while all others run."""
    admin = Admin(tmp_path / "admin.sock")
    server = all_ready(start("wsgi_app:app", "--workers", "1", *admin.option))
    with stopped_thread(server.process.pid):
        for path in ("/health", "/ready", "/status", "/requests", "/events?format=json", "/nginx_status"):
            assert admin.ask(path).status == 200, path
        answered = admin.ask("/api/command", "POST", {"command": "worker add 1", "confirm": "worker add 1"})
        assert answered.status == 503 and "nothing was done" in answered.json["error"]
    assert admin.json("/status")["census"]["wanted"] == 1
    added = admin.ask("/api/command", "POST", {"command": "worker add 1", "confirm": "worker add 1"})
    assert added.json["total"] == 2, "and not 3"


@contextmanager
def stopped_thread(tid: int) -> Iterator[None]:
    """Hold one thread of a process by ptrace, as a debugger does."""
    libc = ctypes.CDLL(None, use_errno=True)
    seize, interrupt, detach = 0x4206, 0x4207, 17
    assert libc.ptrace(seize, tid, None, None) == 0, os.strerror(ctypes.get_errno())
    assert libc.ptrace(interrupt, tid, None, None) == 0
    os.waitid(os.P_PID, tid, os.WSTOPPED | 0x40000000)
    try:
        yield
    finally:
        libc.ptrace(detach, tid, None, None)


def test_the_log_is_told_to_those_who_may_and_goes_on_as_it_is_written(start, admin, tmp_path: Path) -> None:
    read = token("grafana", "read", tmp_path / "tokens")
    server = start("wsgi_app:app", "--workers", "1", *admin.option, "--admin-tokens", str(tmp_path / "tokens"))
    assert admin.ask("/logs").status == 401
    text = admin.ask("/logs?lines=1", token=read)
    assert text.headers["content-type"].startswith("text/plain")
    assert text.body.count(b"[INFO]") == 1
    entries = admin.ask("/logs?format=json", token=read).json["entries"]
    newest = entries[-1]["number"]
    assert admin.ask(f"/logs?format=json&after={newest}", token=read).json["entries"] == []
    of_another = admin.ask("/logs?format=json&after=5", token=read).json["entries"]
    assert of_another[: len(entries)] == entries
    assert admin.ask("/logs?format=html", token=read).status == 400
    headers = {"Authorization": f"Bearer {read}", "Last-Event-ID": str(newest)}
    with admin.stream(headers, "/logs?format=sse") as events:
        os.kill(server.workers()[0], signal.SIGKILL)
        event = next(event for event in events if "SIGKILL" in event["data"])
        assert int(event["id"]) > newest


def test_the_listener_speaks_tls_and_takes_a_renewed_certificate(start, admin, pki, tmp_path: Path) -> None:
    owner = Admin(tmp_path / "admin.sock")
    tls = ("--admin-certfile", str(pki.certificate), "--admin-keyfile", str(pki.key))
    start("wsgi_app:app", "--workers", "1", *admin.option, *owner.option, *tls)

    def serial() -> object:
        with (
            socket.create_connection(("127.0.0.1", admin.port), timeout=10) as plain,
            pki.client().wrap_socket(plain, server_hostname="localhost") as secret,
        ):
            secret.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert secret.recv(100).startswith(b"HTTP/1.1 200 ")
            return secret.getpeercert()["serialNumber"]

    first = serial()
    assert owner.ask("/health").status == 200, "a Unix socket stays as it is"
    assert not admin.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/")
    pki.renew()
    poll(lambda: serial() != first, "the new certificate", 30)


def test_a_scraper_at_the_applications_address_is_let_in_by_its_address_or_a_token(start, connect, tmp_path) -> None:
    read = token("prometheus", "read", tmp_path / "tokens")
    server = start(
        "wsgi_app:app", "--workers", "1", "--metrics-path", "/scrape", "--admin-tokens", str(tmp_path / "tokens")
    )
    proxied = "X-Forwarded-For: 203.0.113.9"

    def ask(*headers: str, method: str = "GET") -> Any:
        return connect(server).get("/scrape", *headers, method=method)

    assert ask().status == 200
    assert ask(proxied).status == 401, "through a proxy of this machine"
    assert ask(proxied, "Authorization: Bearer wrong").status == 401
    let_in = ask(proxied, f"Authorization: Bearer {read}", "Accept: application/openmetrics-text")
    assert let_in.status == 200 and let_in.text.endswith("# EOF\n")
    assert ask(method="POST").status == 405
    assert connect(server).get("/").status == 200
    counted = ask().text.splitlines()
    (probes,) = [line for line in counted if line.startswith('indrik_http_probes_total{probe="metrics",status="200"}')]
    assert float(probes.split()[-1]) == 2
    total = [line for line in counted if line.startswith("indrik_http_request_duration_seconds_count")]
    assert sum(float(line.split()[-1]) for line in total) == 1, total
