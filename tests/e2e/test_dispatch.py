"""Dispatch by request: least loaded first, nothing waits behind a slow one, deaths lose nothing."""

from __future__ import annotations

import os
import re
import signal
import threading

import pytest
from support.gate import Gate
from support.server import Server, poll

pytestmark = pytest.mark.indrik_only


def held(connect, server: Server, gate: Gate, method: str = "GET", path: str = "/gate"):
    """A request that is inside the application, and the pid of its worker."""
    wire = connect(server, 30)
    wire.send(f"{method} {path}?gate={gate.path} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
    return wire, gate.arrived()


def test_requests_spread_over_idle_workers(start, connect, gate: Gate):
    server = start("wsgi_app:app", "--workers", "4")
    requests = [held(connect, server, gate) for _ in range(4)]
    assert len({pid for _, pid in requests}) == 4
    gate.release(4)
    for wire, pid in requests:
        assert wire.read_answer().text == str(pid)


def test_requests_of_one_connection_may_go_to_different_workers(start, connect, gate: Gate, tmp_path):
    """Dispatch is by request: a connection is not tied to the worker it first met."""
    server = start("wsgi_app:app", "--workers", "2")
    wire = connect(server)
    first = int(wire.get("/pid").text)
    other_gate = Gate(tmp_path / "other")
    other, pid = held(connect, server, other_gate)
    if pid != first:
        _, second = held(connect, server, gate)
        assert second == first
        other_gate.release()
        other.read_answer()
    assert int(wire.get("/pid").text) != first
    other_gate.close()


def test_slow_requests_do_not_delay_fast_ones(start, connect, gate: Gate):
    server = start("wsgi_app:app", "--workers", "4")
    # Teach the server that this application is quick, so that it hands out work ahead of time.
    warm = connect(server)
    for _ in range(300):
        assert warm.get("/hello").status == 200
    slow = [held(connect, server, gate) for _ in range(3)]
    failed: list[str] = []

    def client() -> None:
        wire = connect(server)
        for _ in range(50):
            answer = wire.get("/hello")
            if answer.text != "hello":
                failed.append(answer.text)

    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert not failed
    gate.release(3)
    assert [wire.read_answer().status for wire, _ in slow] == [200] * 3


def test_what_was_queued_ahead_of_a_worker_that_turns_slow_goes_to_another(start, connect, gate: Gate):
    server = start("wsgi_app:app", "--workers", "2")
    warm = connect(server)
    for _ in range(300):
        assert warm.get("/hello").status == 200
    wires = [connect(server) for _ in range(20)]
    wires[0].send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
    for wire in wires[1:]:
        wire.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
    assert [wire.read_answer().text for wire in wires[1:]] == ["hello"] * 19
    gate.release()
    assert wires[0].read_answer().status == 200


def test_a_started_get_of_a_killed_worker_is_run_again(start, connect, gate: Gate):
    server = start("wsgi_app:app", "--workers", "2")
    wire, pid = held(connect, server, gate)
    os.kill(pid, signal.SIGKILL)
    second = gate.arrived()
    assert second != pid
    gate.release()
    assert wire.read_answer().text == str(second)


def test_a_get_that_was_in_two_workers_that_ended_is_poison_and_not_run_a_third_time(start, connect, gate: Gate):
    server = start("wsgi_app:app", "--workers", "2")
    wire, pid = held(connect, server, gate)
    os.kill(pid, signal.SIGKILL)
    second = gate.arrived()
    os.kill(second, signal.SIGKILL)
    answer = wire.read_answer()
    assert answer.status == 503
    assert answer.header("retry-after") is None
    assert gate.nobody_arrives(0.5)
    server.wait_for_log(r"Poison: GET /gate\S* \(client 127\.0\.0\.1\) was in two workers that ended")
    for ended in pid, second:
        server.wait_for_log(rf"Worker \d+ \(pid:{ended}\) ended with requests in it:")
        named = rf"\(pid:{ended}\) ended with requests in it:\n  GET /gate\S* from 127\.0\.0\.1, for [0-9.]+ s\n"
        poll(lambda named=named: re.search(named, server.log()), "the request by name")


@pytest.mark.parametrize(
    "arguments",
    [
        ("wsgi_app:app", "--workers", "1", "--threads", "8"),
        ("wsgi_app:app", "--workers", "2", "--threads", "8"),
        ("asgi_app:app", "--workers", "2", "--worker-class", "asgi", "--threads", "8"),
    ],
    ids=("one worker with threads", "two workers with threads", "asgi"),
)
def test_a_request_that_ends_its_workers_takes_none_with_it_that_ran_beside_it(
    start, connect, gate: Gate, tmp_path, arguments
):
    server = start(*arguments)
    trigger = Gate(tmp_path / "trigger")
    deadly, _ = held(connect, server, trigger, path="/die-at-gate")
    others = [held(connect, server, gate)[0] for _ in range(6)]
    # In the first worker and in the second.
    trigger.release(2)
    assert deadly.read_answer().status == 503
    gate.release(len(others))
    assert [wire.read_answer().status for wire in others] == [200] * len(others)
    server.wait_for_log("Poison: GET /die-at-gate")
    assert len(re.findall("Poison: ", server.log())) == 1


def test_requests_of_a_worker_that_the_server_itself_ended_are_run_again_side_by_side(start, connect, gate: Gate):
    server = start("wsgi_app:app", "--workers", "1", "--threads", "8", "--graceful-timeout", "1")
    wires = [held(connect, server, gate)[0] for _ in range(4)]
    server.signal(signal.SIGHUP)
    # The old worker had its time, and the new one has all of them at once.
    assert len({gate.arrived() for _ in wires}) == 1
    gate.release(len(wires))
    assert [wire.read_answer().status for wire in wires] == [200] * len(wires)


def test_a_started_post_of_a_killed_worker_is_a_502_and_is_not_run_again(start, connect, gate: Gate):
    server = start("wsgi_app:app", "--workers", "2")
    wire, pid = held(connect, server, gate, "POST")
    os.kill(pid, signal.SIGKILL)
    assert wire.read_answer().status == 502
    assert gate.nobody_arrives(0.5)
    assert connect(server).get("/hello").text == "hello"


def test_requests_wait_while_the_only_worker_is_replaced(start, connect):
    server = start("wsgi_app:app", "--workers", "1")
    wire = connect(server, 30)
    before = int(wire.get("/pid").text)
    os.kill(before, signal.SIGKILL)
    assert int(wire.get("/pid").text) != before


def test_a_post_that_has_not_started_survives_the_death_of_its_worker(start, connect, gate: Gate):
    server = start("wsgi_app:app", "--workers", "1")
    holder, pid = held(connect, server, gate, "POST")
    waiter = connect(server, 30)
    waiter.send("POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc")
    os.kill(pid, signal.SIGKILL)
    assert holder.read_answer().status == 502
    assert waiter.read_answer().status == 200
