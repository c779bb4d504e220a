"""When a connection of an ASGI application is kept, and what may never be taken for a request.

What Gunicorn pins inside its process (`test_asgi_keepalive_background`, `test_asgi_keepalive_smuggling`), from outside.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
from support.project import Project
from support.server import IS_ORACLE, Server

APP = """
import asyncio
import os

import recorder

release = None


async def start(send, *headers, status=200):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def body(send, data, more=False):
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("only HTTP")
    await PATHS.get(scope["path"], plain)(scope, receive, send)


async def plain(scope, receive, send):
    recorder.record("called", scope["path"])
    await start(send, (b"content-length", b"2"))
    await body(send, b"ok")


async def background(scope, receive, send):
    global release
    release = asyncio.Event()
    await plain(scope, receive, send)
    await release.wait()
    recorder.record("background ended")


async def end_background(scope, receive, send):
    release.set()
    await plain(scope, receive, send)


async def too_long(scope, receive, send):
    await start(send, (b"content-length", b"5"))
    await body(send, b"hello, world", more=True)
    await body(send, b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")


async def too_short(scope, receive, send):
    await start(send, (b"content-length", b"10"))
    await body(send, b"hello")


async def unfinished(scope, receive, send):
    await start(send, (b"content-length", b"10"))
    await body(send, b"hello", more=True)


async def after_the_end(scope, receive, send):
    await plain(scope, receive, send)
    try:
        await body(send, b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nbad")
    except Exception as error:
        recorder.record("refused", type(error).__name__)


async def until_disconnect(scope, receive, send):
    await receive()
    await plain(scope, receive, send)
    recorder.record((await receive())["type"])


PATHS = {
    "/background": background,
    "/end-background": end_background,
    "/too-long": too_long,
    "/too-short": too_short,
    "/unfinished": unfinished,
    "/after-the-end": after_the_end,
    "/until-disconnect": until_disconnect,
}
"""


@pytest.fixture
def server(project: Project) -> Server:
    project.write("app.py", APP)
    return project.start("--workers", "1", "--keep-alive", "30", interface="asgi")


def request(target: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: test", *headers, "", ""]).encode()


@pytest.mark.parametrize("pipelined", [True, False])
def test_the_next_request_is_served_while_the_application_still_runs(server, project, connect, pipelined):
    wire = connect(server)
    requests = [request("/background"), request("/next")]
    if pipelined:
        wire.send(b"".join(requests))
        answers = [wire.read_answer(), wire.read_answer()]
    else:
        answers = []
        for each in requests:
            wire.send(each)
            answers.append(wire.read_answer())
    assert [answer.status for answer in answers] == [200, 200]
    assert "background ended" not in project.words()
    assert wire.get("/end-background").status == 200
    project.wait_for_records("background ended")


def test_a_body_of_which_only_a_part_came_is_never_read_as_a_request(server, project, connect):
    wire = connect(server)
    wire.send(request("/early", "Content-Length: 60", method="POST") + b"hello")
    if IS_ORACLE:  # it does not wait for the rest before it calls the application
        assert wire.read_answer().status == 200
    with suppress(OSError):  # it may be closed already
        wire.send(request("/smuggled"))
        wire.half_close()
    assert b"200" not in wire.read_to_end()
    assert "called /smuggled" not in project.words()


def test_a_body_is_cut_at_its_content_length(server, connect):
    wire = connect(server)
    wire.send(request("/too-long"))
    answer = wire.read_answer()
    assert (answer.status, answer.body) in [(200, b"hello"), (500, answer.body)]
    assert b"HTTP/1.1" not in wire.buffer


@pytest.mark.parametrize("target", ["/too-short", "/unfinished"])
def test_a_body_shorter_than_its_content_length_ends_the_connection(server, connect, target):
    wire = connect(server)
    wire.send(request(target))
    came = wire.read_to_end()
    assert not came.endswith(b"hello" * 2)
    if not IS_ORACLE:
        # Nothing was sent yet: a 500 of ours, or nothing, is better than half an answer.
        assert came == b"" or came.startswith(b"HTTP/1.1 500 ")


def test_the_answer_to_head_is_framed(server, connect):
    wire = connect(server)
    for target in ("/plain", "/too-long"):
        wire.send(request(target, method="HEAD"))
        assert wire.read_answer(head_only=True).status == 200
    assert wire.get("/next").text == "ok"


def test_what_is_sent_after_the_end_of_an_answer_is_not_written(server, connect):
    wire = connect(server)
    wire.send(request("/after-the-end") + request("/next"))
    assert wire.read_answer().text == "ok"
    if IS_ORACLE:  # it ends the connection
        wire.assert_closed()
    else:
        assert wire.read_answer().text == "ok"
        assert wire.buffer == b""


def test_a_client_that_leaves_is_told_to_an_application_that_still_runs(server, project, connect):
    wire = connect(server)
    assert wire.get("/until-disconnect").status == 200
    wire.socket.close()
    project.wait_for_records("http.disconnect")


def test_a_connection_that_is_asked_to_close_is_closed_and_said_so(server, connect):
    wire = connect(server)
    answer = wire.get("/plain", "Connection: close")
    assert (answer.header("connection") or "").lower() == "close"
    wire.assert_closed()


def test_connect_ends_the_connection(server, project, connect):
    wire = connect(server)
    wire.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n" + request("/tunnelled"))
    wire.read_to_end()
    assert "called /tunnelled" not in project.words()


def test_no_keep_alive_closes_after_each_answer_and_says_so(project, connect):
    project.write("app.py", APP)
    wire = connect(project.start("--workers", "1", "--keep-alive", "0", interface="asgi"))
    answer = wire.get("/plain")
    assert (answer.header("connection") or "").lower() == "close"
    wire.assert_closed()
