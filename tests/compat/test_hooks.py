"""Hooks: which process calls them, in which order, and with what."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from urllib.request import urlopen

import pytest
from support.hooks import EVERY_HOOK, TELL, answer, calls, get, master, wait_for
from support.project import SOFTWARE_APP, Project
from support.server import IS_ORACLE, free_port, poll
from support.wire import Wire


class TestOrder:
    def test_a_life_from_start_to_term(self, project: Project) -> None:
        project.config(EVERY_HOOK)
        server = project.start("--workers", "1")
        assert get(server, "/page?a=1") == 200
        wait_for(project, "post_request")
        assert server.stop() == 0
        assert [call.hook for call in calls(project)] == [
            "nworkers_changed",
            "on_starting",
            "when_ready",
            "pre_fork",
            "post_fork",
            "post_worker_init",
            "pre_request",
            "post_request",
            "worker_exit",
            "child_exit",
            "on_exit",
        ]

    def test_master_hooks_share_a_process_and_worker_hooks_the_workers(self, project: Project) -> None:
        project.config(EVERY_HOOK)
        server = project.start("--workers", "2")
        wait_for(project, "post_worker_init", count=2)
        assert get(server) == 200
        wait_for(project, "post_request")
        workers = set(server.workers())
        assert server.stop() == 0
        in_master = {"nworkers_changed", "on_starting", "when_ready", "pre_fork", "child_exit", "on_exit"}
        at = master(project)
        for call in calls(project):
            assert (call.pid == at) == (call.hook in in_master), call
            if call.hook not in in_master:
                assert call.pid in workers
                assert call.facts["ppid"] == server.process.pid
        if IS_ORACLE:
            assert at == server.process.pid
        else:
            # The zygote, a child of the supervisor.
            assert calls(project, "on_starting")[0].facts["ppid"] == server.process.pid
        assert {call.pid for call in calls(project, "post_fork")} == workers

    def test_a_reload_calls_on_reload_before_the_first_fork_and_not_on_starting(self, project: Project) -> None:
        project.config(EVERY_HOOK)
        server = project.start("--workers", "1")
        server.signal(signal.SIGTTIN)
        wait_for(project, "post_worker_init", count=2)
        server.signal(signal.SIGHUP)
        wait_for(project, "child_exit", count=2)
        assert server.stop() == 0
        in_master = [call for call in calls(project) if "fork" not in call.hook and "worker_" not in call.hook]
        names = [call.hook for call in in_master if call.hook != "child_exit"]
        assert names == [
            "nworkers_changed",
            "on_starting",
            "when_ready",
            "nworkers_changed",
            "nworkers_changed",
            "on_reload",
            "on_exit",
        ]
        changes = [(call.facts["new"], call.facts["old"]) for call in calls(project, "nworkers_changed")]
        assert changes == [(1, None), (2, 1), (1, 2)]
        hooks = [call.hook for call in calls(project)]
        assert hooks.index("on_reload") < [i for i, hook in enumerate(hooks) if hook == "pre_fork"][2]
        ages = [call.facts["age"] for call in calls(project, "pre_fork")]
        assert ages == sorted(set(ages)), "ages grow and are never used again"

    def test_preload_imports_the_application_before_on_starting(self, project: Project) -> None:
        project.config(EVERY_HOOK + "\npreload_app = True\n")
        project.write("app.py", "import recorder\nrecorder.record('import')\ndef app(environ, start): ...\n")
        server = project.start("--workers", "1")
        wait_for(project, "post_worker_init")
        assert server.stop() == 0
        hooks = [call.hook for call in calls(project)]
        assert hooks[:4] == ["nworkers_changed", "import", "on_starting", "when_ready"]
        assert hooks.count("import") == 1

    def test_without_preload_the_application_is_imported_between_post_fork_and_post_worker_init(
        self, project: Project
    ) -> None:
        project.config(EVERY_HOOK)
        project.write("app.py", "import recorder\nrecorder.record('import')\ndef app(environ, start): ...\n")
        server = project.start("--workers", "1")
        wait_for(project, "post_worker_init")
        assert server.stop() == 0
        hooks = [call.hook for call in calls(project)]
        assert hooks[3:7] == ["pre_fork", "post_fork", "import", "post_worker_init"]

    def test_the_addresses_are_bound_between_on_starting_and_when_ready(self, project: Project) -> None:
        project.config(
            TELL
            + """
import socket

def bound(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

def on_starting(server):
    tell("on_starting", bound=bound(server.address[0][1]))

def when_ready(server):
    tell("when_ready", bound=bound(server.address[0][1]))
"""
        )
        server = project.start("--workers", "1")
        # The probe's connection is accepted and found empty.
        assert get(server) == 200
        assert [call.facts["bound"] for call in calls(project)] == [False, True]
        if not IS_ORACLE:
            assert "ERROR" not in server.log()

    def test_an_upgrade_calls_pre_exec_before_the_new_server_begins(self, project: Project) -> None:
        project.config(
            TELL
            + """
def pre_exec(server):
    tell("pre_exec", workers=server.num_workers)

def on_starting(server):
    tell("on_starting")

def when_ready(server):
    tell("when_ready")
"""
        )
        server = project.start("--workers", "1", "--pid", "server.pid")
        assert get(server) == 200
        server.signal(signal.SIGUSR2)
        wait_for(project, "when_ready", count=2)
        new = int((project.directory / "server.pid.2").read_text())
        assert [call.hook for call in calls(project)] == [
            "on_starting",
            "when_ready",
            "pre_exec",
            "on_starting",
            "when_ready",
        ]
        if not IS_ORACLE:
            assert calls(project, "pre_exec")[0].pid == master(project)
        os.kill(new, signal.SIGTERM)
        poll(lambda: not (project.directory / "server.pid.2").exists(), "the end of the new server")
        assert get(server) == 200


class TestObjects:
    def test_server_and_worker_carry_what_configurations_use(self, project: Project) -> None:
        project.config(EVERY_HOOK)
        server = project.start("--workers", "1")
        assert get(server, "/page?a=1") == 200
        wait_for(project, "post_request")
        (worker,) = server.workers()
        assert server.stop() == 0
        told = {call.hook: call.facts for call in calls(project)}
        address = f"127.0.0.1:{server.port}"
        assert told["on_starting"]["server"] == server.process.pid
        assert told["on_starting"]["bind"] == [address]
        assert told["on_starting"]["workers"] == 1
        assert told["when_ready"]["colour"] == "red"
        assert told["when_ready"]["listeners"] == [f"http://{address}"]
        assert told["pre_fork"]["pid"] == "[booting]"
        assert told["pre_fork"]["booted"] is False
        assert told["post_fork"]["own"] and told["post_fork"]["tag"] == "tag 1"
        assert told["post_fork"]["server"] == server.process.pid
        assert told["post_worker_init"]["app"] and told["post_worker_init"]["alive"]
        assert told["child_exit"] | {"ppid": 0} == {
            "ppid": 0, "age": 1, "pid": worker, "tag": "tag 1", "known": False,
        }  # fmt: skip
        assert told["worker_exit"]["nr"] == 1
        assert told["on_exit"]["colour"] == "red"
        server.wait_for_log(r"\[INFO\] the server is ready")
        server.wait_for_log(rf"\[{worker}\] \[INFO\] worker 1")

    def test_request_and_response_carry_what_configurations_use(self, project: Project) -> None:
        project.config(EVERY_HOOK)
        project.write(
            "app.py",
            """
            def app(environ, start_response):
                start_response("201 Made", [("Content-Length", "5"), ("X-One", "1")])
                return [b"hello"]
            """,
        )
        server = project.start("--workers", "1")
        with Wire(server.connect()) as wire:
            wire.send(
                "POST /a%20b?c=d HTTP/1.1\r\nHost: h\r\nX-Two: 2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            assert wire.read_answer().status == 201
        wait_for(project, "post_request")
        (before,), (after,) = calls(project, "pre_request"), calls(project, "post_request")
        headers = before.facts.pop("headers")
        assert {("CONNECTION", "close"), ("X-TWO", "2")} <= set(headers)
        assert before.facts | {"ppid": 0} == {
            "ppid": 0, "age": 1, "method": "POST", "uri": "/a%20b?c=d", "path": "/a%20b", "query": "c=d",
            "version": (1, 1), "peer": "127.0.0.1", "scheme": "http",
        }  # fmt: skip
        assert after.facts | {"ppid": 0} == {
            "ppid": 0, "seen": True, "nr": 1, "status": "201 Made", "sent": 5, "path": "/a b",
            "headers": [("Content-Length", "5"), ("X-One", "1")],
        }  # fmt: skip

    def test_pre_request_may_change_the_request(self, project: Project) -> None:
        project.config(
            """
def pre_request(worker, req):
    if req.path.startswith("/shop/"):
        req.path = req.path[len("/shop"):]
        req.headers = [pair for pair in req.headers if pair[0] != "X-SECRET"]
        req.headers.append(("X-ADDED", "yes"))
        req.query = "changed=1"
"""
        )
        project.write(
            "app.py",
            """
            def app(environ, start_response):
                names = ["PATH_INFO", "QUERY_STRING", "HTTP_X_SECRET", "HTTP_X_ADDED", "HTTP_X_OTHER", "CONTENT_LENGTH"]
                body = " ".join(environ.get(name, "-") for name in names).encode()
                start_response("200 OK", [("Content-Length", str(len(body)))])
                return [body]
            """,
        )
        server = project.start("--workers", "1")
        headers = ("X-Secret: 1", "X-Other: 2", "Connection: close")
        with Wire(server.connect()) as wire:
            answer = wire.get("/shop/a%20b", *headers, method="POST", body=b"four")
            assert answer.text == "/a b changed=1 - yes 2 4"
        with Wire(server.connect()) as wire:
            assert wire.get("/other?b=c", *headers).text == "/other b=c 1 - 2 -"

    @pytest.mark.parametrize("count", [2, 3, 4])
    def test_post_request_may_have_two_three_or_four_parameters(self, project: Project, count: int) -> None:
        names = ["worker", "req", "environ", "resp"][:count]
        project.config(
            f"{TELL}\ndef post_request({', '.join(names)}):\n"
            f"    tell('post_request', types=[type(each).__name__ for each in ({', '.join(names)},)])\n"
        )
        server = project.start("--workers", "1")
        assert get(server) == 200
        wait_for(project, "post_request")
        (call,) = calls(project)
        assert call.facts["types"] == ["SyncWorker", "Request", "dict", "Response"][:count]

    def test_a_worker_that_is_told_not_to_be_alive_is_replaced(self, project: Project) -> None:
        project.config(
            TELL
            + """
def post_fork(server, worker):
    tell("post_fork", age=worker.age)

def post_request(worker, req, environ, resp):
    if worker.age == 1:
        worker.alive = False

def child_exit(server, worker):
    tell("child_exit", age=worker.age)
"""
        )
        server = project.start("--workers", "1")
        assert get(server) == 200
        wait_for(project, "child_exit")
        poll(lambda: len(calls(project, "post_fork")) == 2, "the next worker")
        assert get(server) == 200
        assert [call.facts["age"] for call in calls(project, "post_fork")] == [1, 2]
        assert calls(project, "child_exit")[0].facts["age"] == 1

    def test_the_number_of_workers_may_be_set_by_a_hook(self, project: Project) -> None:
        project.config(
            TELL
            + """
def when_ready(server):
    server.num_workers = 3

def nworkers_changed(server, new_value, old_value):
    tell("nworkers_changed", new=new_value, old=old_value)
"""
        )
        server = project.start("--workers", "1")
        poll(lambda: len(server.workers()) == 3, "three workers")
        assert [(call.facts["new"], call.facts["old"]) for call in calls(project)] == [(1, None), (3, 1)]

    def test_a_hook_may_kill_a_worker(self, project: Project) -> None:
        project.config(
            TELL
            + """
import signal

def nworkers_changed(server, new_value, old_value):
    if old_value:
        server.kill_worker(next(iter(server.WORKERS)), signal.SIGTERM)

def post_worker_init(worker):
    tell("post_worker_init")

def child_exit(server, worker):
    tell("child_exit", age=worker.age, left=len(server.WORKERS))
"""
        )
        server = project.start("--workers", "1")
        wait_for(project, "post_worker_init")
        server.signal(signal.SIGTTIN)
        wait_for(project, "child_exit")
        assert calls(project, "child_exit")[0].facts["age"] == 1
        poll(lambda: len(server.workers()) == 2, "two workers")

    def test_hooks_may_be_import_paths(self, project: Project) -> None:
        project.write(
            "shop/hooks.py", TELL + "\ndef ready(server):\n    tell('when_ready', workers=server.num_workers)\n"
        )
        project.write("shop/__init__.py", "")
        project.config("when_ready = 'shop.hooks.ready'\n")
        server = project.start("--workers", "1")
        assert server.stop() == 0
        assert calls(project)[0].facts["workers"] == 1


class TestWorkers:
    @pytest.mark.parametrize(
        "kind",
        [
            ["--threads", "4"],
            ["--worker-class", "gthread"],
            ["--worker-class", "gevent"],
            pytest.param(["--worker-class", "eventlet"], marks=pytest.mark.indrik_only),
        ],
    )
    def test_threads_and_greenlets_call_the_same_hooks(self, project: Project, kind: list[str]) -> None:
        project.config(EVERY_HOOK)
        server = project.start("--workers", "1", *kind)
        assert get(server, "/1") == get(server, "/2") == 200
        wait_for(project, "post_request", count=2)
        assert server.stop() == 0
        hooks = [call.hook for call in calls(project)]
        assert hooks[4:6] == ["post_fork", "post_worker_init"]
        assert sorted(hooks[6:10]) == ["post_request", "post_request", "pre_request", "pre_request"]
        assert hooks[10:] == ["worker_exit", "child_exit", "on_exit"]

    def test_asgi_calls_the_hooks_around_its_lifespan(self, project: Project) -> None:
        # Gunicorn's request has no room for attributes here, and another address.
        config = EVERY_HOOK.replace("app=callable(worker.wsgi)", "app=True").replace("seen=req.seen", "seen=True")
        project.config(config.replace("peer=req.peer_addr[0]", "peer=None").replace("req.seen = True", "pass"))
        project.write(
            "app.py",
            """
            from recorder import record

            async def app(scope, receive, send):
                if scope["type"] == "lifespan":
                    for event in ("startup", "shutdown"):
                        await receive()
                        record("lifespan." + event)
                        await send({"type": f"lifespan.{event}.complete"})
                    return
                record("application")
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
                await send({"type": "http.response.body", "body": b"ok"})
            """,
        )
        server = project.start("--workers", "1", "--access-logfile", "-", interface="asgi")
        assert get(server, "/page") == 200
        wait_for(project, "post_request")
        assert server.stop() == 0
        hooks = [call.hook for call in calls(project)]
        assert hooks[3:] == [
            "pre_fork",
            "post_fork",
            "post_worker_init",
            "lifespan.startup",
            "pre_request",
            "application",
            "post_request",
            "lifespan.shutdown",
            "worker_exit",
            "child_exit",
            "on_exit",
        ]
        (call,) = calls(project, "post_request")
        assert (call.facts["status"], call.facts["path"], call.facts["sent"]) == (200, "/page", 2)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
    def test_a_quick_end_calls_worker_int_then_worker_exit(self, project: Project, number: int) -> None:
        project.config(EVERY_HOOK)
        server = project.start("--workers", "1")
        poll(lambda: calls(project, "post_worker_init"), "the worker")
        assert get(server) == 200
        assert server.stop(number) == 0
        hooks = [call.hook for call in calls(project)]
        assert hooks[-4:] == ["worker_int", "worker_exit", "child_exit", "on_exit"]
        assert calls(project, "worker_int")[0].facts["alive"] is False

    def test_a_worker_that_hangs_calls_worker_abort(self, project: Project) -> None:
        project.config(EVERY_HOOK + "\ntimeout = 1\n")
        project.write(
            "app.py",
            """
            import select

            def app(environ, start_response):
                if environ["PATH_INFO"] == "/hang":
                    while True:
                        select.select([], [], [], 0.01)
                start_response("200 OK", [("Content-Length", "0")])
                return []
            """,
        )
        server = project.start("--workers", "1")
        assert get(server) == 200
        with Wire(server.connect(), 30) as wire:
            wire.send("GET /hang HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            wait_for(project, "worker_abort", seconds=30)
            wait_for(project, "child_exit")
        hooks = [call.hook for call in calls(project, "worker_abort", "worker_exit", "child_exit")]
        # Gunicorn's worker answers 500, and may be killed before it comes to its exit.
        if IS_ORACLE:
            assert hooks.index("worker_abort") < hooks.index("child_exit")
        else:
            assert hooks[:3] == ["worker_abort", "worker_exit", "child_exit"]

    def test_workers_that_reach_max_requests_say_how_many_they_handled(self, project: Project) -> None:
        project.config(EVERY_HOOK + "\nmax_requests = 3\n")
        server = project.start("--workers", "1")
        for _ in range(3):
            assert get(server) == 200
        wait_for(project, "child_exit")
        assert calls(project, "worker_exit")[0].facts["nr"] == 3


class TestLivesOn:
    def test_a_metrics_server_of_when_ready_answers_after_reloads(self, project: Project) -> None:
        port = free_port()
        project.config(
            f"""
            import threading
            from http.server import BaseHTTPRequestHandler, HTTPServer

            class Metrics(BaseHTTPRequestHandler):
                def do_GET(self):
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(b"metrics")

            def on_exit(server):
                from recorder import record
                server.metrics.shutdown()
                record("on_exit")

            def when_ready(server):
                metrics = server.metrics = HTTPServer(("127.0.0.1", {port}), Metrics)
                threading.Thread(target=metrics.serve_forever, daemon=True).start()

            def post_worker_init(worker):
                from recorder import record
                record("post_worker_init")

            def child_exit(server, worker):
                from recorder import record
                record("child_exit")
            """
        )
        server = project.start("--workers", "1")
        for reloads in (1, 2):
            server.signal(signal.SIGHUP)
            wait_for(project, "child_exit", count=reloads)
            with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                assert answer.read() == b"metrics"
            assert get(server) == 200
        if not IS_ORACLE:
            zygotes = lambda: [title for title in server.titles() if title.startswith("indrik: zygote")]  # noqa: E731
            poll(lambda: len(zygotes()) == 2, "the end of the second zygote")
            assert any("kept for its threads" in title for title in zygotes())
        assert server.stop() == 0
        assert len(calls(project, "on_exit")) == 1

    def test_a_program_that_a_hook_starts_can_be_ended_by_signals(self, project: Project) -> None:
        project.config(
            """
            import subprocess
            from recorder import record

            def when_ready(server):
                helper = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
                server.helper = helper
                record(f"helper {helper.pid}")
            """
        )
        project.start("--workers", "1")
        (pid,) = [int(words.split()[1]) for words in project.words() if words.startswith("helper")]
        os.kill(pid, signal.SIGTERM)
        poll(lambda: not Path(f"/proc/{pid}/exe").exists(), "the end of the helper")


class TestServerName:
    @pytest.mark.parametrize(
        ("change", "header", "software"),
        [
            ("import gunicorn\ngunicorn.SERVER = 'shop'\ngunicorn.SERVER_SOFTWARE = 'shop/1'\n", "shop", "shop/1"),
            (
                "from gunicorn.http import wsgi\n"
                "class Response(wsgi.Response):\n"
                "    def default_headers(self, *arguments, **keywords):\n"
                "        lines = super().default_headers(*arguments, **keywords)\n"
                "        return [line for line in lines if not line.startswith('Server:')]\n"
                "wsgi.Response = Response\n",
                None,
                None,
            ),
        ],
    )
    def test_a_configuration_that_hides_the_server_is_obeyed(
        self, project: Project, change: str, header: str | None, software: str | None
    ) -> None:
        project.config(change)
        project.write("app.py", SOFTWARE_APP)
        server = project.start("--workers", "1")
        response = answer(server)
        assert response.header("server") == header
        if software is not None:
            assert response.body.decode() == software

    def test_applications_find_gunicorn_in_their_environment_variables(self, project: Project) -> None:
        project.write(
            "app.py",
            """
            import os

            def app(environ, start_response):
                body = os.environ["SERVER_SOFTWARE"].encode()
                start_response("200 OK", [("Content-Length", str(len(body)))])
                return [body]
            """,
        )
        server = project.start("--workers", "1")
        assert answer(server).body.startswith(b"gunicorn/")
