"""Hooks that raise, that end the program, or that cannot be called."""

from __future__ import annotations

import os
import signal

import pytest
from support.hooks import TELL, calls, get, wait_for
from support.project import Project
from support.server import IS_ORACLE, free_port, poll

RAISES = """
def {hook}({parameters}):
    raise ValueError("no good")
"""


class TestHooksThatRaise:
    @pytest.mark.parametrize("hook", ["on_starting", "when_ready"])
    def test_before_the_first_worker_the_start_fails_with_the_traceback(self, project: Project, hook: str) -> None:
        project.config(RAISES.format(hook=hook, parameters="server"))
        done = project.run("--bind", f"127.0.0.1:{free_port()}", "app:app")
        assert done.code == 1
        assert "ValueError: no good" in done.stderr
        assert 'raise ValueError("no good")' in done.stderr
        if not IS_ORACLE:
            assert f"the hook {hook} (gunicorn.conf.py:2) raised ValueError: no good" in done.stderr

    @pytest.mark.parametrize("hook", ["on_starting", "when_ready"])
    @pytest.mark.parametrize("code", [0, 7])
    def test_sys_exit_before_the_first_worker_ends_the_start_with_its_code(
        self, project: Project, hook: str, code: int
    ) -> None:
        project.config(f"import sys\ndef {hook}(server):\n    sys.exit({code})\n")
        done = project.run("--bind", f"127.0.0.1:{free_port()}", "app:app")
        assert done.code == code
        assert "Traceback" not in done.stderr

    def test_pre_fork_ends_a_start(self, project: Project) -> None:
        project.config(RAISES.format(hook="pre_fork", parameters="server, worker"))
        done = project.run("--bind", f"127.0.0.1:{free_port()}", "app:app")
        assert done.code == 255
        assert "ValueError: no good" in done.stderr

    @pytest.mark.parametrize("hook", ["post_fork", "post_worker_init"])
    def test_while_a_worker_boots_the_start_fails_with_code_3(self, project: Project, hook: str) -> None:
        parameters = "server, worker" if hook == "post_fork" else "worker"
        project.config(RAISES.format(hook=hook, parameters=parameters))
        done = project.run("--bind", f"127.0.0.1:{free_port()}", "--workers", "1", "app:app")
        assert done.code == 3
        assert "ValueError: no good" in done.stderr

    def test_pre_request_is_answered_with_500_and_post_request_is_still_called(self, project: Project) -> None:
        project.config(
            TELL
            + """
def pre_request(worker, req):
    if req.path == "/bad":
        raise ValueError("no good")

def post_request(worker, req, environ, resp):
    tell("post_request", path=req.path, environ=bool(environ), resp=resp is not None)
"""
        )
        server = project.start("--workers", "1")
        assert get(server, "/bad") == 500
        assert get(server, "/good") == 200
        server.wait_for_log("ValueError: no good")
        wait_for(project, "post_request", count=2)
        facts = [call.facts for call in calls(project)]
        assert [(each["path"], each["environ"], each["resp"]) for each in facts] == [
            ("/bad", False, False),
            ("/good", True, True),
        ]

    def test_pre_request_of_an_asgi_application_is_answered_with_500(self, project: Project) -> None:
        project.config(
            "def pre_request(worker, req):\n    if req.path == '/bad':\n        raise ValueError('no good')\n"
        )
        project.write(
            "app.py",
            """
            async def app(scope, receive, send):
                assert scope["type"] == "http" and scope["path"] != "/bad"
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
                await send({"type": "http.response.body"})
            """,
        )
        server = project.start("--workers", "1", interface="asgi")
        assert get(server, "/bad") == 500
        assert get(server, "/good") == 200
        server.wait_for_log("ValueError: no good")

    def test_post_request_is_logged_and_the_answer_stands(self, project: Project) -> None:
        project.config(RAISES.format(hook="post_request", parameters="worker, req, environ, resp"))
        server = project.start("--workers", "1")
        assert get(server) == 200
        server.wait_for_log("Exception in post_request hook")
        server.wait_for_log("ValueError: no good")
        assert get(server) == 200

    def test_worker_exit_is_logged_and_the_worker_still_ends(self, project: Project) -> None:
        project.config(RAISES.format(hook="worker_exit", parameters="server, worker"))
        server = project.start("--workers", "1")
        assert get(server) == 200
        assert server.stop() == 0
        server.wait_for_log("ValueError: no good")

    @pytest.mark.indrik_only
    @pytest.mark.parametrize(
        ("hook", "parameters"),
        [("child_exit", "server, worker"), ("on_exit", "server"), ("nworkers_changed", "server, new, old")],
    )
    def test_later_master_hooks_are_logged_and_the_server_goes_on(
        self, project: Project, hook: str, parameters: str
    ) -> None:
        body = "    if old is None:\n        return\n" if hook == "nworkers_changed" else ""
        project.config(f"def {hook}({parameters}):\n{body}    raise ValueError('no good')\n")
        server = project.start("--workers", "1")
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        server.signal(signal.SIGTTIN)
        poll(lambda: len(server.workers()) == 2, "two workers")
        assert get(server) == 200
        assert server.stop() == 0
        server.wait_for_log(f"The hook {hook} .*raised ValueError: no good")

    @pytest.mark.indrik_only
    def test_on_reload_keeps_the_old_workers(self, project: Project) -> None:
        project.config(RAISES.format(hook="on_reload", parameters="server"))
        server = project.start("--workers", "1")
        before = server.workers()
        server.signal(signal.SIGHUP)
        server.wait_for_log("the hook on_reload .*raised ValueError: no good")
        server.wait_for_log("is given up")
        assert get(server) == 200
        assert server.workers() == before


class TestMistakes:
    @pytest.mark.parametrize(
        ("line", "wanted"),
        [
            ("def post_fork(worker): pass", "post_fork: must have 2 parameters (server, worker), but post_fork has 1"),
            ("def when_ready(): pass", "when_ready: must have 1 parameter (server), but when_ready has 0"),
            ("post_request = lambda worker: None", "post_request: must have 2 or 3 or 4 parameters"),
            ("on_exit = 'nothing.here'", "on_exit: cannot be used: No module named 'nothing'"),
            ("on_exit = 12", "on_exit: cannot be used: Value is not callable: 12"),
        ],
    )
    def test_a_hook_that_cannot_be_called_ends_the_start_naming_file_and_line(
        self, project: Project, line: str, wanted: str
    ) -> None:
        project.config(f"workers = 1\n{line}\n")
        done = project.run("--bind", f"127.0.0.1:{free_port()}", "app:app")
        assert done.code == 1
        if not IS_ORACLE:
            assert wanted in done.stderr
            assert "(gunicorn.conf.py:2)" in done.stderr
            assert "Traceback" not in done.stderr

    @pytest.mark.indrik_only
    def test_a_hook_that_is_none_is_no_hook(self, project: Project) -> None:
        project.config("post_fork = None\n")
        assert get(project.start("--workers", "1")) == 200
