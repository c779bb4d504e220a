"""The control socket: Gunicorn's protocol and client, and `indrik ctl`."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.family import Family
from support.server import APPS, COMMAND, IS_ORACLE, Server, poll
from support.wire import Wire

pytest.importorskip("gunicorn", reason="its client, gunicornc, is needed")

Start = Callable[..., Server]


@pytest.fixture
def path() -> Iterator[Path]:
    """Where the control socket goes: a path short enough for a socket's address."""
    with tempfile.TemporaryDirectory(prefix="ctl-") as directory:
        yield Path(directory) / "server.ctl"


@pytest.fixture
def server(start: Start, path: Path) -> Server:
    server = start("wsgi_app:app", "--workers", "2", "--control-socket", str(path))
    poll(path.exists, "the control socket")
    return server


def gunicornc(path: Path, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run Gunicorn's own client."""
    line = [sys.executable, "-m", "gunicorn.ctl.cli", "-s", str(path), "-c", command, *options]
    return subprocess.run(line, capture_output=True, text=True, timeout=30)


def ask(path: Path, command: str) -> Any:
    """What the real client gets for a command, as data."""
    done = gunicornc(path, command, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Raw:
    """A connection on which anything can be sent."""

    def __init__(self, path: Path | str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, message: object) -> None:
        self.socket.sendall(frame(json.dumps(message).encode()))

    def read(self) -> Any:
        (length,) = struct.unpack(">I", self.exactly(4))
        return json.loads(self.exactly(length))

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def call(self, command: str, *arguments: object) -> Any:
        self.send({"id": 1, "command": command, "args": list(arguments)})
        return self.read()


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def pids(path: Path) -> set[int]:
    return {worker["pid"] for worker in ask(path, "show workers")["workers"]}


class TestShow:
    def test_workers_are_listed_oldest_first(self, server, path):
        answer = ask(path, "show workers")
        assert answer["count"] == len(answer["workers"]) == 2
        assert {worker["pid"] for worker in answer["workers"]} == set(server.workers())
        ages = [worker["age"] for worker in answer["workers"]]
        assert ages == sorted(ages) and ages[0] >= 1
        for worker in answer["workers"]:
            assert {"pid", "age", "booted", "aborted", "last_heartbeat"} <= worker.keys()
            assert worker["aborted"] is False
            # Gunicorn's master never learns that a worker has booted.
            assert worker["booted"] is (not IS_ORACLE)

    def test_all_processes_are_shown(self, server, path):
        answer = ask(path, "show all")
        assert answer["arbiter"] == {"pid": server.process.pid, "type": "arbiter", "role": "master"}
        assert answer["web_worker_count"] == 2
        assert {worker["type"] for worker in answer["web_workers"]} == {"web"}
        assert (answer["dirty_arbiter"], answer["dirty_workers"], answer["dirty_worker_count"]) == (None, [], 0)

    def test_the_settings_in_effect_are_shown(self, server, path):
        answer = ask(path, "show config")
        wanted = {
            "bind": [f"127.0.0.1:{server.port}"],
            "workers": 2,
            "threads": 1,
            "timeout": 30,
            "graceful_timeout": 30,
            "max_requests": 0,
            "preload_app": False,
            "daemon": False,
            "pidfile": None,
            "reload": False,
            "dirty_workers": 0,
            "dirty_apps": [],
            "control_socket": str(path),
            "control_socket_disable": False,
        }
        assert {name: answer.get(name) for name in wanted} == wanted
        assert {"worker_class", "keepalive", "worker_connections", "proc_name"} <= answer.keys()

    def test_counts_are_shown(self, server, path):
        answer = ask(path, "show stats")
        wanted = {"pid": server.process.pid, "workers_current": 2, "workers_target": 2, "reloads": 0}
        assert {name: answer[name] for name in wanted} == wanted
        assert answer["uptime"] > 0 and answer["workers_spawned"] == 2
        assert answer["dirty_arbiter_pid"] is None

    def test_listening_sockets_are_shown(self, server, path):
        answer = ask(path, "show listeners")
        assert answer["count"] == 1
        (listener,) = answer["listeners"]
        assert listener["address"] == f"http://127.0.0.1:{server.port}"
        assert listener["type"] == "tcp"
        target = os.readlink(f"/proc/{server.process.pid}/fd/{listener['fd']}")
        assert target.startswith("socket:")

    def test_dirty_workers_do_not_run(self, server, path):
        assert ask(path, "show dirty") == {"enabled": False, "pid": None, "workers": [], "apps": []}
        for command in ("dirty add", "dirty remove 2"):
            answer = ask(path, command)
            assert answer["success"] is False and "not running" in answer["error"]

    def test_help_lists_the_commands(self, server, path):
        commands = ask(path, "help")["commands"]
        assert {"show workers", "worker add [N]", "worker kill <PID>", "reload", "reopen", "help"} <= commands.keys()

    @pytest.mark.parametrize("what", ["all", "workers", "dirty", "config", "stats", "listeners"])
    def test_gunicorns_client_can_print_every_answer(self, server, path, what):
        done = gunicornc(path, f"show {what}")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.strip()


class TestWorkers:
    def test_workers_are_added_and_removed(self, server, path):
        assert ask(path, "worker add 2") == {"added": 2, "previous": 2, "total": 4}
        poll(lambda: len(server.workers()) == 4, "4 workers")
        assert ask(path, "worker remove") == {"removed": 1, "previous": 4, "total": 3}
        poll(lambda: len(server.workers()) == 3, "3 workers")
        assert ask(path, "worker remove 9") == {"removed": 2, "previous": 3, "total": 1}
        poll(lambda: len(server.workers()) == 1, "1 worker")

    def test_a_killed_worker_is_replaced(self, server, path):
        before = pids(path)
        victim = min(before)
        assert ask(path, f"worker kill {victim}") == {"success": True, "killed": victim}
        poll(lambda: victim not in pids(path) and len(pids(path)) == 2, "another worker in its place")
        assert len(pids(path) - before) == 1

    def test_an_unknown_worker_is_not_killed(self, server, path):
        answer = ask(path, f"worker kill {server.process.pid}")
        assert answer["success"] is False and "not found" in answer["error"]


class TestServer:
    def test_reload_replaces_the_workers_and_keeps_the_socket(self, server, path, connect):
        before = pids(path)
        assert ask(path, "reload") == {"status": "reloading"}
        server.wait_for_log("Handling signal: hup")
        poll(lambda: not before & pids(path) and len(pids(path)) == 2, "other workers")
        assert ask(path, "show stats")["reloads"] == 1
        assert connect(server).get("/hello").status == 200

    def test_reopen_opens_the_log_files_again(self, start, path, tmp_path, connect):
        log = tmp_path / "access.log"
        server = start("wsgi_app:app", "--access-logfile", str(log), "--control-socket", str(path))
        poll(path.exists, "the control socket")
        log.rename(tmp_path / "old.log")
        assert ask(path, "reopen") == {"status": "reopening"}
        poll(log.exists, "the new log file")
        connect(server).get("/hello?after=reopen")
        poll(lambda: "after=reopen" in log.read_text(), "the request in the new log file")

    @pytest.mark.parametrize(
        ("command", "mode"), [("shutdown", "graceful"), ("shutdown graceful", "graceful"), ("shutdown quick", "quick")]
    )
    def test_shutdown_ends_the_server_with_code_0(self, server, path, command, mode):
        assert ask(path, command) == {"status": "shutting_down", "mode": mode}
        assert server.wait_for_exit() == 0
        assert not path.exists()

    def test_a_wrong_command_is_an_error(self, server, path):
        for command in ("frobnicate", "show", "show nothing", "worker", "worker fly", "worker kill", "worker add x"):
            done = gunicornc(path, command)
            assert done.returncode == 1 and done.stderr.startswith("Error: "), command

    @pytest.mark.indrik_only  # Gunicorn takes any word for graceful, and any number for at least 1.
    def test_a_word_that_means_nothing_is_refused(self, server, path):
        for command in ("shutdown later", "worker add 0", "worker add 5000", "worker add 1023", "reload now"):
            assert gunicornc(path, command).returncode == 1, command
        assert ask(path, "show stats")["workers_target"] == 2
        assert server.process.poll() is None


class TestProtocol:
    def test_many_requests_go_over_one_connection_in_any_pieces(self, server, path):
        with Raw(path) as raw:
            for number in (1, 2):
                for byte in frame(json.dumps({"id": number, "command": "show stats"}).encode()):
                    raw.socket.sendall(bytes([byte]))
                answer = raw.read()
                assert (answer["id"], answer["status"]) == (number, "ok")
            both = [frame(json.dumps({"id": number, "command": "help"}).encode()) for number in (3, 4)]
            raw.socket.sendall(b"".join(both))
            assert [raw.read()["id"], raw.read()["id"]] == [3, 4]

    def test_arguments_may_come_as_a_list(self, server, path):
        answers: dict[str, Any] = {}

        def try_once(command: str, *arguments: object) -> bool:
            # Gunicorn closes every connection when it forks.
            try:
                with Raw(path) as raw:
                    answers[command] = raw.call(command, *arguments)
            except (OSError, EOFError):
                return False
            return True

        poll(lambda: try_once("worker add", 1), "an answer")
        assert answers["worker add"]["data"]["added"] == 1
        poll(lambda: try_once("worker remove", "1"), "an answer")
        assert answers["worker remove"]["data"]["removed"] == 1
        poll(lambda: try_once("SHOW Workers"), "an answer")
        assert answers["SHOW Workers"]["status"] == "ok"

    def test_an_error_keeps_the_connection(self, server, path):
        with Raw(path) as raw:
            answer = raw.call("frobnicate")
            assert (answer["id"], answer["status"]) == (1, "error")
            assert "frobnicate" in answer["error"]
            assert raw.call("")["status"] == "error"
            assert raw.call("help")["status"] == "ok"

    @pytest.mark.parametrize(
        "payload",
        [
            frame(b"nonsense"),
            frame(b"\xff\xfe\x00"),
            frame(b""),
            frame(b"[" * 10_000),
            struct.pack(">I", 0xFFFFFFFF),
            struct.pack(">I", 17 * 1024 * 1024) + b"x" * 100,
        ],
        ids=["no JSON", "no text", "empty", "nested", "4 GiB", "17 MiB"],
    )
    def test_nonsense_closes_the_connection_and_harms_nobody(self, server, path, payload):
        with Raw(path) as raw:
            raw.socket.sendall(payload)
            if not IS_ORACLE:  # Gunicorn says nothing.
                assert raw.read()["status"] == "error"
            with pytest.raises((EOFError, ConnectionResetError)):
                raw.exactly(1)
        assert ask(path, "show stats")["workers_current"] == 2

    def test_clients_that_hang_up_midway_harm_nobody(self, server, path, connect):
        whole = frame(json.dumps({"id": 1, "command": "show all"}).encode())
        for cut in range(0, len(whole), 7):
            with Raw(path) as raw:
                raw.socket.sendall(whole[:cut])
        with Raw(path) as raw:
            raw.socket.sendall(whole * 20)
        assert ask(path, "show stats")["workers_current"] == 2
        assert connect(server).get("/hello").status == 200

    @pytest.mark.indrik_only
    def test_a_client_too_many_is_told_so_and_the_others_go_on(self, server, path):
        clients = [Raw(path) for _ in range(16)]
        assert all(client.call("help")["status"] == "ok" for client in clients)
        with Raw(path) as late:
            assert "16 clients" in late.read()["error"]
        assert clients[0].call("help")["status"] == "ok"
        for client in clients:
            client.socket.close()
        poll(lambda: gunicornc(path, "help").returncode == 0, "a free place")

    @pytest.mark.indrik_only
    def test_a_client_that_reads_nothing_does_not_hold_the_server(self, server, path, connect):
        message = frame(json.dumps({"id": 1, "command": "show config"}).encode())
        with Raw(path) as raw:
            raw.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    raw.socket.send(message * 100)
            assert connect(server).get("/hello").status == 200
            assert ask(path, "show stats")["workers_current"] == 2


class TestSocket:
    def test_the_file_has_the_mode_asked_for_and_goes_at_the_end(self, start, path):
        server = start("wsgi_app:app", "--control-socket", str(path), "--control-socket-mode", "0o640")
        poll(lambda: path.exists() and stat.S_IMODE(path.stat().st_mode) == 0o640, "its mode")
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert server.stop() == 0
        assert not path.exists()

    def test_the_default_mode_is_for_the_owner_alone(self, server, path):
        poll(lambda: stat.S_IMODE(path.stat().st_mode) == 0o600, "its mode")

    def test_a_socket_left_by_a_killed_server_is_replaced(self, start, path):
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(path))
        stale.close()
        server = start("wsgi_app:app", "--control-socket", str(path))
        poll(lambda: gunicornc(path, "help").returncode == 0, "its control socket")
        assert server.process.poll() is None

    def test_it_can_be_switched_off(self, start, path, connect):
        server = start("wsgi_app:app", "--control-socket", str(path), "--no-control-socket")
        assert connect(server).get("/hello").status == 200
        assert not path.exists()

    def test_a_path_that_cannot_be_bound_is_no_reason_to_stop(self, start, connect, tmp_path):
        (tmp_path / "file").write_text("")
        server = start("wsgi_app:app", "--control-socket", str(tmp_path / "file" / "x.ctl"))
        server.wait_for_log(r"Control server error" if IS_ORACLE else r"\[WARNING\] Cannot open the control socket")
        assert connect(server).get("/hello").status == 200
        server.signal(signal.SIGHUP)
        server.wait_for_log("Handling signal: hup")
        poll(lambda: connect(server).get("/hello").status == 200, "an answer after the reload")

    @pytest.mark.indrik_only  # Gunicorn deletes the other server's socket.
    def test_a_living_servers_socket_is_left_alone(self, server, start, path, connect):
        second = start("wsgi_app:app", "--control-socket", str(path))
        second.wait_for_log(f"process {server.process.pid} listens there")
        assert connect(second).get("/hello").status == 200
        assert ask(path, "show stats")["pid"] == server.process.pid

    @pytest.mark.indrik_only  # Gunicorn keeps the path it started with.
    def test_a_reload_takes_another_path(self, start, path, tmp_path):
        other = path.with_name("other.ctl")
        config = tmp_path / "gunicorn.conf.py"
        config.write_text(f"control_socket = {str(path)!r}\n")
        server = start("wsgi_app:app", "--config", str(config))
        assert ask(path, "show stats")["pid"] == server.process.pid
        config.write_text(f"control_socket = {str(other)!r}\n")
        server.signal(signal.SIGHUP)
        poll(other.exists, "the other control socket")
        poll(lambda: not path.exists(), "the end of the first one")
        assert ask(other, "show stats")["pid"] == server.process.pid

    @pytest.mark.indrik_only  # Gunicorn crashes.
    def test_none_in_the_configuration_switches_it_off(self, start, tmp_path, connect):
        config = tmp_path / "gunicorn.conf.py"
        config.write_text("control_socket = None\n")
        server = start("wsgi_app:app", "--config", str(config))
        assert connect(server).get("/hello").status == 200
        assert ctl("--pid", str(server.process.pid)).returncode == 1


class TestUpgrade:
    """USR2: two servers with the same settings, so with the same path."""

    @pytest.fixture
    def family(self, project) -> Iterator[Family]:
        family = Family(project)
        yield family
        family.kill()

    def begin(self, project, family: Family, path: Path) -> tuple[Server, int]:
        project.config("workers = 1\npidfile = 'pid'\n")
        project.write("app.py", "def app(environ, start_response):\n    start_response('200 OK', [])\n    return []\n")
        server: Server = project.start("--control-socket", str(path))
        server.clean_stop = False
        poll(path.exists, "the control socket")
        # A server that still starts is not replaced.
        with Wire(server.connect()) as wire:
            assert wire.get("/").status == 200
        server.signal(signal.SIGUSR2)
        new = family.pid_in("pid.2")
        poll(lambda: answering(path) == new, "the new server at the control socket", 20)
        return server, new

    def test_the_new_server_takes_the_path_and_keeps_it(self, project, family, path):
        server, new = self.begin(project, family, path)
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit() == 0
        server.wait_for_log("Master has been promoted.")
        if not IS_ORACLE:  # Gunicorn's old server removes it.
            assert answering(path) == new
        os.kill(new, signal.SIGTERM)
        family.all_gone()
        poll(lambda: not path.exists(), "the end of the socket")

    @pytest.mark.indrik_only  # Gunicorn's old server cannot be controlled any more.
    def test_the_old_server_has_it_again_when_the_new_one_leaves(self, project, family, path):
        server, new = self.begin(project, family, path)
        os.kill(new, signal.SIGTERM)
        family.gone(new)
        poll(lambda: answering(path) == server.process.pid, "the old server at the control socket")


def answering(path: Path) -> int | None:
    """Which server is at the control socket."""
    done = gunicornc(path, "show stats", "--json")
    return int(json.loads(done.stdout)["pid"]) if done.returncode == 0 else None


def ctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `indrik ctl`."""
    return subprocess.run([*COMMAND, "ctl", *arguments], capture_output=True, text=True, timeout=30, cwd=APPS)


@pytest.mark.indrik_only
class TestWithoutSettings:
    def test_two_servers_never_collide_and_nothing_is_written(self, start, tmp_path):
        home = tmp_path / "home"
        home.mkdir()
        places = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
        servers = [start("wsgi_app:app", environment=places) for _ in range(2)]
        for server in servers:
            done = ctl("--pid", str(server.process.pid), "-j", "show", "stats")
            assert json.loads(done.stdout)["pid"] == server.process.pid, done.stderr
        assert list(home.iterdir()) == []

    def test_a_server_is_found_by_its_pid_file(self, start, tmp_path):
        file = tmp_path / "server.pid"
        server = start("wsgi_app:app", "--pid", str(file))
        done = ctl("-p", str(file), "status")
        assert done.returncode == 0, done.stderr
        assert str(server.process.pid) in done.stdout and "ready" in done.stdout
        assert f"http://127.0.0.1:{server.port}" in done.stdout

    def test_several_servers_are_listed_when_none_is_named(self, start):
        numbers = {str(start("wsgi_app:app").process.pid) for _ in range(2)}
        done = ctl("status")
        assert done.returncode == 1 and "several servers are running" in done.stderr
        assert all(number in done.stderr for number in numbers)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    def test_somebody_elses_commands_are_not_heard(self, start):
        server = start("wsgi_app:app", "--workers", "1")
        user, namespace = os.geteuid(), os.stat("/proc/self/ns/pid").st_ino
        name = f"\0indrik/{user}/{namespace}/{server.process.pid}"
        with Raw(name) as raw:
            assert raw.call("show stats")["status"] == "ok"
        child = os.fork()
        if child == 0:
            answered = 1
            try:
                os.setuid(65534)
                with Raw(name) as raw:
                    raw.call("shutdown quick")
            except (EOFError, OSError):
                answered = 0
            finally:
                os._exit(answered)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert server.process.poll() is None

    def test_a_process_that_is_no_server_is_named(self):
        done = ctl("--pid", str(os.getpid()), "reload")
        assert done.returncode == 1
        assert f"process {os.getpid()} is no Indrik server" in done.stderr

    def test_commands_have_their_effect_and_failures_their_exit_code(self, start):
        server = start("wsgi_app:app", "--workers", "1")
        name = ("--pid", str(server.process.pid))
        assert ctl(*name, "worker", "add").returncode == 0
        poll(lambda: len(server.workers()) == 2, "2 workers")
        assert ctl(*name, "worker", "kill", "1").returncode == 1
        assert ctl(*name, "frobnicate").returncode == 1
        assert ctl("--nope").returncode == 2
        assert ctl(*name, "stop").returncode == 0
        assert server.wait_for_exit() == 0

    def test_a_reload_and_a_stop_can_be_waited_for(self, start, tmp_path):
        config = tmp_path / "gunicorn.conf.py"
        config.write_text("")
        server = start("wsgi_app:app", "--config", str(config))
        name = ("--pid", str(server.process.pid), "--wait")
        before = server.workers()
        assert ctl(*name, "reload").returncode == 0
        server.wait_for_log("Generation 2 serves")
        config.write_text("workers = \n")
        done = ctl(*name, "reload")
        assert done.returncode == 1 and "the old one serves on" in done.stderr
        assert not set(before) & set(server.workers(generation=2))
        assert ctl(*name, "stop").returncode == 0
        assert server.process.wait(5) == 0

    def test_requests_and_workers_are_counted(self, start, connect):
        server = start("wsgi_app:app", "--workers", "1")
        for _ in range(3):
            assert connect(server).get("/hello").status == 200
        name = ("--pid", str(server.process.pid), "--json")

        def served() -> int:
            (worker,) = json.loads(ctl(*name, "workers").stdout)["workers"]
            assert (worker["state"], worker["generation"]) == ("ready", 1)
            return int(worker["requests"])

        poll(lambda: served() == 3, "three requests in the count")

    def test_the_help_lists_the_commands(self):
        done = ctl("--help")
        assert done.returncode == 0
        assert "worker kill <PID>" in done.stdout and "--socket" in done.stdout
