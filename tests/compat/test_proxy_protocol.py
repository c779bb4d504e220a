"""The PROXY protocol: what a proxy that does not speak HTTP says about a connection."""

from __future__ import annotations

import ipaddress
import json
import struct

import pytest
from support.configured import ASGI
from support.configured import configured as configured
from support.server import IS_ORACLE
from support.wire import Wire

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
REQUEST = b"GET /describe HTTP/1.1\r\nHost: a\r\n\r\n"
V1 = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"


def v2(command: int, family: int, data: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(data)) + data


def addresses(source: str, destination: str, source_port: int, destination_port: int) -> bytes:
    packed = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    return packed + struct.pack(">HH", source_port, destination_port)


V2 = v2(0x21, 0x11, addresses("192.0.2.1", "198.51.100.7", 56324, 443))
V2_IPV6 = v2(0x21, 0x21, addresses("2001:db8::1", "2001:db8::2", 56324, 443))
TLV = b"\x04\x00\x05extra"


def described(wire: Wire) -> dict:
    answer = wire.read_answer()
    assert answer.status == 200, answer.text
    return json.loads(answer.body)


def proxied(environ: dict) -> list[str | None]:
    keys = ("REMOTE_ADDR", "REMOTE_PORT", "PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT")
    return [environ.get(key) for key in keys]


@pytest.fixture
def wire(configured, connect) -> Wire:
    return connect(configured(proxy_protocol="auto"))


class TestHeaders:
    @pytest.mark.parametrize(
        "header, expected",
        [
            (V1, ["192.0.2.1", "56324", "TCP4", "198.51.100.7", "443"]),
            (
                b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n",
                ["2001:db8::1", "1", "TCP6", "2001:db8::2", "2"],
            ),
            (V2, ["192.0.2.1", "56324", "TCP4", "198.51.100.7", "443"]),
            (V2_IPV6, ["2001:db8::1", "56324", "TCP6", "2001:db8::2", "443"]),
            (
                v2(0x21, 0x11, addresses("192.0.2.1", "198.51.100.7", 1, 2) + TLV),
                ["192.0.2.1", "1", "TCP4", "198.51.100.7", "2"],
            ),
        ],
        ids=["v1", "v1 ipv6", "v2", "v2 ipv6", "v2 with extensions"],
    )
    def test_the_client_is_the_one_in_the_header(self, wire, header, expected):
        wire.send(header + REQUEST)
        assert proxied(described(wire)) == expected
        # It holds for the whole connection; Gunicorn forgets it after the first request.
        if not IS_ORACLE:
            wire.send(REQUEST)
            assert proxied(described(wire)) == expected

    @pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
    def test_it_may_come_in_any_pieces(self, wire, header):
        for byte in header + REQUEST:
            wire.send(bytes([byte]))
        assert described(wire)["REMOTE_ADDR"] == "192.0.2.1"

    def test_without_one_the_peer_is_the_client(self, wire):
        wire.send(REQUEST)
        environ = described(wire)
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert "PROXY_PROTOCOL" not in environ

    @pytest.mark.parametrize("first", [b"PUT /describe HTTP/1.1\r\n", b"\r\nPOST /describe HTTP/1.1\r\n"])
    def test_a_request_that_begins_like_one_is_a_request(self, wire, first):
        wire.send(first + b"Host: a\r\nContent-Length: 0\r\n\r\n")
        assert described(wire)["REMOTE_ADDR"] == "127.0.0.1"

    @pytest.mark.indrik_only
    @pytest.mark.parametrize(
        "header, name",
        [
            (b"PROXY UNKNOWN\r\n", "UNKNOWN"),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "UNKNOWN"),
            (v2(0x20, 0x00, b""), "LOCAL"),
            (v2(0x20, 0x00, TLV), "LOCAL"),
            (v2(0x21, 0x00, b""), "UNSPEC"),
            (v2(0x21, 0x12, b"\1" * 12), "UNSPEC"),
            (v2(0x21, 0x22, b"\1" * 36 + TLV), "UNSPEC"),
            (v2(0x21, 0x31, b"/path" + b"\0" * 211), "UNSPEC"),
            (v2(0x21, 0x32, b"\0" * 216), "UNSPEC"),
        ],
    )
    def test_where_the_proxy_does_not_tell_the_peer_is_the_client(self, wire, header, name):
        """Gunicorn refuses UNKNOWN, datagrams and Unix sockets, and says "None" for the addresses of the others."""
        wire.send(header + REQUEST)
        port = str(wire.socket.getsockname()[1])
        assert proxied(described(wire)) == ["127.0.0.1", port, name, None, None]


class TestRefusals:
    @pytest.mark.parametrize(
        "header",
        [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 65iii 1\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            b"PROXY TCP4 name 192.0.2.2 1 2\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        ],
    )
    def test_a_malformed_line_is_a_400(self, wire, header):
        wire.send(header + REQUEST)
        answer = wire.read_answer()
        assert (answer.status, answer.header("connection")) == (400, "close")
        wire.assert_closed()

    @pytest.mark.parametrize(
        "header",
        [
            v2(0x11, 0x11, b"\0" * 12),
            v2(0x22, 0x11, b"\0" * 12),
            v2(0x21, 0x11, b"\0" * 11),
        ],
        ids=["version", "command", "too short"],
    )
    def test_a_malformed_binary_header_is_refused(self, wire, header):
        wire.send(header + REQUEST)
        assert wire.read_answer().status == (500 if IS_ORACLE else 400)
        wire.assert_closed()

    @pytest.mark.indrik_only
    @pytest.mark.parametrize(
        "header",
        [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            v2(0x21, 0x11, b"\0" * 12 + b"\x03\x00\x04\0\0\0\0"),
            v2(0x21, 0x11, b"\0" * 12 + b"\x04\xff\xffab"),
            v2(0x21, 0x11, b"\0" * 12 + b"\x04"),
            v2(0x21, 0x10, b"\0" * 12),
        ],
        ids=["a leading zero", "a wrong checksum", "an overlong extension", "half an extension", "no protocol"],
    )
    def test_what_the_description_forbids_is_not_believed(self, wire, header):
        wire.send(header + REQUEST)
        assert wire.read_answer().status == 400
        wire.assert_closed()

    @pytest.mark.indrik_only
    @pytest.mark.parametrize("header", [b"PROXY TCP4 " + b"1" * 100, v2(0x21, 0x11, b"\0" * 20_000)])
    def test_a_header_that_does_not_end_is_a_400(self, wire, header):
        wire.send(header)
        assert wire.read_answer().status == 400
        wire.assert_closed()

    def test_it_is_read_at_the_start_of_a_connection_only(self, wire):
        wire.send(REQUEST)
        assert described(wire)["REMOTE_ADDR"] == "127.0.0.1"
        wire.send(V1 + REQUEST)
        assert wire.read_answer().status == 400

    @pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
    def test_a_peer_that_is_not_allowed_is_a_403(self, configured, connect, header):
        server = configured(proxy_protocol="auto", proxy_allow_ips="10.0.0.0/8")
        wire = connect(server)
        wire.send(header + REQUEST)
        assert wire.read_answer().status == 403
        wire.assert_closed()
        wire = connect(server)
        wire.send(REQUEST)
        assert described(wire)["REMOTE_ADDR"] == "127.0.0.1"

    @pytest.mark.indrik_only
    def test_a_header_that_comes_too_slowly_is_cut_off(self, configured, connect):
        wire = connect(configured(proxy_protocol="auto", header_read_timeout=1))
        wire.send(V1[:20])
        assert wire.read_answer().status == 408
        wire.assert_closed()


class TestVersions:
    @pytest.mark.parametrize(
        "mode, header, status",
        [
            ("off", V1, 400),
            ("off", V2, 400),
            ("v1", V1, 200),
            ("v1", V2, 400),
            ("v2", V1, 400),
            ("v2", V2, 200),
            (True, V1, 200),
            (True, V2, 200),
            (False, V1, 400),
        ],
    )
    def test_only_the_ones_that_are_wanted_are_read(self, configured, connect, mode, header, status):
        wire = connect(configured(proxy_protocol=mode))
        wire.send(header + REQUEST)
        assert wire.read_answer().status == status

    def test_the_bare_flag_means_both(self, start, connect):
        server = start("wsgi_app:app", "--proxy-protocol", "--threads", "2", "--workers", "1")
        for header in (V1, V2):
            wire = connect(server)
            wire.send(header + REQUEST)
            assert described(wire)["REMOTE_ADDR"] == "192.0.2.1"


def test_a_unix_peer_may_send_it(configured, tmp_path_factory):
    path = tmp_path_factory.mktemp("unix") / "s"
    server = configured(bind=f"unix:{path}", proxy_protocol="auto", proxy_allow_ips="10.0.0.1")
    with Wire(server.connect()) as wire:
        wire.send(V1 + REQUEST)
        assert proxied(described(wire))[:2] == ["192.0.2.1", "56324"]


def test_the_peer_is_who_is_trusted_with_headers(configured, connect):
    wire = connect(configured(proxy_protocol="auto"))
    wire.send(V1 + REQUEST.replace(b"\r\n\r\n", b"\r\nX-Forwarded-Proto: https\r\n\r\n"))
    assert described(wire)["wsgi.url_scheme"] == "https"


@pytest.mark.indrik_only
def test_the_client_in_the_header_is_where_the_way_of_a_request_begins(configured, connect):
    """Who spoke HTTP is the client of the PROXY header: its X-Forwarded-For counts if it is trusted."""
    server = configured(
        proxy_protocol="auto",
        real_ip_header="x-forwarded-for",
        forwarded_allow_ips="127.0.0.1,192.0.2.0/24",
    )
    request = REQUEST.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
    for header, client in [(V1, "6.6.6.6"), (V1.replace(b"192.0.2.1", b"203.0.113.9"), "203.0.113.9")]:
        wire = connect(server)
        wire.send(header + request)
        assert described(wire)["REMOTE_ADDR"] == client


def test_asgi_sees_the_client(configured, connect):
    server = configured(**ASGI, proxy_protocol="auto")
    wire = connect(server)
    wire.send(V2 + REQUEST)
    assert described(wire)["client"] == ["192.0.2.1", 56324]


def test_the_access_log_shows_the_client(start, connect):
    options = ["--access-logfile", "-", "--access-logformat", "seen %(h)s", "--proxy-protocol", "auto"]
    server = start("wsgi_app:app", "--threads", "2", *options)
    wire = connect(server)
    wire.send(V1 + REQUEST)
    described(wire)
    server.wait_for_access_line("^seen 192.0.2.1$")
