"""A worker that misuses its lane: it loses that, and its place when another has it, and no request is lost."""

from __future__ import annotations

import os
import signal
import socket

import pytest
from support.load import Checked
from support.server import Server, poll

pytestmark = pytest.mark.indrik_only

LINE = ("--access-logfile", "-", "--access-logformat", "%(s)s %(U)s%(q)s route=%(route)s.")
GARBAGE = {
    "/short": "impossible size",
    "/version": "another version",
    "/kind": "a kind that does not exist",
    "/length": "says a wrong length",
    "/reserved": "uses what is kept free",
    "/payload": "a payload that its kind does not have",
    "/long": "impossible size",
    "/flood": "more messages came on its lane than a worker may send",
}


class CheckedEcho(Checked):
    """As its parent, with an application that only echoes the query."""

    def look(self, wire, client: int, number: int) -> None:
        answer = wire.get(f"/a?{client}-{number}")
        if answer.status != 200:
            self.failed.append(f"client {client}: {answer.status} {answer.text[:60]}")
        elif answer.body != f"{client}-{number}".encode():
            self.wrong.append(f"client {client}: {answer.text[:60]!r}")
        self.served += 1


@pytest.fixture
def server(start) -> Server:
    server = start("lane_app:app", "--workers", "2", "--worker-class", "gthread", "--threads", "4", *LINE)
    return server


def misuse(server: Server, connect, path: str) -> None:
    # It is not run again by the other worker.
    assert connect(server, 30).get(path, method="POST", body=b"x").status == 200


@pytest.mark.parametrize("path", GARBAGE)
def test_what_is_no_message_replaces_its_worker_with_the_reason_and_every_request_is_answered(connect, server, path):
    before = server.workers()
    with CheckedEcho(server, connect, 4) as clients:
        clients.goes_on(20)
        misuse(server, connect, path)
        server.wait_for_log(rf"The lane of worker \d+ is cut: .*{GARBAGE[path]}")
        clients.goes_on(100)
        poll(lambda: len(server.workers()) == 2 and set(server.workers()) != set(before), "another worker", 30)
    assert (clients.wrong, clients.failed) == ([], [])
    assert len(set(before) & set(server.workers())) == 1


@pytest.mark.parametrize(("path", "name"), [("/close", "(/a|-)"), ("/fds", "/a"), ("/fork", "/a")])
def test_a_lane_that_is_gone_or_a_child_that_has_it_costs_no_request_and_no_worker(connect, server, path, name):
    before = server.workers()
    with CheckedEcho(server, connect, 4) as clients:
        clients.goes_on(20)
        assert connect(server, 30).get(path).status == 200
        clients.goes_on(200)
    assert (clients.wrong, clients.failed) == ([], [])
    assert server.workers() == before
    connect(server).get("/a?last")
    server.wait_for_access_line(rf"^200 /alast route={name}\.$")


def kernel_refuses_files() -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.setsockopt(socket.SOL_SOCKET, 83, 0)  # SO_PASSRIGHTS, since Linux 6.16
        except OSError:
            return False
    return True


@pytest.mark.skipif(not kernel_refuses_files(), reason="the kernel cannot refuse them")
def test_files_that_nobody_asked_for_are_refused_by_each_socket_that_leads_to_the_supervisor(connect, server):
    # Those of both wake-ups, of the lane and of the supervisor. Closing such a file could wait, for a minute perhaps.
    assert connect(server).get("/unasked").text == "4"


def test_a_worker_that_asks_for_no_end_of_names_takes_none_from_other_workers_or_generations(connect, server):
    greedy = int(connect(server, 60).get("/names").text)
    os.kill(greedy, signal.SIGKILL)
    poll(lambda: greedy not in server.workers() and len(server.workers()) == 2, "another worker", 30)
    assert connect(server).get("/fresh").status == 200
    server.wait_for_access_line(r"^200 /fresh route=/fresh\.$")
    old = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(old, 2)
    assert connect(server).get("/reloaded").status == 200
    server.wait_for_access_line(r"^200 /reloaded route=/reloaded\.$")
