"""The access log, in Gunicorn's format."""

from __future__ import annotations

import re

import pytest
from support.server import Server

ATOMS = (
    "h=%(h)s l=%(l)s u=%(u)s m=%(m)s U=%(U)s q=%(q)s H=%(H)s s=%(s)s b=%(b)s B=%(B)s f=%(f)s "
    "a=%(a)s T=%(T)s D=%(D)s M=%(M)s L=%(L)s p=%(p)s in=%({x-request-id}i)s "
    "out=%({content-type}o)s env=%({wsgi.url_scheme}e)s missing=%({x-none}i)s"
)


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def server(request, start_shared) -> Server:
    return start_shared(f"{request.param}_app:app", "--access-logfile", "-", interface=request.param)


@pytest.fixture(scope="module")
def custom(start_shared) -> Server:
    return start_shared("wsgi_app:app", "--access-logfile", "-", "--access-logformat", ATOMS)


def test_the_default_line(connect, server):
    connect(server).get("/hello?q=default", "User-Agent: tests/1.0", "Referer: http://from")
    server.wait_for_access_line(
        r"^127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
        r'"GET /hello\?q=default HTTP/1\.1" 200 5 "http://from" "tests/1\.0"$'
    )


def test_absent_values_are_a_dash(connect, server):
    connect(server).get("/hello?q=absent")
    server.wait_for_access_line(r'"GET /hello\?q=absent HTTP/1\.1" 200 5 "-" "-"$')


def test_every_atom(connect, custom):
    wire = connect(custom)
    wire.get(
        *("/hello?x=1&all", "User-Agent: ua", "Referer: ref", "X-Request-Id: 77"),
        "Authorization: Basic dXNlcjpwYXNz",
    )
    line = custom.wait_for_access_line("q=x=1&all").string
    assert "h=127.0.0.1 l=- u=user m=GET U=/hello q=x=1&all H=HTTP/1.1 s=200 b=5 B=5 " in line
    assert "f=ref a=ua T=0 " in line
    assert "in=77 out=text/plain env=http missing=-" in line
    assert re.search(r"D=\d+ M=\d+ L=0\.\d{6} p=<?\d+>? ", line)


def test_a_streamed_body_is_counted(connect, custom):
    connect(custom).get("/stream?megabytes=1&counted")
    assert "B=1048576 " in custom.wait_for_access_line("counted").string


def test_a_head_request_has_no_bytes(connect, custom):
    connect(custom).get("/hello?headonly", method="HEAD")
    assert " m=HEAD " in custom.wait_for_access_line("q=headonly").string


def test_quotes_in_a_header_cannot_forge_a_field(connect, server):
    connect(server).get("/hello?q=forged", 'User-Agent: a" 200 5 "b')
    line = server.wait_for_access_line("q=forged").string
    assert line.endswith('"a\\" 200 5 \\"b"')


@pytest.fixture(scope="module")
def phases(start_shared) -> Server:
    form = "q=%(q)s D=%(D)s queue=%(queue_us)s client=%(client_us)s total=%(total_us)s"
    return start_shared("wsgi_app:app", "--access-logfile", "-", "--access-logformat", form)


def test_the_time_of_a_request_is_the_applications_and_the_clients_wait_a_field_of_its_own(connect, phases):
    slow, other = connect(phases), connect(phases)
    slow.send("POST /hello?slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    for _ in range(200):
        other.get("/hello?meanwhile")
    slow.send("12345")
    slow.read_answer()
    line = phases.wait_for_access_line("q=slow ").string
    app, queue, client, total = (int(number) for number in re.findall(r"=(\d+)", line))
    assert app + queue + client == total
    # Two hundred requests were served while the body was waited for; the application had one.
    assert client > app


def test_an_error_is_logged_with_its_status(connect, server):
    connect(server).get("/raise")
    server.wait_for_access_line('"GET /raise HTTP/1.1" 500 ')


@pytest.mark.indrik_only
def test_a_request_line_per_answer_with_pipelining(connect, server):
    wire = connect(server)
    wire.send("".join(f"GET /hello?n={n} HTTP/1.1\r\nHost: t\r\n\r\n" for n in range(5)))
    for _ in range(5):
        wire.read_answer()
    for number in range(5):
        server.wait_for_access_line(rf'"GET /hello\?n={number} HTTP/1\.1" 200 ')


def test_there_is_none_without_the_option(start, connect):
    server = start("wsgi_app:app")
    assert connect(server).get("/hello?silent").status == 200
    assert server.stop() == 0
    assert "silent" not in server.stdout.text() + server.log()


def test_it_can_be_a_file(start, connect, tmp_path):
    path = tmp_path / "access.log"
    server = start("wsgi_app:app", "--access-logfile", str(path))
    connect(server).get("/hello?infile")
    assert server.stop() == 0
    assert '"GET /hello?infile HTTP/1.1" 200 5' in path.read_text()
