"""Worker classes by every name in use: what runs under them, and the greenlet workers in depth.

Gunicorn 26 dropped eventlet and never had the classes of Uvicorn and aiohttp: those tests, and what
Gunicorn does not say, are Indrik's alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server import APPS, COMMAND, IS_ORACLE, Server, poll

GREEN = ["gevent"] if IS_ORACLE else ["gevent", "eventlet"]
PIECE = 65536


@pytest.fixture(scope="module", params=GREEN)
def green(request, start_shared) -> Server:
    return start_shared("green_app:app", "-k", request.param, "-w", "1", "--worker-connections", "1200")


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


class Door:
    """Where requests of `/hold` wait to be let go: by closing what `enter` gives."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.guests: list[socket.socket] = []

    def enter(self, seconds: float = 15.0) -> socket.socket:
        self.listener.settimeout(seconds)
        self.guests.append(self.listener.accept()[0])
        return self.guests[-1]

    def nobody_enters(self, seconds: float) -> bool:
        return not select.select([self.listener], [], [], seconds)[0]

    def close(self) -> None:
        for guest in [*self.guests, self.listener]:
            guest.close()


@pytest.fixture
def wire(connect, green):
    return connect(green)


def get(connect, server: Server, target: str):
    answer = connect(server).get(target)
    assert answer.status == 200, answer.text
    return answer


def seen(connect, server: Server, target: str = "/describe") -> dict:
    return json.loads(get(connect, server, target).body)


def ask_all(server: Server, target: str, count: int, seconds: float = 60.0) -> list[bytes]:
    """Sends one request on each of `count` connections before any answer is read."""
    request = f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode()
    with contextlib.ExitStack() as open_sockets, selectors.DefaultSelector() as selector:
        for _ in range(count):
            connection = open_sockets.enter_context(server.connect())
            connection.sendall(request)
            selector.register(connection, selectors.EVENT_READ, bytearray())
        answers = []
        while len(answers) < count:
            ready = selector.select(seconds)
            assert ready, f"{count - len(answers)} of {count} answers are missing after {seconds} s"
            for key, _ in ready:
                data = key.fileobj.recv(65536)
                key.data.extend(data)
                if not data:
                    selector.unregister(key.fileobj)
                    answers.append(bytes(key.data))
        return answers


class TestGreenlets:
    def test_the_library_is_patched_before_the_application_is_imported(self, green, connect):
        found = seen(connect, green)
        assert found["lock"] != "_thread"
        assert found["futures"] != "_thread"
        assert found["socket"].split(".")[0] in ("gevent", "eventlet")
        assert found["multithread"] is True
        assert "reenlet" in found["greenlet"] or "GreenThread" in found["greenlet"]

    def test_a_thousand_requests_sleep_at_once_in_one_worker(self, green):
        answers = ask_all(green, "/crowd?size=1000", 1000)
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
        assert len(green.workers()) == 1

    def test_a_thousand_requests_wait_on_a_socket_at_once_in_one_worker(self, green):
        with waiting_room(1000) as port:
            answers = ask_all(green, f"/ask?port={port}", 1000)
        assert all(answer.endswith(b"all are here") for answer in answers)

    def test_a_slow_reader_holds_nobody_up(self, green, connect):
        slow = [connect(green) for _ in range(20)]
        for wire in slow:
            wire.send("GET /stream?pieces=64 HTTP/1.1\r\nHost: test\r\n\r\n")
            assert wire.read_head().status == 200
        for _ in range(20):
            assert get(connect, green, "/").text == "hello"
        for wire in slow:
            assert read_all_chunks(wire) == 64 * PIECE

    def test_write_waits_for_a_slow_reader_and_lets_others_run(self, green, connect):
        slow = connect(green)
        slow.send("GET /write?pieces=64 HTTP/1.1\r\nHost: test\r\n\r\n")
        assert slow.read_head().status == 200
        assert get(connect, green, "/").text == "hello"
        assert read_all_chunks(slow) == 64 * PIECE

    def test_a_client_that_leaves_ends_its_stream_and_close_is_called(self, green, connect):
        before = int(get(connect, green, "/closed").text)
        leaving = connect(green)
        leaving.send("GET /stream?pieces=100000 HTTP/1.1\r\nHost: test\r\n\r\n")
        assert leaving.read_head().status == 200
        leaving.socket.close()
        poll(lambda: int(get(connect, green, "/closed").text) == before + 1, "close()", 15)

    def test_bodies_of_requests_arrive_whole(self, wire):
        body = bytes(range(256)) * 4096
        answer = wire.get("/echo", method="POST", body=body)
        assert answer.text == f"{len(body)} {sum(body[::4096])}"
        assert wire.get("/echo", method="POST", body=b"x").text == "1 120"

    def test_a_file_is_sent(self, wire):
        assert wire.get("/file").body == b"p" * PIECE * 20

    def test_an_exception_is_an_error_of_that_request_alone(self, green, connect):
        assert connect(green).get("/boom").status == 500
        green.wait_for_log("RuntimeError: the application broke")
        assert get(connect, green, "/").text == "hello"

    @pytest.mark.indrik_only
    @pytest.mark.parametrize("target", ["/leave", "/killed"])
    def test_an_exit_inside_a_request_ends_that_request_alone(self, green, connect, target):
        """Gunicorn swallows both and leaves the client without an answer."""
        workers = green.workers()
        assert connect(green).get(target).status == 500
        assert get(connect, green, "/").text == "hello"
        assert green.workers() == workers

    @pytest.mark.indrik_only
    def test_a_greenlet_that_outlives_its_request_cannot_write_into_another(self, green, connect):
        """In Gunicorn it writes into the connection's next answer."""
        assert get(connect, green, "/stray").text == "ok"
        assert get(connect, green, "/forgotten").text == "RuntimeError"

    @pytest.mark.indrik_only
    def test_a_greenlet_that_is_killed_while_it_waits_for_its_client_ends_its_request(self, green, connect):
        """Gunicorn lets the connection go on as if the answer were whole."""
        slow = connect(green)
        slow.send("GET /doomed HTTP/1.1\r\nHost: test\r\n\r\n")
        assert slow.read_head().status == 200
        green.wait_for_log("Error handling request .*/doomed")
        with pytest.raises(EOFError):
            read_all_chunks(slow)
        assert get(connect, green, "/").text == "hello"

    def test_keep_alive_serves_one_request_after_another(self, wire):
        assert [wire.get("/").text for _ in range(5)] == ["hello"] * 5


@pytest.mark.parametrize("kind", GREEN)
class TestLife:
    def test_a_request_under_way_is_finished_at_the_stop(self, kind, start, connect, door):
        server = start("green_app:app", "-k", kind, "-w", "1", "--graceful-timeout", "20")
        held = connect(server)
        held.send(f"GET /hold?port={door.port} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        guest = door.enter()
        server.signal(signal.SIGTERM)
        server.wait_for_log("Handling signal: term")
        guest.close()
        assert held.read_answer().text == "held"
        assert server.wait_for_exit() == 0

    def test_a_request_that_does_not_end_is_given_up_after_the_graceful_timeout(self, kind, start, connect, door):
        server = start("green_app:app", "-k", kind, "-w", "1", "--graceful-timeout", "1")
        connect(server).send(f"GET /hold?port={door.port} HTTP/1.1\r\nHost: test\r\n\r\n")
        door.enter()
        assert server.stop() == 0

    def test_max_requests_replaces_the_worker(self, kind, start, connect):
        server = start("green_app:app", "-k", kind, "-w", "1", "--max-requests", "3")
        pids = set()

        def replaced() -> bool:
            with contextlib.suppress(EOFError, OSError):
                pids.add(seen(connect, server)["pid"])
            return len(pids) > 1

        poll(replaced, "another worker", 20)

    def test_a_blocked_hub_is_noticed_by_the_heartbeat(self, kind, start, connect):
        server = start("green_app:app", "-k", kind, "-w", "1", "--timeout", "2")
        connect(server).send("GET /block HTTP/1.1\r\nHost: test\r\n\r\n")
        server.wait_for_log("WORKER TIMEOUT", 20)
        poll(lambda: get(connect, server, "/").text == "hello", "a new worker", 20)

    def test_a_long_wait_is_no_blocked_hub(self, kind, start, connect, door):
        server = start("green_app:app", "-k", kind, "-w", "1", "--timeout", "2")
        held = connect(server)
        held.send(f"GET /hold?port={door.port} HTTP/1.1\r\nHost: test\r\n\r\n")
        guest = door.enter()
        with pytest.raises(AssertionError, match="no line matches"):
            server.wait_for_log("WORKER TIMEOUT", 4.5)
        guest.close()
        assert held.read_answer().text == "held"

    @pytest.mark.indrik_only
    def test_a_preloaded_application_is_patched_too(self, kind, start, connect):
        """In Gunicorn the master imports it before anything is patched."""
        server = start("green_app:app", "-k", kind, "-w", "2", "--preload")
        found = seen(connect, server)
        assert found["lock"] != "_thread" and found["futures"] != "_thread"
        answers = ask_all(server, "/", 50)
        assert all(answer.endswith(b"hello") for answer in answers)

    def test_worker_connections_bounds_what_runs_at_once(self, kind, start, connect, door):
        server = start("green_app:app", "-k", kind, "-w", "1", "--worker-connections", "2")
        request = f"GET /hold?port={door.port} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        held = [connect(server) for _ in range(3)]
        for wire in held:
            wire.send(request)
        first, second = door.enter(), door.enter()
        assert door.nobody_enters(0.5)
        first.close()
        third = door.enter()
        second.close()
        third.close()
        assert [wire.read_answer().text for wire in held] == ["held"] * 3

    def test_hooks_around_requests_are_called_with_the_class_s_worker(self, kind, start, connect, tmp_path):
        (tmp_path / "conf.py").write_text(HOOKS)
        server = start("green_app:app", "-k", kind, "-w", "1", "-c", str(tmp_path / "conf.py"))
        assert get(connect, server, "/").text == "hello"
        server.wait_for_log(f"PRE / {kind.title()}Worker")
        server.wait_for_log("POST / 200 OK")

    def test_a_thread_of_a_master_s_hook_runs_when_the_configuration_file_has_patched(self, kind, start, tmp_path):
        patch = {"gevent": "from gevent import monkey\nmonkey.patch_all()\n"}
        patch["eventlet"] = "import eventlet\neventlet.monkey_patch()\n"
        (tmp_path / "conf.py").write_text(patch[kind] + THREAD)
        server = start("green_app:app", "-k", kind, "-w", "1", "-c", str(tmp_path / "conf.py"))
        server.wait_for_log("the thread runs")

    def test_flask_runs(self, kind, start, connect):
        server = start("class_flask:app", "-k", kind, "-w", "1")
        assert get(connect, server, "/?name=flask").text == "hello flask"
        answers = ask_all(server, "/own?name=x", 50)
        assert all(answer.endswith(b"x") for answer in answers)

    def test_django_runs(self, kind, start, connect):
        server = start("class_django:application", "-k", kind, "-w", "1")
        assert get(connect, server, "/?name=django").text == "hello django"


# The application's directory is entered after the configuration file was read.
HERE = f"import sys\nsys.path.insert(0, {str(APPS)!r})\n"

NAMES = {
    "gevent_wsgi": "gevent",
    "gevent_pywsgi": "gevent",
    "egg:gunicorn#gevent": "gevent",
    "gunicorn.workers.ggevent.GeventWorker": "gevent",
    "tornado": "sync",
    "gunicorn.workers.gthread.ThreadWorker": "gthread",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_gunicorn_s_serves(name, start, connect):
    if IS_ORACLE and name == "egg:gunicorn#gevent":
        pytest.skip("Gunicorn 27 lists no entry points of its own: it refuses the name")
    server = start("green_app:app", "-k", name, "-w", "1")
    assert get(connect, server, "/").text == "hello"
    server.wait_for_log("Using worker: ")
    if not IS_ORACLE:
        server.wait_for_log(rf"Class +{NAMES[name]},")


def test_the_sync_class_with_threads_is_gthread(start, connect):
    server = start("green_app:app", "-k", "sync", "--threads", "2", "-w", "1")
    assert get(connect, server, "/").text == "hello"
    server.wait_for_log("Using worker: gthread")


@pytest.mark.indrik_only
class TestNames:
    @pytest.mark.parametrize(
        ("name", "kind", "said"),
        [
            ("tornado", "sync", "Tornado's server is not run"),
            ("gevent_pywsgi", "gevent", "gevent.pywsgi is not run"),
            ("meinheld.gmeinheld.MeinheldWorker", "sync", "meinheld is not run"),
            ("class_workers.PatchingWorker", "gevent", r"its own patch\(\) is not run"),
            ("class_workers.CountingWorker", "sync", r"its own handle_request\(\) is not run"),
        ],
    )
    def test_what_is_run_instead_is_said_once(self, name, kind, said, start, connect):
        server = start("green_app:app", "-k", name, "-w", "2")
        assert get(connect, server, "/").text == "hello"
        server.wait_for_log(rf"Class +{kind},")
        server.wait_for_log(said)
        assert len([line for line in server.log().splitlines() if matches(said, line)]) == 1

    @pytest.mark.parametrize(
        "source",
        [
            HERE + "from class_workers import PatchingWorker as worker_class\n",
            HERE + "def worker_class():\n    from class_workers import PatchingWorker\n    return PatchingWorker\n",
            "from gunicorn.workers.ggevent import GeventWorker as G\nclass Own(G):\n    pass\nworker_class = Own\n",
            "from gunicorn.workers.ggevent import GeventWorker as worker_class\n",
        ],
        ids=["class", "function", "defined there", "gunicorn's"],
    )
    def test_a_configuration_file_may_hold_the_class_itself(self, source, start, connect, tmp_path):
        (tmp_path / "conf.py").write_text(source)
        server = start("green_app:app", "-c", str(tmp_path / "conf.py"), "-w", "1")
        assert seen(connect, server)["lock"] != "_thread"

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("gevnet", "did you mean gevent"),
            ("no_such_package.Worker", "pip install no_such_package"),
            ("class_workers.Missing", "has no 'Missing'"),
            ("class_workers.NoWorker", "derived from no worker class"),
            ("class_workers.no_class", "not a class"),
            ("egg:no_such_package#worker", "is not installed"),
        ],
    )
    def test_a_class_that_cannot_be_is_one_clear_error(self, name, said):
        code, log = fails("green_app:app", "-k", name)
        assert code == 1
        assert said in log
        assert "Traceback" not in log

    @pytest.mark.parametrize(
        ("missing", "arguments"),
        [
            ("gevent", ["-k", "gevent"]),
            ("eventlet", ["-k", "eventlet"]),
            ("aiohttp", ["-k", "aiohttp.GunicornWebWorker"]),
            ("uvloop", ["-k", "asgi", "--asgi-loop", "uvloop"]),
        ],
    )
    def test_a_library_that_is_missing_is_named_with_the_command_to_install_it(self, missing, arguments, tmp_path):
        (tmp_path / "hide.py").write_text(HIDING.format(missing=missing))
        (tmp_path / "conf.py").write_text(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport hide\n")
        code, log = fails("green_app:app", *arguments, "-c", str(tmp_path / "conf.py"))
        assert code == 1
        assert f"-m pip install {missing}" in log
        assert "Traceback" not in log


@pytest.mark.indrik_only
class TestInterfaces:
    def test_wsgi_under_an_asgi_class_is_an_error_at_the_start(self):
        for name in ("asgi", "uvicorn.workers.UvicornWorker"):
            code, log = fails("green_app:app", "-k", name)
            assert code == 4
            assert "is a WSGI application" in log and name in log

    def test_asgi_under_a_greenlet_class_is_an_error_at_the_start(self):
        code, log = fails("class_asgi_app:app", "-k", "gevent")
        assert code == 4
        assert "is an ASGI application" in log

    def test_asgi_under_sync_runs_as_asgi_and_says_so(self, start, connect):
        server = start("class_asgi_app:app", "-k", "sync", "-w", "2")
        assert seen(connect, server, "/")["lifespan"] is True
        server.wait_for_log("is an ASGI application: it runs as with worker_class 'asgi'")

    @pytest.mark.parametrize(
        ("name", "loop"),
        [
            ("uvicorn.workers.UvicornWorker", "uvloop"),
            ("uvicorn.workers.UvicornH11Worker", "asyncio"),
            ("uvicorn_worker.UvicornWorker", "uvloop"),
            ("uvicorn_worker.UvicornH11Worker", "asyncio"),
        ],
    )
    def test_uvicorn_s_classes_run_asgi_on_their_loop(self, name, loop, start, connect):
        server = start("class_asgi_app:app", "-k", name, "-w", "1")
        found = seen(connect, server, "/")
        assert found["loop"] == loop
        assert found["lifespan"] is True

    def test_uvicorn_s_classes_see_the_client_behind_a_trusted_proxy(self, start, connect):
        server = start("class_asgi_app:app", "-k", "uvicorn.workers.UvicornWorker", "-w", "1")
        answer = connect(server).get("/", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https")
        found = json.loads(answer.body)
        assert (found["client"], found["scheme"]) == ("203.0.113.7", "https")

    def test_a_subclass_of_uvicorn_s_has_its_config_kwargs_honoured(self, start, connect):
        server = start("class_asgi_app:app", "-k", "class_uvicorn.OwnWorker", "-w", "1")
        found = seen(connect, server, "/")
        assert (found["loop"], found["lifespan"], found["root_path"]) == ("asyncio", False, "/mounted")
        server.wait_for_log("ws_ping_interval=5 has no effect")
        server.wait_for_log("set real_ip_header")

    def test_fastapi_runs_under_uvicorn_s_class(self, start, connect):
        server = start("class_fastapi:app", "-k", "uvicorn.workers.UvicornWorker", "-w", "1")
        assert json.loads(get(connect, server, "/items/5?q=x").body) == {"item": 5, "q": "x"}

    def test_threads_of_an_asgi_class_are_those_for_what_blocks(self, start, connect):
        server = start("class_fastapi:app", "-k", "asgi", "--asgi-loop", "asyncio", "--threads", "3")
        assert json.loads(get(connect, server, "/threads").body) == {"executor": 3, "anyio": 3}


class TestAsgiSettings:
    def test_the_loop_is_chosen(self, start, connect):
        for name in ("asyncio", "uvloop"):
            server = start("class_asgi_app:app", "-w", "1", "--asgi-loop", name, interface="asgi")
            assert seen(connect, server, "/")["loop"] == name

    @pytest.mark.indrik_only
    def test_worker_connections_bounds_what_runs_at_once(self, start, connect):
        """Gunicorn stores the setting and does not use it."""
        server = start("class_asgi_app:app", "-w", "1", "--worker-connections", "1")
        stuck, late = connect(server), connect(server)
        stuck.send("GET /stuck HTTP/1.1\r\nHost: test\r\n\r\n")
        late.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert not select.select([late.socket], [], [], 0.5)[0]
        stuck.socket.close()
        assert json.loads(late.read_answer().body)["cancelled"] == 1

    def test_a_lifespan_that_is_required_and_not_known_stops_the_start(self):
        code, log = fails("class_no_lifespan:app", "-k", "asgi", "--asgi-lifespan", "on")
        assert code == 3
        assert "startup failed" in log

    def test_the_lifespan_is_switched_off(self, start, connect):
        server = start("class_asgi_app:app", "-w", "1", "--asgi-lifespan", "off", interface="asgi")
        assert seen(connect, server, "/")["lifespan"] is False

    def test_the_root_path_is_in_the_scope(self, start, connect):
        server = start("class_asgi_app:app", "-w", "1", "--root-path", "/api", interface="asgi")
        assert seen(connect, server, "/api/x")["root_path"] == "/api"

    def test_the_coroutine_of_a_client_that_has_gone_is_cancelled_after_the_grace_period(self, start, connect):
        server = start("class_asgi_app:app", "-w", "1", "--asgi-disconnect-grace-period", "1", interface="asgi")
        leaving = connect(server)
        leaving.send("GET /stuck HTTP/1.1\r\nHost: test\r\n\r\n")
        assert seen(connect, server, "/")["cancelled"] == 0
        leaving.socket.close()
        assert seen(connect, server, "/cancelled")["cancelled"] == 1


def matches(pattern: str, line: str) -> bool:
    import re

    return re.search(pattern, line) is not None


HOOKS = """
import sys

def say(text):
    sys.stderr.write(text + "\\n")
    sys.stderr.flush()

def pre_request(worker, req):
    say(f"PRE {req.path} {type(worker).__name__}")

def post_request(worker, req, environ, resp):
    say(f"POST {req.path} {resp.status}")
"""

THREAD = """
import sys, threading

def later():
    threading.Event().wait(0.05)
    sys.stderr.write("the thread runs\\n")
    sys.stderr.flush()

def when_ready(server):
    threading.Thread(target=later, daemon=True).start()
"""

HIDING = """
import importlib.abc, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "{missing}":
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Hidden())
"""


def fails(app: str, *arguments: str) -> tuple[int, str]:
    """Starts a server that cannot; its exit code and what it wrote."""
    own = ["--no-control-socket"] if IS_ORACLE else []
    command = [*COMMAND, *own, "--bind", "127.0.0.1:0", "--chdir", str(APPS), "-w", "1", *arguments, app]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env=os.environ
    )
    return ended.returncode, ended.stderr + ended.stdout


def read_all_chunks(wire) -> int:
    total = 0
    while True:
        size = int(wire.read_until(b"\r\n")[:-2], 16)
        total += len(wire.read_exactly(size))
        wire.read_exactly(2)
        if size == 0:
            return total


@contextlib.contextmanager
def waiting_room(size: int) -> Iterator[int]:
    """A server that answers nobody before `size` clients are connected."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:

        def serve() -> None:
            listener.settimeout(60)
            with contextlib.ExitStack() as inside:
                guests = [inside.enter_context(listener.accept()[0]) for _ in range(size)]
                for guest in guests:
                    guest.sendall(b"all are here")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(60)


def test_nothing_of_ours_imports_what_must_be_patched_first(tmp_path: Path) -> None:
    """Gunicorn 25 imported `concurrent.futures` before the configuration file could patch."""
    if IS_ORACLE:
        code = "import sys, gunicorn.arbiter\nassert 'concurrent.futures' not in sys.modules\n"
    else:
        code = (
            "import sys, indrik.zygote, indrik.worker, indrik.classes, indrik.greenlets\n"
            "assert not {'concurrent.futures', 'threading', 'ssl', 'asyncio', 'queue'} & set(sys.modules)\n"
        )
    python = Path(COMMAND[0]).parent / "python"
    subprocess.run([str(python), "-I", "-S", "-c", PATHS + code], check=True, cwd=tmp_path)


PATHS = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
