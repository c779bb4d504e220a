"""Looking into workers: stacks and profiles."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.admin import Admin
from support.server import APPS, COMMAND, Server, poll

KINDS = {
    "sync": ("looked_at_app:app", "wsgi"),
    "gthread": ("looked_at_app:app", "wsgi"),
    "gevent": ("looked_at_app:app", "wsgi"),
    "asgi": ("looked_at_app:asgi", "asgi"),
}


def indrik(server: Server, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    whole = [*COMMAND, command, "--pid", str(server.process.pid), *words]
    return subprocess.run(whole, capture_output=True, text=True, timeout=60, cwd=APPS)


def done(server: Server, command: str, *words: str) -> str:
    ran = indrik(server, command, *words)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def server_of(kind: str, directory: Path, *more: str) -> Server:
    app, interface = KINDS[kind]
    threads = ("--threads", "4") if kind == "gthread" else ()
    arguments = ("--worker-class", kind, "--workers", "1", *threads, *more)
    return Server(app, *arguments, interface=interface, log_directory=directory)


def ask(server: Server, path: str) -> None:
    with urllib.request.urlopen(server.url + path, timeout=30) as answer:
        answer.read()


@contextmanager
def load(server: Server, *paths: str) -> Iterator[None]:
    """Clients that ask for these again and again."""
    over = threading.Event()

    def client(path: str) -> None:
        while not over.is_set():
            ask(server, path)

    clients = [threading.Thread(target=client, args=(path,)) for path in paths]
    for thread in clients:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in clients:
            thread.join()


@contextmanager
def waiting(server: Server, directory: Path, count: int) -> Iterator[None]:
    """Requests that have begun and wait in the application."""
    path = directory / "gate"
    with socket.socket(socket.AF_UNIX) as gate:
        gate.bind(str(path))
        gate.listen(count)
        clients = [threading.Thread(target=ask, args=(server, f"/wait?gate={path}")) for _ in range(count)]
        for thread in clients:
            thread.start()
        waits = [gate.accept()[0] for _ in clients]
        try:
            yield
        finally:
            for one in waits:
                one.close()
            for thread in clients:
                thread.join()


@pytest.mark.parametrize("kind", KINDS)
def test_stacks_show_where_requests_wait_and_which_they_are(kind: str, tmp_path: Path) -> None:
    count = 1 if kind == "sync" else 3
    with server_of(kind, tmp_path) as server, waiting(server, tmp_path, count):
        text = done(server, "stacks")
        assert "looked_at_app.py:" in text, text
        assert "wait_here" in text or "waits_for_the_gate" in text, text
        assert len(re.findall(r"GET /wait\?gate=", text)) == count, text
        if kind == "asgi":
            assert re.search(r"3 tasks \(request-", text), text
        if kind == "gevent":
            assert re.search(r"3 greenlets \(Greenlet", text), text
        (worker,) = json.loads(done(server, "stacks", "--json", str(server.workers()[0])))["workers"]
        assert worker["pid"] == server.workers()[0]
        assert worker["why"] is None


def test_stacks_of_a_worker_that_keeps_the_interpreters_lock_are_shown_all_the_same(tmp_path: Path) -> None:
    with server_of("sync", tmp_path) as server, load(server, "/keep?seconds=5"):
        poll(lambda: busy(server), "the request")
        text = done(server, "stacks")
        assert "has not come back to Python" in text, text
        assert "has GET /keep?seconds=5" in text and "in keep_the_lock" in text, text


def busy(server: Server) -> bool:
    answer = json.loads(done(server, "ctl", "--json", "show", "workers"))
    return any(worker["in_flight"] for worker in answer["workers"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_profile_has_the_hot_function_on_top(kind: str, tmp_path: Path) -> None:
    collapsed, graph = tmp_path / "a.collapsed", tmp_path / "a.svg"
    with server_of(kind, tmp_path) as server, load(server, "/burn"):
        text = done(server, "profile", "--seconds", "1", "-o", str(collapsed))
        assert re.search(r"OWN  FUNCTION\n *[0-9.]+%  hot_function \(", text), text
        assert ";hot_function (" in collapsed.read_text()
        done(server, "profile", "--seconds", "0.5", "--diff", str(collapsed), "-o", str(graph))
        assert "hot_function" in graph.read_text()


def test_a_profile_of_one_route_has_nothing_of_the_others(tmp_path: Path) -> None:
    with server_of("gthread", tmp_path) as server, load(server, "/burn", "/cool"):
        answer = json.loads(done(server, "profile", "--seconds", "1", "--route", "/cool", "--json"))
        (worker,) = answer["workers"]
        weights = [int(line.rpartition(" ")[2]) for line in worker["collapsed"].splitlines()]
        assert worker["routes"]["/burn"] > worker["routes"]["/cool"] == sum(weights) > 0, worker
        # Whose route is not known is little.
        assert worker["routes"].get("-", 0) < worker["routes"]["/burn"] / 2, worker
        failed = indrik(server, "profile", "--seconds", "0.3", "--route", "/none")
        assert failed.returncode == 1 and "nothing ran for this route" in failed.stderr, failed.stderr
        assert "/burn" in failed.stderr


def test_time_on_the_wall_shows_what_tasks_wait_for(tmp_path: Path) -> None:
    with server_of("asgi", tmp_path) as server, waiting(server, tmp_path, 3):
        text = done(server, "profile", "--seconds", "0.5", "--mode", "wall", "--format", "collapsed")
        assert "waits_for_the_gate (" in text, text


def test_a_profile_ends_with_its_client_and_another_one_can_begin(tmp_path: Path) -> None:
    with server_of("sync", tmp_path) as server, load(server, "/burn"):
        words = [*COMMAND, "profile", "--pid", str(server.process.pid), "--seconds", "600"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=APPS) as long:
            poll(lambda: threads_of(server.workers()[0]) == 2, "the thread that looks")
            second = indrik(server, "profile", "--seconds", "0.2")
            assert second.returncode == 1 and "a profile of this worker is under way" in second.stderr, second.stderr
            long.kill()
        poll(lambda: threads_of(server.workers()[0]) == 1, "the end of the thread that looks")
        assert "hot_function" in done(server, "profile", "--seconds", "0.5")


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_a_worker_that_ends_while_it_is_profiled_is_named(tmp_path: Path) -> None:
    with server_of("sync", tmp_path) as server:
        words = [*COMMAND, "profile", "--pid", str(server.process.pid), "--seconds", "60"]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=APPS) as profile:
            (pid,) = server.workers()
            poll(lambda: threads_of(pid) == 2, "the thread that looks")
            os.kill(pid, signal.SIGKILL)
            _, errors = profile.communicate(timeout=30)
        assert profile.returncode == 1 and "it ended before it had answered" in errors, errors


def test_what_is_wrong_is_told_with_its_own_exit_code(tmp_path: Path) -> None:
    with server_of("sync", tmp_path) as server:
        for words, code, why in [
            (("stacks", "me"), 2, "process number"),
            (("stacks", "999999999"), 1, "there is no worker 999999999"),
            (("profile", "--seconds", "0"), 2, "0.1 to 600"),
            (("profile", "--format", "png"), 2, "svg, speedscope or collapsed"),
            (("profile", "-o", "/proc/none.svg"), 1, "cannot write"),
        ]:
            ran = indrik(server, *words)
            assert (ran.returncode, why in ran.stderr) == (code, True), ran.stderr
    nobody = subprocess.run([*COMMAND, "stacks", "--pid", "1"], capture_output=True, text=True, timeout=60, cwd=APPS)
    assert nobody.returncode == 3, nobody.stderr


def test_a_leaking_route_among_ten_is_named_within_its_first_fifty_mebibytes(tmp_path: Path) -> None:
    kept, requests = 512 * 1024, 95
    paths = [f"/cool{number}" for number in range(9)]
    with server_of("sync", tmp_path) as server, load(server, *paths[:3]):
        for path in paths:
            ask(server, path)
        looks, named = 0, []
        for number in range(requests):
            ask(server, f"/leak?bytes={kept}")
            # Its leak is to be seen in many looks, however fast this machine answers.
            if number % 5 == 4:
                looks, named = looked_since(server, looks)
            if named:
                break
        (route, *others) = named
        assert (route["route"], others) == ("/leak", [])
        assert kept * 0.5 < route["bytes_per_request"] < kept * 1.5, route
        assert "grows with route /leak" in done(server, "memory")


def looked_since(server: Server, looks: int) -> tuple[int, list[dict[str, Any]]]:
    """Waits until the server has looked at its worker's memory once more, and says what it names then."""
    seen: list[dict[str, Any]] = []

    def has_looked() -> bool:
        memory = json.loads(done(server, "memory", "--json"))
        seen[:] = [it["growth"] for it in memory["processes"] if it["role"] == "worker"]
        return bool(seen[0]["looks"] > looks)

    poll(has_looked, "a look at the worker's memory", 20)
    return seen[0]["looks"], seen[0]["routes"]


def test_tracemalloc_names_the_line_that_keeps_memory(tmp_path: Path) -> None:
    with server_of("sync", tmp_path) as server:
        failed = indrik(server, "memory", "--trace", "top")
        assert failed.returncode == 1 and "nothing is traced here" in failed.stderr, failed.stderr
        assert "allocations are traced" in done(server, "memory", "--trace", "start")
        for _ in range(5):
            ask(server, "/leak?bytes=300000")
        text = done(server, "memory", "--trace", "top")
        assert re.search(r"KiB in \d+ blocks  .*looked_at_app.py:\d+", text), text
        assert "allocations are not traced" in done(server, "memory", "--trace", "stop")


@pytest.mark.parametrize(("kind", "field"), [("asgi", "event_loop_blocked_s"), ("gthread", "gil_wait_s")])
def test_who_keeps_a_worker_from_going_on_shows_up_with_the_request(kind: str, field: str, tmp_path: Path) -> None:
    path = "/burn?seconds=1" if kind == "asgi" else "/keep?seconds=2"
    with server_of(kind, tmp_path) as server:
        assert worker_of(server)[field] < 0.5
        with load(server, path):
            poll(lambda: worker_of(server)[field] >= 0.5, f"{field} to grow", 30)
            if kind == "asgi":
                poll(lambda: worker_of(server)["blocked_by"] == f"GET {path}", "the request to be named", 30)


def worker_of(server: Server) -> dict[str, Any]:
    (worker,) = json.loads(done(server, "ctl", "--json", "show", "workers"))["workers"]
    return dict(worker)


def test_over_http_workers_are_looked_into_as_by_the_commands(tmp_path: Path) -> None:
    admin = Admin(tmp_path / "admin.sock")
    with server_of("gthread", tmp_path, *admin.option) as server:
        with load(server, "/burn"):
            graph = admin.ask("/api/profile?seconds=0.5&format=svg&route=/burn")
            assert (graph.status, graph.headers["content-type"]) == (200, "image/svg+xml")
            assert b"hot_function" in graph.body
            assert "hot_function" in admin.ask("/api/profile?seconds=0.5&format=collapsed").body.decode()
            assert admin.json("/api/profile?seconds=0.5&format=speedscope")["profiles"]
        none = admin.ask("/api/profile?seconds=0.1&format=svg&route=/nowhere")
        assert none.status == 409 and "nothing ran" in none.json["error"]
        assert admin.ask("/api/profile?seconds=601").status == 400
        assert admin.ask("/api/stacks?worker=999999").status == 409
        pid = server.workers()[0]
        with waiting(server, tmp_path, 1):
            (worker,) = admin.json(f"/api/stacks?worker={pid}")["workers"]
            assert "wait_here" in json.dumps(worker["stacks"]) and worker["requests"][0]["method"] == "GET"
        assert any(it["pid"] == pid for it in admin.json("/api/memory")["processes"])
        began = admin.ask("/api/trace", "POST", {"arguments": ["start"], "confirm": "trace start"})
        assert began.status == 200, began
        assert admin.json("/api/memory?trace=top")["workers"][0]["memory"]["tracing"]
        assert admin.act("trace", "stop").status == 200


def test_a_profile_ends_when_whoever_asked_for_it_over_http_leaves(tmp_path: Path) -> None:
    admin = Admin(tmp_path / "admin.sock")
    with server_of("sync", tmp_path, *admin.option):
        asked = b"GET /api/profile?seconds=600 HTTP/1.1\r\nHost: x\r\n\r\n"

        def why() -> str | None:
            return admin.json("/api/profile?seconds=0.1")["workers"][0]["why"]

        with admin.connect() as client:
            client.sendall(asked)
            poll(lambda: why() == "a profile of this worker is under way", "the long profile")
        poll(lambda: why() is None, "its end", 20)
