"""Traces: what the application sees of them, and what a collector is told, whatever state that is in."""

from __future__ import annotations

import json
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from support import control
from support.collector import Collector
from support.server import COMMAND, Server, poll
from websockets.sync.client import connect as connect_socket

pytestmark = pytest.mark.indrik_only

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
LOGGED = ("--access-logfile", "-", "--access-logformat", "%(s)s %(q)s trace=%(trace_id)s")
SOON = ("--otlp-interval", "10ms")


@pytest.fixture(scope="module")
def collector():
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def server(request, start_shared, collector) -> Server:
    app = "correlated_app:app" if request.param == "wsgi" else "correlated_app:asgi"
    options = ("--tracing", "--request-id", *SOON, "--otlp-endpoint", collector.url)
    return start_shared(app, *options, *LOGGED, interface=request.param)


def test_the_servers_span_is_the_parent_of_the_applications(connect, server, collector):
    path = f"/child/{server.port}"
    answer = connect(server).get(f"{path}?x=1", f"traceparent: {SAMPLED}", "tracestate: vendor=1", "User-Agent: tests")
    told = json.loads(answer.body)
    span = collector.wait_for(path)
    # Whatever the application makes of the header is below the server's span, and that below the caller's.
    assert told["parent"] == f"00-{TRACE}-{span.raw['spanId']}-01"
    assert (span.raw["traceId"], span.raw["parentSpanId"]) == (TRACE, SPAN)
    assert span.raw["spanId"] != SPAN
    known = span.attributes
    assert known["http.response.status_code"] == 200 and known["url.query"] == "x=1"
    assert known["user_agent.original"] == "tests" and known["client.address"] == "127.0.0.1"
    assert known["indrik.request_id"] == told["id"] == answer.header("x-request-id")
    assert known["indrik.worker.pid"] in server.workers()
    assert span.resource["service.name"] == server.command[-1]
    begin, end = span.event("indrik.application.begin"), span.event("indrik.application.end")
    assert 0 <= span.event("indrik.received") <= begin <= end <= span.took_us
    server.wait_for_access_line(rf"^200 x=1 trace={TRACE}$")
    server.wait_for_log(rf"(?m)^before x=1 id={told['id']} trace={TRACE}\.$")


def test_a_trace_begins_where_none_came(connect, server, collector):
    path = f"/begins/{server.port}"
    told = json.loads(connect(server).get(path, "traceparent: nonsense", "tracestate: lost=1").body)
    span = collector.wait_for(path)
    assert told["parent"] == f"00-{span.raw['traceId']}-{span.raw['spanId']}-01"
    assert "parentSpanId" not in span.raw
    assert told.get("state") is None


def test_a_websocket_is_one_span(start, collector):
    server = start("correlated_app:asgi", "--tracing", *SOON, "--otlp-endpoint", collector.url, interface="asgi")
    with connect_socket(f"ws://127.0.0.1:{server.port}/socket"):
        pass
    span = collector.wait_for("/socket")
    assert span.attributes["http.response.status_code"] == 101


def test_what_fails_is_told_whatever_was_sampled(connect, start, collector):
    server = start("correlated_app:app", "--tracing", "--trace-sample", "0%", *SOON, "--otlp-endpoint", collector.url)
    wire = connect(server)
    told = json.loads(wire.get("/unsampled").body)
    assert told["parent"].endswith("-00")
    assert wire.get("/trusted", f"traceparent: {UNSAMPLED}").status == 200
    assert wire.get("/failed?fails").status == 500
    assert wire.get("/continued", f"traceparent: {SAMPLED}").status == 200
    span = collector.wait_for("/failed")
    assert span.raw["status"]["code"] == 2 and span.attributes["error.type"] == "500"
    collector.wait_for("/continued")
    assert not {"/unsampled", "/trusted"} & {span.attributes["url.path"] for span in collector.spans}


def test_a_library_of_opentelemetry_makes_its_spans_below_the_servers(connect, start):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with Collector() as collector:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "10",
        }
        launcher = (str(Path(COMMAND[0]).with_name("opentelemetry-instrument")),)
        server = start("routed_flask:app", "--tracing", *SOON, environment=variables, launcher=launcher)
        assert connect(server).get("/users/7").status == 200
        ours = collector.wait_for("/users/7")
        assert ours.raw["name"] == "GET /users/<int:number>"

        def theirs() -> list[Any]:
            requests = [asked for asked in collector.asked if asked.headers["content-type"] != "application/json"]
            parsed = [ExportTraceServiceRequest.FromString(asked.message()) for asked in requests]
            spans = [
                span for one in parsed for of in one.resource_spans for scope in of.scope_spans for span in scope.spans
            ]
            return [span for span in spans if span.parent_span_id.hex() == ours.raw["spanId"]]

        poll(theirs, "the span of the library, below the server's")
        assert theirs()[0].trace_id.hex() == ours.raw["traceId"]


def test_what_is_exported_is_as_the_standards_own_parser_wants_it(connect, server, collector):
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    connect(server).get(f"/parsed/{server.port}?a=b")
    collector.wait_for(f"/parsed/{server.port}")
    for asked in collector.asked:
        # A field that it does not know, or of another type, is an error.
        parsed = json_format.Parse(asked.body, ExportTraceServiceRequest())
        assert parsed.resource_spans[0].scope_spans[0].spans[0].kind == 2


def test_environment_variables_of_opentelemetry_are_the_defaults(connect, start):
    with Collector() as collector:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
        }
        server = start("wsgi_app:app", "--tracing", *SOON, "--otlp-header", "X-Other=c", environment=variables)
        connect(server).get("/hello")
        span = collector.wait_for("/hello")
        assert span.resource["service.name"] == "shop" and span.resource["deployment.environment.name"] == "tests"
        asked = collector.asked[0]
        assert (asked.path, asked.headers["x-key"], asked.headers["x-other"]) == ("/v1/traces", "a b", "c")


def test_spans_go_over_tls_to_a_collector_that_is_known(connect, start, tmp_path):
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Collector(tls=tls) as collector:
        known = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca.pem")}
        options = ("wsgi_app:app", "--tracing", *SOON, "--otlp-endpoint", collector.url)
        server = start(*options, environment=known)
        connect(server).get("/hello")
        collector.wait_for("/hello")
        stranger = start(*options)
        connect(stranger).get("/stranger")
        stranger.wait_for_log(r"OTLP: the collector at https://localhost:.*certificate")


def test_what_waits_is_exported_at_the_end(connect, start):
    with Collector() as collector:
        server = start("wsgi_app:app", "--tracing", "--otlp-interval", "1h", "--otlp-endpoint", collector.url)
        for number in range(5):
            connect(server).get(f"/hello?{number}")
        assert server.stop() == 0
        assert len(collector.spans) == 5


def test_what_was_not_taken_is_sent_again_and_what_never_will_be_is_not(connect, start):
    with Collector() as collector:
        fine = (200, {}, b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}')
        collector.answers = [
            (503, {"Retry-After": "0"}, b"busy"),
            (429, {"Retry-After": "0"}, b""),
            (400, {}, b"<no>"),
            fine,
        ]
        server = start("wsgi_app:app", "--tracing", *SOON, "--otlp-endpoint", collector.url)
        connect(server).get("/hello?first")
        server.wait_for_log(r"OTLP: the collector at .* it answers 503 busy; spans are kept")
        poll(lambda: len(collector.asked) == 3, "three tries")
        poll(lambda: spans_of(server) == (0, 1), "the loss")
        connect(server).get("/hello?second")
        server.wait_for_log(r"it has not taken 1 spans: too old")
        server.wait_for_log(r"it takes spans again; \d+ are lost so far")


@pytest.mark.parametrize("state", ["dead", "silent", "slow", "nonsense"])
def test_a_collector_in_a_bad_state_is_in_no_requests_way(connect, start, state):
    with Collector() as collector, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = collector.url
        if state == "slow":
            collector.gate.clear()
        elif state == "nonsense":
            collector.answers = [(200, {}, b"\x00<html>")]
        elif state == "silent":
            # It accepts, and never says a word.
            silent.listen()
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        else:
            # Bound and not listening: nobody is there, and nobody else comes.
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        server = start(
            "wsgi_app:app",
            "--tracing",
            *SOON,
            "--otlp-endpoint",
            url,
            environment={"OTEL_EXPORTER_OTLP_TIMEOUT": "300"},
        )
        wire = connect(server)
        # More than wait at once.
        for _ in range(3_000):
            assert wire.get("/hello").status == 200
        if state == "nonsense":
            # Whatever it says with a 200, it has them.
            poll(lambda: sum(spans_of(server)) == 3_000, "all spans")
            assert spans_of(server)[0] > 0
        else:
            poll(lambda: spans_of(server)[1] > 0, "losses, and their count")
        collector.gate.set()


def spans_of(server: Server) -> tuple[int, int]:
    """Exported and lost."""
    otlp = control.ctl(server, "show", "stats")["otlp"]
    return otlp["exported"], otlp["lost"]


def test_without_tracing_the_headers_pass_as_they_come(connect, start):
    server = start("correlated_app:app", "--request-id")
    told = json.loads(connect(server).get("/", f"traceparent: {SAMPLED}", "tracestate: a=b").body)
    assert (told["parent"], told["state"]) == (SAMPLED, "a=b")


def test_where_the_environment_switches_it_off_traces_are_only_passed_on(connect, start):
    server = start("correlated_app:app", "--tracing", environment={"OTEL_SDK_DISABLED": "true"})
    told = json.loads(connect(server).get("/").body)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", told["parent"])
    assert spans_of(server) == (0, 0)
