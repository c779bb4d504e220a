"""Starting: what is served, where it listens, and one clear line for everything that is wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from support.server import APPS, COMMAND, IS_ORACLE, Server, poll


@pytest.fixture
def fails(tmp_path):
    """Start a server that cannot start; its exit code and its log."""

    def fails(app: str, *arguments: str, **options) -> tuple[int, str]:
        server = Server(app, *arguments, log_directory=tmp_path / "logs", **options)
        server.start()
        try:
            code = server.wait_for_exit()
            server.assert_nothing_left()
        finally:
            server.kill()
        return code, server.log() + "\n" + server.stdout.text()

    return fails


class TestMistakes:
    """Gunicorn's exit codes: 1 configuration, 2 usage, 3 boot failure, 4 application not found."""

    def test_a_missing_module_is_named(self, fails):
        code, log = fails("no_such_module:app")
        assert code == 3
        assert "no_such_module" in log

    def test_a_missing_attribute_is_a_4_and_named(self, fails):
        code, log = fails("wsgi_app:no_such_attribute")
        assert code == 4
        assert "no_such_attribute" in log

    def test_something_not_callable_is_a_4_and_named(self, fails):
        code, log = fails("wsgi_app:not_callable")
        assert code == 4
        assert "not_callable" in log

    def test_an_exception_while_importing_is_a_3_with_the_traceback_once(self, fails, tmp_path):
        (tmp_path / "broken.py").write_text("def deep():\n    raise KeyError('a secret')\n\ndeep()\n")
        code, log = fails("broken:app", chdir=tmp_path)
        assert code == 3
        assert "KeyError: 'a secret'" in log
        assert log.count("Traceback (most recent call last)") == 1
        assert "in deep" in log

    @pytest.mark.indrik_only
    def test_the_traceback_comes_once_with_several_workers_too(self, fails, tmp_path):
        (tmp_path / "broken.py").write_text("raise KeyError('a secret')\n")
        code, log = fails("broken:app", "--workers", "4", chdir=tmp_path)
        assert code == 3
        assert "KeyError: 'a secret'" in log
        assert log.count("Traceback (most recent call last)") == 1

    @pytest.mark.indrik_only
    @pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["workers", "preload"])
    def test_with_logs_in_json_the_reason_is_json_on_standard_error(self, fails, tmp_path, preload):
        (tmp_path / "broken.py").write_text("raise KeyError('a secret')\n")
        code, log = fails("broken:app", "--log-format", "json", *preload, chdir=tmp_path)
        assert code == 3
        entries = [json.loads(line) for line in log.splitlines() if line]
        [told] = [entry for entry in entries if "a secret" in entry["message"]]
        assert (told["log"], told["level"]) == ("error", "ERROR")
        assert told["message"].endswith("importing 'broken' raised KeyError: 'a secret'")
        assert told["details"].startswith("Traceback (most recent call last)")

    @pytest.mark.indrik_only
    def test_an_exception_while_preloading_is_reported_the_same(self, fails, tmp_path):
        (tmp_path / "broken.py").write_text("raise KeyError('a secret')\n")
        code, log = fails("broken:app", "--preload", chdir=tmp_path)
        assert code in (1, 3)
        assert "KeyError: 'a secret'" in log
        assert log.count("Traceback (most recent call last)") == 1

    @pytest.mark.indrik_only
    def test_an_address_in_use_is_a_1_and_says_what_to_do(self, fails):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            code, log = fails("wsgi_app:app", bind=f"127.0.0.1:{port}")
        assert code == 1
        assert re.search("(?i)in use", log)
        assert str(port) in log
        assert "Traceback" not in log

    @pytest.mark.parametrize("bind", ["127.0.0.1:notaport", "127.0.0.1:99999", "256.1.1.1.1:80"])
    def test_a_bad_address_is_a_1_without_a_traceback(self, fails, bind):
        code, log = fails("wsgi_app:app", bind=bind)
        assert code == 1
        assert "Traceback" not in log or IS_ORACLE

    def test_an_unknown_option_is_a_2(self, fails):
        assert fails("wsgi_app:app", "--no-such-option")[0] == 2

    @pytest.mark.indrik_only
    def test_an_unknown_option_gets_a_suggestion(self, fails):
        assert "--workers" in fails("wsgi_app:app", "--wrkers", "2")[1]

    @pytest.mark.indrik_only
    def test_a_bad_value_names_the_setting_and_where_it_came_from(self, fails, tmp_path):
        (tmp_path / "conf.py").write_text("# a comment\nworkers = 'many'\n")
        code, log = fails("wsgi_app:app", "--config", str(tmp_path / "conf.py"))
        assert code == 1
        assert "workers" in log
        assert "conf.py" in log

    @pytest.mark.indrik_only
    def test_the_wrong_interface_is_said_in_one_line(self, fails):
        code, log = fails("wsgi_app:app", "--worker-class", "asgi")
        assert code in (1, 3, 4)
        assert re.search("(?i)wsgi", log)

    @pytest.mark.indrik_only
    def test_no_application_at_all_is_explained(self, tmp_path):
        server = Server("", log_directory=tmp_path / "logs")
        server.start()
        assert server.wait_for_exit() in (1, 2)
        assert "Traceback" not in server.log()
        server.kill()


@pytest.mark.indrik_only
@pytest.mark.parametrize(
    "words", [("check", "wait:app"), ("--check-config", "wait:app")], ids=["check", "check-config"]
)
def test_ctrl_c_ends_a_command_that_only_looks_and_says_nothing(tmp_path, gate, words):
    (tmp_path / "wait.py").write_text(f"from gates import wait_at_gate\nwait_at_gate({str(gate.path)!r})\n")
    environment = {**os.environ, "PYTHONPATH": str(APPS)}
    command = subprocess.Popen(
        [*COMMAND, *words],
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    gate.arrived()
    os.killpg(command.pid, signal.SIGINT)
    _, said = command.communicate(timeout=20)
    # A shell makes 130 of it.
    assert (command.returncode, said) == (-signal.SIGINT, b"")


class TestApplications:
    @pytest.mark.parametrize("app", ["wsgi_app", "wsgi_app:app", "wsgi_app:application"])
    def test_the_name_defaults_to_application(self, start, connect, app):
        assert connect(start(app)).get("/hello").text == "hello"

    @pytest.mark.parametrize(
        ("app", "text"),
        [("wsgi_app:make()", "made"), ("wsgi_app:make('own')", "own")] + [("wsgi_app:make(greeting='named')", "named")],
    )
    def test_a_factory_is_called_with_literals(self, start, connect, app, text):
        assert connect(start(app)).get("/").text == text

    @pytest.mark.indrik_only
    def test_asgi_is_detected_without_a_worker_class(self, start, connect):
        server = start("asgi_app:app")
        assert connect(server).get("/hello").text == "hello"

    @pytest.mark.indrik_only
    def test_the_banner_says_address_application_kind_and_workers_with_the_reason(self, start):
        server = start("wsgi_app:app")
        server.wait_for_log(re.escape(f"http://127.0.0.1:{server.port}"))
        server.wait_for_log("wsgi_app:app")
        server.wait_for_log("(?i)wsgi|sync")
        server.wait_for_log("(?i)worker.*(cpu|WEB_CONCURRENCY)|(cpu|WEB_CONCURRENCY).*worker")


class TestListening:
    def test_on_a_unix_socket(self, tmp_path, start, connect):
        path = tmp_path / "socket"
        server = start("wsgi_app:app", bind=f"unix:{path}")
        environ = connect(server).get("/describe").text
        assert '"REMOTE_ADDR": ""' in environ
        assert server.stop() == 0
        assert not path.exists()

    def test_on_several_addresses(self, start, tmp_path):
        path = tmp_path / "socket"
        server = start("wsgi_app:app", "--bind", f"unix:{path}")
        poll(path.exists, "the socket")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        with server.connect() as client:
            client.sendall(b"GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")

    def test_on_ipv6(self, start, tmp_path):
        with socket.socket(socket.AF_INET6) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError:
                pytest.skip("this machine has no IPv6 loopback")
            port = probe.getsockname()[1]
        start("wsgi_app:app", "--bind", f"[::1]:{port}")
        poll(lambda: can_connect("::1", port), "the IPv6 address")

    @pytest.mark.indrik_only
    def test_a_stale_unix_socket_is_replaced(self, start, connect, tmp_path):
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        server = start("wsgi_app:app", bind=f"unix:{path}")
        assert connect(server).get("/hello").text == "hello"


class TestSettings:
    def test_environment_variables_reach_the_application(self, start, connect):
        server = start("wsgi_app:app", "--env", "COLOUR=green", "-e", "SHAPE=round")
        assert connect(server).get("/environment?name=COLOUR").text == "green"
        assert connect(server).get("/environment?name=SHAPE").text == "round"

    def test_chdir_is_the_working_directory(self, start, connect):
        server = start("wsgi_app:app")
        assert connect(server).get("/cwd").text.endswith("/tests/apps")

    def test_pythonpath_is_searched(self, start, connect, tmp_path):
        (tmp_path / "only_here.py").write_text("from wsgi_app import app\n")
        server = start("only_here:app", "--pythonpath", str(tmp_path))
        assert connect(server).get("/hello").text == "hello"

    def test_the_config_file_of_the_directory_is_read(self, start, connect, tmp_path):
        (tmp_path / "gunicorn.conf.py").write_text("raw_env = ['FROM=file']\nworkers = 2\n")
        server = start("wsgi_app:app", "--config", str(tmp_path / "gunicorn.conf.py"))
        assert connect(server).get("/environment?name=FROM").text == "file"
        poll(lambda: len(server.workers()) == 2, "two workers")

    def test_the_command_line_wins_over_the_file(self, start, tmp_path):
        (tmp_path / "conf.py").write_text("workers = 4\n")
        server = start("wsgi_app:app", "--config", str(tmp_path / "conf.py"), "--workers", "1")
        poll(lambda: len(server.workers()) == 1, "one worker")

    def test_web_concurrency_sets_the_workers(self, start):
        server = start("wsgi_app:app", environment={"WEB_CONCURRENCY": "3"})
        poll(lambda: len(server.workers()) == 3, "three workers")

    def test_gunicorn_cmd_args_are_read(self, start):
        server = start("wsgi_app:app", environment={"GUNICORN_CMD_ARGS": "--workers 3"})
        poll(lambda: len(server.workers()) == 3, "three workers")

    def test_the_pid_file_holds_the_supervisor_s_pid_and_goes_away(self, start, tmp_path):
        path = tmp_path / "server.pid"
        server = start("wsgi_app:app", "--pid", str(path))
        assert int(path.read_text()) == server.process.pid
        assert server.stop() == 0
        assert not path.exists()

    def test_preloaded_code_is_imported_once(self, start, connect, tmp_path):
        (tmp_path / "counted.py").write_text(
            "import os\n"
            f"with open({str(tmp_path / 'imports')!r}, 'a') as file:\n"
            "    file.write('imported\\n')\n"
            "from wsgi_app import app\n"
        )
        server = start(
            *("counted:app", "--preload", "--workers", "3", "--pythonpath", str(tmp_path)),
        )
        poll(lambda: len(server.workers()) == 3, "three workers")
        assert connect(server).get("/hello").text == "hello"
        assert (tmp_path / "imports").read_text().count("imported") == 1

    def test_the_error_log_can_be_a_file(self, start, connect, tmp_path):
        path = tmp_path / "error.log"
        server = start("wsgi_app:app", "--error-logfile", str(path))
        assert connect(server).get("/raise").status == 500
        poll(lambda: "raised on purpose" in path.read_text(), "the traceback in the file")


def can_connect(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_version_names_the_program(tmp_path: Path):
    server = Server("", log_directory=tmp_path)
    server.command = [server.command[0], "--version"]
    server.start()
    assert server.wait_for_exit() == 0
    assert re.search(r"\d+\.\d+\.\d+", server.stdout.text())
    server.kill()


@pytest.mark.indrik_only
def test_term_before_the_first_worker_is_ready_closes_what_waits(tmp_path: Path):
    """No reset: the client learns that the server went away, and not that it failed."""
    mark = tmp_path / "booting"
    os.mkfifo(mark)
    (tmp_path / "slowly.py").write_text(f"open({str(mark)!r}).read()\nopen({str(mark)!r}).read()\n")
    server = Server("slowly:app", "--workers", "1", log_directory=tmp_path / "logs", chdir=tmp_path)
    server.start()
    with mark.open("w"):
        pass
    with server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        with server.connect() as later:
            # The front answers this one alone, so it has read the first one by then.
            later.sendall(b"what?\r\n\r\n")
            assert later.recv(12) == b"HTTP/1.1 400"
        assert server.stop() == 0
        assert connection.recv(1024) == b""
    server.assert_nothing_left()


def test_a_signal_while_starting_stops_it(tmp_path: Path):
    """A TERM that arrives before the application is imported is not lost."""
    os.mkfifo(tmp_path / "slow")
    (tmp_path / "starts_slowly.py").write_text(
        f"import sys\nprint('importing', file=sys.stderr, flush=True)\n"
        f"open({str(tmp_path / 'slow')!r}).read()\n"
        "def app(environ, start_response): ...\n"
    )
    server = Server("starts_slowly:app", log_directory=tmp_path / "logs", chdir=tmp_path)
    if IS_ORACLE:
        pytest.skip("Gunicorn loses a TERM in its boot window")
    server.start()
    server.wait_for_log("importing")
    server.signal(signal.SIGTERM)
    server.wait_for_exit(40)
    server.assert_nothing_left()
    server.kill()


class TestStandardStreams:
    """A server may be started without them; then they lead nowhere, and never into something else."""

    CLOSED = ("sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh")

    @pytest.mark.indrik_only
    @pytest.mark.parametrize(("app", "interface"), [("wsgi_app:app", "wsgi"), ("asgi_app:app", "asgi")])
    def test_those_that_are_closed_lead_nowhere_in_each_process(self, connect, tmp_path, app, interface):
        log = tmp_path / "error.log"
        options = {"launcher": self.CLOSED, "interface": interface, "log_directory": tmp_path / "logs"}
        with Server(app, "--error-logfile", str(log), **options) as server:
            assert connect(server).get("/").status < 500
            for pid in server.processes():
                streams = [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)]
                assert streams == ["/dev/null"] * 3, pid
            before = server.workers()
            server.signal(signal.SIGHUP)
            server.wait_for_new_workers(before)
        assert "SIGABRT" not in log.read_text()
