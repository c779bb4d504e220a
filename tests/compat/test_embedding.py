"""Programs that embed the server: `class App(BaseApplication)`, `App().run()`, as in Gunicorn's manual."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.project import Project
from support.server import COMMAND, IS_ORACLE, REPOSITORY, Server, free_port, poll
from support.wire import Answer, Wire

PYTHON = str(Path(COMMAND[-1]).with_name("python") if IS_ORACLE else REPOSITORY / ".venv" / "bin" / "python")
# Without a change to the program; it could as well call indrik.facade.install() itself.
RUN = [PYTHON] if IS_ORACLE else [PYTHON, "-m", "indrik.facade"]

STANDALONE = """
import os
import sys

import gunicorn.app.base
from recorder import record

record("program")

class StandaloneApplication(gunicorn.app.base.BaseApplication):
    def __init__(self, app, options=None):
        self.options = options or {}
        self.application = app
        super().__init__()

    def load_config(self):
        config = {key: value for key, value in self.options.items() if key in self.cfg.settings and value is not None}
        for key, value in config.items():
            self.cfg.set(key.lower(), value)

    def load(self):
        return self.application

def make(greeting):
    def application(environ, start_response):
        body = f"{greeting} {__name__} {sys.argv[1:]}".encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    return application

def when_ready(server):
    record(f"when_ready {server.cfg.workers} {type(server.app).__name__}")

if __name__ == "__main__":
    options = {
        "bind": f"127.0.0.1:{sys.argv[1]}",
        "workers": 2,
        "when_ready": when_ready,
        "post_request": lambda worker, req: record("post_request"),
        "control_socket_disable": True,
    }
    StandaloneApplication(make("hello"), options).run()
    record("never")
"""

Run = Callable[..., Server]


@pytest.fixture
def run(project: Project, tmp_path: Path) -> Iterator[Run]:
    """Run a program of the project as a server; its first argument is the port."""
    servers: list[Server] = []

    def run(name: str, *arguments: str) -> Server:
        server = Server("", log_directory=tmp_path / "program", cwd=project.directory, environment=project.environment)
        server.command = [*RUN, name, str(server.port), *arguments]
        servers.append(server.__enter__())
        return server

    yield run
    for server in servers:
        server.__exit__(None)


def get(server: Server) -> Answer:
    with Wire(server.connect()) as wire:
        return wire.get("/", "Connection: close")


def test_a_program_serves_its_application_with_its_options(project: Project, run: Run) -> None:
    project.write("standalone.py", STANDALONE)
    server = run("standalone.py", "more")
    poll(lambda: len(server.workers()) == 2, "two workers")
    assert get(server).text == f"hello __main__ ['{server.port}', 'more']"
    assert "when_ready 2 StandaloneApplication" in project.words()
    project.wait_for_records("post_request")
    assert server.stop() == 0
    assert "never" not in project.words()


def test_a_reload_keeps_it_serving(project: Project, run: Run) -> None:
    project.write("standalone.py", STANDALONE)
    server = run("standalone.py")
    poll(lambda: len(server.workers()) == 2, "two workers")
    before = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(before, 2)
    assert get(server).text.startswith("hello")


@pytest.mark.indrik_only
def test_a_reload_takes_new_code_of_the_program(project: Project, run: Run) -> None:
    project.write("standalone.py", STANDALONE)
    server = run("standalone.py")
    poll(lambda: len(server.workers()) == 2, "two workers")
    before = server.workers()
    project.write("standalone.py", STANDALONE.replace('make("hello")', 'make("goodbye")'))
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(before)
    assert get(server).text.startswith("goodbye")


def test_a_program_may_read_the_command_line_and_the_configuration_file(project: Project, run: Run) -> None:
    project.config("workers = 3\nraw_env = ['GREETING=hi']\n")
    project.write(
        "command.py",
        """
        import sys
        from gunicorn.app.wsgiapp import WSGIApplication

        class Command(WSGIApplication):
            def init(self, parser, opts, args):
                super().init(parser, opts, args[1:])
                return {"bind": f"127.0.0.1:{args[0]}", "control_socket_disable": True}

        Command("%(prog)s PORT MODULE:APP", prog="command").run()
        """,
    )
    project.write(
        "app.py",
        """
        import os

        def app(environ, start_response):
            body = f"{os.environ['GREETING']} {environ['wsgi.multithread']}".encode()
            start_response("200 OK", [("Content-Length", str(len(body)))])
            return [body]
        """,
    )
    server = run("command.py", "app:app", "--threads", "2")
    poll(lambda: len(server.workers()) == 3, "three workers")
    assert get(server).text == "hi True"


def test_an_arbiter_made_by_hand_serves_as_well(project: Project, run: Run) -> None:
    by_hand = "from gunicorn.arbiter import Arbiter\n    Arbiter(StandaloneApplication(make('hand'), options)).run()"
    project.write("byhand.py", STANDALONE.replace('StandaloneApplication(make("hello"), options).run()', by_hand))
    assert get(run("byhand.py")).text.startswith("hand")


@pytest.mark.indrik_only
def test_an_arbiter_s_own_methods_that_nobody_calls_are_named(project: Project, run: Run) -> None:
    own = """from gunicorn.arbiter import Arbiter
    class Own(Arbiter):
        def __init__(self, app):
            super().__init__(app)
            self.expected = self.num_workers * 2

        def manage_workers(self):
            record("never")

        def run(self):
            record(f"run {self.expected}")
            super().run()

    Own(StandaloneApplication(make('own'), options)).run()"""
    project.write("own.py", STANDALONE.replace('StandaloneApplication(make("hello"), options).run()', own))
    server = run("own.py")
    assert get(server).text.startswith("own")
    assert "the arbiter '__main__.Own': its own manage_workers() is not run" in server.log()
    assert "run 4" in project.words()


def test_the_command_of_gunicorn_as_a_function_is_the_server(project: Project, run: Run) -> None:
    project.write(
        "main.py",
        """
        import sys
        from gunicorn.app.wsgiapp import run

        sys.argv[1:2] = ["--bind", f"127.0.0.1:{sys.argv[1]}"]
        run(prog="main")
        """,
    )
    server = run("main.py", "app:app")
    assert get(server).status == 200


def test_a_setting_that_is_wrong_ends_the_program(project: Project) -> None:
    project.write("standalone.py", STANDALONE.replace('"workers": 2', '"workers": -2'))
    done = finish(project, "standalone.py", str(free_port()))
    assert done.returncode == 1
    assert "Value must be positive: -2" in done.stderr


@pytest.mark.indrik_only
def test_a_program_that_fails_in_the_zygote_ends_the_start_with_its_traceback(project: Project) -> None:
    project.write("standalone.py", STANDALONE + "\n")
    broken = STANDALONE.replace('record("program")', 'import os\nif os.getppid() != int(os.environ["PARENT"]): 1 / 0')
    project.write("standalone.py", broken)
    done = finish(project, "standalone.py", str(free_port()))
    assert done.returncode == 1
    assert "the program failed: ZeroDivisionError" in done.stderr


@pytest.mark.indrik_only
def test_code_without_a_file_cannot_run_the_server(project: Project) -> None:
    code = "from indrik.facade import install; install()\n" + STANDALONE
    done = subprocess.run(
        [PYTHON, "-c", code, "1"], cwd=project.directory, env=environment(project), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "must be a file or a module" in done.stderr


def finish(project: Project, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, name, *arguments],
        cwd=project.directory,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=30,
    )


def environment(project: Project) -> dict[str, str]:
    import os

    return os.environ | project.environment | {"PARENT": str(os.getpid())}


def test_a_setting_that_is_set_to_its_default_is_what_the_program_wants(project: Project, run: Run) -> None:
    project.write("standalone.py", STANDALONE.replace('"workers": 2', '"workers": 1'))
    server = run("standalone.py")
    project.wait_for_records("when_ready 1 StandaloneApplication")
    assert len(server.workers()) == 1


def test_hooks_that_nobody_has_set_have_the_names_of_gunicorn_s(project: Project) -> None:
    program = "from gunicorn.config import Config; c = Config(); print([c.settings[n].get().__qualname__ for n in "
    program += "('on_starting', 'pre_fork', 'post_request', 'nworkers_changed', 'ssl_context')], c.when_ready.__name__)"
    project.write("show.py", program)
    done = subprocess.run([*RUN, "show.py"], cwd=project.directory, capture_output=True, text=True, check=True)
    names = "OnStarting.on_starting Prefork.pre_fork PostRequest.post_request NumWorkersChanged.nworkers_changed"
    assert done.stdout.split("'")[1::2] == [*names.split(), "NewSSLContext.ssl_context"]
    assert done.stdout.split()[-1] == "when_ready"
