"""Processes: daemon, pid file, users, sockets, titles, process number 1, and mistakes in all of that."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.family import Family, ids_of, parent_of, stat_of
from support.project import Project
from support.server import COMMAND, IS_ORACLE, REPOSITORY, Server, free_port, poll, title_of
from support.wire import Wire

ROOT = os.geteuid() == 0
NOBODY, NOGROUP = 65534, 65534
needs_root = pytest.mark.skipif(not ROOT, reason="changing users takes root")


@pytest.fixture
def family(project) -> Iterator[Family]:
    family = Family(project)
    yield family
    family.kill()


@pytest.fixture
def fails(tmp_path, project):
    """Start a server that cannot start; its exit code and what it wrote."""

    def fails(*arguments: str, app: str = "app:app", **options) -> tuple[int, str]:
        server = Server(app, *arguments, log_directory=tmp_path / "logs", cwd=project.directory, **options)
        server.start()
        try:
            code = server.wait_for_exit(30)
            server.assert_nothing_left()
        finally:
            server.kill()
        return code, server.log() + "\n" + server.stdout.text()

    return fails


def connect_unix(path: str | Path) -> Wire:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(path))
    return Wire(connection)


def connect(port: int) -> Wire:
    return Wire(socket.create_connection(("127.0.0.1", port), timeout=10))


def lines_with(log: str, word: str) -> list[str]:
    return [line for line in log.splitlines() if word in line]


class TestDaemon:
    def test_it_leaves_the_terminal_and_serves(self, project, family):
        port = free_port()
        done = family.launch("--daemon", "--pid", "pid", "--bind", f"127.0.0.1:{port}", "--workers", "1", "app:app")
        assert done.returncode == 0, done.stderr
        master = family.pid_in("pid")
        poll(lambda: family.workers(master), "a worker")
        with connect(port) as wire:
            assert wire.get("/").status == 200
        session = int(stat_of(master)[3])
        # Forked twice: it leads no session, so it can get no terminal.
        assert session not in (master, os.getsid(0))
        for pid in (master, *family.workers(master)):
            assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
        os.kill(master, signal.SIGTERM)
        family.all_gone()
        assert not (project.directory / "pid").exists()

    def test_paths_are_those_of_the_directory_it_was_started_in(self, project, family):
        project.config(
            "daemon = True\nworkers = 1\npidfile = 'pid'\nerrorlog = 'error.log'\naccesslog = 'access.log'\n"
        )
        done = family.launch("--bind", "unix:socket", "app:app")
        assert done.returncode == 0, done.stderr
        family.pid_in("pid")
        poll((project.directory / "socket").exists, "the socket")
        with connect_unix(project.directory / "socket") as wire:
            assert wire.get("/one").status == 200
        poll(lambda: "/one" in (project.directory / "access.log").read_text(), "the access log")
        assert "Listening at: unix:" in (project.directory / "error.log").read_text()

    def test_files_of_the_application_get_the_usual_permissions(self, project, family):
        project.write("app.py", "open('made', 'w').close()\ndef app(environ, start_response): ...\n")
        family.launch("--daemon", "--pid", "pid", "--bind", "unix:socket", "app:app")
        made = project.directory / "made"
        poll(made.exists, "the file")
        assert stat.S_IMODE(made.stat().st_mode) == 0o644

    def test_output_can_be_kept(self, project, family):
        done = family.launch("--daemon", "-R", "--pid", "pid", "--bind", "unix:socket", "app:app")
        assert done.returncode == 0
        log = project.directory / "launch.log"
        poll(lambda: "Booting worker" in log.read_text(), "the log")
        master = family.pid_in("pid")
        assert os.readlink(f"/proc/{master}/fd/0") == "/dev/null"
        assert os.readlink(f"/proc/{master}/fd/2") == str(log)

    @pytest.mark.indrik_only
    def test_it_serves_when_the_command_has_ended(self, project, family):
        done = family.launch("--daemon", "--pid", "pid", "--bind", "unix:socket", "app:app")
        assert done.returncode == 0
        with connect_unix(project.directory / "socket") as wire:
            assert wire.get("/").status == 200

    def test_a_mistake_in_the_configuration_is_seen_where_the_command_was_typed(self, project, family):
        project.config("workers = 'many'\n")
        done = family.launch("--daemon", "app:app")
        assert done.returncode == 1
        assert "workers" in done.stderr
        family.all_gone()

    @pytest.mark.indrik_only
    @pytest.mark.parametrize(
        ("what", "code", "named"),
        [
            (["--user", "no-such-user", "app:app"], 1, "No such user"),
            (["--pid", "/nonexistent/pid", "app:app"], 1, "/nonexistent/pid"),
            (["--error-logfile", "/nonexistent/log", "app:app"], 1, "/nonexistent/log"),
            (["app:missing"], 4, "missing"),
            (["broken:app"], 3, "a secret"),
        ],
    )
    def test_so_is_everything_that_keeps_it_from_serving(self, project, family, what, code, named):
        project.write("broken.py", "raise KeyError('a secret')\n")
        done = family.launch("--daemon", "--bind", "unix:socket", *what)
        assert (done.returncode, len(lines_with(done.stderr, named)) > 0) == (code, True), done.stderr
        family.all_gone()
        assert not (project.directory / "socket").exists()


class TestPidFile:
    def test_a_stale_one_is_replaced_and_the_own_one_removed(self, project):
        path = project.write("pid", "4194305\n")
        server = project.start("--pid", "pid")
        assert path.read_text() == f"{server.process.pid}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert server.stop() == 0
        assert not path.exists()

    def test_nonsense_in_it_is_replaced(self, project):
        path = project.write("pid", "no number\n")
        server = project.start("--pid", "pid")
        assert path.read_text() == f"{server.process.pid}\n"

    def test_a_living_process_is_respected(self, project, fails):
        path = project.write("pid", f"{os.getpid()}\n")
        code, log = fails("--pid", "pid")
        assert code == 1
        assert re.search(rf"Already running on PID {os.getpid()} \(or pid file '.*pid' is stale\)", log)
        assert path.read_text() == f"{os.getpid()}\n"

    @pytest.mark.indrik_only
    def test_of_two_servers_the_second_ends_at_once_and_leaves_the_first_alone(self, project, fails):
        server = project.start("--pid", "pid")
        code, log = fails("--pid", "pid", port=server.port)
        assert code == 1
        assert "Already running" in log
        assert (project.directory / "pid").read_text() == f"{server.process.pid}\n"
        with Wire(server.connect()) as wire:
            assert wire.get("/").status == 200

    def test_somebody_else_s_file_is_not_removed(self, project):
        server = project.start("--pid", "pid")
        path = project.write("pid", "1\n")
        assert server.stop() == 0
        assert path.read_text() == "1\n"

    def test_a_missing_directory_ends_the_start(self, fails):
        code, log = fails("--pid", "/nonexistent/directory/pid")
        assert code == 1
        assert "/nonexistent/directory" in log
        if not IS_ORACLE:
            assert "Traceback" not in log


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may read."""
    directory = Path(tempfile.mkdtemp(prefix="indrik-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def open_project(open_directory, start) -> Project:
    """A project there; its servers end before it goes."""
    return Project(open_directory, start)


def can_read_everything(project: Project) -> bool:
    """Whether `nobody` can run this Python and this package."""
    command = [sys.executable, "-c", "import app, indrik"]
    try:
        done = subprocess.run(command, cwd=project.directory, user=NOBODY, group=NOGROUP, extra_groups=[], check=False)
    except PermissionError:
        return False
    return done.returncode == 0


@needs_root
class TestUsers:
    @pytest.mark.parametrize(("user", "group"), [("nobody", "nogroup"), (str(NOBODY), str(NOGROUP))])
    def test_workers_are_another_user_s_and_the_master_is_not(self, open_project, user, group):
        server = open_project.start("--user", user, "--group", group, "--workers", "1")
        assert ids_of(server.process.pid, "Uid") == [0, 0, 0, 0]
        (worker,) = server.workers()
        poll(lambda: ids_of(worker, "Uid")[1] == NOBODY, "the worker's user")
        assert set(ids_of(worker, "Uid")) == {NOBODY}
        assert set(ids_of(worker, "Gid")) == {NOGROUP}
        with Wire(server.connect()) as wire:
            assert wire.get("/").status == 200

    @pytest.mark.indrik_only
    def test_no_thread_keeps_the_rights_that_are_given_up(self, open_project):
        """With `--reload` there is one besides the application's."""
        server = open_project.start("--user", "nobody", "--workers", "1", "--reload")
        (worker,) = server.workers()
        threads = lambda: [int(name) for name in os.listdir(f"/proc/{worker}/task")]  # noqa: E731
        poll(lambda: len(threads()) > 1 and ids_of(worker, "Uid")[1] == NOBODY, "the thread that watches files")
        assert {number for thread in threads() for number in ids_of(thread, "Uid")} == {NOBODY}

    @pytest.mark.indrik_only
    def test_root_s_groups_are_left_behind(self, open_project):
        server = open_project.start("--user", "nobody", "--group", "nogroup", "--workers", "1")
        assert ids_of(server.workers()[0], "Groups") == [NOGROUP]

    @pytest.mark.indrik_only
    def test_initgroups_gives_the_user_s_groups_and_the_group(self, open_project):
        server = open_project.start("--user", "nobody", "--group", "nogroup", "--initgroups", "--workers", "1")
        (worker,) = server.workers()
        assert set(ids_of(worker, "Gid")) == {NOGROUP}
        assert NOGROUP in ids_of(worker, "Groups")
        assert 0 not in ids_of(worker, "Groups")

    @pytest.mark.indrik_only
    def test_a_worker_dies_with_its_master_although_it_is_another_user_s(self, open_project):
        server = open_project.start("--user", "nobody", "--workers", "2")
        server.signal(signal.SIGKILL)
        server.process.wait()
        server.assert_nothing_left()

    def test_the_application_is_loaded_as_that_user(self, open_project):
        open_project.write(
            "app.py",
            """
            import os
            WHO = f"{os.getuid()} {os.getgid()}"
            def app(environ, start_response):
                start_response("200 OK", [])
                return [WHO.encode()]
            """,
        )
        server = open_project.start("--user", "nobody", "--group", "nogroup", "--workers", "1")
        with Wire(server.connect()) as wire:
            assert wire.get("/").text == f"{NOBODY} {NOGROUP}"

    def test_the_socket_file_belongs_to_that_user(self, open_project):
        path = open_project.directory / "socket"
        open_project.start("--user", "nobody", "--group", "nogroup", "--workers", "1", bind=f"unix:{path}")
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOGROUP)

    def test_logs_belong_to_that_user(self, open_project):
        open_project.start(
            *("--user", "nobody", "--group", "nogroup", "--workers", "1"),
            *("--error-logfile", "error.log", "--access-logfile", "access.log"),
        )
        for name in ("error.log", "access.log"):
            assert (open_project.directory / name).stat().st_uid == NOBODY

    @pytest.mark.indrik_only
    def test_moved_logs_are_opened_again_by_that_user(self, open_project):
        open_project.directory.chmod(0o777)
        server = open_project.start(
            *("--user", "nobody", "--group", "nogroup", "--workers", "1"),
            *("--error-logfile", "error.log", "--access-logfile", "access.log"),
        )
        error = open_project.directory / "error.log"
        error.rename(open_project.directory / "error.log.1")
        server.signal(signal.SIGUSR1)
        poll(lambda: error.exists() and error.stat().st_uid == NOBODY, "the new log", 10)
        with Wire(server.connect()) as wire:
            assert wire.get("/").status == 200

    def test_a_number_without_a_name_will_do(self, open_project):
        server = open_project.start("--user", "4242", "--group", "4243", "--workers", "1")
        (worker,) = server.workers()
        poll(lambda: ids_of(worker, "Uid")[1] == 4242, "the worker's user")
        assert set(ids_of(worker, "Gid")) == {4243}

    @pytest.mark.indrik_only
    def test_who_is_not_root_cannot_name_another_user(self, open_project):
        if not can_read_everything(open_project):
            pytest.skip(f"user nobody cannot read {REPOSITORY}")
        done = subprocess.run(
            [*COMMAND, "--user", "root", "--bind", "127.0.0.1:0", "app:app"],
            cwd=open_project.directory,
            user=NOBODY,
            group=NOGROUP,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert len(lines_with(done.stderr, "cannot run workers as user 0")) == 1
        assert "Traceback" not in done.stderr


class TestSockets:
    @pytest.mark.parametrize(("umask", "mode"), [("0", 0o777), ("0o077", 0o700), ("0o117", 0o660)])
    def test_the_umask_takes_permissions_from_the_socket_file(self, project, umask, mode):
        path = project.directory / "socket"
        project.start("--umask", umask, "--workers", "1", bind=f"unix:{path}")
        assert stat.S_IMODE(path.stat().st_mode) == mode

    def test_the_umask_of_the_application_is_its_own(self, project):
        project.write("app.py", "open('made', 'w').close()\ndef app(environ, start_response): ...\n")
        project.start("--umask", "0o077", "--workers", "1")
        poll((project.directory / "made").exists, "the application's file")
        assert stat.S_IMODE((project.directory / "made").stat().st_mode) == 0o644

    def test_what_is_no_socket_is_not_removed(self, project, fails):
        path = project.write("socket", "data")
        code, log = fails(bind=f"unix:{path}")
        assert code != 0
        assert "not a socket" in log
        assert path.read_text() == "data"

    @pytest.mark.indrik_only
    def test_a_socket_somebody_listens_on_is_not_taken_away(self, project, fails):
        path = project.directory / "socket"
        project.start("--workers", "1", bind=f"unix:{path}")
        code, log = fails(bind=f"unix:{path}")
        assert code == 1
        assert f"Connection in use: unix:{path}" in log
        with connect_unix(path) as wire:
            assert wire.get("/").status == 200

    def test_an_abstract_socket_has_no_file(self, project):
        name = f"indrik-test-{os.getpid()}-{free_port()}"
        project.config(f"workers = 1\nbind = 'unix:\\0{name}'\n")
        server = Server("app:app", log_directory=project.directory / "logs", cwd=project.directory, say_bind=False)
        server.start()

        def answers() -> bool:
            try:
                with connect_unix("\0" + name) as wire:
                    return wire.get("/").status == 200
            except OSError:
                return False

        poll(answers, "an answer", 20)
        server.stop()
        server.kill()

    @pytest.mark.parametrize("form", ["LOCALHOST:{}", "tcp://127.0.0.1:{}", ":{}", "0.0.0.0:{}"])
    def test_addresses_have_several_forms(self, project, form):
        port = free_port()
        server = project.start("--workers", "1", bind=form.format(port), port=port)
        server.wait_for_log(f"Listening at: http://(127.0.0.1|0.0.0.0):{port}")

    def test_a_socket_can_be_inherited_by_its_number(self, project):
        with socket.create_server(("127.0.0.1", 0)) as inherited:
            number, port = inherited.fileno(), inherited.getsockname()[1]
            server = project.start(bind=f"fd://{number}", port=port, pass_fds=(number,))
            server.wait_for_log(f"Listening at: http://127.0.0.1:{port}")
            with Wire(server.connect()) as wire:
                assert wire.get("/").status == 200

    @pytest.mark.indrik_only
    def test_an_inherited_socket_is_left_as_it_was_for_whoever_has_it_too(self, project):
        with socket.create_server(("127.0.0.1", 0)) as inherited:
            number, port = inherited.fileno(), inherited.getsockname()[1]
            options = {"bind": f"fd://{number}", "port": port, "pass_fds": (number,)}
            assert project.start(**options).stop() == 0
            # The kernel still accepts, and the next server finds what waits.
            with connect(port) as waiting:
                waiting.send("GET /waited HTTP/1.1\r\nHost: t\r\n\r\n")
                project.start(**options)
                assert waiting.read_answer().text.endswith("/waited")

    def test_two_servers_may_share_a_port(self, project):
        port = free_port()
        first = project.start("--reuse-port", "--workers", "1", port=port)
        second = project.start("--reuse-port", "--workers", "1", port=port)
        seen = set()

        def both_answer() -> bool:
            with connect(port) as wire:
                seen.add(int(wire.get("/").text.split()[0]))
            return bool(seen & set(first.workers())) and bool(seen & set(second.workers()))

        poll(both_answer, "answers of both", 30)

    def test_an_address_in_use_is_tried_again_until_it_is_free(self, project):
        taken = socket.create_server(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        server = Server("app:app", log_directory=project.directory / "logs", cwd=project.directory, port=port)
        server.start()
        server.wait_for_log("Connection in use")
        taken.close()
        server.wait_for_log(f"Listening at: http://127.0.0.1:{port}")
        poll(lambda: server.workers(), "a worker")
        assert server.stop() == 0
        server.kill()

    def test_an_address_that_stays_in_use_is_a_1_after_five_seconds(self, fails):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            code, log = fails(port=port)
        assert code == 1
        assert "Connection in use" in log
        assert str(port) in log
        assert "Traceback" not in log


@pytest.mark.indrik_only
class TestTitles:
    def test_the_name_is_shown(self, project):
        server = project.start("--name", "shop", "--workers", "1")
        assert sorted(server.titles()) == [
            "indrik: master [shop]",
            "indrik: worker 1 gen 1 [shop]",
            "indrik: zygote gen 1 [shop]",
        ]

    def test_the_default_name_is_that_of_the_configuration_then_the_application(self, project):
        assert title_of(project.start("--workers", "1").process.pid) == "indrik: master [app:app]"
        project.config("default_proc_name = 'fallback'\n")
        assert title_of(project.start("--workers", "1").process.pid) == "indrik: master [fallback]"

    def test_a_reload_takes_another_name(self, project):
        project.config("proc_name = 'before'\nworkers = 1\n")
        server = project.start()
        project.config("proc_name = 'after'\nworkers = 1\n")
        server.signal(signal.SIGHUP)
        poll(lambda: title_of(server.process.pid) == "indrik: master [after]", "the new name", 20)


def test_the_directory_of_heartbeat_files_is_accepted(project, tmp_path):
    """Gunicorn writes a file there; Indrik has none and says so."""
    server = project.start("--worker-tmp-dir", str(tmp_path), "--workers", "1")
    with Wire(server.connect()) as wire:
        assert wire.get("/").status == 200
    if not IS_ORACLE:
        server.wait_for_log("worker_tmp_dir has no effect")


class TestProcessNumberOne:
    @pytest.fixture
    def container(self, project) -> Iterator[subprocess.Popen[str]]:
        """The server as the first process of its own process namespace."""
        unshare = shutil.which("unshare")
        probe = [unshare or "unshare", "--pid", "--fork", "--kill-child", "true"]
        if unshare is None or subprocess.run(probe, capture_output=True, check=False).returncode != 0:
            pytest.skip("no process namespaces here")
        project.write(
            "app.py",
            """
            import os, subprocess
            def app(environ, start_response):
                if environ["PATH_INFO"] == "/orphan":
                    # A grandchild whose parent ends first.
                    subprocess.run(["sh", "-c", "sleep 0.1 & echo $!"])
                start_response("200 OK", [])
                return [str(os.getppid()).encode()]
            """,
        )
        options = ["--control-socket", "control"] if IS_ORACLE else []
        with (project.directory / "log").open("w") as log:
            process = subprocess.Popen(
                [unshare, "--pid", "--fork", "--kill-child", *COMMAND, *options, "--bind", "unix:socket", "app:app"],
                cwd=project.directory,
                stdout=log,
                stderr=log,
                text=True,
            )
        yield process
        process.kill()
        process.wait()

    def child_of(self, process: subprocess.Popen[str]) -> int:
        found = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if parent_of(pid) == process.pid]
        return found[0]

    def test_it_is_the_workers_parent_reaps_orphans_and_term_stops_it(self, project, container):
        path = project.directory / "socket"
        poll(path.exists, "the socket", 20)
        with connect_unix(path) as wire:
            assert wire.get("/").text == "1"
        master = self.child_of(container)
        for _ in range(5):
            with connect_unix(path) as wire:
                assert wire.get("/orphan").status == 200

        def zombies() -> list[int]:
            pids = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if parent_of(pid) == master]
            return [pid for pid in pids if stat_of(pid)[0] == "Z"]

        poll(lambda: not zombies(), "the reaping of orphans")
        os.kill(master, signal.SIGTERM)
        assert container.wait(20) == 0


@pytest.mark.indrik_only
class TestMistakes:
    """One line that says what, where, and what to do; the right exit code; nothing left behind."""

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["--user", "no-such-user"], r"No such user: 'no-such-user'"),
            (["--group", "no-such-group"], r"No such group: 'no-such-group'"),
            (["--pid", "/nonexistent/pid"], r"cannot write the pid file /nonexistent/pid: No such file"),
            (["--pid", "/proc/pid"], r"cannot write the pid file /proc/pid: "),
            (["--error-logfile", "/nonexistent/log"], r"cannot open the error log /nonexistent/log"),
            (["--chdir", "/nonexistent"], r"/nonexistent"),
            (["--bind", "unix:/nonexistent/socket"], r"cannot listen on unix:/nonexistent/socket: No such file"),
            (["--bind", "192.0.2.1:80"], r"cannot listen on 192.0.2.1:80: it is not an address of this machine"),
            (["--bind", "no-such-host.invalid:80"], r"cannot resolve the host of no-such-host.invalid:80"),
            (["--bind", "fd://99"], r"cannot listen on fd://99"),
            (["--bind", "fd://1"], r"'fd://1' is not an address"),
            (["--bind", "127.0.0.1:port"], r"127.0.0.1:port"),
        ],
    )
    def test_it_is_told_once(self, project, fails, arguments, line):
        before = set(os.listdir(project.directory))
        code, log = fails(*arguments)
        assert code == 1, log
        assert len(re.findall(line, log)) == 1, log
        assert "Traceback" not in log
        left = set(os.listdir(project.directory)) - before - {"logs", "__pycache__"}
        assert left == set()


UNREADABLE = """
    import os
    import sys


    class Unreadable:
        def find_spec(self, name, path=None, target=None):
            if os.geteuid() != 0 and name != "app" and name not in sys.builtin_module_names:
                raise ModuleNotFoundError(f"No module named {name!r}")


    sys.meta_path.insert(0, Unreadable())
"""
"""Only root can read Python's own library."""

LEAN_APP = """
    class App:
        def __call__(self, environ, start_response):
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]


    app = App()


    async def asgi(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                await send({"type": kind + ".complete"})
                if kind == "lifespan.shutdown":
                    return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
"""


@needs_root
@pytest.mark.indrik_only
class TestALibraryThatTheWorkersUserCannotRead:
    """What the class runs requests with is imported before the rights are given up."""

    @pytest.fixture
    def project(self, open_project: Project) -> Project:
        open_project.write("sitecustomize.py", UNREADABLE)
        open_project.write("app.py", LEAN_APP)
        return open_project

    @pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent", "eventlet", "asgi"])
    def test_it_is_not_needed_to_serve(self, project: Project, worker_class: str):
        if worker_class in ("gevent", "eventlet"):
            pytest.importorskip(worker_class)
        app = "app:asgi" if worker_class == "asgi" else "app:app"
        server = project.start(
            *("--user", "nobody", "--group", "nogroup", "--workers", "1", "--worker-class", worker_class),
            app=app,
            environment={"PYTHONPATH": str(project.directory)},
        )
        with Wire(server.connect()) as wire:
            assert wire.get("/").text == "ok"

    def test_the_error_log_says_what_could_not_be_imported_where_the_class_is_known_too_late(self, project: Project):
        log = project.directory / "error.log"
        done = project.run(
            *("--bind", "127.0.0.1:0", "--user", "nobody", "--group", "nogroup", "--error-logfile", str(log)),
            "app:asgi",
            environment={"PYTHONPATH": str(project.directory)},
        )
        assert done.code == 3, done.output
        assert "importing what an event loop needs raised ModuleNotFoundError" in log.read_text()
