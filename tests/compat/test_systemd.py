"""Under systemd: sockets that are passed, and what the service manager is told."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.family import Family
from support.project import DEFAULT_APP, HELPERS, Project
from support.server import IS_ORACLE, Server, free_port, poll
from support.wire import Wire


class Manager:
    """The service manager's end: the socket that messages arrive at."""

    def __init__(self, address: str) -> None:
        self.variable = address.replace("\0", "@")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)

    def next(self, seconds: float = 20.0) -> dict[str, str]:
        """The next message that is no sign of life."""
        deadline = time.monotonic() + seconds
        while True:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.01))
            message = self.socket.recv(4096).decode()
            found = dict(line.split("=", 1) for line in message.strip().split("\n"))
            if "WATCHDOG" not in found:
                return found

    def sign_of_life(self, seconds: float = 20.0) -> None:
        self.socket.settimeout(seconds)
        while self.socket.recv(4096).strip() != b"WATCHDOG=1":
            pass

    def has_message(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path) -> Iterator[Manager]:
    name = str(tmp_path / "notify") if request.param == "path" else f"\0indrik-test-{os.getpid()}-{free_port()}"
    manager = Manager(name)
    yield manager
    manager.socket.close()


@pytest.fixture
def path_manager(tmp_path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


@pytest.fixture
def family(project) -> Iterator[Family]:
    family = Family(project)
    yield family
    family.kill()


Service = Callable[..., Server]


@pytest.fixture
def service(project: Project, tmp_path: Path) -> Iterator[Service]:
    """Start the server as systemd would, with these sockets and variables."""
    started: list[Server] = []

    def service(*arguments: str, sockets: dict[str, socket.socket] | None = None, **variables: str) -> Server:
        fds = [inherited.fileno() for inherited in (sockets or {}).values()]
        port = free_port()
        server = Server(
            *("app:app", *arguments),
            log_directory=tmp_path / f"logs-{len(started)}",
            cwd=project.directory,
            environment=project.environment | variables,
            pass_fds=tuple(fds),
            port=port,
        )
        names = ":".join(sockets or {})
        server.command = [
            *(sys.executable, str(HELPERS / "as_service.py"), names),
            *(",".join(map(str, fds)), *server.command),
        ]
        server.start()
        started.append(server)
        return server

    yield service
    for server in started:
        server.kill()


def get(address: tuple[str, int] | str) -> str:
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
    else:
        connection = socket.create_connection(address, timeout=10)
    with Wire(connection) as wire:
        return wire.get("/", "Connection: close").text


class TestSockets:
    def test_the_sockets_that_are_passed_are_served_instead_of_bind(self, service, tmp_path):
        path = str(tmp_path / "socket")
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
            unix.bind(path)
            unix.listen()
            server = service("--workers", "1", sockets={"web": tcp, "local": unix})
            port = tcp.getsockname()[1]
            server.wait_for_log(f"Listening at: http://127.0.0.1:{port},unix:{path}")
            if not IS_ORACLE:
                server.wait_for_log(r"those of the service manager \(web, local\); bind has no effect")
            assert get(("127.0.0.1", port)) and get(path)
            with pytest.raises(OSError):
                server.connect()
            assert server.stop() == 0
        # It is systemd's file.
        assert Path(path).exists()

    @pytest.mark.indrik_only
    def test_what_waits_in_the_socket_is_served_after_a_restart(self, service):
        with socket.create_server(("127.0.0.1", 0)) as tcp:
            address = tcp.getsockname()
            # It waits before the first start already: that is what activation is for.
            first = socket.create_connection(address)
            first.sendall(b"GET /first HTTP/1.1\r\nHost: t\r\n\r\n")
            server = service("--workers", "1", sockets={"web": tcp})
            assert Wire(first).read_answer().text.endswith("/first")
            assert server.stop() == 0
            with Wire(socket.create_connection(address)) as second:
                second.send("GET /second HTTP/1.1\r\nHost: t\r\n\r\n")
                service("--workers", "1", sockets={"web": tcp})
                assert second.read_answer().text.endswith("/second")

    @pytest.mark.indrik_only
    def test_what_waits_in_the_socket_is_served_after_a_start_that_failed(self, project, service):
        project.write("app.py", "raise SystemExit('no')\n")
        with socket.create_server(("127.0.0.1", 0)) as tcp, Wire(socket.create_connection(tcp.getsockname())) as first:
            first.send("GET /first HTTP/1.1\r\nHost: t\r\n\r\n")
            failed = service("--workers", "1", sockets={"web": tcp})
            assert failed.wait_for_exit() > 0
            project.write("app.py", DEFAULT_APP)
            service("--workers", "1", sockets={"web": tcp})
            assert first.read_answer().text.endswith("/first")

    def test_sockets_for_another_process_are_not_taken(self, project):
        server = project.start(environment={"LISTEN_PID": "1", "LISTEN_FDS": "1"})
        server.wait_for_log(f"Listening at: http://127.0.0.1:{server.port}")

    @pytest.mark.indrik_only
    def test_workers_do_not_take_them_for_theirs(self, project, service):
        project.write(
            "app.py",
            """
            import os
            def app(environ, start_response):
                start_response("200 OK", [])
                return [" ".join(name for name in os.environ if name.startswith("LISTEN_")).encode()]
            """,
        )
        with socket.create_server(("127.0.0.1", 0)) as tcp:
            service(sockets={"web": tcp})
            assert get(tcp.getsockname()) == ""

    @pytest.mark.indrik_only
    def test_a_reload_and_an_upgrade_keep_them(self, project, service, family):
        project.config("pidfile = 'pid'\nworkers = 1\n")
        with socket.create_server(("127.0.0.1", 0)) as tcp:
            server = service(sockets={"web": tcp})
            assert get(tcp.getsockname())
            server.signal(signal.SIGHUP)
            server.wait_for_log("Generation 2 serves")
            assert get(tcp.getsockname())
            server.signal(signal.SIGUSR2)
            new = family.pid_in("pid.2")
            poll(lambda: family.workers(new), "a worker of the new master", 20)
            server.signal(signal.SIGTERM)
            assert server.wait_for_exit() == 0
            server.wait_for_log("Master has been promoted.")
            assert get(tcp.getsockname())


class TestNotification:
    def test_ready_is_said(self, service, manager):
        service(NOTIFY_SOCKET=manager.variable)
        message = manager.next()
        assert message["READY"] == "1"
        assert message["STATUS"]

    @pytest.mark.indrik_only
    def test_ready_is_said_when_all_workers_are(self, project, service, manager):
        """Each import waits for the test."""
        os.mkfifo(project.directory / "gate")
        project.write("app.py", "open('gate').read()\ndef app(environ, start_response): ...\n")
        server = service("--workers", "2", NOTIFY_SOCKET=manager.variable)
        poll(lambda: len(server.workers()) == 2, "two workers", 20)
        assert not manager.has_message()
        with (project.directory / "gate").open("w"):
            pass
        poll(lambda: let_through(project.directory / "gate"), "the second worker", 20)
        message = manager.next()
        assert message["READY"] == "1"
        assert message["STATUS"].endswith("2 workers ready")
        assert int(message["MAINPID"]) == server.process.pid

    @pytest.mark.indrik_only
    def test_a_server_that_cannot_start_never_says_so(self, project, service, path_manager):
        project.write("app.py", "raise KeyError('a secret')\n")
        assert service(NOTIFY_SOCKET=path_manager.variable).wait_for_exit() == 3
        assert not path_manager.has_message()

    @pytest.mark.indrik_only
    def test_a_reload_is_announced_and_its_end_too(self, project, service, path_manager):
        server = service("--workers", "1", NOTIFY_SOCKET=path_manager.variable)
        assert path_manager.next()["READY"] == "1"
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        server.signal(signal.SIGHUP)
        message = path_manager.next()
        assert message["RELOADING"] == "1"
        assert before <= int(message["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert path_manager.next()["READY"] == "1"
        # One that fails leaves a server that serves.
        project.write("app.py", "raise KeyError('a secret')\n")
        server.signal(signal.SIGHUP)
        assert path_manager.next()["RELOADING"] == "1"
        assert path_manager.next()["READY"] == "1"

    @pytest.mark.indrik_only
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
    def test_the_end_is_announced(self, service, path_manager, number):
        server = service("--workers", "1", NOTIFY_SOCKET=path_manager.variable)
        assert path_manager.next()["READY"] == "1"
        assert server.stop(number) == 0
        assert path_manager.next()["STOPPING"] == "1"

    @pytest.mark.indrik_only
    def test_time_is_asked_for_while_the_server_leaves(self, project, service, path_manager):
        project.config("workers = 1\ndrain_delay_s = 600\n")
        server = service(NOTIFY_SOCKET=path_manager.variable)
        assert path_manager.next()["READY"] == "1"
        server.signal(signal.SIGTERM)
        assert path_manager.next()["STOPPING"] == "1"
        message = path_manager.next()
        assert message == {
            "EXTEND_TIMEOUT_USEC": "30000000",
            "STATUS": "Leaving, serving 0 connections for a while",
        }
        # And again, before that is over.
        assert path_manager.next()["EXTEND_TIMEOUT_USEC"] == "30000000"
        assert server.stop() == 0
        assert "workers left" in path_manager.next()["STATUS"]

    @pytest.mark.indrik_only
    def test_signs_of_life_come_from_the_supervision_loop(self, service, path_manager):
        server = service("--workers", "1", NOTIFY_SOCKET=path_manager.variable, WATCHDOG_USEC="200000")
        for _ in range(3):
            path_manager.sign_of_life()
        server.signal(signal.SIGSTOP)
        # What was sent before it stood still may yet be read.
        drain(path_manager)
        with pytest.raises(TimeoutError):
            path_manager.sign_of_life(0.5)
        server.signal(signal.SIGCONT)
        path_manager.sign_of_life()

    @pytest.mark.indrik_only
    def test_an_upgrade_hands_the_service_over(self, project, service, path_manager, family):
        project.config("pidfile = 'pid'\nworkers = 1\n")
        server = service(NOTIFY_SOCKET=path_manager.variable, WATCHDOG_USEC="200000")
        assert int(path_manager.next()["MAINPID"]) == server.process.pid
        server.signal(signal.SIGUSR2)
        new = family.pid_in("pid.2")
        poll(lambda: family.workers(new), "a worker of the new master", 20)
        server.signal(signal.SIGTERM)
        message = path_manager.next()
        assert int(message["MAINPID"]) == new
        assert "STOPPING" not in message
        message = path_manager.next()
        assert (message["READY"], int(message["MAINPID"])) == ("1", new)
        assert server.wait_for_exit() == 0
        drain(path_manager)
        path_manager.sign_of_life()
        os.kill(new, signal.SIGTERM)
        assert path_manager.next()["STOPPING"] == "1"

    def test_a_service_manager_that_is_not_there_is_no_reason_to_fail(self, service, tmp_path):
        server = service("--workers", "1", NOTIFY_SOCKET=str(tmp_path / "nobody"))
        server.wait_for_log("Booting worker")
        poll(lambda: server.workers() and server.accepts(), "the server")
        assert server.stop() == 0


def let_through(gate: Path) -> bool:
    """Open and close the gate if somebody waits at it; true when nobody does any more."""
    try:
        os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return True
    return False


def drain(manager: Manager) -> int:
    """Messages that have arrived."""
    count = 0
    while manager.has_message():
        manager.socket.recv(4096)
        count += 1
    return count
