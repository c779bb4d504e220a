"""TLS: the front speaks it, the application only sees the scheme."""

from __future__ import annotations

import asyncio
import os
import ssl

import pytest
import requests
import trustme
from support.pki import Pki
from support.server import Server, free_port, poll
from support.wire import Wire
from websockets.asyncio.client import connect as connect_websocket


def secure(server: Server) -> str:
    return f"https://127.0.0.1:{server.port}"


def wrapped(server: Server, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(server.connect(), server_hostname="localhost")


@pytest.mark.parametrize("app", ["wsgi_app:app", "asgi_app:app"])
def test_the_application_sees_https(start, pki, app):
    server = start(app, *pki.flags())
    with requests.Session() as session:
        seen = session.get(secure(server) + "/describe", verify=str(pki.ca)).json()
        assert "https" in (seen.get("scheme"), seen.get("wsgi.url_scheme"))
        # The same connection again.
        assert session.get(secure(server) + "/hello", verify=str(pki.ca)).text == "hello"
    server.wait_for_log(rf"Listening at: https://127\.0\.0\.1:{server.port} ")


def test_certificate_and_key_may_be_one_file(start, pki):
    both = pki.directory / "both.pem"
    both.write_bytes(pki.key.read_bytes() + pki.certificate.read_bytes())
    server = start("wsgi_app:app", "--certfile", str(both))
    assert requests.get(secure(server) + "/hello", verify=str(pki.ca), timeout=10).text == "hello"


def test_large_bodies_pass_both_ways(start, pki):
    server = start("asgi_app:app", *pki.flags())
    body = os.urandom(5_000_000)
    answer = requests.post(secure(server) + "/upload", data=body, verify=str(pki.ca), timeout=30)
    assert str(len(body)) in answer.text
    answer = requests.get(secure(server) + "/stream?chunks=100&size=65536", verify=str(pki.ca), timeout=30)
    assert answer.status_code == 200
    assert len(answer.content) > 1_000_000


def test_websockets_pass(start, pki):
    server = start("asgi_app:app", *pki.flags())

    # Not the client with threads: two of them use one TLS connection at once, which Python does not allow for.
    async def echo() -> None:
        url = f"wss://localhost:{server.port}/echo"
        async with connect_websocket(url, ssl=pki.client(), sock=server.connect(), open_timeout=10) as client:
            for size in (1, 100_000):
                await client.send("x" * size)
                assert await asyncio.wait_for(client.recv(), 10) == "x" * size

    asyncio.run(echo())


def test_pipelined_requests_are_answered_in_order(start, pki):
    server = start("wsgi_app:app", *pki.flags())
    wire = Wire(wrapped(server, pki.client()), 10)
    wire.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n" * 3)
    assert [wire.read_answer().text for _ in range(3)] == ["hello"] * 3


def test_a_client_that_speaks_http_is_told_so(start, connect, pki):
    server = start("wsgi_app:app", *pki.flags())
    wire = connect(server)
    wire.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
    answer = wire.read_answer()
    assert answer.status == 400
    assert "HTTPS" in answer.text
    wire.assert_closed()


def test_a_client_that_says_nothing_does_not_hold_up_others(start, connect, pki):
    server = start("wsgi_app:app", *pki.flags())
    connect(server)
    connect(server).send("\x16\x03\x01")
    assert requests.get(secure(server) + "/hello", verify=str(pki.ca), timeout=10).text == "hello"


def test_a_client_that_says_nothing_does_not_hold_up_the_end(start, connect, pki):
    server = start("wsgi_app:app", *pki.flags())
    # Less than a handshake may take.
    silent = connect(server, 5)
    server.signal(15)
    silent.assert_closed()
    assert server.wait_for_exit() == 0


def test_a_certificate_is_asked_of_clients_when_told(start, pki):
    server = start("wsgi_app:app", *pki.flags(), "--ca-certs", str(pki.ca), "--cert-reqs", "2")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        # In TLS 1.3 the refusal comes with the first answer.
        Wire(wrapped(server, pki.client()), 10).get("/hello")
    wire = Wire(wrapped(server, pki.client(with_certificate=True)), 10)
    assert wire.get("/hello").text == "hello"


def test_a_renewed_certificate_is_used_without_a_reload(start, pki):
    server = start("wsgi_app:app", *pki.flags())
    serial = lambda: wrapped(server, pki.client()).getpeercert()["serialNumber"]  # noqa: E731
    before = serial()
    pki.certificate.write_text("not a certificate")
    server.wait_for_log("the old certificate stays in use")
    assert serial() == before
    pki.renew()
    server.wait_for_log("the new certificate is in use")
    assert serial() != before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--certfile", "missing.pem", "--keyfile", "server.key"], r"missing\.pem.*cannot be read"),
        (["--certfile", "server.key", "--keyfile", "server.key"], r"server\.key.*no certificate"),
        (["--certfile", "server.pem", "--keyfile", "server.pem"], r"server\.pem.*no private key"),
        (["--certfile", "server.pem", "--keyfile", "other.key"], r"server\.pem.*"),
        (["--certfile", "server.pem", "--keyfile", "server.key", "--cert-reqs", "2"], "ca_certs"),
        (["--keyfile", "server.key"], "certfile"),
    ],
)
def test_a_wrong_file_is_one_clear_line_and_exit_code_1(tmp_path, pki, flags, said):
    (tmp_path / "other.key").write_bytes(trustme.CA().issue_cert("x").private_key_pem.bytes())
    flags = [str(tmp_path / flag) if "." in flag else flag for flag in flags]
    server = Server("wsgi_app:app", *flags, log_directory=tmp_path / "log", bind=f"127.0.0.1:{free_port()}")
    server.start()
    assert server.wait_for_exit() == 1
    server.wait_for_log(said)
    server.assert_nothing_left()


def test_term_lets_requests_over_tls_finish(start, pki, gate):
    server = start("wsgi_app:app", *pki.flags())
    wire = Wire(wrapped(server, pki.client()), 10)
    wire.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
    gate.arrived()
    server.signal(15)
    poll(lambda: not server.accepts(), "the end of accepting")
    gate.release()
    assert wire.read_answer().status == 200
    assert server.wait_for_exit() == 0


def test_scheme_headers_are_not_needed(start, pki):
    server = start(
        "wsgi_app:app", *pki.flags(), "--access-logfile", "-", "--access-logformat", "%({wsgi.url_scheme}e)s"
    )
    assert requests.get(secure(server) + "/hello", verify=str(pki.ca), timeout=10).ok
    server.wait_for_access_line("^https$")


@pytest.mark.parametrize("header", [b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", b""])
def test_a_proxy_header_comes_before_the_handshake(start, pki: Pki, header):
    """As the PROXY protocol says, and as balancers that pass TLS through send it."""
    server = start("wsgi_app:app", *pki.flags(), "--proxy-protocol", "auto")
    connection = server.connect()
    connection.sendall(header)
    with Wire(pki.client().wrap_socket(connection, server_hostname="localhost")) as wire:
        environ = wire.get("/describe").body
    assert (b'"REMOTE_ADDR": "192.0.2.1"' in environ) == bool(header)
    assert b'"wsgi.url_scheme": "https"' in environ


def test_a_trusted_proxy_may_say_that_its_client_came_without_tls(start, pki: Pki):
    server = start("wsgi_app:app", *pki.flags())
    with Wire(wrapped(server, pki.client())) as wire:
        assert b'"wsgi.url_scheme": "http"' in wire.get("/describe", "X-Forwarded-Proto: http").body
        assert b'"wsgi.url_scheme": "https"' in wire.get("/describe").body
