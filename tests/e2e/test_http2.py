"""HTTP/2: the front speaks it, and each of its requests takes the path of any other."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import ssl

import httpx
import pytest
from h2.settings import SettingCodes
from support.http2 import Http2
from support.pki import Pki
from support.server import Server, poll

H2 = ("--http-protocols", "h2,h1")
CLEAR = (*H2, "--http2-cleartext", "prior-knowledge")


def secured(server: Server, pki: Pki, *offers: str) -> ssl.SSLSocket:
    context = pki.client()
    context.set_alpn_protocols(list(offers))
    return context.wrap_socket(server.connect(), server_hostname="localhost")


@pytest.fixture
def open_http2(pki):
    opened = []

    def open_http2(server: Server, **options) -> Http2:
        opened.append(Http2(secured(server, pki, "h2"), **options))
        return opened[-1]

    yield open_http2
    for client in opened:
        client.socket.close()


@pytest.mark.parametrize(
    ("flags", "offers", "agreed"),
    [
        (H2, ["h2", "http/1.1"], "h2"),
        (("--http-protocols", "h1,h2"), ["h2", "http/1.1"], "http/1.1"),
        (H2, ["http/1.1"], "http/1.1"),
        ((), ["h2", "http/1.1"], "http/1.1"),
    ],
)
def test_the_version_that_the_server_likes_best_is_agreed_on(start, pki, flags, offers, agreed):
    server = start("wsgi_app:app", *pki.flags(), *flags)
    with secured(server, pki, *offers) as connection:
        assert connection.selected_alpn_protocol() == agreed


@pytest.mark.parametrize(
    ("app", "version", "seen"),
    [("wsgi_app:app", "SERVER_PROTOCOL", "HTTP/2.0"), ("asgi_app:app", "http_version", "2")],
)
def test_the_application_sees_the_version_the_host_and_one_cookie(start, pki, open_http2, app, version, seen):
    server = start(app, *pki.flags(), *H2, "--access-logfile", "-")
    client = open_http2(server)
    answer = client.get("/describe?a=b", ("cookie", "a=1"), ("cookie", "b=2"))
    described = json.loads(answer.body)
    assert (answer.status, described[version]) == (200, seen)
    assert "connection" not in answer.headers
    if app.startswith("wsgi"):
        assert (described["HTTP_HOST"], described["HTTP_COOKIE"]) == ("test", "a=1; b=2")
        assert (described["wsgi.url_scheme"], described["PATH_INFO"]) == ("https", "/describe")
        assert (described["QUERY_STRING"], described["RAW_URI"]) == ("a=b", "/describe?a=b")
    else:
        assert (described["scheme"], described["path"]) == ("https", "/describe")
        assert described["headers"][0] == ["host", "test"]
    server.wait_for_access_line(r'"GET /describe\?a=b HTTP/2\.0" 200')


def test_a_browser_s_library_gets_many_answers_on_one_connection(start, pki):
    server = start("asgi_app:app", *pki.flags(), *H2)

    async def load() -> set[tuple[str, int, str]]:
        async with httpx.AsyncClient(http2=True, verify=pki.client(), timeout=20) as client:
            url = f"https://127.0.0.1:{server.port}/hello"
            answers = await asyncio.gather(*(client.get(url) for _ in range(300)))
            return {(answer.http_version, answer.status_code, answer.text) for answer in answers}

    assert asyncio.run(load()) == {("HTTP/2", 200, "hello")}


@pytest.mark.parametrize("app", ["wsgi_app:app", "asgi_app:app"])
def test_large_bodies_pass_both_ways(start, pki, app):
    server = start(app, *pki.flags(), *H2)
    body = os.urandom(3_000_000)
    with httpx.Client(http2=True, verify=pki.client(), timeout=30) as client:
        answer = client.post(f"https://127.0.0.1:{server.port}/upload", content=body)
        assert answer.http_version == "HTTP/2"
        assert hashlib.sha256(body).hexdigest() in answer.text
        assert len(client.get(f"https://127.0.0.1:{server.port}/stream?megabytes=3").content) == 3 * 1024 * 1024


def test_what_has_no_body_gets_none(start, pki, open_http2):
    server = start("wsgi_app:app", *pki.flags(), *H2)
    client = open_http2(server)
    head = client.get("/hello", method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "5")
    for status in (204, 304):
        answer = client.get(f"/status?line={status}%20None")
        assert (answer.status, answer.body) == (status, b"")


def test_trailers_come_after_the_body(start, pki, open_http2):
    client = open_http2(start("asgi_app:app", *pki.flags(), *H2))
    answer = client.get("/trailers")
    assert (answer.body, answer.trailers) == (b"body", {"x-checksum": "abc"})


def test_a_slow_request_does_not_hold_up_another_one_of_its_connection(start, pki, gate, open_http2):
    server = start("asgi_app:app", *pki.flags(), *H2)
    client = open_http2(server)
    slow = client.request(f"/gate?gate={gate.path}")
    gate.arrived()
    assert client.get("/hello").body == b"hello"
    gate.release()
    assert client.answer(slow).status == 200


def test_a_request_that_its_client_gives_up_is_seen_by_the_application(start, pki, tmp_path, open_http2):
    server = start("asgi_app:app", *pki.flags(), *H2)
    client, mark = open_http2(server), tmp_path / "mark"
    number = client.request(f"/until-disconnect?mark={mark}", method="POST", end=False)
    poll(lambda: mark.exists() and "start" in mark.read_text(), "the request")
    assert client.get("/hello").status == 200
    client.reset(number)
    poll(lambda: mark.exists() and "http.disconnect" in mark.read_text(), "the disconnect")
    assert client.get("/hello").body == b"hello"


def test_a_client_that_takes_nothing_is_cut_off_and_the_worker_is_free(start, pki, open_http2):
    server = start("wsgi_app:app", *pki.flags(), *H2, "--workers", "1", "--write-timeout", "1")
    client = open_http2(server, acknowledges=False)
    client.read_head(client.request("/stream?megabytes=50"))
    client.read_to_end()
    assert client.closed
    assert open_http2(server).get("/hello").body == b"hello"


def test_a_worker_that_dies_loses_no_get(start, pki, gate, open_http2):
    server = start("wsgi_app:app", *pki.flags(), *H2, "--workers", "2")
    client = open_http2(server)
    number = client.request(f"/gate?gate={gate.path}")
    os.kill(gate.arrived(), signal.SIGKILL)
    gate.arrived()
    gate.release()
    assert client.answer(number).status == 200


def test_the_end_finishes_requests_and_names_those_it_took(start, pki, gate, open_http2):
    server = start("asgi_app:app", *pki.flags(), *H2)
    client = open_http2(server)
    number = client.request(f"/gate?gate={gate.path}")
    gate.arrived()
    server.signal(signal.SIGTERM)
    while client.goaway is None:
        assert client.read(), "closed without GOAWAY"
    gate.release()
    assert client.answer(number).status == 200
    client.read_to_end()
    assert client.goaway == number
    assert server.wait_for_exit() == 0


def test_an_idle_connection_is_ended_with_a_word(start, pki, open_http2):
    server = start("wsgi_app:app", *pki.flags(), *H2, "--keep-alive", "1")
    client = open_http2(server)
    assert client.get("/hello").status == 200
    client.read_to_end()
    assert client.goaway == 1


def test_the_limits_of_requests_hold(start, pki, open_http2):
    limits = ["--limit-request-line", "100", "--limit-request-fields", "5", "--limit-request-field_size", "50"]
    client = open_http2(start("wsgi_app:app", *pki.flags(), *H2, *limits))
    assert client.get("/" + "x" * 200).status == 414
    assert client.get("/hello", *((f"x-{n}", "1") for n in range(6))).status == 431
    assert client.get("/hello", ("x", "1" * 60)).status == 431
    assert client.get("/hello", ("host", "another")).status == 400
    assert client.get("/hello", method="CONNECT-ME-TO-SOMETHING-LONG").status == 400
    assert client.get("/hello").status == 200


def test_the_settings_of_http2_are_announced(start, pki, open_http2):
    given = {
        SettingCodes.MAX_CONCURRENT_STREAMS: ("--http2-max-concurrent-streams", 7),
        SettingCodes.INITIAL_WINDOW_SIZE: ("--http2-initial-window-size", 70_000),
        SettingCodes.MAX_FRAME_SIZE: ("--http2-max-frame-size", 20_000),
        SettingCodes.MAX_HEADER_LIST_SIZE: ("--http2-max-header-list-size", 9_000),
    }
    flags = [text for flag, value in given.values() for text in (flag, str(value))]
    client = open_http2(start("wsgi_app:app", *pki.flags(), *H2, *flags))
    assert {code: client.setting(code) for code in given} == {code: value for code, (_, value) in given.items()}


def test_a_trusted_proxy_may_begin_with_http2_without_tls_and_with_nothing_else(start, connect):
    server = start("wsgi_app:app", *CLEAR)
    with Http2(server.connect()) as client:
        assert client.get("/hello").body == b"hello"
    wire = connect(server)
    assert wire.get("/hello").status == 400
    wire.assert_closed()


def test_with_both_a_trusted_proxy_may_choose(start, connect):
    server = start("wsgi_app:app", *H2, "--http2-cleartext", "both")
    with Http2(server.connect()) as client:
        assert client.get("/hello").body == b"hello"
    assert connect(server).get("/hello").text == "hello"


@pytest.mark.parametrize(
    "flags", [("--http2-cleartext", "prior-knowledge"), (*CLEAR, "--forwarded-allow-ips", "10.0.0.1")]
)
def test_without_trust_or_without_h2_clients_speak_http_1(start, connect, flags):
    server = start("wsgi_app:app", *flags)
    assert connect(server).get("/hello").text == "hello"
    wire = connect(server)
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert wire.read_answer().status == 505
    wire.assert_closed()


def test_many_resets_in_a_row_end_the_connection_and_not_the_server(start):
    server = start("wsgi_app:app", *CLEAR)
    with Http2(server.connect()) as client, pytest.raises(OSError):
        # More than a server can be asked to forget; it says ENHANCE_YOUR_CALM and closes.
        for _ in range(20_000):
            client.reset(client.request("/hello"))
    with Http2(server.connect()) as client:
        assert client.get("/hello").body == b"hello"
