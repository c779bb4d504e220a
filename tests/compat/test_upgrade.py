"""USR2: a new master beside the old one, with the same sockets, until one of them is told to leave."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

import pytest
from support.family import Family, stat_of
from support.server import COMMAND, IS_ORACLE, Server, poll
from support.wire import Wire

APP = """
import os
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"{text}"]
"""


@pytest.fixture
def family(project) -> Iterator[Family]:
    family = Family(project)
    yield family
    family.kill()


class Upgrade:
    """One server that is replaced by another one."""

    def __init__(self, project, family: Family, *arguments: str, **options) -> None:
        self.project, self.family = project, family
        project.config("workers = 1\npidfile = 'pid'\n")
        project.write("app.py", APP.format(text="old"))
        self.server: Server = project.start(*arguments, **options)
        self.server.clean_stop = False
        self.old = self.server.process.pid
        # Gunicorn's worker may be there and not have read the application yet.
        assert self.answers(1) == {"old"}

    def begin(self, text: str = "new") -> int:
        self.project.write("app.py", APP.format(text=text))
        self.server.signal(signal.SIGUSR2)
        new = self.family.pid_in("pid.2")
        poll(lambda: self.family.workers(new), "a worker of the new master", 20)
        return new

    def answers(self, count: int = 30) -> set[str]:
        found = set()
        for _ in range(count):
            with Wire(self.server.connect()) as wire:
                found.add(wire.get("/", "Connection: close").text)
        return found

    def end_old(self, number: int = signal.SIGTERM) -> None:
        self.server.signal(number)
        assert self.server.wait_for_exit() == 0


@pytest.fixture
def upgrade(project, family) -> Upgrade:
    return Upgrade(project, family)


def test_both_serve_and_the_new_one_is_promoted_when_the_old_one_ends(upgrade, family, project):
    new = upgrade.begin()
    pid, pid2 = project.directory / "pid", project.directory / "pid.2"
    assert (int(pid.read_text()), int(pid2.read_text())) == (upgrade.old, new)
    poll(lambda: upgrade.answers() == {"old", "new"}, "answers of both", 30)
    upgrade.end_old()
    upgrade.server.wait_for_log("Master has been promoted.")
    poll(lambda: pid.exists() and pid.read_text() == f"{new}\n" and not pid2.exists(), "the pid file's new owner")
    assert upgrade.answers() == {"new"}
    os.kill(new, signal.SIGTERM)
    family.gone(new)
    family.all_gone()
    assert not pid.exists()


def test_the_new_one_may_be_told_to_leave_instead(upgrade, family, project):
    new = upgrade.begin()
    os.kill(new, signal.SIGQUIT)
    family.gone(new)
    assert upgrade.answers() == {"old"}
    assert int((project.directory / "pid").read_text()) == upgrade.old
    assert not (project.directory / "pid.2").exists()
    # And it may be tried again.
    again = upgrade.begin("newer")
    upgrade.end_old()
    upgrade.server.wait_for_log("Master has been promoted.")
    assert upgrade.answers() == {"newer"}
    os.kill(again, signal.SIGTERM)
    family.all_gone()


def test_a_second_usr2_is_ignored_by_both(upgrade, family):
    new = upgrade.begin()
    upgrade.server.signal(signal.SIGUSR2)
    upgrade.server.wait_for_log(r"USR2 signal ignored. Child exists.")
    os.kill(new, signal.SIGUSR2)
    upgrade.server.wait_for_log(r"USR2 signal ignored. Parent exists.")
    upgrade.end_old()
    upgrade.server.wait_for_log("Master has been promoted.")
    os.kill(new, signal.SIGTERM)
    family.all_gone()


def test_a_new_one_that_cannot_start_leaves_the_old_one_as_it_was(upgrade, family, project):
    before = set(family.children(upgrade.old))
    project.write("app.py", "def app(:\n")
    upgrade.server.signal(signal.SIGUSR2)
    upgrade.server.wait_for_log("SyntaxError")
    poll(lambda: set(family.children(upgrade.old)) == before, "its end", 20)
    assert not (project.directory / "pid.2").exists()
    assert upgrade.answers() == {"old"}
    upgrade.begin()
    upgrade.end_old()
    upgrade.server.wait_for_log("Master has been promoted.")
    assert upgrade.answers() == {"new"}


def test_an_old_one_that_is_killed_is_replaced_at_once(upgrade, family, project):
    new = upgrade.begin()
    upgrade.server.signal(signal.SIGKILL)
    upgrade.server.process.wait()
    poll(lambda: (project.directory / "pid").read_text() == f"{new}\n", "the promotion", 20)
    if IS_ORACLE:
        # Its workers look for their parent now and then.
        poll(lambda: upgrade.answers() == {"new"}, "the end of the old workers", 40)
    assert upgrade.answers() == {"new"}
    os.kill(new, signal.SIGTERM)
    family.all_gone()


@pytest.mark.indrik_only
def test_a_configuration_with_a_mistake_leaves_the_old_one_as_it_was(upgrade, project):
    project.config("workers = 'many'\n")
    upgrade.server.signal(signal.SIGUSR2)
    upgrade.server.wait_for_log(r"New master \(pid:\d+\) exited with code 1; this one goes on")
    assert upgrade.answers() == {"old"}


def test_a_unix_socket_outlives_the_old_one_and_goes_with_the_new_one(project, family):
    path = project.directory / "socket"
    upgrade = Upgrade(project, family, bind=f"unix:{path}")
    new = upgrade.begin()
    upgrade.end_old()
    upgrade.server.wait_for_log("Master has been promoted.")
    assert upgrade.answers() == {"new"}
    os.kill(new, signal.SIGTERM)
    family.all_gone()
    assert not path.exists()


@pytest.mark.indrik_only
def test_no_request_is_lost(project, family):
    """Old and new together answer everything, and what waits in the kernel's queue changes its master."""
    upgrade = Upgrade(project, family)
    failures: list[str] = []
    stopping = threading.Event()

    def load() -> None:
        while not stopping.is_set():
            try:
                with Wire(upgrade.server.connect(), 30) as wire:
                    for _ in range(3):
                        answer = wire.get("/")
                        assert answer.status == 200
                        if answer.header("connection") == "close":
                            break
            except (OSError, EOFError, AssertionError) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    master = upgrade.old
    for turn in range(4):
        os.kill(master, signal.SIGUSR2)
        new = family.pid_in("pid.2")
        poll(lambda new=new: family.workers(new), "a worker of the new master", 20)
        upgrade.server.wait_for_log(rf"\[{new}\] \[INFO\] (Ready|Using worker: .*)$")
        os.kill(master, signal.SIGTERM)
        if turn == 0:
            upgrade.server.wait_for_exit()
        family.gone(master)
        poll(lambda new=new: family.pid_in("pid") == new, "the promotion", 20)
        master = new
    stopping.set()
    for thread in threads:
        thread.join()
    assert failures == []
    os.kill(master, signal.SIGTERM)
    family.all_gone()


@pytest.mark.indrik_only
def test_a_daemon_can_be_tried_out_and_brought_back(project, family):
    """USR2, WINCH to the old one; the new one dies: the old one serves again by itself."""
    project.config("workers = 1\npidfile = 'pid'\ndaemon = True\nerrorlog = 'log'\nbind = 'unix:socket'\n")
    project.write("app.py", APP.format(text="old"))
    done = family.launch("app:app")
    assert done.returncode == 0, done.stderr
    old = family.pid_in("pid")

    def answer() -> str:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(project.directory / "socket"))
        with Wire(connection) as wire:
            return wire.get("/", "Connection: close").text

    assert answer() == "old"
    project.write("app.py", APP.format(text="new"))
    os.kill(old, signal.SIGUSR2)
    new = family.pid_in("pid.2")
    poll(lambda: family.workers(new), "a worker of the new master", 20)
    os.kill(old, signal.SIGWINCH)
    poll(lambda: not family.workers(old), "the end of the old workers", 20)
    assert {answer() for _ in range(20)} == {"new"}
    os.kill(new, signal.SIGKILL)
    poll(lambda: family.workers(old), "the old master's worker", 20)
    assert answer()
    os.kill(old, signal.SIGTERM)
    family.all_gone()


@pytest.mark.indrik_only
@pytest.mark.parametrize("old_one", ["gunicorn", "indrik"])
def test_the_other_one_may_be_gunicorn(project, family, old_one):
    """An upgrade from Gunicorn to Indrik, and back, without closing the socket."""
    pytest.importorskip("gunicorn")
    kind = project.write("kind", old_one)
    launcher = project.write(
        "launcher.py",
        """
        import sys
        if open("kind").read() == "gunicorn":
            sys.argv += ["--no-control-socket"]
            from gunicorn.app.wsgiapp import run
            sys.exit(run())
        from indrik.__main__ import main
        sys.exit(main())
        """,
    )
    project.config("workers = 1\npidfile = 'pid'\n")
    project.write("app.py", APP.format(text=old_one))
    server = Server("app:app", log_directory=project.directory / "logs", cwd=project.directory)
    server.command = [sys.executable, str(launcher), *server.command[len(COMMAND) :]]
    server.environment |= project.environment
    server.start()
    poll(lambda: (project.directory / "pid").exists() and family.workers(server.process.pid), "a worker", 20)
    assert get(server) == old_one
    other = {"gunicorn": "indrik", "indrik": "gunicorn"}[old_one]
    kind.write_text(other)
    project.write("app.py", APP.format(text=other))
    server.signal(signal.SIGUSR2)
    new = family.pid_in("pid.2")
    server.wait_for_log("Booting worker with pid.*", 20)
    poll(lambda: len([1 for _ in range(20) if get(server) == other]) > 0, "an answer of the new one", 20)
    server.signal(signal.SIGTERM)
    server.wait_for_exit()
    server.wait_for_log("Master has been promoted.")
    assert {get(server) for _ in range(5)} == {other}
    os.kill(new, signal.SIGTERM)
    family.all_gone()
    server.kill()


def get(server: Server) -> str:
    with Wire(server.connect()) as wire:
        return wire.get("/", "Connection: close").text


@pytest.mark.indrik_only
def test_the_title_of_the_new_one_says_so_until_it_is_promoted(upgrade, family):
    from support.server import title_of

    new = upgrade.begin()
    assert title_of(new) == "indrik: master [app:app.2]"
    upgrade.end_old()
    poll(lambda: title_of(new) == "indrik: master [app:app]", "its title")
    assert stat_of(new)[0] != "Z"
    assert not IS_ORACLE
