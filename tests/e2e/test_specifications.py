"""PEP 3333 and ASGI 3, tried by applications that check the server."""

from __future__ import annotations

import json

import pytest
from support.server import Server
from websockets.sync.client import connect as connect_socket

WSGI = {"sync": ("--worker-class", "sync"), "gthread": ("--threads", "2"), "gevent": ("--worker-class", "gevent")}


@pytest.fixture(scope="module", params=WSGI)
def wsgi_server(request, start_shared) -> Server:
    server: Server = start_shared("spec_app:validated", "--workers", "1", *WSGI[request.param])
    return server


@pytest.fixture(scope="module")
def asgi_server(start_shared) -> Server:
    server: Server = start_shared("spec_app:asgi", "--workers", "1", interface="asgi")
    return server


class TestPep3333:
    @pytest.mark.parametrize("body", [b"", b"a body\nof lines\nwithout end", b"x" * 300_000])
    @pytest.mark.parametrize(
        ("path", "status", "before"),
        [("/", 200, b""), ("/lines", 200, b""), ("/write", 200, b"written "), ("/exc-info", 201, b"")],
    )
    def test_the_standard_librarys_validator_finds_nothing(self, wsgi_server, connect, path, status, before, body):
        answer = connect(wsgi_server).get(f"{path}?a=b", "X-A: b", method="POST" if body else "GET", body=body)
        assert (answer.status, answer.body) == (status, before + (body or b"empty"))
        assert "AssertionError" not in wsgi_server.log()
        assert "WSGIWarning" not in wsgi_server.log()

    def test_it_finds_nothing_with_head(self, wsgi_server, connect):
        assert connect(wsgi_server).get("/", method="HEAD").status == 200
        assert "AssertionError" not in wsgi_server.log()


class TestAsgi3:
    @pytest.mark.parametrize("body", [b"", b"short", b"x" * 300_000])
    def test_an_application_that_checks_requests_finds_nothing(self, asgi_server, connect, body):
        answer = connect(asgi_server).get("/a%20b?c=d", "X-A: b", method="POST" if body else "GET", body=body)
        assert json.loads(answer.body) == []
        assert "AssertionError" not in asgi_server.log()

    def test_an_application_that_checks_websockets_finds_nothing(self, asgi_server):
        with connect_socket(f"ws://127.0.0.1:{asgi_server.port}/a%20b?c=d") as socket_:
            assert socket_.response.headers["x-own"] == "1"
            assert json.loads(socket_.recv(10)) == []
            socket_.send("text")
            assert json.loads(socket_.recv(10)) == ["text", "type"]
            with pytest.raises(Exception, match="3001"):
                socket_.recv(10)
            # Cut between characters, as a close frame has room for 123 bytes of it.
            assert socket_.close_reason == "é" * 61
        assert "AssertionError" not in asgi_server.log()
