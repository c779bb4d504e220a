"""The settings that say which requests are accepted, and what becomes of odd header names."""

from __future__ import annotations

import json

import pytest
from support.configured import ASGI
from support.configured import configured as configured
from support.server import IS_ORACLE


def seen(wire, *headers: str, line: str = "GET /describe HTTP/1.1") -> dict:
    answer = ask(wire, *headers, line=line)
    assert answer.status == 200, answer.text
    return json.loads(answer.body)


def ask(wire, *headers: str, line: str = "GET /describe HTTP/1.1"):
    wire.send("\r\n".join([line, "Host: a", *headers, "", ""]))
    return wire.read_answer()


class TestFolding:
    def test_a_folded_field_is_a_400(self, configured, connect):
        assert ask(connect(configured()), "X-A: one\r\n two").status == 400

    def test_permitted_it_is_joined_with_a_space(self, configured, connect):
        wire = connect(configured(permit_obsolete_folding=True))
        environ = seen(wire, "X-A: one\r\n\t two  \r\n   three", "X-B: four")
        assert environ["HTTP_X_A"] == "one two three"
        assert environ["HTTP_X_B"] == "four"
        assert seen(wire, "X-C: next")["HTTP_X_C"] == "next"

    def test_permitted_its_size_is_that_of_all_its_lines(self, configured, connect):
        server = configured(permit_obsolete_folding=True, limit_request_field_size=30)
        assert ask(connect(server), "X-A: 12345\r\n 123456789\r\n 1").status == 200
        assert ask(connect(server), "X-A: 12345\r\n 123456789\r\n 12345").status == 431

    @pytest.mark.indrik_only
    @pytest.mark.parametrize("name", ["Content-Length: 1\r\n ", "Transfer-Encoding:\r\n chunked", "Host: b\r\n c"])
    def test_permitted_what_ends_a_message_is_not_folded(self, configured, connect, name):
        assert ask(connect(configured(permit_obsolete_folding=True)), name).status == 400


@pytest.mark.indrik_only
@pytest.mark.parametrize("folding", [False, True])
def test_a_frame_right_behind_a_handshake_is_not_lost(configured, connect, folding):
    """A head is held while folding is permitted; what follows a handshake is no head."""
    server = configured(**ASGI, permit_obsolete_folding=folding)
    handshake = "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    handshake += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    wire = connect(server)
    wire.send(handshake.encode() + b"\x81\x85\0\0\0\0hello")
    assert wire.read_head().status == 101
    assert wire.read_exactly(7) == b"\x81\x05hello"


class TestSpaceBeforeColon:
    def test_it_is_a_400(self, configured, connect):
        assert ask(connect(configured()), "X-A : one").status == 400

    def test_permitted_it_is_taken_away(self, configured, connect):
        wire = connect(configured(strip_header_spaces=True))
        assert seen(wire, "X-A \t: one")["HTTP_X_A"] == "one"
        wire.send("POST /describe HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc")
        assert json.loads(wire.read_answer().body)["body"] == "abc"

    def test_permitted_a_length_beside_a_coding_is_still_a_400(self, configured, connect):
        wire = connect(configured(strip_header_spaces=True))
        assert ask(wire, "Content-Length : 3", "Transfer-Encoding : chunked").status == 400


class TestMethods:
    @pytest.mark.parametrize("method", ["get", "G#T", "AB", "A" * 21, "-blargh"])
    def test_an_unconventional_one_is_a_400(self, configured, connect, method):
        assert ask(connect(configured()), line=f"{method} / HTTP/1.1").status == 400

    @pytest.mark.parametrize("method", ["get", "G#T", "AB", "A" * 21, "-blargh"])
    def test_permitted_it_reaches_the_application_as_it_is(self, configured, connect, method):
        wire = connect(configured(permit_unconventional_http_method=True))
        assert seen(wire, line=f"{method} /describe HTTP/1.1")["REQUEST_METHOD"] == method

    def test_case_folding_alone_changes_nothing(self, configured, connect):
        assert ask(connect(configured(casefold_http_method=True)), line="get / HTTP/1.1").status == 400

    def test_permitted_it_can_be_folded_to_upper_case(self, configured, connect):
        server = configured(permit_unconventional_http_method=True, casefold_http_method=True)
        assert seen(connect(server), line="-blargh /describe HTTP/1.1")["REQUEST_METHOD"] == "-BLARGH"

    @pytest.mark.indrik_only
    def test_a_folded_head_has_no_body(self, configured, connect):
        """Gunicorn decides by the method as sent, and sends one."""
        server = configured(permit_unconventional_http_method=True, casefold_http_method=True)
        wire = connect(server)
        wire.send("head /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.read_answer(head_only=True).header("content-length") == "5"
        assert seen(wire)["REQUEST_METHOD"] == "GET"


class TestVersions:
    @pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9", "HTTP/3.1"])
    def test_an_unconventional_one_is_refused(self, configured, connect, version):
        status = ask(connect(configured()), line=f"GET / {version}").status
        assert status == (400 if IS_ORACLE else 505)

    @pytest.mark.parametrize(
        "version, served", [("HTTP/2.0", "HTTP/1.1"), ("HTTP/0.9", "HTTP/1.0"), ("HTTP/1.7", "HTTP/1.1")]
    )
    def test_permitted_it_is_served_as_the_nearest_that_exists(self, configured, connect, version, served):
        wire = connect(configured(permit_unconventional_http_version=True))
        protocol = seen(wire, line=f"GET /describe {version}")["SERVER_PROTOCOL"]
        # Gunicorn tells the application what the client wrote, which no application knows.
        assert protocol == (version if IS_ORACLE else served)

    @pytest.mark.parametrize("version", ["HTTP/10.0", "HTTP/1", "http/1.1", "HTTP/1.1 ", "FTP/1.0"])
    def test_permitted_what_is_no_version_is_still_a_400(self, configured, connect, version):
        server = configured(permit_unconventional_http_version=True)
        assert ask(connect(server), line=f"GET / {version}").status == 400


class TestLimits:
    def test_the_request_line_is_counted_without_its_line_end(self, configured, connect):
        server = configured(limit_request_line=100)
        path = "/" + "a" * (100 - len("GET / HTTP/1.1"))
        assert ask(connect(server), line=f"GET {path} HTTP/1.1").status == 200
        answer = ask(connect(server), line=f"GET {path}a HTTP/1.1")
        assert (answer.status, answer.reason) == (414, "URI Too Long")

    def test_a_request_line_without_end_is_refused_before_it_ends(self, configured, connect):
        wire = connect(configured(limit_request_line=100))
        wire.send("GET /" + "a" * 100)
        assert wire.read_answer().status == 414

    def test_fields_are_counted(self, configured, connect):
        server = configured(limit_request_fields=3)
        assert ask(connect(server), "A: 1", "B: 2").status == 200
        answer = ask(connect(server), "A: 1", "B: 2", "C: 3")
        assert (answer.status, answer.reason) == (431, "Request Header Fields Too Large")

    @pytest.mark.parametrize("blanks", ["", " ", "    "])
    def test_a_field_is_counted_as_it_was_sent_with_its_line_end(self, configured, connect, blanks):
        server = configured(limit_request_field_size=30)
        value = "v" * (30 - len("X-Long:") - len(blanks) - 2)
        assert ask(connect(server), f"X-Long:{blanks}{value}").status == 200
        assert ask(connect(server), f"X-Long:{blanks}{value}v").status == 431

    def test_a_field_size_of_zero_is_the_default(self, configured, connect):
        server = configured(limit_request_field_size=0)
        assert ask(connect(server), "X: " + "y" * (8190 - 5)).status == 200
        assert ask(connect(server), "X: " + "y" * (8190 - 4)).status == 431

    def test_no_limit_on_fields_is_a_limit_on_memory(self, configured, connect):
        server = configured(limit_request_fields=0)
        assert ask(connect(server), *[f"A{number}: 1" for number in range(5000)]).status == 200


class TestUnderscores:
    def test_such_names_are_dropped(self, configured, connect):
        environ = seen(connect(configured()), "X_A: forged", "X-A: true")
        assert environ["HTTP_X_A"] == "true"

    @pytest.mark.parametrize("header_map, kept", [("drop", False), ("dangerous", True)])
    def test_the_same_holds_for_asgi(self, configured, connect, header_map, kept):
        server = configured(**ASGI, header_map=header_map)
        names = [name for name, _ in seen(connect(server), "X_A: forged", "X-A: true")["headers"]]
        assert ("x_a" in names, "x-a" in names) == (kept, True)

    @pytest.mark.indrik_only
    def test_dropping_is_logged_once_for_each_name(self, start, connect):
        server = start("wsgi_app:app")
        wire = connect(server)
        for name in ("X_One", "X_Two", "X_One"):
            seen(wire, f"{name}: 1")
        server.wait_for_log("Dropping the request header.*x_two")
        lines = [line for line in server.log().splitlines() if "Dropping the request header" in line]
        assert [line.split('"')[1] for line in lines] == ["x_one", "x_two"]

    def test_they_can_be_refused(self, configured, connect):
        server = configured(header_map="refuse")
        assert ask(connect(server), "X_A: 1").status == 400
        assert ask(connect(server), "X-A: 1").status == 200

    def test_they_can_be_let_through_and_are_joined_with_their_doubles(self, configured, connect):
        wire = connect(configured(header_map="dangerous"))
        assert seen(wire, "X_A: one", "X-A: two")["HTTP_X_A"] == "one,two"
        assert seen(wire, "X-A: one", "X_A: two")["HTTP_X_A"] == "one,two"
        assert seen(wire, "Remote_User: me")["HTTP_REMOTE_USER"] == "me"

    def test_let_through_they_do_not_pose_as_the_content_headers(self, configured, connect):
        wire = connect(configured(header_map="dangerous"))
        environ = seen(wire, "Content_Length: 99", "Content_Type: forged", "Content-Type: true")
        assert "CONTENT_LENGTH" not in environ
        assert environ["CONTENT_TYPE"] == "true"
        assert environ["HTTP_CONTENT_LENGTH"] == "99"
        assert environ["HTTP_CONTENT_TYPE"] == "forged"

    def test_a_trusted_proxy_may_send_the_ones_that_are_named(self, configured, connect):
        server = configured(forwarder_headers="REMOTE_USER,SCRIPT_NAME")
        environ = seen(connect(server), "Remote_User: me", "X_Other: no")
        assert environ["HTTP_REMOTE_USER"] == "me"
        assert "HTTP_X_OTHER" not in environ

    def test_nobody_else_may(self, configured, connect):
        server = configured(forwarder_headers="REMOTE_USER", forwarded_allow_ips="10.0.0.0/8")
        assert "HTTP_REMOTE_USER" not in seen(connect(server), "Remote_User: me")

    def test_a_star_names_all(self, configured, connect):
        assert seen(connect(configured(forwarder_headers="*")), "X_Any: 1")["HTTP_X_ANY"] == "1"
