"""Reload on code change: `--reload`, its engines, extra files, and what happens to broken code.

The tests wait for what a change brings about (a log line, another answer), never for a while.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.control import ctl
from support.server import IS_ORACLE, Server, poll

WSGI = """\
import helper
def app(environ, start_response):
    body = f"{helper.VALUE}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""
ASGI = """\
import helper
async def app(scope, receive, send):
    assert scope["type"] == "http"
    body = f"{helper.VALUE}".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""


class App:
    """An application in a directory of its own, that answers with a value of its module `helper`."""

    def __init__(self, directory: Path, start: Callable[..., Server], connect) -> None:
        self.directory, self._start, self._connect = directory, start, connect
        directory.mkdir()
        self.write("reloaded.py", WSGI)
        self.write("helper.py", "VALUE = 1\n")

    def write(self, name: str, text: str) -> Path:
        """Save a file as most editors do: write another one and rename it."""
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(text)
        if path.exists():
            # Gunicorn compares whole file times, and only takes a later one for a change.
            later = path.stat().st_mtime_ns + 10_000_000
            os.utime(new, ns=(later, max(later, new.stat().st_mtime_ns)))
        new.replace(path)
        return path

    def start(self, *arguments: str, reload: bool = True, **options) -> Server:
        flags = ["--reload"] if reload else []
        self.server = self._start("reloaded:app", *flags, *arguments, chdir=self.directory, **options)
        return self.server

    def answer(self):
        try:
            return self._connect(self.server).get("/")
        except (OSError, EOFError):
            return None  # Gunicorn's worker has left, and the next one has not begun.

    def shows(self, text: str, status: int = 200) -> None:
        """Wait until the application answers so."""

        def is_so() -> bool:
            answer = self.answer()
            return answer is not None and answer.status == status and text in answer.text

        poll(is_so, f"{status} {text!r} (now {self.answer()})", 20)


@pytest.fixture
def app(tmp_path: Path, start, connect) -> App:
    return App(tmp_path / "app", start, connect)


class TestChanges:
    @pytest.mark.parametrize("engine", ["auto", "poll", "inotify"])
    def test_a_changed_module_is_loaded_again(self, app, engine):
        if IS_ORACLE and engine == "inotify":
            pytest.skip("Gunicorn needs a package for it")
        server = app.start("--reload-engine", engine)
        app.shows("1")
        path = app.write("helper.py", "VALUE = 2\n")
        server.wait_for_log(rf"\[INFO\] Worker reloading: {path} modified")
        app.shows("2")
        app.write("helper.py", "VALUE = 3\n")
        app.shows("3")

    @pytest.mark.parametrize("worker", ["gthread", "gevent", "eventlet", "asgi"])
    def test_every_kind_of_worker_is_reloaded_and_shows_what_is_broken(self, app, worker):
        if worker in ("gevent", "eventlet") and find_spec(worker) is None:
            pytest.skip(f"{worker} is not installed")
        if IS_ORACLE and worker == "eventlet":
            pytest.skip("Gunicorn does not have it any more")
        app.write("reloaded.py", ASGI if worker == "asgi" else WSGI)
        server = app.start("--worker-class", worker, "--workers", "1")
        app.shows("1")
        app.write("helper.py", "VALUE = 2\n")
        app.shows("2")
        if IS_ORACLE:
            return  # A worker begins to watch after it has begun to serve, and may miss the next save.
        app.write("helper.py", "VALUE = = 3\n")
        app.shows("helper.py", 500)
        health = ctl(server, "health")
        assert (health["state"], health["ready"]) == ("degraded", True)
        assert health["why"].startswith("the application cannot be loaded; requests are answered with why: ")
        app.write("helper.py", "VALUE = 4\n")
        app.shows("4")
        assert ctl(server, "health")["state"] == "ready"

    def test_it_is_said_that_this_is_for_development(self, app):
        server = app.start()
        server.wait_for_log(r"\[WARNING\] Reloader is on\. Use in development only!")

    def test_nothing_is_watched_without_it(self, app):
        server = app.start(reload=False)
        app.shows("1")
        app.write("helper.py", "VALUE = 2\n")
        server.signal(signal.SIGHUP)
        app.shows("2")
        assert "modified" not in server.log()

    @pytest.mark.indrik_only  # Gunicorn's workers share the modules that its master has imported.
    def test_preloaded_code_is_loaded_again(self, app):
        app.start("--preload", "--workers", "2")
        app.shows("1")
        app.write("helper.py", "VALUE = 2\n")
        app.shows("2")

    @pytest.mark.parametrize("threads", [1, 4])
    def test_every_worker_is_replaced(self, app, threads):
        server = app.start("--workers", "3", "--threads", str(threads))
        app.shows("1")
        before = set(server.workers())
        app.write("helper.py", "VALUE = 2\n")
        server.wait_for_new_workers(before, 3)
        app.shows("2")

    @pytest.mark.indrik_only  # In Gunicorn every worker looks for itself.
    def test_one_save_is_one_reload_however_many_workers_see_it(self, app):
        server = app.start("--workers", "4")
        app.shows("1")
        for number in (2, 3):
            app.write("helper.py", f"VALUE = {number}\n")
            server.wait_for_log(f"Generation {number} serves with 4 workers")
            app.shows(f"{number}")
        assert server.log().count("modified") == 2
        assert "Generation 4" not in server.log()

    def test_a_module_that_is_imported_later_is_watched_too(self, app):
        app.write("late.py", "VALUE = 'late 1'\n")
        app.write("reloaded.py", WSGI.replace("helper.VALUE", "__import__('late').VALUE"))
        app.start()
        app.shows("late 1")
        if IS_ORACLE:
            # It takes the file's time at its next look, a second later.
            poll(lambda: app.write("late.py", "VALUE = 'late 2'\n") and "modified" in app.server.log(), "a look", 20)
        else:
            poll(lambda: touched(app.write("late.py", "VALUE = 'late 2'\n"), app.server), "a look", 20)
        app.shows("late 2")

    def test_requests_under_way_are_finished(self, app, gate, connect):
        app.write("helper.py", "VALUE = 1\n")
        app.write(
            "reloaded.py",
            WSGI.replace("    body", "    wait(environ)\n    body", 1)
            + "\ndef wait(environ):\n"
            + "    if environ['PATH_INFO'] == '/wait':\n"
            + f"        open({str(gate.path / 'arrived')!r}, 'wb', 0).write(b'%d\\n' % __import__('os').getpid())\n"
            + f"        open({str(gate.path / 'release')!r}, 'rb', 0).read(1)\n",
        )
        if IS_ORACLE:
            pytest.skip("Gunicorn ends the worker at once")
        app.start()
        app.shows("1")
        wire = connect(app.server)
        wire.send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n")
        gate.arrived()
        app.write("helper.py", "VALUE = 2\n")
        app.shows("2")
        gate.release()
        assert wire.read_answer().text == "1"

    @pytest.mark.indrik_only
    def test_thousands_of_files_are_watched_and_changed_at_once(self, app):
        names = [f"package/m{number}.py" for number in range(2000)]
        for name in names:
            app.write(name, "N = 0\n")
        imports = "import glob, importlib\nfor n in sorted(glob.glob('package/m*.py')):\n"
        imports += "    importlib.import_module(n[:-3].replace('/', '.'))\nimport package.m1999 as helper\n"
        app.write("reloaded.py", WSGI.replace("import helper\n", imports).replace("VALUE", "N"))
        app.start()
        app.shows("0")
        for name in names:
            app.write(name, "N = 1\n")
        app.shows("1")

    def test_worker_int_is_called_in_a_worker_whose_code_has_changed(self, app):
        config = app.write("hooks.py", "def worker_int(worker):\n    worker.log.info('interrupted')\n")
        server = app.start("--config", str(config), "--workers", "1")
        app.shows("1")
        app.write("helper.py", "VALUE = 2\n")
        server.wait_for_log("interrupted")
        app.shows("2")

    def test_a_server_that_reloads_stops_as_others_do(self, app):
        server = app.start("--workers", "2")
        app.shows("1")
        app.write("helper.py", "VALUE = 2\n")
        app.shows("2")
        assert server.stop() == 0


def touched(path: Path, server: Server) -> bool:
    return f"{path} modified" in server.log()


class TestBrokenCode:
    @pytest.mark.parametrize("interface", ["wsgi", "asgi"])
    @pytest.mark.parametrize("preload", [False, True])
    def test_a_syntax_error_is_shown_and_the_next_save_repairs_it(self, app, interface, preload):
        if IS_ORACLE and preload:
            pytest.skip("Gunicorn's master has imported the code and keeps it")
        app.write("reloaded.py", ASGI if interface == "asgi" else WSGI)
        server = app.start(*(["--preload"] if preload else []), interface=interface)
        app.shows("1")
        app.write("helper.py", "VALUE = = 2\n")
        app.shows("helper.py", 500)
        answer = app.answer()
        assert answer.header("content-type").startswith("text/plain")
        if not (IS_ORACLE and interface == "asgi"):  # That shows the message alone.
            assert "VALUE = = 2" in answer.text and "SyntaxError" in answer.text
        server.wait_for_log("SyntaxError")
        if IS_ORACLE and interface == "asgi":
            return  # Its worker does not watch the file that is broken.
        app.write("helper.py", "VALUE = 3\n")
        app.shows("3")
        assert server.process.poll() is None

    def test_a_syntax_error_at_the_start_is_shown_too(self, app):
        app.write("helper.py", "def broken(:\n")
        app.start()
        app.shows("def broken(:", 500)
        app.write("helper.py", "VALUE = 2\n")
        app.shows("2")

    @pytest.mark.indrik_only  # Gunicorn shows syntax errors alone; others end its workers, again and again.
    @pytest.mark.parametrize(
        ("code", "shown"),
        [
            ("raise RuntimeError('no database')\n", "RuntimeError: no database"),
            ("import a_module_that_is_missing\n", "a_module_that_is_missing"),
            ("import sys\nsys.exit(3)\n", "sys.exit(3)"),
            ("1 / 0\n", "ZeroDivisionError"),
        ],
    )
    @pytest.mark.parametrize("arguments", [[], ["--preload"], ["--worker-class", "asgi"]])
    def test_an_import_that_fails_is_shown_and_there_is_no_restart_loop(self, app, code, shown, arguments):
        app.write("reloaded.py", ASGI if "asgi" in arguments else WSGI)
        server = app.start(*arguments)
        app.shows("1")
        app.write("helper.py", code)
        app.shows(shown, 500)
        pids = server.workers(generation=2)
        for _ in range(5):
            assert app.answer().status == 500
        assert server.workers(generation=2) == pids
        app.write("helper.py", "VALUE = 2\n")
        app.shows("2")

    @pytest.mark.indrik_only
    def test_a_missing_module_that_appears_is_loaded(self, app):
        (app.directory / "helper.py").unlink()
        app.start()
        app.shows("helper", 500)
        app.write("helper.py", "VALUE = 'here'\n")
        app.shows("here")

    @pytest.mark.indrik_only
    def test_a_missing_application_is_shown(self, app):
        app.write("reloaded.py", "import helper\n")
        app.start()
        app.shows("'app'", 500)
        app.write("reloaded.py", WSGI)
        app.shows("1")

    @pytest.mark.indrik_only
    def test_a_start_up_that_fails_is_shown(self, app):
        failed = "{'type': 'lifespan.startup.failed', 'message': f'RuntimeError: {helper.VALUE}'}"
        lifespan = (
            f"    if scope['type'] == 'lifespan':\n        await receive()\n        return await send({failed})\n"
        )
        app.write("reloaded.py", ASGI.replace("    assert", lifespan + "    assert", 1))
        app.start()
        app.shows("RuntimeError: 1", 500)
        app.write("reloaded.py", ASGI)
        app.shows("1")

    @pytest.mark.indrik_only
    def test_a_deleted_file_counts_as_changed(self, app):
        app.start()
        app.shows("1")
        (app.directory / "helper.py").unlink()
        app.shows("No module named 'helper'", 500)
        app.write("helper.py", "VALUE = 2\n")
        app.shows("2")

    @pytest.mark.indrik_only  # Gunicorn does not read its configuration for this.
    def test_a_changed_configuration_is_read_and_a_broken_one_leaves_the_old_generation(self, app):
        config = app.write("settings/gunicorn.conf.py", "raw_env = ['NAME=first']\n")
        app.write("helper.py", "import os\nVALUE = os.environ['NAME']\n")
        # As it is named from the directory the server is started in, not from `--chdir`.
        server = app.start("--config", os.path.relpath(config))
        app.shows("first")
        app.write("settings/gunicorn.conf.py", "raw_env = [\n")
        server.wait_for_log("Reload failed")
        app.shows("first")
        app.write("settings/gunicorn.conf.py", "raw_env = ['NAME=second']\n")
        app.shows("second")


class TestExtraFiles:
    def test_a_template_that_is_named_is_watched(self, app):
        template = app.write("page.html", "one")
        app.write("helper.py", "VALUE = open('page.html').read()\n")
        server = app.start("--reload-extra-file", str(template))
        app.shows("one")
        app.write("page.html", "two")
        server.wait_for_log(rf"Worker reloading: {template} modified")
        app.shows("two")

    def test_a_pattern_covers_files_that_appear_later(self, app):
        app.write("templates/first.html", "one")
        app.write("helper.py", "import glob\nVALUE = [open(n).read() for n in sorted(glob.glob('templates/*'))]\n")
        server = app.start("--reload-extra-file", str(app.directory / "templates" / "**" / "*.html"))
        app.shows("['one']")
        second = app.write("templates/second.html", "two")
        if IS_ORACLE:
            # It only begins to watch the file, and says nothing.
            poll(lambda: app.write("templates/second.html", "two") and "modified" in server.log(), "a look", 20)
        server.wait_for_log(rf"Worker reloading: {second} modified")
        app.shows("['one', 'two']")

    @pytest.mark.indrik_only
    def test_a_named_file_may_appear_later_and_go_again(self, app):
        app.write("helper.py", "import os\nVALUE = os.path.exists('flag')\n")
        app.start("--reload-extra-file", "flag")
        app.shows("False")
        app.write("flag", "")
        app.shows("True")
        (app.directory / "flag").unlink()
        app.shows("False")


class TestSpew:
    def test_every_line_that_runs_is_written(self, app):
        server = app.start("--spew", reload=False)
        app.shows("1")
        server.wait_for_access_line(r"^reloaded:\d+: +body = f")
