"""Request ids: in the answer, in both logs, in the environ or scope, and in what the application logs."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.server import Server
from websockets.sync.client import connect as connect_socket

pytestmark = pytest.mark.indrik_only

ON = (
    "--request-id",
    "--access-logfile",
    "-",
    "--access-logformat",
    "%(s)s %(q)s id=%(request_id)s in=%({x-request-id}i)s",
)
KINDS = {
    "sync": ("correlated_app:app", "--worker-class", "sync"),
    "gthread": ("correlated_app:app", "--worker-class", "gthread", "--threads", "4"),
    "gevent": ("correlated_app:app", "--worker-class", "gevent"),
    "asgi": ("correlated_app:asgi", "--worker-class", "asgi"),
    "preloaded": ("correlated_app:app", "--worker-class", "gthread", "--threads", "2", "--preload"),
}
MADE = r"[0-9a-f]{32}"


@pytest.fixture(scope="module", params=KINDS)
def server(request, start_shared) -> Server:
    app, *options = KINDS[request.param]
    return start_shared(app, *ON, *options)


@pytest.fixture(scope="module")
def plain(start_shared) -> Server:
    return start_shared("correlated_app:app", *ON, "--worker-class", "sync")


def test_an_id_is_one_and_the_same_everywhere(connect, server):
    answer = connect(server).get("/?one")
    told, made = json.loads(answer.body), answer.header("x-request-id")
    assert made and re.fullmatch(MADE, made)
    assert told["id"] == told["header"] == made
    server.wait_for_access_line(rf"^200 one id={made} in={made}$")
    server.wait_for_log(rf"(?m)^before one id={made} trace=-\.$")
    server.wait_for_log(rf"(?m)^after one id={made} ")
    # Outside requests the format works as well.
    server.wait_for_log(r"(?m)^imported id=- trace=-\.$")


def test_requests_at_the_same_time_are_told_apart_in_the_applications_log(connect, server):
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: connect(server).get(f"/?at-once-{number}"), range(16)))
    ids = [answer.header("x-request-id") for answer in answers]
    assert len(set(ids)) == len(ids)
    for number, made in enumerate(ids):
        for when in ("before", "after"):
            server.wait_for_log(rf"(?m)^{when} at-once-{number} id={made} ")


def test_a_trusted_peers_id_is_taken_over_and_what_is_no_id_is_not(connect, plain):
    wire = connect(plain)
    assert wire.get("/?given", "X-Request-ID: abc/1=2").header("x-request-id") == "abc/1=2"
    plain.wait_for_access_line(r"^200 given id=abc/1=2 in=abc/1=2$")
    for wrong in ("a b", "ü", "x" * 129, ""):
        answer = wire.get("/?wrong", f"X-Request-ID: {wrong}")
        assert re.fullmatch(MADE, answer.header("x-request-id") or ""), wrong
        assert json.loads(answer.body)["header"] == answer.header("x-request-id")
    twice = wire.get("/?twice", "X-Request-ID: a", "x-request-id: b")
    assert re.fullmatch(MADE, twice.header("x-request-id") or "")


def test_nobody_else_can_choose_an_id(connect, start):
    server = start("correlated_app:app", *ON, "--forwarded-allow-ips", "10.9.9.9", "--request-id-header", "X-Trail")
    answer = connect(server).get("/?x", "X-Trail: forged")
    assert re.fullmatch(MADE, answer.header("x-trail") or "")
    assert "forged" not in answer.text


def test_what_the_front_answers_by_itself_has_an_id_too(connect, plain):
    answer = connect(plain).get("/", "Content-Length: 99999999999999", method="POST")
    assert answer.status == 413
    assert re.fullmatch(MADE, answer.header("x-request-id") or "")
    plain.wait_for_access_line(rf"^413 .*id={answer.header('x-request-id')}")


def test_what_the_application_puts_into_a_record_itself_stays(connect, plain):
    connect(plain).get("/?extra")
    plain.wait_for_log(r"(?m)^with extra id=the application's own ")


def test_a_thread_has_the_id_if_it_has_the_context(connect, plain):
    made = connect(plain).get("/?thread").header("x-request-id")
    plain.wait_for_log(rf"(?m)^given id={made} ")
    plain.wait_for_log(r"(?m)^bare id=- ")


def test_a_websocket_has_an_id(start):
    server = start("correlated_app:asgi", *ON, interface="asgi")
    with connect_socket(f"ws://127.0.0.1:{server.port}/") as socket:
        made = socket.recv()
        assert socket.response and socket.response.headers["x-request-id"] == made
    server.wait_for_log(rf"(?m)^socket id={made} ")


def test_without_the_setting_nothing_is_added(connect, start):
    server = start("wsgi_app:app")
    answer = connect(server).get("/environ", "X-Request-ID: from the client")
    assert answer.header("x-request-id") is None


def test_json_lines_have_the_id(connect, start):
    server = start("correlated_app:app", "--request-id", "--log-format", "json", "--access-logfile", "-")
    made = connect(server).get("/?json").header("x-request-id")
    line = json.loads(server.wait_for_access_line('"query":"json"').string)
    assert line["request_id"] == made and line["trace_id"] is None
