"""What a proxy in front may say: the scheme, the prefix, and (ours alone) the client's address."""

from __future__ import annotations

import json
import signal

import pytest
from support.configured import ASGI
from support.configured import configured as configured
from support.server import IS_ORACLE, free_port, poll
from support.wire import Wire


def seen(wire, *headers: str, target: str = "/describe") -> dict:
    answer = wire.get(target, *headers)
    assert answer.status == 200, answer.text
    return json.loads(answer.body)


def scheme(wire, *headers: str) -> str:
    return seen(wire, *headers)["wsgi.url_scheme"]


class TestScheme:
    @pytest.mark.parametrize("header", ["X-Forwarded-Proto: https", "X-Forwarded-Protocol: ssl", "X-Forwarded-Ssl: on"])
    def test_a_trusted_proxy_tells_it(self, configured, connect, header):
        wire = connect(configured())
        assert scheme(wire, header) == "https"
        assert scheme(wire) == "http"

    @pytest.mark.parametrize("value", ["http", "HTTPS", "https, http", ""])
    def test_any_other_value_is_http(self, configured, connect, value):
        assert scheme(connect(configured()), f"X-Forwarded-Proto: {value}") == "http"

    def test_headers_that_agree_are_believed(self, configured, connect):
        wire = connect(configured())
        assert scheme(wire, "X-Forwarded-Proto: https", "X-Forwarded-Ssl: on") == "https"

    @pytest.mark.parametrize(
        "headers",
        [
            ["X-Forwarded-Proto: https", "X-Forwarded-Ssl: off"],
            ["X-Forwarded-Ssl: on", "X-Forwarded-Proto: http"],
            ["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"],
        ],
    )
    def test_a_contradiction_is_a_400(self, configured, connect, headers):
        wire = connect(configured())
        assert wire.get("/describe", *headers).status == 400
        wire.assert_closed()

    def test_others_are_not_believed(self, configured, connect):
        wire = connect(configured(forwarded_allow_ips="10.0.0.0/8,192.168.1.1"))
        assert scheme(wire, "X-Forwarded-Proto: https") == "http"
        assert scheme(wire, "X-Forwarded-Proto: https", "X-Forwarded-Ssl: off") == "http"

    @pytest.mark.parametrize("proxies", ["*", "127.0.0.0/8", "10.0.0.1, 127.0.0.1", "::1,127.0.0.1"])
    def test_networks_lists_and_everybody_can_be_named(self, configured, connect, proxies):
        wire = connect(configured(forwarded_allow_ips=proxies))
        assert scheme(wire, "X-Forwarded-Proto: https") == "https"

    def test_the_headers_can_be_chosen(self, configured, connect):
        wire = connect(configured(secure_scheme_headers={"X-SCHEME": "tls"}))
        assert scheme(wire, "X-Scheme: tls") == "https"
        assert scheme(wire, "X-Forwarded-Proto: https") == "http"

    def test_a_unix_peer_is_believed(self, configured, tmp_path_factory):
        path = tmp_path_factory.mktemp("unix") / "s"
        server = configured(bind=f"unix:{path}", forwarded_allow_ips="10.0.0.1")
        with Wire(server.connect()) as wire:
            environ = seen(wire, "X-Forwarded-Proto: https")
        assert environ["wsgi.url_scheme"] == "https"
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("test", "443")

    def test_asgi_sees_it(self, configured, connect):
        wire = connect(configured(**ASGI))
        assert seen(wire, "X-Forwarded-Proto: https")["scheme"] == "https"
        assert seen(wire)["scheme"] == "http"

    def test_the_access_log_shows_it(self, start, connect):
        server = start("wsgi_app:app", "--access-logfile", "-", "--access-logformat", "seen %({wsgi.url_scheme}e)s")
        seen(connect(server), "X-Forwarded-Proto: https")
        server.wait_for_access_line("^seen https$")


def test_a_reload_changes_who_is_believed(start, connect, tmp_path):
    config = tmp_path / "gunicorn.conf.py"
    config.write_text("threads = 2\nforwarded_allow_ips = '10.0.0.1'\n")
    server = start("wsgi_app:app", "-c", str(config))
    assert scheme(connect(server), "X-Forwarded-Proto: https") == "http"
    config.write_text("threads = 2\nforwarded_allow_ips = '127.0.0.1'\n")
    server.signal(signal.SIGHUP)

    def is_believed() -> bool:
        with Wire(server.connect()) as wire:
            return scheme(wire, "X-Forwarded-Proto: https", "Connection: close") == "https"

    poll(is_believed, "the new settings", 20)


class TestScriptName:
    def test_a_trusted_proxy_tells_the_prefix(self, configured, connect):
        wire = connect(configured())
        environ = seen(wire, "Script_Name: /base", target="/base/describe?x=1")
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/base", "/describe")
        assert environ["RAW_URI"] == "/base/describe?x=1"
        assert environ["HTTP_SCRIPT_NAME"] == "/base"
        environ = seen(wire)
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/describe")

    def test_the_path_may_be_all_prefix(self, configured, connect):
        environ = seen(connect(configured()), "Script_Name: /base", target="/base")
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/base", "")

    def test_another_path_is_a_500(self, configured, connect):
        assert connect(configured()).get("/describe", "Script_Name: /base").status == 500

    def test_others_cannot(self, configured, connect):
        environ = seen(connect(configured(forwarded_allow_ips="10.0.0.1")), "Script_Name: /describe")
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/describe")

    @pytest.mark.indrik_only
    def test_others_cannot_even_where_all_names_pass(self, configured, connect):
        server = configured(forwarded_allow_ips="10.0.0.1", header_map="dangerous")
        environ = seen(connect(server), "Script_Name: /describe")
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/describe")

    def test_the_environment_tells_it_for_all_requests(self, configured, connect):
        wire = connect(configured(environment={"SCRIPT_NAME": "/base"}))
        environ = seen(wire, target="/base/describe")
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/base", "/describe")
        environ = seen(wire, "Script_Name: /other", target="/other/describe")
        assert environ["SCRIPT_NAME"] == "/other"
        assert wire.get("/describe").status == 500

    def test_path_info_of_a_proxy_is_only_a_header(self, configured, connect):
        environ = seen(connect(configured()), "Path_Info: /other")
        assert environ["PATH_INFO"] == "/describe"
        assert environ["HTTP_PATH_INFO"] == "/other"

    @pytest.mark.indrik_only
    def test_a_slash_at_the_end_belongs_to_the_path(self, configured, connect):
        environ = seen(connect(configured()), "Script_Name: /base/", target="/base/describe")
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/base", "/describe")


def test_without_the_setting_the_client_s_address_is_the_peer_s(configured, connect):
    wire = connect(configured())
    environ = seen(wire, "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1")
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["REMOTE_PORT"] == str(wire.socket.getsockname()[1])


@pytest.mark.indrik_only
class TestRealClient:
    """`real_ip_header`: Gunicorn never had it."""

    def client(self, wire, *headers: str) -> tuple[str, str | None]:
        environ = seen(wire, *headers)
        return environ["REMOTE_ADDR"], environ.get("REMOTE_PORT")

    @pytest.mark.parametrize(
        "value, client",
        [
            ("192.0.2.1", ("192.0.2.1", None)),
            ("6.6.6.6, 192.0.2.1", ("192.0.2.1", None)),
            ("192.0.2.1:5000", ("192.0.2.1", "5000")),
            ("[2001:db8::1]:5000", ("2001:db8::1", "5000")),
            ("192.0.2.1, 10.1.2.3", ("192.0.2.1", None)),
        ],
    )
    def test_the_last_hop_that_is_no_proxy_is_the_client(self, configured, connect, value, client):
        server = configured(real_ip_header="x-forwarded-for", forwarded_allow_ips="127.0.0.1,10.0.0.0/8")
        assert self.client(connect(server), f"X-Forwarded-For: {value}") == client

    @pytest.mark.parametrize("value", ["unknown", "_hidden", "evil.example", "1.2.3.4, x", "", "999.1.1.1"])
    def test_what_is_no_address_leaves_the_peer(self, configured, connect, value):
        server = configured(real_ip_header="x-forwarded-for", forwarded_allow_ips="127.0.0.1,10.0.0.0/8")
        assert self.client(connect(server), f"X-Forwarded-For: {value}")[0] == "127.0.0.1"

    def test_forwarded_is_read_as_rfc_7239_says(self, configured, connect):
        wire = connect(configured(real_ip_header="forwarded"))
        header = 'Forwarded: for=6.6.6.6, For="[2001:db8::1]:4711";proto=https;by=_proxy'
        assert self.client(wire, header) == ("2001:db8::1", "4711")
        assert self.client(wire, "X-Forwarded-For: 192.0.2.1")[0] == "127.0.0.1"

    def test_peers_that_are_no_proxy_are_not_believed(self, configured, connect):
        server = configured(real_ip_header="x-forwarded-for", forwarded_allow_ips="10.0.0.0/8")
        assert self.client(connect(server), "X-Forwarded-For: 192.0.2.1")[0] == "127.0.0.1"

    def test_a_unix_peer_is_believed(self, configured, tmp_path_factory):
        path = tmp_path_factory.mktemp("unix") / "s"
        server = configured(bind=f"unix:{path}", real_ip_header="x-forwarded-for")
        with Wire(server.connect()) as wire:
            assert self.client(wire, "X-Forwarded-For: 192.0.2.1") == ("192.0.2.1", None)
            assert self.client(wire) == ("", None)

    def test_each_request_of_a_connection_has_its_own(self, configured, connect):
        wire = connect(configured(real_ip_header="x-forwarded-for"))
        for number in (1, 2, 1):
            assert self.client(wire, f"X-Forwarded-For: 192.0.2.{number}")[0] == f"192.0.2.{number}"
        assert self.client(wire)[0] == "127.0.0.1"

    def test_asgi_sees_it(self, configured, connect):
        server = configured(**ASGI, real_ip_header="x-forwarded-for")
        scope = seen(connect(server), "X-Forwarded-For: 192.0.2.1:77")
        assert scope["client"] == ["192.0.2.1", 77]

    def test_the_access_log_shows_it(self, start, connect):
        server = start(
            "wsgi_app:app",
            "--access-logfile",
            "-",
            "--access-logformat",
            "seen %(h)s %({remote_addr}e)s",
            "--real-ip-header",
            "x-forwarded-for",
        )
        seen(connect(server), "X-Forwarded-For: 192.0.2.1")
        server.wait_for_access_line("^seen 192.0.2.1 192.0.2.1$")


def test_a_network_with_host_bits_is_refused_at_start(project_run):
    """A proxy that is believed by mistake is worse than a server that does not start."""
    code, output = project_run("--forwarded-allow-ips", "10.0.0.1/8", "wsgi_app:app")
    assert code == 1
    assert "10.0.0.1/8" in output


@pytest.fixture
def project_run(tmp_path):
    import subprocess

    from support.server import APPS, COMMAND

    def run(*arguments: str) -> tuple[int, str]:
        control = ["--control-socket", str(tmp_path / "control")] if IS_ORACLE else []
        command = [*COMMAND, "--bind", f"127.0.0.1:{free_port()}", *control, *arguments]
        done = subprocess.run(command, cwd=APPS, capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout + done.stderr

    return run
