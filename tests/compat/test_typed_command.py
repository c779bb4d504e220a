"""What the application sees of the command that was typed: ``sys.argv``, ``sys.orig_argv``, the main program."""

from __future__ import annotations

import json
import os
import sys

import pytest
from support.server import IS_ORACLE, Server
from support.wire import Wire

APP = """
import json, sys
def app(environ, start_response):
    start_response("200 OK", [])
    main = sys.modules["__main__"]
    seen = [sys.argv, sys.orig_argv, main.__file__, main.__name__, sys.flags.optimize]
    return [json.dumps(seen).encode()]
"""
# Has the program find the stand-in for Gunicorn.
INSTALL = "" if IS_ORACLE else "from indrik import facade; facade.install()"


def seen_by(server: Server) -> list:
    with Wire(server.connect()) as wire:
        return json.loads(wire.get("/", "Connection: close").body)


@pytest.mark.parametrize("arguments", [(), ("--preload",)])
def test_the_application_sees_the_command_as_it_was_typed(project, arguments):
    project.write("app.py", APP)
    server = project.start(*arguments)
    argv, line, file, name, _ = seen_by(server)
    assert argv == server.command
    assert line[-len(argv) :] == argv and os.path.basename(line[0]).startswith("python")
    assert (file, name) == (server.command[0], "__main__")


def test_the_interpreter_of_the_workers_has_the_options_that_were_typed(project):
    project.write("app.py", APP)
    server = project.start(launcher=(sys.executable, "-O"))
    argv, line, _, _, optimize = seen_by(server)
    assert line == server.command and argv == server.command[2:]
    assert optimize == 1


def test_the_application_of_a_program_sees_that_program(project):
    project.write("app.py", APP)
    project.write(
        "program.py",
        f"""
        import sys
        {INSTALL}
        from gunicorn.app.base import BaseApplication

        class Program(BaseApplication):
            def load_config(self):
                self.cfg.set("bind", sys.argv[sys.argv.index("--bind") + 1])
            def load(self):
                import app
                return app.app

        if __name__ == "__main__":
            Program().run()
        """,
    )
    # What follows is the program's; the command itself is one of its arguments.
    server = project.start(launcher=(sys.executable, "program.py"))
    argv, line, file, name, _ = seen_by(server)
    assert line == server.command and argv == server.command[1:]
    assert (file, name) == (str(project.directory / "program.py"), "__main__")
