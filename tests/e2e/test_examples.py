"""Every framework example, with real clients; the WSGI ones under wsgiref.validate as well."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable

import httpx
import pytest
import requests
from support.server import EXAMPLES, IS_ORACLE, Server, status_kib
from websockets.sync.client import connect as connect_websocket

WSGI = {
    "plain-wsgi": "wsgi_plain:app",
    "plain-wsgi-validated": "wsgi_plain:validated",
    "flask": "flask_app:app",
    "flask-validated": "flask_app:validated",
    "django": "django_app.wsgi:application",
    "django-validated": "django_app.wsgi:validated",
}
ASGI = {
    "plain-asgi": "asgi_plain:app",
    "django-asgi": "django_app.asgi:application",
    "fastapi": "fastapi_app:app",
}
HUNDRED_MB = 100_000_000
BLOCK = bytes(range(256)) * 256
# A worker may use this much more at its peak than before the transfer, whatever its size.
GROWTH_KIB_MAX = 24 * 1024


def on(names: Iterable[str]) -> pytest.MarkDecorator:
    """Run the test with these examples only: the others do not have what it asks for."""
    return pytest.mark.parametrize("server", list(names), indirect=True, scope="module")


@pytest.fixture(scope="module", params=[*WSGI, *ASGI])
def server(request, start_shared) -> Server:
    name = request.param
    interface = "wsgi" if name in WSGI else "asgi"
    app = (WSGI | ASGI)[name]
    return start_shared(app, "--workers", "1", interface=interface, chdir=EXAMPLES)


@pytest.fixture(autouse=True)
def nothing_was_violated(server):
    """wsgiref.validate reports by AssertionError in the application's calls."""
    yield
    assert "AssertionError" not in server.log()
    assert "garbage collected without being closed" not in server.log()


def blocks(length: int):
    while length > 0:
        yield BLOCK[:length]
        length -= len(BLOCK)


def sha256_of(length: int) -> str:
    digest = hashlib.sha256()
    for block in blocks(length):
        digest.update(block)
    return digest.hexdigest()


def test_hello_with_requests(server):
    answer = requests.get(server.url + "/", timeout=10)
    assert answer.status_code == 200
    assert answer.text.startswith("Hello from")


def test_json_with_httpx(server):
    assert httpx.get(server.url + "/json").json()["hello"] == "world"


def test_a_session_keeps_its_connection(server):
    with requests.Session() as session:
        for _ in range(50):
            assert session.get(server.url + "/json", timeout=10).status_code == 200


def test_echo(server):
    answer = requests.post(server.url + "/echo", data=BLOCK * 4, headers={"Content-Type": "image/x"}, timeout=10)
    assert answer.content == BLOCK * 4
    assert answer.headers["Content-Type"].startswith("image/x")


@on(name for name in (*WSGI, *ASGI) if not name.startswith("plain"))
def test_a_form_with_a_file(server):
    sent = {"file": ("photo.jpg", BLOCK * 20, "image/jpeg")}
    answer = httpx.post(server.url + "/form", files=sent).json()
    assert answer == {"name": "photo.jpg", "bytes": len(BLOCK) * 20}


def test_an_upload_of_100_mb_with_curl(server, tmp_path):
    path = tmp_path / "upload"
    with path.open("wb") as file:
        for block in blocks(HUNDRED_MB):
            file.write(block)
    output = curl("-X", "POST", "-T", str(path), server.url + "/upload")
    assert json.loads(output) == {"bytes": HUNDRED_MB, "sha256": sha256_of(HUNDRED_MB)}


# Django under WSGI ignores bodies without Content-Length.
@on(name for name in (*WSGI, *ASGI) if name not in ("django", "django-validated"))
def test_a_chunked_upload_with_httpx(server):
    answer = httpx.post(server.url + "/upload", content=blocks(5_000_000), timeout=30)
    assert answer.json() == {"bytes": 5_000_000, "sha256": sha256_of(5_000_000)}


def test_an_upload_does_not_grow_the_worker(server):
    worker = server.workers()[0]
    before = status_kib(worker, "VmHWM")
    requests.post(server.url + "/upload", data=BLOCK * 400, timeout=30).raise_for_status()
    assert status_kib(worker, "VmHWM") - before < GROWTH_KIB_MAX


def test_a_streamed_download_of_100_mb_does_not_grow_the_worker(server):
    worker = server.workers()[0]
    before = status_kib(worker, "VmHWM")
    length = 0
    with httpx.stream("GET", server.url + "/stream?megabytes=100", timeout=30) as answer:
        for part in answer.iter_raw():
            length += len(part)
    assert length == 100 * 1024 * 1024
    if not IS_ORACLE:
        assert status_kib(worker, "VmHWM") - before < GROWTH_KIB_MAX


def test_server_sent_events_come_one_by_one(server):
    with httpx.stream("GET", server.url + "/events?count=3&pause=0.05") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line.startswith("data:")]
    assert lines == [f"data: event {number}" for number in range(3)]


def test_a_file_download_with_curl(server):
    assert curl(server.url + "/file") == (EXAMPLES / "README.md").read_bytes()


def test_an_error_is_a_500(server):
    assert requests.get(server.url + "/error", timeout=10).status_code == 500


def test_an_unknown_path_is_a_404(server):
    assert requests.get(server.url + "/no/such/path", timeout=10).status_code == 404


def test_head(server):
    answer = requests.head(server.url + "/", timeout=10)
    assert answer.status_code in (200, 405)
    assert answer.content == b""


def test_a_slow_answer(server):
    assert httpx.get(server.url + "/slow?seconds=0.1").text == "done\n"


def websocket_url(server: Server, path: str) -> str:
    return server.url.replace("http", "ws", 1) + path


@on(["plain-asgi", "fastapi"])
def test_websocket_echo(server):
    with connect_websocket(websocket_url(server, "/ws/echo")) as socket:
        for text in ("one", "zwei", "три"):
            socket.send(text)
            assert socket.recv(10) == text


@on(["plain-asgi", "fastapi"])
def test_a_websocket_chat_between_three(server):
    url = websocket_url(server, "/ws/chat")
    with connect_websocket(url) as one, connect_websocket(url) as two:
        # A message that comes back shows that its sender has joined.
        two.send("two is here")
        assert two.recv(10) == "two is here"
        with connect_websocket(url) as three:
            three.send("hello, all")
            assert three.recv(10) == "hello, all"
            assert two.recv(10) == "hello, all"
            received = [one.recv(10)]
            if received == ["two is here"]:
                received.append(one.recv(10))
            assert received[-1] == "hello, all"


def curl(*arguments: str) -> bytes:
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "60", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout
