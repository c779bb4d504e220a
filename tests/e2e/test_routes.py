"""The route that the application chose: in the access log, and in what is said of requests that end a worker."""

from __future__ import annotations

import json
import re

import pytest
from support.server import Server
from websockets.sync.client import connect as connect_socket

pytestmark = pytest.mark.indrik_only

LINE = ("--access-logfile", "-", "--access-logformat", "%(s)s %(U)s?%(q)s route=%(route)s.")
KINDS = {
    "sync": ("--worker-class", "sync"),
    "gthread": ("--worker-class", "gthread", "--threads", "4"),
    "gevent": ("--worker-class", "gevent"),
}


@pytest.fixture(scope="module", params=KINDS)
def flask(request, start_shared) -> Server:
    return start_shared("routed_flask:app", *LINE, *KINDS[request.param])


@pytest.fixture(scope="module")
def fastapi(start_shared) -> Server:
    return start_shared("routed_fastapi:app", *LINE, interface="asgi")


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/users/7", "/users/<int:number>"),
        ("/streams/x", "/streams/<name>"),
        ("/named/x", "a name of its own"),
        ("/unfit", "other"),
        ("/nowhere", "-"),
    ],
)
def test_flasks_rule_or_what_the_application_says_is_the_route(connect, flask, target, route):
    # The second one of a worker finds the name there.
    for number in range(4):
        connect(flask).get(f"{target}?{number}")
        flask.wait_for_access_line(rf"^\d+ {target}\?{number} route={route}\.$")


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/items/7", "/items/{number}"),
        ("/inner/x", "/inner/{name}"),
        ("/plain/x", "from a thread"),
        ("/nowhere", "-"),
    ],
)
def test_what_fastapi_leaves_in_the_scope_is_the_route(connect, fastapi, target, route):
    for number in range(4):
        connect(fastapi).get(f"{target}?{number}")
        fastapi.wait_for_access_line(rf"^\d+ {target}\?{number} route={re.escape(route)}\.$")


def test_a_websocket_has_a_route_too(fastapi):
    with connect_socket(f"ws://127.0.0.1:{fastapi.port}/socket/a") as socket:
        assert socket.recv() == "a"
    fastapi.wait_for_access_line(r"^101 /socket/a\? route=/socket/\{name\}\.$")


def test_json_has_it_as_a_field_and_null_where_there_is_none(connect, start):
    server = start("routed_flask:app", "--access-logfile", "-", "--log-format", "json")
    connect(server).get("/users/7")
    connect(server).get("/nowhere")
    line = json.loads(server.wait_for_access_line(r'^\{.*"/users/7".*$').group())
    assert line["route"] == "/users/<int:number>"
    assert json.loads(server.wait_for_access_line(r'^\{.*"/nowhere".*$').group())["route"] is None


def test_a_worker_has_half_of_the_names_that_the_setting_allows_and_the_rest_is_other(connect, start):
    server = start("routed_flask:app", *LINE, "--route-names-max", "6", "--workers", "1")
    for number in range(6):
        connect(server).get(f"/many/{number}")
    for number in range(3):
        server.wait_for_access_line(rf"^200 /many/{number}\? route=route {number}\.$")
    for number in range(3, 6):
        server.wait_for_access_line(rf"^200 /many/{number}\? route=other\.$")


def test_the_route_is_known_of_a_request_that_ends_its_workers(connect, start):
    server = start("routed_flask:app", "--workers", "2")
    assert connect(server).get("/deadly").status == 503
    server.wait_for_log(r"Poison: GET /deadly \(client 127\.0\.0\.1, route the deadly one\) was in two workers")
    server.wait_for_log(r"GET /deadly \(route the deadly one\) from 127\.0\.0\.1")
