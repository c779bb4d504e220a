"""Metrics: what a scraper is told is what happened, to the request."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.admin import Admin
from support.control import all_ready
from support.metrics import OPENMETRICS, PROTOBUF, exemplars, scrape
from support.server import Server, poll
from support.wire import Wire
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as open_websocket

pytestmark = pytest.mark.indrik_only

REQUESTS = "indrik_http_requests_total"


@pytest.fixture
def admin() -> Admin:
    return Admin()


def until_over(admin: Admin, requests: int) -> None:
    """Wait until so many requests are over: a client has its answer a moment before."""
    poll(lambda: scrape(admin).of(REQUESTS) >= requests, f"{requests} requests that are over")


def test_the_official_parsers_read_every_format(start, admin, connect) -> None:
    server = all_ready(start("wsgi_app:app", *admin.option))
    assert connect(server).get("/hello").status == 200
    until_over(admin, 1)
    plain, openmetrics = scrape(admin), scrape(admin, OPENMETRICS)
    assert plain.of(REQUESTS, method="GET", status="200", **{"class": "2xx"}) == 1
    assert openmetrics.of(REQUESTS, method="GET", status="200") == 1
    name = "indrik_http_request_duration_seconds"
    for numbers in (plain, openmetrics):
        buckets = numbers.each(f"{name}_bucket", method="GET")
        assert [labels["le"] for labels, _ in buckets][:3] == ["0.005", "0.01", "0.025"]
        assert len(buckets) == 15 and buckets[-1][1] == numbers.of(f"{name}_count") == 1
    binary = admin.ask("/metrics", headers={"Accept": PROTOBUF})
    assert binary.headers["content-type"].startswith("application/vnd.google.protobuf")
    assert b"indrik_http_request_duration_seconds" in binary.body
    assert scrape(admin).of("indrik_metrics_left_out") == 0
    if shutil.which("promtool"):
        text = admin.ask("/metrics").body
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=30)
        assert checked.returncode == 0, checked.stderr.decode()


def test_probes_and_scrapes_are_no_requests(start, admin, connect) -> None:
    server = all_ready(start("wsgi_app:app", "--liveness-path", "/alive", *admin.option))
    for _ in range(3):
        assert connect(server).get("/alive").status == 200
    assert connect(server).get("/hello").status == 200
    until_over(admin, 1)
    numbers = scrape(admin)
    assert numbers.of(REQUESTS) == 1
    assert numbers.of("indrik_http_probes_total", probe="liveness", status="200") == 3
    assert numbers.of("indrik_http_requests_in_flight") == 0


def test_routes_are_bounded_and_keep_their_counts_over_a_reload(start, admin, connect) -> None:
    server = all_ready(start("routed_flask:app", "--metrics-routes-max", "1", *admin.option))
    # One after the other: the first name has the only place.
    for count, path in enumerate(("/users/1", "/users/2", "/named/x"), 1):
        assert connect(server).get(path).status == 200
        until_over(admin, count)
    before = scrape(admin)
    assert before.by("route", REQUESTS) == {"/users/<int:number>": 2, "other": 1}
    assert set(before.by("route", "indrik_http_route_phase_seconds_total")) <= {"/users/<int:number>", "other"}
    old = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(old)
    assert connect(server).get("/users/3").status == 200
    until_over(admin, 4)
    poll(lambda: scrape(admin).of("indrik_reloads_total", result="done") == 1, "the end of the reload")
    after = scrape(admin)
    assert after.by("route", REQUESTS) == {"/users/<int:number>": 3, "other": 1}
    assert after.of("indrik_generation") == 2
    assert after.of("indrik_metrics_overflow_total", kind="routes") == 1
    server.wait_for_log("more routes than metrics_routes_max")
    assert server.log().count("more routes than metrics_routes_max") == 1


def test_the_time_of_a_request_is_told_by_phase(start, admin, connect, gate) -> None:
    server = all_ready(start("wsgi_app:app", "--workers", "1", *admin.option))
    first, second = connect(server), connect(server)
    first.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: x\r\n\r\n")
    gate.arrived()
    second.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    poll(lambda: scrape(admin).of("indrik_http_requests_in_flight") == 2, "two requests in flight")
    # What workers have was looked at a moment ago.
    poll(lambda: scrape(admin).of("indrik_worker_requests_in_flight", worker="1") >= 1, "a request at the worker")
    gate.release()
    assert first.read_answer().status == second.read_answer().status == 200
    until_over(admin, 2)
    numbers = scrape(admin)
    seconds = numbers.by("phase", "indrik_http_request_phase_seconds_sum")
    assert seconds["app"] > 0 and seconds.get("queue", 0) + seconds.get("ahead", 0) > 0
    parts = sum(number for phase, number in seconds.items() if phase != "head")
    assert parts == pytest.approx(numbers.of("indrik_http_request_duration_seconds_sum"))


def test_buckets_name_the_trace_of_a_request_if_it_is_recorded(start, admin, connect) -> None:
    server = all_ready(start("wsgi_app:app", "--tracing", "--trace-sample", "0%", *admin.option))
    name, began = "indrik_http_request_duration_seconds", time.time()
    assert connect(server).get("/hello").status == 200
    until_over(admin, 1)
    assert exemplars(admin, name) == []
    trace = f"{1:032x}"
    assert connect(server).get("/hello", f"traceparent: 00-{trace}-{2:016x}-01").status == 200
    until_over(admin, 2)
    ((labels, exemplar),) = exemplars(admin, name)
    assert (exemplar.labels["trace_id"], len(exemplar.labels["span_id"]), labels["status"]) == (trace, 16, "200")
    assert began - 1 < float(exemplar.timestamp) < time.time() + 1
    assert 0 <= exemplar.value <= float(labels["le"])
    phases = {labels["phase"] for labels, _ in exemplars(admin, "indrik_http_request_phase_seconds")}
    assert phases == {"head", "body", "queue", "ahead", "app", "answer"}
    binary = admin.ask("/metrics", headers={"Accept": PROTOBUF})
    assert binary.body.count(trace.encode()) > 1


def test_what_keeps_workers_and_the_supervisor_from_going_on_is_told(start, admin, connect, gate) -> None:
    server = all_ready(start("wsgi_app:app", "--workers", "1", *admin.option))
    wire = connect(server)
    wire.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: x\r\n\r\n")
    gate.arrived()
    poll(lambda: scrape(admin).of("indrik_worker_busy_seconds_total", worker="1") > 0.1, "the time of the worker")
    gate.release()
    assert wire.read_answer().status == 200
    numbers = scrape(admin)
    assert 0 < numbers.of("indrik_supervisor_lag_seconds") < 60
    for name in ("event_loop_blocked", "gil_wait"):
        assert [labels for labels, _ in numbers.each(f"indrik_worker_{name}_seconds_total")] == [{"worker": "1"}]


def test_workers_and_the_machine_are_told(start, admin) -> None:
    server = all_ready(start("wsgi_app:app", "--workers", "2", *admin.option))
    # What is shown was published a moment ago.
    poll(lambda: scrape(admin).of("indrik_workers", state="ready") == 2, "two workers that are ready")
    numbers = scrape(admin)
    assert len(numbers.each("indrik_worker_rss_bytes")) == len(numbers.each("indrik_worker_pss_bytes")) == 2
    assert numbers.of("indrik_ready") == 1
    assert 0 < numbers.of("indrik_memory_used_bytes") <= numbers.of("indrik_memory_allowed_bytes")
    assert numbers.of("indrik_cpu_allowed") > 0 and numbers.of("indrik_disk_free_bytes", disk="tmp") > 0
    victim = server.workers()[0]
    os.kill(victim, signal.SIGKILL)
    poll(lambda: scrape(admin).by("reason", "indrik_worker_ends_total") == {"crash:SIGKILL": 1}, "the worker's end")


def test_handshakes_and_the_end_of_the_certificate_are_told(start, admin, pki) -> None:
    server = all_ready(start("wsgi_app:app", *pki.flags(), *admin.option))
    with Wire(pki.client().wrap_socket(server.connect(), server_hostname="localhost")) as wire:
        assert wire.get("/hello").status == 200
    with pytest.raises(ssl.SSLError), server.connect() as connection:
        ssl.create_default_context().wrap_socket(connection, server_hostname="localhost")
    poll(lambda: scrape(admin).of("indrik_tls_handshakes_total") == 2, "two handshakes")
    numbers = scrape(admin)
    assert numbers.of("indrik_tls_handshakes_total", result="done") == 1
    command = ["openssl", "x509", "-enddate", "-noout", "-in", str(pki.certificate)]
    end = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().removeprefix("notAfter=")
    assert numbers.of("indrik_tls_certificate_expiry_timestamp_seconds") == ssl.cert_time_to_seconds(end)


class Clients:
    """Clients of all kinds, each of which says what became of it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.statuses: Counter[str] = Counter()
        self.cut = 0
        self.sockets: Counter[str] = Counter()
        self.messages = 0
        self.lock = threading.Lock()

    def run(self, seed: int, rounds: int) -> None:
        chance = random.Random(seed)
        kinds = [self.get] * 8 + [self.post, self.fail, self.leave, self.break_off, self.malformed, self.talk]
        for _ in range(rounds):
            chance.choice(kinds)(chance)

    def ask(self, target: str, method: str = "GET", body: bytes = b"") -> None:
        with Wire(self.server.connect(), 30) as wire:
            self.got(wire.get(target, method=method, body=body).status)

    def got(self, status: int) -> None:
        with self.lock:
            self.statuses[str(status)] += 1

    def get(self, chance: random.Random) -> None:
        self.ask(chance.choice(["/hello", "/pid", "/describe"]))

    def post(self, chance: random.Random) -> None:
        self.ask("/upload", "POST", b"x" * chance.choice([1, 5_000, 300_000]))

    def fail(self, _chance: random.Random) -> None:
        self.ask("/raise")

    def malformed(self, _chance: random.Random) -> None:
        with Wire(self.server.connect(), 30) as wire:
            wire.send("GET /hello HTTP/1.1\r\nHost : x\r\n\r\n")
            self.got(wire.read_answer().status)

    def leave(self, _chance: random.Random) -> None:
        """Leaves in the middle of its answer."""
        with Wire(self.server.connect(), 30) as wire:
            wire.send("GET /stream?chunks=100&size=65536 HTTP/1.1\r\nHost: x\r\n\r\n")
            self.got(wire.read_head().status)
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def break_off(self, _chance: random.Random) -> None:
        """Leaves in the middle of its upload."""
        with Wire(self.server.connect(), 30) as wire:
            wire.send("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + "x" * 100_000)
        with self.lock:
            self.cut += 1

    def talk(self, chance: random.Random) -> None:
        """A WebSocket. Where it is refused or its worker is killed under it, it says so."""
        count, answered = chance.randrange(4), 0
        try:
            with open_websocket(f"ws://127.0.0.1:{self.server.port}/echo", open_timeout=30) as websocket:
                for _ in range(count):
                    websocket.send("hello")
                    websocket.recv(30)
                    answered += 1
        except ConnectionClosed:
            pass
        except Exception as error:
            response = getattr(error, "response", None)
            assert response is not None, error
            return self.got(response.status_code)
        with self.lock:
            self.sockets["over"] += 1
            self.messages += answered


def test_what_is_counted_is_what_clients_saw_whatever_dies_or_is_replaced(start, admin) -> None:
    options = ("--workers", "2", "--queue-requests-max", "6", *admin.option)
    server = all_ready(start("asgi_app:app", *options, interface="asgi"))
    clients, threads, rounds = Clients(server), 12, 40
    seen: list[float] = []
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(clients.run, seed, rounds) for seed in range(threads)]
        for turn in range(4):
            before = server.workers()
            poll(lambda least=turn * 60: sum(clients.statuses.values()) > least, "some answers", 30)
            if turn == 2:
                server.signal(signal.SIGHUP)
                server.wait_for_new_workers(before, 2)
            elif before:
                os.kill(before[0], signal.SIGKILL)
            seen.append(scrape(admin).of(REQUESTS))
        for each in running:
            each.result(120)
    requests = sum(clients.statuses.values()) + clients.cut
    until_over(admin, requests)
    poll(lambda: scrape(admin).of("indrik_http_requests_in_flight") == 0, "the end of all requests")
    poll(lambda: scrape(admin).of("indrik_websockets_open") == 0, "the end of all WebSockets")
    numbers = scrape(admin)
    assert seen == sorted(seen), "a counter fell"
    assert numbers.of(REQUESTS) == requests
    assert numbers.of("indrik_http_request_duration_seconds_count") == requests
    statuses = numbers.by("status", REQUESTS)
    # What became of a request whose client had left is known to the server only.
    unseen = {status: statuses.get(status, 0) - count for status, count in clients.statuses.items()}
    assert all(count >= 0 for count in unseen.values()), (statuses, clients.statuses)
    assert statuses["200"] == clients.statuses["200"]
    assert numbers.of("indrik_websockets_closed_total") == clients.sockets["over"]
    assert numbers.of("indrik_websocket_messages_total", direction="transmit") >= clients.messages > 0
    refused = numbers.by("reason", "indrik_http_refused_total")
    assert refused["malformed"] >= clients.statuses["400"]
    assert numbers.of("indrik_metrics_overflow_total") == 0


def test_requests_that_are_refused_are_counted_by_reason(start, admin, connect, gate) -> None:
    server = all_ready(start("wsgi_app:app", "--workers", "1", "--queue-requests-max", "1", *admin.option))
    held = [connect(server) for _ in range(12)]
    for wire in held:
        wire.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: x\r\n\r\n")
    gate.arrived()

    def all_placed() -> bool:
        numbers = scrape(admin)
        refused = numbers.of("indrik_http_refused_total", reason="queue_full")
        return numbers.of("indrik_http_requests_in_flight") + refused == len(held)

    poll(all_placed, "a place or a refusal for each")
    gate.release(len(held))
    statuses = Counter(wire.read_answer().status for wire in held)
    until_over(admin, len(held))
    numbers = scrape(admin)
    assert statuses[503] > 0 and statuses[200] + statuses[503] == len(held)
    assert numbers.by("reason", "indrik_http_refused_total") == {"queue_full": statuses[503]}
    assert numbers.by("status", REQUESTS) == {"200": statuses[200], "503": statuses[503]}
