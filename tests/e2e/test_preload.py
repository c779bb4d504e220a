"""Preloading: what the zygote may not hand on, and workers that are forked from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.server import COMMAND, Server, poll

pytestmark = pytest.mark.indrik_only

LEAVES_MUCH_OPEN = """
import socket, sqlite3, threading

class Store:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.connection = socket.create_connection(self.listener.getsockname())

def refresh():
    threading.Event().wait()

store = Store()
database = sqlite3.connect("shop.sqlite")
in_memory = sqlite3.connect(":memory:")
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
threading.Thread(target=refresh, name="refresher", daemon=True).start()

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]
"""

UNTOUCHABLE = """
import json, socket, sys, threading, types

touched = []

def touch(*_):
    caller = sys._getframe(1).f_code
    touched.append(f"{caller.co_filename}:{caller.co_name}")
    raise RuntimeError("outside of application context")

class Proxy:
    __slots__ = ()
    __class__ = __dict__ = property(touch)
    __getattr__ = __eq__ = __hash__ = __len__ = __bool__ = __repr__ = __call__ = fileno = touch

class Kinds(type):
    __hash__ = __eq__ = touch
    __mro__ = property(touch)

class Odd(metaclass=Kinds):
    __class__ = property(touch)

class Items(dict):
    __len__ = __iter__ = items = keys = values = touch

class Sequence(list):
    __len__ = __iter__ = touch

class Lazy(types.ModuleType):
    def __getattribute__(self, name):
        touch()

class Connection(socket.socket):
    def fileno(self):
        touch()

class Refresher(threading.Thread):
    native_id = property(touch)

    def run(self):
        threading.Event().wait()

proxy, odd, items, sequence = Proxy(), Odd(), Items(one=Proxy()), Sequence([Proxy()])
listener = socket.create_server(("127.0.0.1", 0))
connection = Connection()
connection.connect(listener.getsockname())
modules = [Lazy("later"), Proxy()]
sys.modules["later"], sys.modules["proxy"] = modules

class Site:
    def __init__(self):
        self.proxy, self.odd = proxy, odd

    def __call__(self, environ, start_response):
        start_response("200 OK", [])
        return [json.dumps(touched).encode()]

app = Site()
"""

CLEAN = """
import ctypes, os

tried = sorted(os.sched_getaffinity(0))
libc = ctypes.CDLL(None)

def app(environ, start_response):
    seen = []
    for cpu in tried:
        os.sched_setaffinity(0, {cpu})
        seen.append(libc.sched_getcpu())
    os.sched_setaffinity(0, tried)
    start_response("200 OK", [])
    return [f"{seen == tried} {os.getppid()}".encode()]
"""


@pytest.fixture
def shop(tmp_path: Path):
    """Write the module `shop`; its application's name."""

    def write(text: str) -> str:
        (tmp_path / "shop.py").write_text(text)
        return "shop:app"

    return write


class TestForkSafety:
    def test_what_is_left_open_is_named_with_its_place(self, start, shop, tmp_path):
        server: Server = start(shop(LEAVES_MUCH_OPEN), "--preload", chdir=tmp_path)
        log = server.log()
        line = LEAVES_MUCH_OPEN.splitlines().index("def refresh():") + 1
        file = tmp_path / "shop.py"
        assert f"the thread 'refresher' (shop.refresh, {file}:{line}) runs in the zygote only" in log
        assert f"(socket.socket), held by shop.store.connection ({file}), is open in the zygote" in log
        assert f"(socket.socket), held by shop.store.listener ({file}), is open in the zygote" in log
        assert f"an SQLite connection to {tmp_path / 'shop.sqlite'} (sqlite3.Connection), held by shop.database" in log
        assert log.count("fork safety:") == 5
        assert "post_fork" in log

    def test_as_an_error_it_does_not_start(self, shop, tmp_path):
        server = Server(
            shop(LEAVES_MUCH_OPEN),
            "--preload",
            "--fork-safety=error",
            log_directory=tmp_path / "logs",
            chdir=tmp_path,
        )
        server.start()
        assert server.wait_for_exit() == 3
        assert "fork_safety is error" in server.log()
        assert "the thread 'refresher'" in server.log()
        server.assert_nothing_left()

    @pytest.mark.parametrize("threads", [0, 1])
    def test_no_code_of_the_application_runs_to_look_at_it(self, start, connect, shop, tmp_path, threads):
        text = UNTOUCHABLE + "Refresher(name='refresher', daemon=True).start()\n" * threads
        server: Server = start(shop(text), "--preload", chdir=tmp_path)
        assert connect(server).get("/").text == "[]"
        log = server.log()
        assert ("the thread 'refresher' (shop.Refresher.run" in log) == bool(threads)
        assert "(shop.Connection), held by shop.connection" in log

    def test_what_cannot_be_looked_at_is_no_reason_not_to_start(self, start, connect, shop, tmp_path):
        text = CLEAN + "\nimport gc\nfrom indrik import glance\nglance.attributes = None\n"
        server: Server = start(shop(text), "--preload", "--fork-safety=error", "--workers=1", chdir=tmp_path)
        assert connect(server).get("/").status == 200
        assert "fork safety: what the application has open cannot be told" in server.log()

    def test_a_clean_application_is_served_without_a_word(self, start, connect, shop, tmp_path):
        server = start(shop(CLEAN), "--preload", "--workers=1", chdir=tmp_path)
        # A worker is the supervisor's child, and its C library knows where it runs.
        assert connect(server).get("/").text == f"True {server.process.pid}"
        assert "fork safety" not in server.log()

    def test_what_is_shared_can_be_seen(self, start, shop, tmp_path):
        server = start(shop(CLEAN), "--preload", "--workers=2", chdir=tmp_path)
        workers = server.workers()
        command = [*COMMAND, "ctl", "--pid", str(server.process.pid), "--json", "show", "memory"]
        shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        processes = shown["processes"]
        assert {process["pid"] for process in processes} == {server.zygote(), *workers}
        assert all(0 < process["pss"] < process["rss"] for process in processes)
        assert all(process["shared"] + process["private"] == process["rss"] for process in processes)
        assert shown["pss_total"] == sum(process["pss"] for process in processes)


WARM = """
import os, threading

CACHE = {}

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/thread":
        threading.Thread(target=threading.Event().wait, name="late", daemon=True).start()
    CACHE.setdefault("loaded by", os.getpid())
    start_response("200 OK", [])
    return [f"{os.getpid()} {CACHE['loaded by']}".encode()]
"""


class TestRefork:
    def test_a_warm_worker_becomes_the_zygote_and_the_others_follow(self, start, connect, shop, tmp_path):
        options = ("--preload", "--workers=2", "--worker-class=gthread", "--threads=2", "--refork-after-requests=20")
        server = start(shop(WARM), *options, chdir=tmp_path)
        old_zygote = server.zygote()
        wire = connect(server)
        answers = [wire.get("/").text.split() for _ in range(30)]
        assert all(pid == loaded_by for pid, loaded_by in answers)
        warm = int(server.wait_for_log(r"Worker \d+ \(pid:(\d+)\) is the zygote of generation 1 now").group(1))
        poll(lambda: old_zygote not in server.processes(), "the end of the old zygote")
        poll(lambda: len(server.workers()) == 2 and warm not in server.workers(), "the workers that follow")
        poll(lambda: connect(server).get("/").text.split()[1] == str(warm), "a worker that is warm from its start")
        assert server.zygote() == warm
        # It forks when it has to, and reads the settings of the next generation like any zygote.
        os.kill(server.workers()[0], signal.SIGKILL)
        poll(lambda: len(server.workers()) == 2, "the worker that follows a dead one")
        server.signal(signal.SIGHUP)
        poll(lambda: len(server.workers(2)) == 2 and not server.workers(1), "the next generation")
        assert connect(server).get("/").text.split()[1] != str(warm)

    def test_one_with_threads_of_its_own_stays_a_worker(self, start, connect, shop, tmp_path):
        server = start(shop(WARM), "--preload", "--workers=1", "--refork-after-requests=10", chdir=tmp_path)
        zygote = server.zygote()
        wire = connect(server)
        assert [wire.get("/thread").status for _ in range(12)] == [200] * 12
        server.wait_for_log(r"Worker 1 cannot become the zygote: it has \d+ threads of its own \(.*late")
        server.wait_for_log(r"Worker 1 \(pid:\d+\) of generation 1 ended: refork")
        assert connect(server).get("/").status == 200
        assert server.zygote() == zygote
