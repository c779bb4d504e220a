"""`indrik upgrade`: a new process takes the place of the server, or nothing changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import control
from support.control import all_ready
from support.family import Family
from support.load import Load
from support.project import Project
from support.server import COMMAND, Server, poll
from support.wire import Wire

pytestmark = pytest.mark.indrik_only

APP = """
import os
def app(environ, start_response):
    if environ["PATH_INFO"] == "/hold":
        with open("held", "w"):
            pass
        open("gate").read()
    start_response("200 OK", [])
    return [b"{text}"]
"""

# Its import takes a byte from the pipe `boot`, and says before that it waits.
SLOW = """
import os
open(f"waits-{os.getpid()}", "w").close()
with open("boot", "rb", buffering=0) as pipe:
    pipe.read(1)
"""


class Boots:
    """The boots of a new server's workers: each lasts until the test lets it go on."""

    def __init__(self, project: Project) -> None:
        self.project = project
        os.mkfifo(project.directory / "boot")
        self.pipe = os.open(project.directory / "boot", os.O_RDWR)

    def wait_for(self, workers: int) -> None:
        """Wait until so many workers have begun."""
        poll(lambda: len(list(self.project.directory.glob("waits-*"))) >= workers, f"{workers} workers that boot")

    def let_go_on(self, workers: int) -> None:
        os.write(self.pipe, b"." * workers)


@pytest.fixture
def boots(project) -> Iterator[Boots]:
    boots = Boots(project)
    yield boots
    os.close(boots.pipe)


@pytest.fixture
def project(tmp_path: Path, start) -> Project:
    project = Project(tmp_path / "project", start)
    project.write("app.py", APP.format(text="old"))
    return project


@pytest.fixture
def family(project) -> Iterator[Family]:
    family = Family(project)
    yield family
    family.kill()


@pytest.fixture
def server(project, family) -> Server:
    server = project.start("--workers", "2", "--pid", "pid", "--upgrade-drains")
    server.clean_stop = False
    return all_ready(server)


def upgrade(pid: int) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "upgrade", "--pid", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def ctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, "ctl", *words], capture_output=True, text=True, timeout=60)


def reload(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, "reload", *words], capture_output=True, text=True, timeout=60)


def get(server: Server) -> str:
    with Wire(server.connect()) as wire:
        return wire.get("/", "Connection: close").text


def end(family: Family, pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    family.all_gone()


def test_no_request_is_lost_by_upgrades_with_the_command_and_with_usr2(server, family, connect):
    """The full figure of the requirements: INDRIK_TEST_UPGRADES=20."""
    master = server.process.pid
    with Load(server, connect, target="/", text="old") as load:
        for turn in range(int(os.environ.get("INDRIK_TEST_UPGRADES", "3"))):
            if turn % 2:
                os.kill(master, signal.SIGUSR2)
                new = family.pid_in("pid.2")
            else:
                done = upgrade(master)
                assert done.returncode == 0, done.stderr
                new = int(done.stdout)
            if turn == 0:
                assert server.wait_for_exit() == 0
            family.gone(master, 40)
            poll(lambda new=new: family.pid_in("pid") == new, "the promotion", 20)
            master = new
            assert load.failures == []
    assert load.failures == []
    assert load.served > 100
    end(family, master)


@pytest.mark.parametrize(
    "files, reason",
    [
        ({"app.py": "raise KeyError('a secret')\n"}, "KeyError: 'a secret'"),
        ({"app.py": "def app(:\n"}, "SyntaxError"),
        ({"gunicorn.conf.py": "workers = 'many'\n"}, "workers"),
        ({"gunicorn.conf.py": "1 / 0\n"}, "ZeroDivisionError"),
        ({"indrik.toml": "nonsense\n"}, "indrik.toml"),
    ],
    ids=["application", "syntax", "setting", "configuration", "toml"],
)
def test_a_new_one_that_fails_is_told_with_its_reason_and_the_old_one_never_stopped(
    project, server, family, files, reason
):
    for name, text in files.items():
        project.write(name, text)
    workers = server.workers()
    done = upgrade(server.process.pid)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "the old server serves on" in done.stderr
    assert server.workers() == workers
    assert get(server) == "old"
    for name in files:
        (project.directory / name).unlink()
    project.write("app.py", APP.format(text="new"))
    done = upgrade(server.process.pid)
    assert done.returncode == 0, done.stderr
    assert server.wait_for_exit() == 0
    assert get(server) == "new"
    end(family, int(done.stdout))


@pytest.mark.parametrize("fails", [True, False], ids=["fails", "serves"])
def test_no_client_waits_for_the_boot_of_a_new_server_or_is_lost_when_that_fails(
    project, server, family, boots, connect, fails
):
    project.write("app.py", SLOW + ("1 / 0" if fails else APP.format(text="new")))
    with Load(server, connect, target="/", fresh=True) as load:
        command = [*COMMAND, "upgrade", "--pid", str(server.process.pid)]
        asking = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        boots.wait_for(2)
        load.everyone_goes_on(20)
        # One of two is ready, or has failed.
        boots.let_go_on(1)
        load.everyone_goes_on(20)
        boots.let_go_on(1)
        said, complaint = asking.communicate(timeout=60)
        load.everyone_goes_on(20)
    assert load.failures == []
    assert asking.returncode == int(fails), complaint
    assert get(server) == ("old" if fails else "new")
    if not fails:
        assert server.wait_for_exit() == 0
        end(family, int(said))


def test_a_new_server_that_is_told_to_stop_while_it_boots_leaves_its_clients_to_the_old_one(
    project, server, family, boots, connect
):
    project.write("app.py", SLOW + APP.format(text="new"))
    with Load(server, connect, target="/", text="old", fresh=True) as load:
        os.kill(server.process.pid, signal.SIGUSR2)
        new = family.pid_in("pid.2")
        boots.wait_for(2)
        boots.let_go_on(1)
        server.wait_for_log(rf"\[{new}\].*\bReady$")
        load.everyone_goes_on(20)
        os.kill(new, signal.SIGTERM)
        server.wait_for_log(r"New master \(pid:\d+\) .*; this one goes on")
        load.everyone_goes_on(20)
    assert load.failures == []


def test_a_new_server_whose_old_one_has_left_serves_from_its_first_worker_on(project, server, family, boots):
    project.write("app.py", SLOW + APP.format(text="new"))
    os.kill(server.process.pid, signal.SIGUSR2)
    new = family.pid_in("pid.2")
    boots.wait_for(2)
    server.signal(signal.SIGTERM)
    assert server.wait_for_exit() == 0
    with Wire(server.connect(), 30) as early:
        early.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        boots.let_go_on(1)
        assert early.read_answer().text == "new"
    boots.let_go_on(1)
    end(family, new)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_a_server_that_is_told_to_stop_while_pre_exec_runs_starts_no_other_one(project, family, number):
    os.mkfifo(project.directory / "gate")
    os.mkfifo(project.directory / "hook")
    project.config("""
        def pre_exec(server):
            open("in-hook", "w").close()
            open("hook").read()
            open("hook-done", "w").close()
    """)
    server = project.start("--workers", "1")
    server.clean_stop = False
    with Wire(server.connect(), 30) as held:
        held.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n")
        poll(lambda: (project.directory / "held").exists(), "the request")
        command = [*COMMAND, "upgrade", "--pid", str(server.process.pid)]
        asking = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        poll(lambda: (project.directory / "in-hook").exists(), "the hook")
        server.signal(number)
        _, complaint = asking.communicate(timeout=60)
        assert asking.returncode == 1
        assert "told to stop while the hook pre_exec ran" in complaint
        if number == signal.SIGTERM:
            # It finishes the request, and the hook returns meanwhile. At the quick end the hook is ended.
            (project.directory / "hook").write_text("")
            poll(lambda: (project.directory / "hook-done").exists(), "the end of the hook")
            (project.directory / "gate").write_text("")
            assert held.read_answer().text == "old"
    assert server.wait_for_exit() == 0
    assert "Starting new master" not in server.log()
    family.all_gone()


def test_a_reload_waits_for_pre_exec_and_a_hook_that_is_cut_starts_no_other_server(project, family):
    os.mkfifo(project.directory / "hook")
    project.config("""
        import os

        def pre_exec(server):
            with open("in-hook", "w") as file:
                file.write(str(os.getpid()))
            open("hook").read()
            open("hook-done", "w").close()
    """)
    server = project.start("--workers", "1")
    command = [*COMMAND, "upgrade", "--pid", str(server.process.pid)]
    asking = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    poll(lambda: (project.directory / "in-hook").exists() and (project.directory / "in-hook").read_text(), "a hook")
    server.signal(signal.SIGHUP)
    server.wait_for_log("The reload begins when the hook pre_exec is done")
    os.kill(int((project.directory / "in-hook").read_text()), signal.SIGKILL)
    _, complaint = asking.communicate(timeout=60)
    assert asking.returncode == 1
    assert "the hook pre_exec has ended in the middle of it" in complaint
    poll(lambda: control.ctl(server, "show", "stats")["generation"] == 2, "the reload")
    assert get(server) == "old"
    assert "Starting new master" not in server.log()
    assert not (project.directory / "hook-done").exists()
    server.signal(signal.SIGTERM)
    assert server.wait_for_exit() == 0
    family.all_gone()


def test_an_interpreter_that_is_gone_is_told(project, family):
    link = project.directory / "python"
    link.symlink_to(sys.executable)
    launcher = project.write("launcher.py", "import sys\nfrom indrik.__main__ import main\nsys.exit(main())\n")
    server = Server("app:app", "--workers", "1", log_directory=project.directory / "logs", cwd=project.directory)
    server.command = [str(link), str(launcher), *server.command[len(COMMAND) :]]
    # The link is no virtual environment, so it is told where the packages are.
    server.environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    with server:
        link.unlink()
        done = upgrade(server.process.pid)
        assert done.returncode == 1
        assert "Cannot start a new master" in done.stderr
        assert get(server) == "old"


def test_the_old_one_comes_back_when_the_new_one_dies_before_it_is_empty(project, server, family):
    os.mkfifo(project.directory / "gate")
    with Wire(server.connect(), 30) as held:
        held.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n")
        poll(lambda: (project.directory / "held").exists(), "the request")
        done = upgrade(server.process.pid)
        assert done.returncode == 0, done.stderr
        assert upgrade(server.process.pid).returncode == 1
        os.kill(int(done.stdout), signal.SIGKILL)
        server.wait_for_log(r"New master \(pid:\d+\) was ended by signal 9; this one goes on")
        assert get(server) == "old"
        (project.directory / "gate").write_text("")
        assert held.read_answer().text == "old"
    done = upgrade(server.process.pid)
    assert done.returncode == 0, done.stderr
    assert server.wait_for_exit() == 0
    end(family, int(done.stdout))


def test_a_server_that_is_not_there_is_told(project):
    done = upgrade(4194305)
    assert (done.returncode, "4194305" in done.stderr) == (1, True)


def test_after_an_upgrade_by_usr2_a_reload_is_for_the_server_that_serves(project, server, family):
    os.mkfifo(project.directory / "gate")
    old = server.process.pid
    with Wire(server.connect(), 30) as held:
        held.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n")
        poll(lambda: (project.directory / "held").exists(), "the request")
        os.kill(old, signal.SIGUSR2)
        new = family.pid_in("pid.2")
        server.wait_for_log(r"New master \(pid:\d+\) serves")
        project.write("app.py", APP.format(text="new"))
        refused = reload("-p", str(old))
        assert refused.returncode == 1
        assert f"name the one that serves: --pid {new}" in refused.stderr
        # The pid file is the old one's to the end, and leads to the new one.
        done = reload("-p", str(project.directory / "pid"))
        assert (done.returncode, done.stdout) == (0, "generation 2 serves\n"), done.stderr
        assert get(server) == "new"
        (project.directory / "gate").write_text("")
        assert held.read_answer().text == "old"
    assert server.wait_for_exit() == 0
    end(family, new)


def test_after_an_upgrade_a_stop_is_for_the_server_that_serves_and_for_what_the_old_one_still_does(
    project, server, family
):
    os.mkfifo(project.directory / "gate")
    old, pid_file = server.process.pid, str(project.directory / "pid")
    with Wire(server.connect(), 30) as held:
        held.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n")
        poll(lambda: (project.directory / "held").exists(), "the request")
        done = upgrade(old)
        assert done.returncode == 0, done.stderr
        new = int(done.stdout)
        refused = ctl("-p", str(old), "stop")
        assert refused.returncode == 1
        assert f"has handed over to server {new}" in refused.stderr
        stop = subprocess.Popen([*COMMAND, "ctl", "-p", pid_file, "-w", "stop"], stdout=subprocess.PIPE)
        family.gone(new, 40)
        server.wait_for_log(r"New master \(pid:\d+\) stopped; this one ends too")
        (project.directory / "gate").write_text("")
        assert held.read_answer().text == "old"
    assert stop.wait(40) == 0
    stop.stdout.close()
    assert server.wait_for_exit() == 0
    family.all_gone()
