"""What settings change that no other area's tests look at, on the running server."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from support.server import IS_ORACLE, poll
from support.wire import Wire

TELL = """
import os, sys

def app(environ, start_response):
    start_response("200 OK", [])
    return [repr({what}).encode()]
"""


def tell(project, what: str) -> None:
    """Make the application answer with a Python expression."""
    project.write("app.py", TELL.replace("{what}", what))


def get(server, path: str = "/") -> str:
    with Wire(server.connect()) as wire:
        return str(wire.get(path).text)


def test_backlog_is_the_length_of_the_kernels_queue(project):
    if not shutil.which("ss"):
        pytest.skip("ss, of iproute2, is not installed")
    server = project.start("--backlog", "77")
    listing = subprocess.run(["ss", "-ltnH", f"sport = :{server.port}"], capture_output=True, text=True)
    assert listing.stdout.split()[2] == "77"


def test_workers_are_as_many_as_asked_for(project):
    server = project.start("--workers", "3")
    poll(lambda: len(server.workers()) == 3, "three workers")


def test_threads_are_told_to_the_application(project):
    tell(project, "environ['wsgi.multithread']")
    assert get(project.start("--threads", "2")) == "True"
    assert get(project.start("--worker-class", "sync")) == "False"


def test_chdir_is_the_applications_directory_and_searched_first(project):
    project.write("there/app.py", TELL.replace("{what}", "os.path.basename(os.getcwd())"))
    assert get(project.start("--chdir", "there")) == "'there'"


def test_keepalive_ends_an_idle_connection(project):
    server = project.start("--keep-alive", "1", "--worker-class", "gthread")
    with Wire(server.connect()) as wire:
        assert wire.get("/").status == 200
        wire.assert_closed()


def test_loglevel_hides_what_is_less_serious(project):
    server = project.start("--log-level", "error", says_ready=False)
    assert get(server)
    assert "Booting worker" not in server.log()
    project.start("--log-level", "info").wait_for_log("Booting worker")


def test_max_requests_jitter_lets_a_worker_live_longer(project):
    tell(project, "os.getpid()")
    server = project.start("--workers", "1", "--max-requests", "1", "--max-requests-jitter", "1000000000")
    assert len({get(server) for _ in range(5)}) == 1


FILE_WITH_ANOTHER_FACE = """
class File:
    def __init__(self):
        self.file = open(__file__, "rb")
        self.left = [b"read"]

    def fileno(self):
        return self.file.fileno()

    def read(self, size=-1):
        return self.left.pop() if self.left else b""

    def close(self):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return environ["wsgi.file_wrapper"](File())
"""


class TestSendfile:
    def test_the_file_itself_is_sent(self, project):
        project.write("app.py", FILE_WITH_ANOTHER_FACE)
        assert "another" not in get(project.start())
        assert "class File" in get(project.start())

    @pytest.mark.parametrize("how", ["flag", "variable", "file"])
    def test_without_it_the_file_is_read(self, project, how):
        project.write("app.py", FILE_WITH_ANOTHER_FACE)
        if how == "file":
            project.config("sendfile = False")
        flags = ["--no-sendfile"] if how == "flag" else []
        environment = {"SENDFILE": "no"} if how == "variable" else {}
        assert get(project.start(*flags, environment=environment)) == "read"


def test_spew_prints_every_line(project):
    tell(project, "'here'")
    server = project.start("--spew", "--workers", "1")
    assert get(server) == "'here'"
    server.wait_for_access_line(re.escape('app:5:     start_response("200 OK", [])'))


@pytest.mark.indrik_only
def test_tmp_upload_dir_holds_large_bodies(project):
    # The listing's own descriptor is closed again.
    opened = "[f'/proc/self/fd/{fd}' for fd in os.listdir('/proc/self/fd')]"
    tell(project, f"sorted({{os.readlink(path) for path in {opened} if os.path.islink(path)}})")
    directory = project.directory / "uploads"
    directory.mkdir()
    project.config(f"tmp_upload_dir = '{directory}'")
    server = project.start("--body-buffer-max", "100KiB")
    body = b"x" * 1_000_000
    with Wire(server.connect()) as wire:
        assert str(directory) in wire.get("/", method="POST", body=body).text
    assert not list(directory.iterdir())


ASGI = """
import asyncio, sys

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/hold":
        print("held", file=sys.stderr, flush=True)
        await asyncio.Event().wait()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""


@pytest.mark.indrik_only
def test_worker_connections_is_how_many_requests_an_asgi_worker_runs(project):
    project.write("app.py", ASGI)
    for limit, status in (("1", 503), ("2", 200)):
        flags = ("--workers", "1", "--worker-connections", limit, "--queue-timeout", "300ms", "--graceful-timeout", "0")
        server = project.start(*flags, interface="asgi")
        with Wire(server.connect()) as held, Wire(server.connect()) as other:
            held.send(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            server.wait_for_log("held")
            assert other.get("/").status == status
        server.kill()


NAMED = """
def when_ready(server):
    import recorder
    recorder.record(server.proc_name)
"""


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ("", "app:app"),
        ("default_proc_name = 'site'", "site"),
        ("default_proc_name = 'site'\nproc_name = 'shop'", "shop"),
    ],
)
def test_proc_name_beats_default_proc_name_and_that_the_applications_name(project, lines, name):
    project.config(lines + NAMED)
    server = project.start()
    assert project.wait_for_records(name)
    if not IS_ORACLE:
        assert any(f"[{name}]" in title for title in server.titles())


WEBSOCKET = """
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": str(len(message["text"]))})
"""


def test_websocket_max_message_size_closes_with_1009(project):
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    project.write("app.py", WEBSOCKET)
    server = project.start("--websocket-max-message-size", "1000", interface="asgi")
    with connect(f"ws://127.0.0.1:{server.port}/", compression=None) as socket:
        socket.send("x" * 1000)
        assert socket.recv() == "1000"
        socket.send("x" * 1001)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
