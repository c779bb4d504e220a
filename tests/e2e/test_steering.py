"""What operators do to a running server: scale, recycle, restart, pause, resume, maintenance."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from support import control
from support.commands import answer, begin, run
from support.gate import Gate
from support.http2 import Http2
from support.load import Load
from support.server import Server, poll

pytestmark = pytest.mark.indrik_only


def held(connect, server: Server, gate: Gate):
    """A request that is inside the application."""
    wire = connect(server, 30)
    wire.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
    gate.arrived()
    return wire


def steering(server: Server) -> dict:
    return control.ctl(server, "show", "look")["steering"]


def all_ready(server: Server, count: int) -> None:
    poll(lambda: control.ctl(server, "show", "stats")["workers_ready"] == count, f"{count} workers that are ready", 20)


def waiting(server: Server, count: int) -> None:
    poll(lambda: steering(server)["waiting"] == count, f"{count} requests that wait")


def send(connect, server: Server, target: str = "/hello"):
    wire = connect(server, 30)
    wire.send(f"GET {target} HTTP/1.1\r\nHost: t\r\n\r\n")
    return wire


def test_the_number_of_workers_is_set_and_outlives_a_reload(start):
    server = start("wsgi_app:app", "--workers", "2")
    assert answer(server, "scale", "+1") == {"previous": 2, "total": 3}
    all_ready(server, 3)
    run(server, "scale", "-2")
    poll(lambda: len(server.workers()) == 1, "one worker")
    assert "3 workers are wanted, 1 were before" in run(server, "scale", "3").stdout
    control.ctl(server, "reload", "wait")
    all_ready(server, 3)
    for wrong, why in (("0", "at least 1"), ("x", "not 'x'"), ("+2000", "1024 at most")):
        assert why in run(server, "scale", wrong, code=2).stderr


def test_all_workers_are_recycled_under_load_and_no_request_notices(start, connect):
    server = start("wsgi_app:app", "--workers", "2")
    old = server.workers()
    with Load(server, connect, clients=4) as load:
        load.goes_on(50)
        assert len(answer(server, "recycle", "--wait")["workers"]) == 2
        load.goes_on(50)
    assert load.failures == []
    assert not set(old) & set(server.workers())
    assert control.ctl(server, "show", "stats")["ends"] == {"replaced": 2}


def test_one_worker_is_named_by_its_place_or_its_number(start):
    server = start("wsgi_app:app", "--workers", "2")
    workers = control.ctl(server, "show", "workers")["workers"]
    first = next(worker["pid"] for worker in workers if worker["place"] == 1)
    other = next(worker["pid"] for worker in workers if worker["place"] == 2)
    run(server, "recycle", "1", "--wait")
    assert first not in server.workers() and other in server.workers()
    run(server, "recycle", f"pid:{other}", "--wait")
    assert other not in server.workers()
    failed = run(server, "recycle", "9", code=1)
    assert "there is no such worker" in failed.stderr and failed.stdout == ""


def test_a_worker_that_does_not_answer_is_restarted_at_once(start, connect, gate: Gate):
    server = start("wsgi_app:app", "--workers", "1", "--timeout", "0")
    wire = held(connect, server, gate)
    old = server.workers()
    run(server, "restart", "1")
    server.wait_for_log(r"WORKER RESTARTED, as asked")
    # An idempotent request is run again by the successor.
    gate.arrived()
    gate.release(2)
    assert int(wire.read_answer().text) not in old
    assert control.ctl(server, "show", "stats")["ends"] == {"restarted": 1}


def test_a_pause_holds_what_comes_finishes_what_runs_and_resume_serves_all(start, connect, gate: Gate):
    # Longer than a request may wait for a worker: what a pause holds has no such limit.
    server = start("wsgi_app:app", "--workers", "2", "--queue-timeout", "1", "--readiness-path", "/ready")
    running = held(connect, server, gate)
    waiter = begin(server, "pause", "--wait", "--max", "60")
    poll(lambda: steering(server)["paused"], "the pause")
    came = [send(connect, server) for _ in range(5)]
    waiting(server, 5)
    health = control.ctl(server, "health")
    assert health["ready"] and "held by a pause" in health["why"]
    assert connect(server).get("/ready").status == 200
    assert waiter.poll() is None
    gate.release()
    assert running.read_answer().status == 200
    out, err = waiter.communicate(timeout=30)
    assert waiter.returncode == 0, err
    assert "0 requests run, 5 wait" in out
    # The limit of the queue has passed for all of them.
    threading.Event().wait(1.2)
    assert steering(server)["waiting"] == 5
    assert "served again" in run(server, "resume").stdout
    assert [wire.read_answer().status for wire in came] == [200] * 5
    assert "nothing was paused" in run(server, "resume").stdout


def test_a_pause_ends_by_itself_and_whoever_waited_in_vain_is_told(start, connect, gate: Gate):
    server = start("wsgi_app:app", "--workers", "1")
    running = held(connect, server, gate)
    waiter = begin(server, "pause", "--wait", "--max", "0.5")
    waits = send(connect, server)
    _, err = waiter.communicate(timeout=30)
    assert waiter.returncode == 4
    assert "the pause's time is over" in err and "1 run now" in err
    server.wait_for_log(r"\[WARNING\] Resumed after .* time is over")
    gate.release()
    assert [running.read_answer().status, waits.read_answer().status] == [200, 200]


def test_a_full_queue_of_a_pause_has_a_reason_of_its_own(start, connect):
    server = start("wsgi_app:app", "--workers", "1", "--queue-requests-max", "2")
    run(server, "pause")
    came = [send(connect, server) for _ in range(2)]
    waiting(server, 2)
    refused = connect(server).get("/hello")
    assert (refused.status, refused.header("retry-after")) == (503, "1")
    assert "paused" in refused.text
    assert control.ctl(server, "show", "stats")["answered_by_front"]["paused"] == 1
    run(server, "resume")
    assert [wire.read_answer().status for wire in came] == [200, 200]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_a_pause_holds_is_served_when_the_server_ends_and_beyond_a_reload(start, connect, number):
    server = start("wsgi_app:app", "--workers", "2")
    old = server.workers()
    run(server, "pause", "--max", "600")
    came = [send(connect, server, "/pid") for _ in range(4)]
    waiting(server, 4)
    server.signal(number)
    if number == signal.SIGHUP:
        server.wait_for_new_workers(old, 2)
        all_ready(server, 2)
        assert steering(server)["waiting"] == 4
        run(server, "resume")
    answers = [wire.read_answer() for wire in came]
    assert [one.status for one in answers] == [200] * 4
    if number == signal.SIGTERM:
        assert server.wait_for_exit() == 0
        assert "the server ends, and serves first what waits" in server.log()


def test_an_upgrade_during_a_pause_is_refused_with_what_to_do(start):
    server = start("wsgi_app:app")
    run(server, "pause")
    assert "resume first" in run(server, "upgrade", code=1).stderr


def test_maintenance_answers_with_the_page_but_not_those_who_are_let_pass(start, connect, tmp_path):
    page = tmp_path / "Page.html"
    page.write_text("<p>back at noon</p>")
    proxy = ("--forwarded-allow-ips", "127.0.0.1", "--real-ip-header", "x-forwarded-for")
    server = start("wsgi_app:app", "--readiness-path", "/ready", *proxy)
    wire = connect(server)
    run(server, "maintenance", "on", "--page", str(page), "--allow", "10.1.0.0/16", "--allow", "::1")
    refused = wire.get("/hello")
    assert (refused.status, refused.text, refused.header("retry-after")) == (503, page.read_text(), "30")
    assert refused.header("cache-control") == "no-store"
    assert wire.get("/hello", "X-Forwarded-For: 10.1.2.3").status == 200
    assert connect(server).get("/ready").status == 200
    control.ctl(server, "reload", "wait")
    assert connect(server).get("/hello").status == 503
    assert "maintenance" in control.ctl(server, "health")["why"]
    assert control.ctl(server, "show", "stats")["answered_by_front"]["maintenance"] == 2
    # What cannot be read changes nothing.
    failed = run(server, "maintenance", "on", "--page", str(tmp_path / "none"), code=1)
    assert "cannot read the page" in failed.stderr
    assert connect(server).get("/hello").text == page.read_text()
    run(server, "maintenance", "off")
    assert connect(server).get("/hello").status == 200


def test_a_large_page_of_a_maintenance_reaches_clients_of_http2_within_their_windows(start, tmp_path):
    page = tmp_path / "page.html"
    page.write_bytes(b"x" * 256 * 1024)
    server = start("wsgi_app:app", "--http-protocols", "h2,h1", "--http2-cleartext", "prior-knowledge")
    run(server, "maintenance", "on", "--page", str(page))
    client = Http2(server.connect())
    answer = client.get("/hello")
    assert (answer.status, len(answer.body)) == (503, 256 * 1024)
    client.socket.close()
    page.write_bytes(b"x" * (256 * 1024 + 1))
    assert "larger than 262144 bytes" in run(server, "maintenance", "on", "--page", str(page), code=1).stderr


def test_a_handshake_of_a_websocket_is_held_by_a_pause_and_refused_by_a_maintenance(start, connect):
    server = start("asgi_app:app", interface="asgi")
    upgrade = (
        "GET /echo HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    run(server, "maintenance", "on")
    refused = connect(server)
    refused.send(upgrade)
    assert refused.read_answer().status == 503
    run(server, "maintenance", "off")
    run(server, "pause")
    held_back = connect(server, 30)
    held_back.send(upgrade)
    waiting(server, 1)
    run(server, "resume")
    assert held_back.read_exactly(12) == b"HTTP/1.1 101"


def test_the_server_is_found_by_its_address_directory_or_application(start, tmp_path):
    first, second = start("wsgi_app:app"), start("wsgi_app:app", "--name", f"shop-{os.getpid()}")
    for server, marks in (
        (first, ("--bind", f"127.0.0.1:{first.port}")),
        (second, ("--bind", f":{second.port}")),
        (second, ("--app", f"shop-{os.getpid()}")),
    ):
        done = run(None, "pause", "--max", "5", "--json", *marks)
        assert steering(server)["paused"], done
        run(None, "resume", *marks)
    several = run(None, "pause", code=3)
    assert f"127.0.0.1:{first.port}" in several.stderr and "--bind" in several.stderr
    nobody = run(None, "pause", "--chdir", str(tmp_path), code=3)
    assert "none of the running servers is meant" in nobody.stderr


def test_a_server_that_is_stopped_is_given_up_in_time(start):
    server = start("wsgi_app:app")
    server.signal(signal.SIGSTOP)
    try:
        many = [run(None, "resume", "--bind", f"127.0.0.1:{server.port}", code=None)]
        assert {done.returncode for done in many} <= {3, 4}
        assert "does not answer" in many[0].stderr
    finally:
        server.signal(signal.SIGCONT)
