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
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from support.http2 import Http2
from support.http2_raw import DATA, END_STREAM, GET_HELLO, HEADERS, HTTP_1_1_REQUIRED, RST_STREAM, RawHttp2, field, get
from support.pki import Pki
from support.server import Server, poll

H2 = ("--http-protocols", "h2,h1")
HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
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


def test_hints_come_before_the_answer(start, pki, open_http2):
    client = open_http2(start("asgi_app:app", *pki.flags(), *H2))
    answer = client.get("/early-hints")
    assert [head[":status"] for head in answer.interim] == ["103"]
    assert answer.interim[0]["link"] == "</style.css>; rel=preload"
    assert (answer.status, answer.body) == (200, b"after the hints")


@pytest.mark.parametrize("app", ["wsgi_app:app", "asgi_app:app"])
def test_a_client_that_waits_for_the_word_to_go_on_gets_it(start, pki, open_http2, app):
    client = open_http2(start(app, *pki.flags(), *H2, "--body-size-max", "100"))
    body = b"x" * 10
    number = client.request("/upload", ("expect", "100-continue"), ("content-length", "10"), method="POST", end=False)
    while not client.streams[number].interim:
        assert client.read(), "the connection ended"
    assert client.streams[number].interim[0][":status"] == "100"
    client.send(number, body, end=True)
    answer = client.answer(number)
    assert (answer.status, len(answer.interim)) == (200, 1)
    assert hashlib.sha256(body).hexdigest() in answer.body.decode()
    # What is refused by its length is not asked for.
    refused = client.request("/upload", ("expect", "100-continue"), ("content-length", "101"), method="POST", end=False)
    answer = client.answer(refused)
    assert (answer.status, answer.interim) == (413, [])
    assert client.get("/hello").body == b"hello"


def test_the_host_is_the_first_of_the_fields(start, pki, open_http2):
    client = open_http2(start("asgi_app:app", *pki.flags(), *H2))
    described = json.loads(client.get("/describe", ("accept", "*/*"), ("x", "y")).body)
    assert described["headers"][0] == ["host", "test"]


def test_lengths_that_do_not_fit_are_refused_and_the_connection_goes_on(start, pki, open_http2):
    client = open_http2(start("asgi_app:app", *pki.flags(), *H2))
    twice = client.request("/upload", ("content-length", "5"), ("content-length", "5"), method="POST", body=b"12345")
    assert client.answer(twice).status == 400
    for length in ("4", "6", "5x", "+5", "5, 5"):
        wrong = client.request("/upload", ("content-length", length), method="POST", body=b"12345")
        assert client.answer(wrong).reset == ErrorCodes.PROTOCOL_ERROR, length
    assert client.get("/hello").body == b"hello"


@pytest.mark.parametrize("app", ["wsgi_app:app", "asgi_app:app"])
def test_an_answer_before_the_end_of_the_body_ends_the_upload_and_not_the_connection(start, pki, open_http2, app):
    client = open_http2(start(app, *pki.flags(), *H2, "--body-size-max", "1000"))
    number = client.request("/upload", method="POST", body=b"x" * 2000, end=False)
    assert client.answer(number).status == 413
    assert client.get("/hello").body == b"hello"


@pytest.mark.parametrize(
    ("app", "path", "status"),
    [("asgi_app:app", "/answer-early", 200), ("asgi_app:app", "/upload", 413), ("wsgi_app:app", "/upload", 413)],
)
def test_a_library_that_sends_its_whole_body_first_sees_an_answer_that_came_before(start, pki, app, path, status):
    server = start(app, *pki.flags(), *H2, "--body-size-max", "1000000" if status == 413 else "0")
    with httpx.Client(http2=True, verify=pki.client(), timeout=20) as client:
        url = f"https://localhost:{server.port}"
        assert client.post(url + path, content=bytes(5_000_000)).status_code == status
        assert client.get(url + "/hello").text == "hello"


def test_what_was_sent_before_the_application_failed_comes_before_the_reset(start, pki, open_http2):
    client = open_http2(start("asgi_app:app", *pki.flags(), *H2))
    answer = client.get("/raise-midway")
    assert answer.reset == ErrorCodes.INTERNAL_ERROR
    assert len(answer.body) == 100_000
    assert client.get("/hello").body == b"hello"


# Names with a capital, as they are and in the code of Huffman for the table; values with control characters; a pseudo-
# field that is none; fields of a connection of HTTP/1.1.
BAD_FIELDS = {
    "capitals": field(b"X-Upper", b"1"),
    "coded capitals": b"\x40" + b"\x86" + HUFFMAN.encode(b"X-Upper") + b"\x011",
    "control character": field(b"x", b"a\x00b"),
    "line break": b"\x40" + field(b"cookie", b"a\r\nb")[1:],
    "unknown pseudo-field": field(b":pseudo", b"1"),
    "empty name": field(b"", b"value"),
    "connection": field(b"connection", b"close"),
    "te": field(b"te", b"gzip"),
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_a_malformed_head_ends_its_stream_and_no_other(start, gate, name):
    server = start("asgi_app:app", *CLEAR, "--workers", "1")
    with RawHttp2(server.connect()) as client:
        slow = GET_HELLO[:8] + field(b":path", f"/gate?gate={gate.path}".encode())
        # Two entries for the table that both sides share: they must stay where they are.
        client.send(get(1, slow + b"\x40\x03x-a\x01a" + b"\x40\x03x-b\x01b"))
        gate.arrived()
        client.send(get(3, GET_HELLO + BAD_FIELDS[name]))
        place = 1 if BAD_FIELDS[name][0] == 0x40 else 0
        describe = GET_HELLO[:8] + field(b":path", b"/describe")
        client.send(get(5, describe + bytes([0x80 | (62 + place), 0x80 | (63 + place)])))
        ended, body = set(), b""
        for kind, flags, stream, payload in client.frames():
            if kind == DATA and stream == 5:
                body += payload
            if kind == RST_STREAM:
                assert (stream, int.from_bytes(payload)) == (3, ErrorCodes.PROTOCOL_ERROR)
            if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
                ended.add(stream)
            if ended == {3, 5}:
                gate.release()
            if ended == {1, 3, 5}:
                break
        headers = json.loads(body)["headers"]
        assert ["x-a", "a"] in headers
        assert ["x-b", "b"] in headers


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


def test_a_stream_that_nobody_reads_is_reset_and_the_others_go_on(start, pki, open_http2):
    server = start("wsgi_app:app", *pki.flags(), *H2, "--workers", "2", "--write-timeout", "1")
    client = open_http2(server, acknowledges=False)
    # The window of the connection has room for others; that of the stream has not.
    client.h2.increment_flow_control_window(1_000_000)
    unread = client.request("/stream?megabytes=50")
    stream = client.read_head(unread)
    while stream.reset is None:
        assert client.read(), "the connection ended"
        assert client.get("/hello").body == b"hello"
    assert stream.reset == ErrorCodes.CANCEL
    assert len(stream.body) == 65_535
    assert client.get("/hello").body == b"hello"


def test_a_worker_that_dies_loses_no_get(start, pki, gate, open_http2):
    server = start("wsgi_app:app", *pki.flags(), *H2, "--workers", "2")
    client = open_http2(server)
    number = client.request(f"/gate?gate={gate.path}")
    os.kill(gate.arrived(), signal.SIGKILL)
    gate.arrived()
    gate.release()
    assert client.answer(number).status == 200


def test_no_word_of_the_end_is_said_while_a_request_is_under_way_and_those_that_come_are_served(
    start, pki, gate, open_http2
):
    server = start("asgi_app:app", *pki.flags(), *H2)
    client = open_http2(server)
    first = client.request(f"/gate?gate={gate.path}")
    gate.arrived()
    server.signal(signal.SIGTERM)
    server.wait_for_log("Handling signal: term")
    last = client.request("/hello")
    assert client.answer(last).body == b"hello"
    assert client.goaway is None
    gate.release()
    assert client.answer(first).status == 200
    assert client.goaway is None, "what was asked for is answered first"
    client.read_to_end()
    assert client.goaway == last
    assert server.wait_for_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_library_that_takes_any_goaway_for_the_end_of_all_loses_nothing(start, pki, gate, number):
    server = start("asgi_app:app", *pki.flags(), *H2, "--workers", "1", "--access-logfile", "-")
    count = 4

    async def load() -> list[httpx.Response]:
        async with httpx.AsyncClient(http2=True, verify=pki.client(), timeout=20) as client:
            url = f"https://127.0.0.1:{server.port}"
            held = [asyncio.create_task(client.get(f"{url}/gate?gate={gate.path}")) for _ in range(count)]
            for _ in range(count):
                await asyncio.to_thread(gate.arrived)
            server.signal(number)
            await asyncio.to_thread(server.wait_for_log, f"Handling signal: {number.name[3:].lower()}")
            # Those that come meanwhile are served on the same connection.
            late = [asyncio.create_task(client.get(f"{url}/hello")) for _ in range(20)]
            await asyncio.to_thread(server.wait_for_access_line, '"GET /hello HTTP/2.0" 200')
            gate.release(count)
            return await asyncio.gather(*held, *late)

    answers = asyncio.run(load())
    assert {(answer.http_version, answer.status_code) for answer in answers} == {("HTTP/2", 200)}


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


def test_connect_is_refused_and_the_connection_goes_on(start, pki, open_http2):
    client = open_http2(start("wsgi_app:app", *pki.flags(), *H2))
    assert client.answer(client.connect("elsewhere.test:80")).status == 501
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


def test_a_head_that_http_1_takes_is_taken_and_a_larger_one_refused_with_a_page(start, pki, open_http2):
    server = start("wsgi_app:app", *pki.flags(), *H2, "--access-logfile", "-")
    client = open_http2(server)
    fields = [(f"x-{number}", "a" * 8000) for number in range(17)]
    assert client.get("/hello", *fields[:15]).status == 200
    answer = client.get("/hello?large", *fields)
    assert answer.status == 431
    assert b"the header fields are too large together" in answer.body
    assert answer.headers["date"]
    server.wait_for_access_line(r'"GET https://test/hello\?large HTTP/2\.?0?" 431 ')
    assert client.get("/hello").status == 200


def test_a_beginning_that_never_ends_is_told(start, pki):
    server = start("wsgi_app:app", *pki.flags(), *H2, "--header-read-timeout", "1")
    with secured(server, pki, "h2") as wire:
        wire.send(b"PRI * HTTP/2.0")
        while wire.recv(65_536):
            pass
    server.wait_for_log(r"Invalid request from ip=.*: the beginning of HTTP/2 did not arrive in time")


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
    with RawHttp2(server.connect()) as client:
        client.read_to_end()
        assert client.goaway == HTTP_1_1_REQUIRED


def test_without_tls_and_without_a_word_on_proxies_the_start_says_that_http2_is_not_spoken(start, connect):
    server = start("wsgi_app:app", *H2)
    server.wait_for_log("http_protocols has h2, but without TLS")
    with RawHttp2(server.connect()) as client:
        client.read_to_end()
        assert client.goaway == HTTP_1_1_REQUIRED
    assert connect(server).get("/hello").text == "hello"


def test_many_resets_in_a_row_end_the_connection_and_not_the_server(start):
    server = start("wsgi_app:app", *CLEAR)
    with Http2(server.connect()) as client, pytest.raises(OSError):
        # More than a server can be asked to forget; it says ENHANCE_YOUR_CALM and closes.
        for _ in range(20_000):
            client.reset(client.request("/hello"))
    with Http2(server.connect()) as client:
        assert client.get("/hello").body == b"hello"
