"""aiohttp.web applications under aiohttp's worker classes. Gunicorn 27 runs them with aiohttp's own worker."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.server import IS_ORACLE, Server
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed

CLASS = "aiohttp.GunicornWebWorker"


@pytest.fixture(scope="module", params=["aiohttp_site:app", "aiohttp_site:factory"])
def site(request, start_shared) -> Server:
    return start_shared(request.param, "-k", CLASS, "-w", "1")


@pytest.fixture
def wire(connect, site):
    return connect(site)


def test_a_handler_sees_the_request(wire):
    assert wire.get("/?name=a%20b").text == "hello a b from 127.0.0.1"


def test_scheme_and_host_are_the_client_s_and_start_up_was_run(wire):
    found = json.loads(wire.get("/where").body)
    assert (found["scheme"], found["host"], found["ready"]) == ("http", "test", True)


def test_keep_alive_serves_one_request_after_another(wire):
    assert [wire.get(f"/?name={number}").text.split()[1] for number in range(5)] == ["0", "1", "2", "3", "4"]


def test_bodies_with_a_length_and_in_chunks_arrive_whole(wire):
    body = bytes(range(256)) * 2000
    answer = wire.get("/echo", "Content-Type: image/png", method="POST", body=body)
    assert (answer.body, answer.header("x-kind")) == (body, "image/png")
    wire.send("POST /count HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(50):
        wire.send(b"1000\r\n" + b"c" * 4096 + b"\r\n")
    wire.send(b"0\r\n\r\n")
    assert wire.read_answer().text == str(50 * 4096)


def test_a_body_that_the_handler_does_not_read_is_no_obstacle(wire):
    answer = wire.get("/nowhere", method="POST", body=b"x" * 100_000)
    assert answer.status == 404


def test_a_stream_comes_in_pieces_and_waits_for_a_slow_reader(site, connect):
    slow = connect(site)
    slow.send("GET /stream?pieces=64 HTTP/1.1\r\nHost: test\r\n\r\n")
    assert connect(site).get("/").status == 200
    assert slow.read_answer().body == b"s" * 65536 * 64


def test_responses_without_a_body_have_none(wire):
    assert wire.get("/empty").status == 204
    answer = wire.get("/?name=x", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert wire.get("/?name=x").status == 200


def test_an_exception_is_a_500_and_logged(site, connect):
    assert connect(site).get("/boom").status == 500
    site.wait_for_log(r"\[ERROR\] Error handling request from 127.0.0.1")
    site.wait_for_log("RuntimeError: the handler broke")
    assert connect(site).get("/").status == 200


def test_websockets_talk_text_and_bytes_and_take_a_subprotocol(site):
    async def talk() -> None:
        url = f"ws://127.0.0.1:{site.port}/ws"
        async with open_websocket(url, subprotocols=["chat"]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "chat"
            await socket.send("hello")
            assert await socket.recv() == "text hello"
            await socket.send(b"x" * 100_000)
            assert await socket.recv() == b"bytes " + b"x" * 100_000
            await socket.send("close")
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert (socket.close_code, socket.close_reason) == (4000, "bye")

    asyncio.run(talk())


def test_a_websocket_that_the_client_closes_ends_the_handler(site, wire):
    async def talk() -> None:
        async with open_websocket(f"ws://127.0.0.1:{site.port}/ws") as socket:
            await socket.send("hello")
            assert await socket.recv() == "text hello"

    asyncio.run(talk())
    assert wire.get("/").status == 200


def test_clean_up_runs_at_the_stop(start, connect):
    server = start("aiohttp_site:app", "-k", CLASS, "-w", "1")
    assert connect(server).get("/").status == 200
    assert server.stop() == 0
    assert "aiohttp cleaned up" in server.log()


def test_the_uvloop_class_runs_on_uvloop(start, connect):
    server = start("aiohttp_site:app", "-k", "aiohttp.GunicornUVLoopWebWorker", "-w", "1")
    assert json.loads(connect(server).get("/where").body)["loop"] == "uvloop"


@pytest.mark.indrik_only
class TestDetection:
    def test_an_application_is_told_by_its_look(self, start, connect):
        server = start("aiohttp_site:app", "-w", "1")
        assert connect(server).get("/?name=x").text == "hello x from 127.0.0.1"
        server.wait_for_log(r"Class +aiohttp,")

    def test_other_classes_are_an_error_at_the_start(self):
        from test_worker_classes import fails

        code, log = fails("aiohttp_site:app", "-k", "gevent")
        assert code == 4
        assert "is an aiohttp.web.Application" in log and "GunicornWebWorker" in log


def test_other_applications_under_the_class_are_an_error_at_the_start():
    from test_worker_classes import fails

    code, log = fails("wsgi_app:app", "-k", CLASS)
    assert code == (3 if IS_ORACLE else 4)
    assert "pplication" in log
