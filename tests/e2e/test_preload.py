"""Preloading: what the zygote may not hand on, and workers that are forked from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.server import Server

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

    def test_a_clean_application_is_served_without_a_word(self, start, connect, shop, tmp_path):
        server = start(shop(CLEAN), "--preload", "--workers=1", chdir=tmp_path)
        # A worker is the supervisor's child, and its C library knows where it runs.
        assert connect(server).get("/").text == f"True {server.process.pid}"
        assert "fork safety" not in server.log()
