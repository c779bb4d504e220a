"""Ends of a server: TERM with connections that it has not even seen, and a kill without warning."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections import Counter

from ..client import Malformed, take_answer
from ..load import Load
from ..project import Project
from ..report import Rows
from ..subjects import Failed, Options, Subject, send

QUEUED = 1_000
CONNECT_LIMIT_S = 3.0
ANSWER_LIMIT_S = 30.0
END_LIMIT_S = 40.0
LOAD_CONNECTIONS = 16
ORPHANS_AFTER_S = 1.0
# What a start may take longer than the first one did.
RESTART_TOLERANCE_S = 1.0


def term(name: str, rows: Rows, full: bool) -> None:
    for app in ("flask", "fastapi"):
        _term(name, app, rows, rounds=3 if full else 1)


def _term(name: str, app: str, rows: Rows, rounds: int) -> None:
    answers: Counter[str] = Counter()
    lost, longest_s, shown = 0, 0.0, ""
    for _ in range(rounds):
        with Project() as project, Subject(name, Options(app=app), project) as server:
            with Load(server.port, connections=LOAD_CONNECTIONS) as load:
                time.sleep(1.0)
                counts, ended_s = _stop_with_a_full_queue(server)
                result = load.stop()
            answers.update(counts)
            longest_s = max(longest_s, ended_s)
            # Who comes after the end of the listening is turned away, and has to be.
            lost += result.failed_but("connect", "connect_timeout")
            shown = result.shown()
    good, wanted = answers.pop("answered", 0), QUEUED * rounds
    others = ", ".join(f"{count} {kind}" for kind, count in sorted(answers.items()))
    told = f"{good:,} of {wanted:,} {others}".strip()
    rows.check(f"{app}: answered of those in the queue", "all", told, good == wanted)
    rows.zero(f"{app}: requests of the load cut off", lost, shown)
    rows.at_most(f"{app}: ended after", END_LIMIT_S, longest_s, " s")


def _stop_with_a_full_queue(server: Subject) -> tuple[dict[str, int], float]:
    """Stands the server still, fills its accept queue, sends TERM and lets it go on."""
    everyone = server.alive()
    for pid in everyone:
        send(pid, signal.SIGSTOP)
    clients: list[tuple[socket.socket, str]] = []
    try:
        for number in range(QUEUED):
            try:
                client = socket.create_connection(("127.0.0.1", server.port), timeout=CONNECT_LIMIT_S)
            except OSError:
                # The server asked the kernel for a shorter queue than it was told.
                break
            client.sendall(f"GET /echo?n=q{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            clients.append((client, f"q{number}"))
        send(server.pid, signal.SIGTERM)
    finally:
        for pid in everyone:
            send(pid, signal.SIGCONT)
    began = time.monotonic()
    counts = _collect(clients)
    if len(clients) < QUEUED:
        counts["not even queued"] = QUEUED - len(clients)
    while server.alive() and time.monotonic() - began < END_LIMIT_S:
        time.sleep(0.05)
    return counts, float("inf") if server.alive() else time.monotonic() - began


def _collect(clients: list[tuple[socket.socket, str]]) -> dict[str, int]:
    """What became of each: `answered`, or how it was not."""
    counts: dict[str, int] = {}
    poll = select.epoll()
    waiting = {}
    for client, number in clients:
        client.setblocking(False)
        poll.register(client, select.EPOLLIN)
        waiting[client.fileno()] = (client, number, bytearray())
    deadline = time.monotonic() + ANSWER_LIMIT_S
    while waiting and time.monotonic() < deadline:
        for fd, _ in poll.poll(0.5):
            client, number, received = waiting[fd]
            kind = _look(client, number, received)
            if kind:
                counts[kind] = counts.get(kind, 0) + 1
                poll.unregister(fd)
                client.close()
                del waiting[fd]
    for client, _, _ in waiting.values():
        client.close()
    if waiting:
        counts["never answered"] = len(waiting)
    return counts


def _look(client: socket.socket, number: str, received: bytearray) -> str:
    """Empty while there is more to come."""
    try:
        data = client.recv(65_536)
    except BlockingIOError:
        return ""
    except OSError:
        return "reset"
    received += data
    try:
        answer = take_answer(received, ended=not data)
    except (Malformed, ValueError):
        return "malformed"
    if answer is None:
        return "" if data else "closed without an answer"
    if answer.status != 200:
        return f"status {answer.status}"
    return "answered" if answer.body.split()[:1] == [number.encode()] else "wrong body"


def kill_supervisor(name: str, rows: Rows, full: bool) -> None:
    rounds = [_kill_supervisor(name) for _ in range(10 if full else 2)]
    orphans = max(left for left, _ in rounds)
    rows.zero(f"processes left after {ORPHANS_AFTER_S:.0f} s", orphans)
    later_s = max(later for _, later in rounds)
    rows.at_most("a start at the same address takes longer than the first by", RESTART_TOLERANCE_S, later_s, " s")


def _kill_supervisor(name: str) -> tuple[int, float]:
    """The processes it left, and how much longer the next start takes."""
    with Project() as project:
        began = time.monotonic()
        with Subject(name, Options(), project) as server:
            first_s = time.monotonic() - began
            with Load(server.port, connections=8, path="/wait"):
                time.sleep(0.5)
                send(server.pid, signal.SIGKILL)
                time.sleep(ORPHANS_AFTER_S)
                orphans = len(server.alive())
            began = time.monotonic()
            try:
                with Subject(name, Options(), project, server.port):
                    return orphans, time.monotonic() - began - first_s
            except (Failed, OSError) as error:
                print(f"  the next start: {error}")
                return orphans, float("inf")
