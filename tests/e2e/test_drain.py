"""The end of a server: said before it begins, and nothing that the kernel accepted is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from support.project import Project
from support.server import COMMAND, Server, free_port, poll
from support.wire import Wire

pytestmark = pytest.mark.indrik_only

PATHS = ("--readiness-path", "/ready", "--liveness-path", "/alive")
LONG = ("--drain-delay-s", "600")


@pytest.fixture
def project(tmp_path: Path, start) -> Project:
    return Project(tmp_path / "project", start)


def ctl(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "ctl", "--pid", str(server.process.pid), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def state(wire: Wire, path: str) -> tuple[int, str]:
    answer = wire.get(path)
    assert answer.header("content-type") == "application/json"
    return answer.status, json.loads(answer.text)["state"]


def until_ready(wire: Wire) -> None:
    poll(lambda: state(wire, "/ready") == (200, "ready"), "a server that is ready", 20)


class TestProbes:
    def test_the_front_answers_them_while_every_worker_is_busy(self, start, connect, gate):
        server = start("wsgi_app:app", "--workers", "1", *PATHS)
        held = connect(server)
        held.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
        gate.arrived()
        wire = connect(server)
        until_ready(wire)
        assert state(wire, "/alive?x=1") == (200, "ready")
        assert wire.get("/ready", method="HEAD").status == 200
        assert wire.get("/ready", method="DELETE").header("allow") == "GET, HEAD"
        gate.release()
        assert held.read_answer().status == 200
        # Other paths are the application's.
        assert wire.get("/readyx").status == 200

    def test_a_server_without_a_ready_worker_is_alive_and_not_ready(self, start, connect, tmp_path):
        os.mkfifo(tmp_path / "import")
        (tmp_path / "slow.py").write_text(
            "open('import').read()\n"
            "def app(environ, start_response):\n"
            "    start_response('200 OK', [])\n"
            "    return [b'']\n"
        )
        server = start("slow:app", "--workers", "1", *PATHS, chdir=tmp_path, says_ready=False)
        wire = connect(server)
        assert state(wire, "/ready") == (503, "starting")
        assert state(wire, "/alive") == (200, "starting")
        with (tmp_path / "import").open("w"):
            pass
        assert wire.get("/").status == 200
        until_ready(wire)

    def test_a_path_that_is_none_is_a_mistake_in_the_settings(self, project):
        done = project.run("--readiness-path", "ready", "app:app")
        assert done.code == 1
        assert "readiness_path" in done.stderr and "begin it with /" in done.stderr


class TestDelay:
    @pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
    def test_everything_is_served_on_until_a_second_signal(self, start, connect, again):
        server = start("wsgi_app:app", "--workers", "1", *PATHS, *LONG)
        old = connect(server)
        until_ready(old)
        server.signal(signal.SIGTERM)
        server.wait_for_log("Not ready any more; serving on for 600 s")
        new = connect(server)
        for wire in (old, new):
            assert state(wire, "/ready") == (503, "draining")
            assert state(wire, "/alive") == (200, "draining")
            answer = wire.get("/hello")
            assert (answer.text, answer.header("connection")) == ("hello", None)
        # One that comes at once is the first, heard twice.
        poll(lambda: server.process.poll() is not None or server.signal(again), "the end of the server")
        assert server.wait_for_exit() == 0
        server.assert_nothing_left()

    def test_after_it_the_server_ends_by_itself(self, start, connect):
        server = start("wsgi_app:app", "--workers", "1", "--drain-delay-s", "0.2")
        assert connect(server).get("/hello").text == "hello"
        assert server.stop() == 0
        server.assert_nothing_left()

    def test_a_worker_that_dies_meanwhile_is_replaced(self, start, connect):
        server = start("wsgi_app:app", "--workers", "1", *LONG)
        assert connect(server).get("/hello").text == "hello"
        server.signal(signal.SIGTERM)
        server.wait_for_log("Not ready any more")
        old = server.workers()
        os.kill(old[0], signal.SIGKILL)
        assert connect(server, 20).get("/hello").text == "hello"
        assert server.stop(signal.SIGINT) == 0


PRE_STOP = """
workers = 1
readiness_path = "/ready"
def pre_stop(server):
    import os, recorder
    recorder.record(f"pre_stop {type(server).__name__} {os.getpid() == server.pid}")
    %s
"""


class TestPreStop:
    def test_it_runs_in_the_zygote_while_everything_is_served(self, project):
        os.mkfifo(project.directory / "gate")
        project.config(PRE_STOP % "open('gate').read()")
        server = project.start()
        server.signal(signal.SIGTERM)
        project.wait_for_records("pre_stop Arbiter False")
        with Wire(server.connect()) as wire:
            assert state(wire, "/ready") == (503, "draining")
            assert wire.get("/x").text.endswith(" /x")
        with (project.directory / "gate").open("w"):
            pass
        assert server.wait_for_exit() == 0
        assert project.words() == ["pre_stop Arbiter False"]

    def test_one_that_raises_is_logged_and_the_server_ends(self, project):
        project.config(PRE_STOP % "raise KeyError('a secret')")
        server = project.start()
        assert server.stop() == 0
        assert "The hook pre_stop (" in server.log() and "KeyError: 'a secret'" in server.log()

    def test_a_quick_stop_does_not_call_it(self, project):
        project.config(PRE_STOP % "pass")
        server = project.start()
        assert server.stop(signal.SIGINT) == 0
        assert project.words() == []


class Queue:
    """Clients that the kernel has accepted and the server has not."""

    REQUEST = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def __init__(self, connect: Callable[[], socket.socket], context: ssl.SSLContext | None) -> None:
        self.connect, self.context = connect, context
        self.sockets: list[socket.socket] = []

    def fill(self, count: int) -> None:
        self.sockets = []
        for _ in range(count):
            self.sockets.append(self.connect())
            if self.context is None:
                self.sockets[-1].sendall(self.REQUEST)

    def answers(self) -> set[bytes]:
        """The end of each answer, after the request in TLS."""
        return asyncio.run(self._answers())

    async def _answers(self) -> set[bytes]:
        return set(await asyncio.gather(*map(self._answer, self.sockets)))

    async def _answer(self, connection: socket.socket) -> bytes:
        connection.setblocking(False)
        options = {"ssl": self.context, "server_hostname": "localhost"} if self.context else {}
        try:
            reader, writer = await asyncio.open_connection(sock=connection, **options)
            if self.context:
                writer.write(self.REQUEST)
            answer = await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(len(b"hello"))
            writer.close()
        except (OSError, EOFError) as error:
            return repr(error).encode()
        head, _, body = answer.partition(b"\r\n\r\n")
        return b" ".join([head[9:12], body, b"close" if b"connection: close" in head.lower() else b"keep"])


# Some kernels let only network administrators filter what comes to a socket; a container's root is none.
WITHOUT_RIGHTS = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")


@pytest.mark.parametrize("kind, count", [("tcp", 1000), ("no rights", 1000), ("unix", 1000), ("tls", 300)])
def test_every_connection_of_a_long_accept_queue_is_answered(start, tmp_path, kind, count):
    options: list[str] = []
    context = None
    if kind == "no rights" and os.geteuid() != 0:
        pytest.skip("there are none to give up; the others run without them")
    if kind == "tls":
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
        options = ["--certfile", str(tmp_path / "both.pem")]
        context = ssl.create_default_context()
        authority.configure_trust(context)
    bind = f"unix:{tmp_path / 'socket'}" if kind == "unix" else None
    launcher = WITHOUT_RIGHTS if kind == "no rights" else ()
    server = start("wsgi_app:app", "--workers", "2", *options, bind=bind, launcher=launcher)
    queue = Queue(server.connect, context)
    queue.fill(1)
    assert queue.answers() == {b"200 hello keep"}
    server.signal(signal.SIGSTOP)
    queue.fill(count)
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGCONT)
    # The front may be awake before the signal is read: what it answers until then may stay open.
    assert queue.answers() <= {b"200 hello close", b"200 hello keep"}
    assert server.wait_for_exit() == 0
    assert "[ERROR]" not in server.log()


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["master", "group"])
def test_under_keep_alive_load_the_last_answer_of_each_client_says_close(start, connect, send):
    server = start("wsgi_app:app", "--workers", "2", "--drain-delay-s", "0.3")
    last: list[str] = []
    counts = [0] * 16

    def client(number: int) -> None:
        wire = connect(server, 30)
        try:
            while True:
                answer = wire.get("/hello")
                counts[number] += 1
                if answer.status != 200 or answer.header("connection") == "close":
                    last.append(f"{answer.status} {answer.header('connection')}")
                    return
        except (OSError, EOFError) as error:
            last.append(repr(error))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    poll(lambda: min(counts) > 20, "requests of every client")
    send(server.process.pid, signal.SIGTERM)
    for thread in threads:
        thread.join(30)
    assert last == ["200 close"] * len(counts)
    assert server.wait_for_exit() == 0


def test_a_server_that_was_killed_leaves_nothing_and_another_one_has_its_place_at_once(start, tmp_path):
    """TCP port, socket file and pid file: all of them still there, and nobody's."""
    port, path, pid = free_port(), tmp_path / "socket", tmp_path / "pid"
    options = ("--bind", f"unix:{path}", "--pid", str(pid), "--workers", "3")
    first = start("wsgi_app:app", *options, port=port)
    first.clean_stop = False
    first.signal(signal.SIGKILL)
    first.process.wait()
    assert path.exists() and pid.exists()
    second = start("wsgi_app:app", *options, port=port)
    assert int(pid.read_text()) == second.process.pid
    assert "trying again" not in second.log()
    with Wire(second.connect()) as wire:
        assert wire.get("/hello").text == "hello"
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    with Wire(connection) as wire:
        assert wire.get("/hello").text == "hello"
    first.assert_nothing_left()


def test_health_is_an_exit_code_and_a_reason(start):
    server: Server = start("wsgi_app:app", "--workers", "1", *LONG)
    good = ctl(server, "health")
    assert (good.returncode, "ready" in good.stdout) == (0, True)
    server.signal(signal.SIGTERM)
    server.wait_for_log("Not ready any more")
    bad = ctl(server, "health")
    assert (bad.returncode, "the server is not ready, it is draining" in bad.stderr) == (1, True)
    assert server.stop(signal.SIGINT) == 0
