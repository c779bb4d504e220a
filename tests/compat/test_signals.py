"""Signals to the master and to workers, with Gunicorn's meaning."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
from support.family import Family
from support.server import IS_ORACLE, Server, free_port, poll
from support.wire import Wire


@pytest.fixture
def family(project) -> Iterator[Family]:
    family = Family(project)
    yield family
    family.kill()


def answer(server: Server, path: str = "/") -> str:
    with Wire(server.connect()) as wire:
        return wire.get(path, "Connection: close").text


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_every_signal_that_is_acted_on_is_named_in_the_log(project):
    server = project.start("--workers", "1")
    for name in ("ttin", "ttou", "usr1", "hup"):
        server.signal(getattr(signal, f"SIG{name.upper()}"))
        server.wait_for_log(rf"\[INFO\] Handling signal: {name}$")
    server.signal(signal.SIGTERM)
    server.wait_for_log(r"\[INFO\] Handling signal: term$")
    assert server.wait_for_exit() == 0
    assert "Shutting down: Master" in server.log()


def test_ttou_never_takes_the_last_worker(project):
    server = project.start("--workers", "1")
    server.signal(signal.SIGTTOU)
    server.wait_for_log("Handling signal: ttou")
    server.signal(signal.SIGTTIN)
    poll(lambda: len(server.workers()) == 2, "the second worker")
    assert answer(server)


class TestReload:
    def test_the_number_of_workers_is_that_of_the_configuration_again(self, project):
        project.config("workers = 1\n")
        server = project.start()
        server.signal(signal.SIGTTIN)
        poll(lambda: len(server.workers()) == 2, "the second worker")
        before = set(server.workers())
        server.signal(signal.SIGHUP)
        server.wait_for_new_workers(before, 1)

    def test_settings_that_changed_take_effect(self, project):
        project.config("workers = 1\nraw_env = ['COLOUR=green']\n")
        project.write(
            "app.py",
            """
            import os
            def app(environ, start_response):
                start_response("200 OK", [])
                return [os.environ["COLOUR"].encode()]
            """,
        )
        server = project.start()
        assert answer(server) == "green"
        project.config("workers = 2\nraw_env = ['COLOUR=blue']\n")
        server.signal(signal.SIGHUP)
        poll(lambda: answer(server) == "blue" and len(server.workers()) == 2, "the new settings", 20)

    def test_limits_of_requests_that_changed_take_effect(self, project):
        project.config("workers = 1\nlimit_request_line = 200\n")
        server = project.start()
        with Wire(server.connect()) as wire:
            assert wire.get("/" + "x" * 300).status == 414
        project.config("workers = 1\nlimit_request_line = 1000\n")
        server.signal(signal.SIGHUP)

        def is_taken() -> bool:
            with Wire(server.connect()) as wire:
                return wire.get("/" + "x" * 300).status == 200

        poll(is_taken, "the new limit", 20)

    def test_a_changed_address_is_opened_and_the_old_one_closed(self, project):
        old, new = free_port(), free_port()
        project.config(f"workers = 1\nbind = '127.0.0.1:{old}'\n")
        server = project.start(port=old, say_bind=False)
        project.config(f"workers = 1\nbind = '127.0.0.1:{new}'\n")
        server.signal(signal.SIGHUP)
        poll(lambda: accepts(new) and not accepts(old), "the new address", 20)
        with Wire(socket.create_connection(("127.0.0.1", new))) as wire:
            assert wire.get("/there").text.endswith(" /there")
        server.wait_for_log(f"Listening at: http://127.0.0.1:{new}")

    @pytest.mark.indrik_only
    def test_an_address_changes_without_a_request_lost(self, project):
        ports = [free_port(), free_port()]
        stays = free_port()
        config = "workers = 2\nbind = ['127.0.0.1:{}', '127.0.0.1:{}']\n"
        project.config(config.format(stays, ports[0]))
        server = project.start(port=stays, say_bind=False)
        failures: list[str] = []
        stopping = threading.Event()

        def load() -> None:
            while not stopping.is_set():
                try:
                    if not answer(server):
                        failures.append("an empty answer")
                except (OSError, EOFError) as error:
                    failures.append(repr(error))

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for turn in (1, 0, 1):
            project.config(config.format(stays, ports[turn]))
            server.signal(signal.SIGHUP)
            poll(lambda turn=turn: accepts(ports[turn]) and not accepts(ports[1 - turn]), "the address", 20)
        stopping.set()
        for thread in threads:
            thread.join()
        assert failures == []

    @pytest.mark.indrik_only
    def test_a_port_moves_from_one_host_to_all(self, project):
        port = free_port()
        project.config(f"workers = 1\nbind = '127.0.0.1:{port}'\n")
        server = project.start(port=port, say_bind=False)
        project.config(f"workers = 1\nbind = '0.0.0.0:{port}'\n")
        server.signal(signal.SIGHUP)
        server.wait_for_log(f"Listening at: http://0.0.0.0:{port}")
        assert answer(server)

    @pytest.mark.indrik_only
    def test_a_reload_that_cannot_open_its_address_is_given_up(self, project):
        port = free_port()
        project.config(f"workers = 1\nbind = '127.0.0.1:{port}'\n")
        server = project.start(port=port, say_bind=False)
        workers = server.workers()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            project.config(f"workers = 1\nbind = '127.0.0.1:{taken.getsockname()[1]}'\n")
            server.signal(signal.SIGHUP)
            server.wait_for_log("Reload failed: Connection in use")
        assert answer(server)
        assert server.workers() == workers

    @pytest.mark.indrik_only
    @pytest.mark.parametrize(
        ("mistake", "named"),
        [
            ("workers = 'many'\n", "workers"),
            ("workers = (\n", "SyntaxError|never closed"),
            ("raise KeyError('a secret')\n", "a secret"),
            ("user = 'no-such-user'\n", "No such user"),
            ("pidfile = '/nonexistent/pid'\n", "/nonexistent/pid"),
            ("errorlog = '/nonexistent/log'\n", "/nonexistent/log"),
        ],
    )
    def test_a_configuration_with_a_mistake_is_named_and_the_old_one_serves_on(self, project, mistake, named):
        project.config("workers = 1\n")
        server = project.start()
        workers = server.workers()
        project.config(mistake)
        server.signal(signal.SIGHUP)
        server.wait_for_log(f"Reload failed.*({named})|^.*({named})")
        server.wait_for_log("generation 1 keeps serving")
        assert answer(server)
        assert server.workers() == workers
        project.config("workers = 2\n")
        server.signal(signal.SIGHUP)
        poll(lambda: len(server.workers()) == 2, "the mended configuration", 20)

    def test_the_pid_file_may_get_another_name(self, project):
        project.config("workers = 1\npidfile = 'old.pid'\n")
        server = project.start()
        assert (project.directory / "old.pid").read_text() == f"{server.process.pid}\n"
        project.config("workers = 1\npidfile = 'new.pid'\n")
        server.signal(signal.SIGHUP)
        new = project.directory / "new.pid"
        poll(lambda: new.exists() and not (project.directory / "old.pid").exists(), "the new pid file", 20)
        assert new.read_text() == f"{server.process.pid}\n"
        assert server.stop() == 0
        assert not new.exists()

    def test_the_logs_may_go_to_other_files(self, project):
        project.config("workers = 1\nerrorlog = 'old.log'\naccesslog = 'old-access.log'\n")
        server = project.start()
        answer(server)
        project.config("workers = 1\nerrorlog = 'new.log'\naccesslog = 'new-access.log'\n")
        before = server.workers()
        server.signal(signal.SIGHUP)
        server.wait_for_new_workers(before)
        answer(server, "/after-the-reload")
        access = project.directory / "new-access.log"
        poll(lambda: access.exists() and "/after-the-reload" in access.read_text(), "the new access log")
        server.signal(signal.SIGTTIN)
        log = project.directory / "new.log"
        poll(lambda: log.exists() and "Handling signal: ttin" in log.read_text(), "the new error log")


def test_usr1_opens_moved_logs_again(project):
    project.config("workers = 1\nerrorlog = 'error.log'\naccesslog = 'access.log'\n")
    project.write(
        "app.py",
        """
        def app(environ, start_response):
            if environ["PATH_INFO"] == "/fail":
                raise KeyError("a secret")
            start_response("200 OK", [])
            return [b"ok"]
        """,
    )
    server = project.start()
    answer(server, "/before")
    error, access = project.directory / "error.log", project.directory / "access.log"
    poll(lambda: "/before" in access.read_text(), "the first line")
    error.rename(project.directory / "error.log.1")
    access.rename(project.directory / "access.log.1")
    server.signal(signal.SIGUSR1)
    poll(lambda: error.exists() and access.exists(), "new files")

    def both_arrive() -> bool:
        answer(server, "/fail")
        return "/fail" in access.read_text() and "a secret" in error.read_text()

    poll(both_arrive, "lines of master and worker in the new files")


class TestWinch:
    def test_it_is_ignored_in_the_foreground(self, project):
        server = project.start("--workers", "2", "--log-level", "debug")
        poll(lambda: len(server.workers()) == 2, "two workers")
        before = server.workers()
        server.signal(signal.SIGWINCH)
        server.wait_for_log("SIGWINCH ignored")
        assert server.workers() == before

    def test_it_takes_the_workers_of_a_daemon_and_ttin_brings_one_back(self, project, family):
        port = free_port()
        project.config(f"workers = 2\ndaemon = True\npidfile = 'pid'\nbind = '127.0.0.1:{port}'\nerrorlog = 'log'\n")
        assert family.launch("app:app").returncode == 0
        master = family.pid_in("pid")
        poll(lambda: len(family.workers(master)) == 2, "two workers")
        os.kill(master, signal.SIGWINCH)
        poll(lambda: not family.workers(master), "no worker", 20)
        with socket.create_connection(("127.0.0.1", port)) as waiting:
            waiting.sendall(b"GET /waited HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            os.kill(master, signal.SIGTTIN)
            waiting.settimeout(15)
            assert waiting.recv(100).startswith(b"HTTP/1.1 200")
        assert len(family.workers(master)) == 1
        os.kill(master, signal.SIGTERM)
        family.all_gone()


class TestWorkers:
    @pytest.mark.parametrize("name", ["TERM", "QUIT", "INT", "ABRT", "KILL"])
    def test_a_worker_that_is_sent_one_is_replaced(self, project, name):
        server = project.start("--workers", "1")
        (before,) = server.workers()
        os.kill(before, getattr(signal, f"SIG{name}"))
        server.wait_for_new_workers([before])
        assert answer(server)
        assert server.process.poll() is None

    @pytest.mark.parametrize("name", ["HUP", "TTIN", "TTOU", "WINCH"])
    def test_what_means_something_to_the_master_alone_means_nothing_to_a_worker(self, project, name):
        if IS_ORACLE and name == "HUP":
            pytest.skip("HUP ends a worker of Gunicorn")
        server = project.start("--workers", "1")
        (before,) = server.workers()
        answer(server)
        os.kill(before, getattr(signal, f"SIG{name}"))
        for _ in range(5):
            assert answer(server).startswith(f"{before} ")


@pytest.mark.indrik_only
class TestTermWhileStarting:
    """Wherever the start is, TERM ends it: exit code 0, nothing left behind."""

    def stop(self, project, server: Server) -> None:
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit() == 0
        server.assert_nothing_left()
        assert not (project.directory / "pid").exists()
        server.kill()

    def begin(self, project, tmp_path, *arguments: str) -> Server:
        server = Server("app:app", "--pid", "pid", *arguments, log_directory=tmp_path / "logs", cwd=project.directory)
        server.start()
        return server

    @pytest.mark.parametrize("where", ["gunicorn.conf.py", "app.py"])
    @pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["", "preload"])
    def test_in_code_that_takes_its_time(self, project, tmp_path, where, preload):
        os.mkfifo(project.directory / "slow")
        project.write(where, "import sys\nprint('here', file=sys.stderr, flush=True)\nopen('slow').read()\n")
        server = self.begin(project, tmp_path, *preload)
        server.wait_for_log("here")
        self.stop(project, server)

    def test_while_it_waits_for_its_address(self, project, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            server = self.begin(project, tmp_path, "--bind", f"127.0.0.1:{port}")
            server.wait_for_log("Connection in use.*trying again")
            self.stop(project, server)
