"""The supervisor: signals, reload, replacement, time limits, and that nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
from support.control import ctl
from support.gate import Gate
from support.load import Load
from support.project import Project
from support.server import Server, poll, session_of, title_of


def write_app(directory: Path, body: str) -> None:
    (directory / "versioned.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', str(len(BODY)))])\n"
        f"    return [BODY]\n\nBODY = {body}\n"
    )


class TestTerm:
    @pytest.mark.indrik_only
    def test_requests_in_flight_are_finished_and_the_exit_code_is_0(self, start, connect, gate):
        server = start("wsgi_app:app", "--threads", "4")
        wires = [connect(server) for _ in range(3)]
        for wire in wires:
            wire.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
            gate.arrived()
        server.signal(signal.SIGTERM)
        poll(lambda: not server.accepts(), "the end of accepting")
        gate.release(3)
        for wire in wires:
            assert wire.read_answer().status == 200
        assert server.wait_for_exit() == 0
        server.assert_nothing_left()

    @pytest.mark.indrik_only
    def test_connections_in_the_accept_queue_are_served(self, start, connect):
        """They are accepted by the kernel already: to their clients the server has said yes."""
        server = start("wsgi_app:app")
        assert connect(server).get("/hello").text == "hello"
        server.signal(signal.SIGSTOP)
        wires = [connect(server) for _ in range(50)]
        for wire in wires:
            wire.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGCONT)
        assert [wire.read_answer().text for wire in wires] == ["hello"] * 50
        assert server.wait_for_exit() == 0

    @pytest.mark.indrik_only
    def test_queued_requests_are_served(self, start, connect, gate: Gate):
        server = start("wsgi_app:app", "--workers", "1")
        wires = [connect(server) for _ in range(10)]
        wires[0].send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
        gate.arrived()
        for wire in wires[1:]:
            wire.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
        server.signal(signal.SIGTERM)
        poll(lambda: not server.accepts(), "the end of accepting")
        gate.release()
        assert [wire.read_answer().status for wire in wires] == [200] * 10
        assert server.wait_for_exit() == 0

    @pytest.mark.indrik_only
    def test_workers_that_are_sent_it_as_well_finish_what_was_accepted_and_nobody_is_started(
        self, start, connect, gate: Gate
    ):
        """Heroku sends it to every process of a dyno, systemd by default to every one of a service."""
        server = start("wsgi_app:app", "--workers", "2")
        wires = [connect(server) for _ in range(2)]
        for wire in wires:
            wire.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
            gate.arrived()
        wires.append(connect(server))
        wires[-1].send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
        server.signal(signal.SIGTERM)
        poll(lambda: not server.accepts(), "the end of accepting")
        for pid in server.processes():
            if pid != server.process.pid:
                os.kill(pid, signal.SIGTERM)
        gate.release(2)
        assert [wire.read_answer().status for wire in wires] == [200] * 3
        assert server.wait_for_exit() == 0
        assert server.log().count("Booting worker") == 2

    @pytest.mark.indrik_only
    def test_the_last_answer_says_connection_close(self, start, connect, gate: Gate):
        server = start("wsgi_app:app", "--threads", "2")
        wire = connect(server)
        wire.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
        gate.arrived()
        server.signal(signal.SIGTERM)
        poll(lambda: not server.accepts(), "the end of accepting")
        gate.release()
        assert wire.read_answer().header("connection") == "close"
        wire.assert_closed()

    def test_idle_connections_do_not_hold_it_up(self, start, connect):
        server = start("wsgi_app:app", "--threads", "2", "--keep-alive", "60")
        wires = [connect(server) for _ in range(20)]
        for wire in wires:
            assert wire.get("/hello").status == 200
        assert server.stop() == 0
        for wire in wires:
            wire.assert_closed()

    def test_graceful_timeout_ends_a_request_that_never_ends(self, start, connect):
        server = start("wsgi_app:app", "--graceful-timeout", "1", "--timeout", "60")
        wire = connect(server)
        wire.send("GET /stuck HTTP/1.1\r\nHost: t\r\n\r\n")
        server.stop()
        server.assert_nothing_left()


@pytest.mark.indrik_only
@pytest.mark.parametrize("worker", [["--worker-class", "sync"], ["--threads", "4"]], ids=["sync", "gthread"])
def test_sys_exit_in_a_request_replaces_the_worker_and_loses_no_request(start, connect, worker):
    server = start("wsgi_app:app", "--workers", "1", *worker)
    assert connect(server).get("/hello").status == 200
    before = server.workers()
    others = [connect(server) for _ in range(20)]
    leaving = connect(server)
    leaving.send("GET /exit HTTP/1.1\r\nHost: t\r\n\r\n")
    for other in others:
        other.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
    assert leaving.read_answer().status == 500
    assert [other.read_answer().text for other in others] == ["hello"] * 20
    server.wait_for_new_workers(before)
    assert connect(server).get("/hello").text == "hello"


@pytest.mark.indrik_only
@pytest.mark.parametrize("what", ["exit", "interrupt"])
@pytest.mark.parametrize("where", ["first step", "later", "task", "callback"])
def test_an_exit_in_an_asgi_request_leaves_the_others_of_its_worker_alone(start, connect, gate: Gate, what, where):
    server = start("asgi_app:app", "--workers", "1", interface="asgi")
    assert connect(server).get("/hello").status == 200
    before = server.workers()
    others = [connect(server) for _ in range(5)]
    for other in others:
        other.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
    for _ in others:
        gate.arrived()
    in_request = where in ("first step", "later")
    answer = connect(server).get(f"/exit?what={what}&where={where.replace(' ', '-')}")
    assert answer.status == (500 if in_request else 200)
    # They stay in it until they are finished, also when others could be at a successor.
    server.wait_for_log("its application asked for its end")
    gate.release(len(others))
    assert {other.read_answer().text for other in others} == {str(before[0])}
    server.wait_for_new_workers(before)
    poll(lambda: before[0] not in server.workers(), "the end of the worker")
    assert connect(server).get("/hello").text == "hello"
    server.wait_for_log("ended: application")
    assert "crash" not in server.log()


@pytest.mark.indrik_only
@pytest.mark.parametrize("worker", [["--worker-class", "sync"], ["--threads", "4"]], ids=["sync", "gthread"])
def test_a_keyboard_interrupt_in_a_request_is_no_crash(start, connect, worker):
    server = start("wsgi_app:app", "--workers", "1", *worker)
    before = server.workers()
    assert connect(server).get("/interrupt").status == 500
    server.wait_for_new_workers(before)
    server.wait_for_log("ended: application")
    assert "crash" not in server.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_stop_at_once(start, connect, gate: Gate, number):
    server = start("wsgi_app:app", "--graceful-timeout", "60", "--timeout", "60")
    connect(server).send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
    gate.arrived()
    gate.close()
    assert server.stop(number) == 0
    server.assert_nothing_left()


def test_ttin_and_ttou_change_the_number_of_workers(start, connect):
    server = start("wsgi_app:app", "--workers", "2")
    poll(lambda: len(server.workers()) == 2, "two workers")
    server.signal(signal.SIGTTIN)
    poll(lambda: len(server.workers()) == 3, "three workers")
    server.signal(signal.SIGTTOU)
    poll(lambda: len(server.workers()) == 2, "two workers")
    server.signal(signal.SIGTTOU)
    poll(lambda: len(server.workers()) == 1, "one worker")
    assert connect(server).get("/hello").text == "hello"


class TestReload:
    @pytest.fixture(params=["import in workers", "preload"])
    def options(self, request) -> list[str]:
        return ["--preload"] if request.param == "preload" else []

    @pytest.mark.indrik_only
    def test_new_code_is_served_and_no_request_is_lost(self, start, connect, tmp_path, options):
        write_app(tmp_path, "b'old'")
        server = start("versioned:app", "--workers", "2", *options, chdir=tmp_path)
        assert connect(server).get("/").text == "old"
        with Load(server, connect, 4, "/") as load:
            load.goes_on(100)
            write_app(tmp_path, "b'renewed'")
            server.signal(signal.SIGHUP)
            poll(lambda: connect(server).get("/").text == "renewed", "the new code", 20)
            poll(lambda: not server.workers(generation=1), "the end of generation 1")
            load.goes_on(100)
        assert load.failures == []
        assert server.process.poll() is None
        assert connect(server).get("/").text == "renewed"

    @pytest.mark.indrik_only
    def test_broken_code_is_logged_and_the_old_code_goes_on(self, start, connect, tmp_path, options):
        write_app(tmp_path, "b'old'")
        server = start("versioned:app", "--workers", "2", *options, chdir=tmp_path)
        old = server.workers()
        write_app(tmp_path, "b'syntax error'(")
        server.signal(signal.SIGHUP)
        server.wait_for_log("SyntaxError")
        assert connect(server).get("/").text == "old"
        assert set(old) <= set(server.workers())
        write_app(tmp_path, "b'mended'")
        server.signal(signal.SIGHUP)
        poll(lambda: connect(server).get("/").text == "mended", "the mended code", 20)


@pytest.mark.indrik_only
class TestTimeout:
    def test_a_stuck_request_is_a_504_with_its_stack_in_the_log(self, start, connect):
        server = start("wsgi_app:app", "--workers", "1", "--timeout", "1")
        wire = connect(server, 30)
        assert wire.get("/stuck").status == 504
        server.wait_for_log("stuck_in_a_named_function")
        server.wait_for_log("/stuck")
        assert connect(server, 30).get("/hello").text == "hello"

    def test_a_stuck_thread_does_not_cost_the_others_their_answers(self, start, connect, gate):
        """As in Gunicorn, the time limit of a worker with threads is for the worker, not the request."""
        server = start(
            *("wsgi_app:app", "--workers", "1", "--threads", "4"),
            *("--timeout", "1", "--graceful-timeout", "1"),
        )
        worker = server.workers()
        stuck = connect(server, 30)
        stuck.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
        gate.arrived()
        for _ in range(50):
            assert connect(server).get("/hello").text == "hello"
        assert server.workers() == worker
        gate.release()
        assert stuck.read_answer().status == 200

    def test_timeout_0_means_no_limit(self, start, connect, gate: Gate):
        server = start("wsgi_app:app", "--workers", "1", "--timeout", "0")
        wire = connect(server)
        wire.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
        gate.arrived()
        gate.release()
        assert wire.read_answer().status == 200


@pytest.mark.indrik_only
class TestKilledWorkers:
    def test_all_workers_at_once_lose_no_get(self, start, connect):
        server = start("wsgi_app:app", "--workers", "3")
        with Load(server, connect) as load:
            load.goes_on(200)
            victims = server.workers()
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            poll(lambda: alive_others(server, victims) == 3, "three new workers", 20)
            load.goes_on(200)
        assert load.failures == []
        assert server.process.poll() is None
        assert zombies(server) == []

    def test_random_workers_again_and_again_lose_no_get(self, start, connect):
        """The full figure of the requirements: INDRIK_TEST_KILLS=1000."""
        kills = int(os.environ.get("INDRIK_TEST_KILLS", "40"))
        server = start("wsgi_app:app", "--workers", "4")
        chance = random.Random(20)
        with Load(server, connect) as load:
            for _ in range(kills):
                load.goes_on(20)
                if workers := server.workers():
                    os.kill(chance.choice(workers), signal.SIGKILL)
                if load.failures:
                    break
            load.goes_on(100)
        assert load.failures == []
        poll(lambda: len(server.workers()) == 4, "four workers", 60)
        assert zombies(server) == []

    def test_max_requests_replaces_workers_without_loss(self, start, connect):
        server = start("wsgi_app:app", "--workers", "2", "--max-requests", "50")
        seen = set()
        wire = connect(server, 30)

        def three_successors_have_answered() -> bool:
            seen.add(wire.get("/pid").text)
            return len(seen) >= 5

        with Load(server, connect, 4) as load:
            poll(three_successors_have_answered, "answers of three successors", 60)
        assert load.failures == []
        assert zombies(server) == []


@pytest.mark.indrik_only
def test_the_number_of_a_worker_is_its_own_until_its_zygote_has_spoken_of_it(start, tmp_path: Path):
    """One that ends before is not reaped: another process could get its number, and be taken for it."""
    project = Project(tmp_path, start)
    project.config(
        """
        import os, signal

        def in_child():
            if os.path.exists("go"):
                with open("pid", "w") as file:
                    file.write(f"{os.getpid()}.")
                os.kill(os.getpid(), signal.SIGKILL)

        def in_parent():
            if os.path.exists("go"):
                with open("go"):
                    os.unlink("go")

        os.register_at_fork(after_in_child=in_child, after_in_parent=in_parent)
        """
    )
    server = project.start("--workers", "1")
    os.mkfifo(tmp_path / "go")
    server.signal(signal.SIGTTIN)
    pid = tmp_path / "pid"
    poll(lambda: pid.exists() and pid.read_text().endswith("."), "the worker that dies")
    dead = int(pid.read_text().strip("."))
    poll(lambda: state_of(dead) == "Z", "its end")
    for _ in range(3):
        assert ctl(server, "health")["ready"]
    assert state_of(dead) == "Z"
    (tmp_path / "go").open("w").close()
    server.wait_for_log(rf"Worker 2 \(pid:{dead}\) of generation 1 ended: crash:SIGKILL")
    poll(lambda: len(server.workers()) == 2, "two workers", 20)
    assert zombies(server) == []


@pytest.mark.indrik_only
def test_no_process_is_left_when_the_supervisor_is_killed(start, connect, gate: Gate):
    server = start("wsgi_app:app", "--workers", "3")
    connect(server).send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
    gate.arrived()
    server.signal(signal.SIGKILL)
    server.process.wait()
    server.assert_nothing_left()


@pytest.mark.indrik_only
def test_titles_say_who_is_who(start):
    server = start("wsgi_app:app", "--workers", "2")
    poll(lambda: len(server.workers()) == 2, "two workers")
    titles = sorted(server.titles())
    assert titles == [
        "indrik: master [wsgi_app:app]",
        "indrik: worker 1 gen 1 [wsgi_app:app]",
        "indrik: worker 2 gen 1 [wsgi_app:app]",
        "indrik: zygote gen 1 [wsgi_app:app]",
    ]


@pytest.mark.indrik_only
def test_the_title_shows_the_generation_after_a_reload(start):
    server = start("wsgi_app:app", "--workers", "1")
    server.signal(signal.SIGHUP)
    poll(lambda: server.workers(generation=2), "a worker of generation 2", 20)
    poll(lambda: not server.workers(generation=1), "the end of generation 1", 20)
    assert "indrik: zygote gen 2 [wsgi_app:app]" in server.titles()
    poll(lambda: "indrik: zygote gen 1 [wsgi_app:app]" not in server.titles(), "the old zygote")


def alive_others(server: Server, victims: list[int]) -> int:
    return len([pid for pid in server.workers() if pid not in victims])


def zombies(server: Server) -> list[str]:
    """Processes of this server that ended and were not reaped, apart from ones ending just now."""

    def found() -> list[str]:
        return [
            title_of(pid) or str(pid)
            for pid in server.processes()
            if session_of(pid) is not None and state_of(pid) == "Z"
        ]

    try:
        poll(lambda: not found(), "the reaping of zombies", 5)
    except AssertionError:
        pass
    return found()


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
