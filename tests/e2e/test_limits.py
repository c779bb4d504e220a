"""Limits and timeouts: slow, silent, greedy and too many clients never occupy a worker."""

from __future__ import annotations

import re
import socket
import struct
import threading
from pathlib import Path

import pytest
from support.gate import Gate
from support.server import Server

pytestmark = pytest.mark.indrik_only


@pytest.fixture(scope="module")
def server(start_shared) -> Server:
    """One sync worker, and every timeout a second, so that nothing has to be waited for long."""
    return start_shared(
        *("wsgi_app:app", "--worker-class", "sync", "--workers", "1"),
        *("--header-read-timeout", "1", "--body-read-timeout", "1", "--keep-alive", "1"),
        *("--write-timeout", "1", "--body-size-max", "1000000"),
    )


@pytest.fixture
def wire(connect, server):
    return connect(server)


class TestSlowClients:
    def test_a_head_that_does_not_end_is_cut_off(self, wire):
        wire.send("GET /hello HTTP/1.1\r\nHost: t\r\nX-Slow: ")
        answer = wire.read_answer()
        assert answer.status == 408
        assert answer.header("date")
        assert "the head did not arrive in time" in answer.text
        wire.assert_closed()

    @pytest.mark.parametrize("requests", [1, 10])
    def test_a_head_that_does_not_end_behind_whole_ones_in_the_same_packet_is_cut_off(self, wire, requests):
        wire.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n" * requests + "GET /half HTTP/1.1\r\nHost: ")
        for _ in range(requests):
            assert wire.read_answer().status == 200
        assert wire.read_answer().status == 408
        wire.assert_closed()

    def test_a_head_that_does_not_end_has_a_line_in_the_access_log(self, start, connect):
        server = start("wsgi_app:app", "--header-read-timeout", "1", "--access-logfile", "-")
        wire = connect(server)
        assert wire.get("/hello").status == 200
        wire.send("GET /half HTTP/1.1\r\nHost: t\r\nX-Slow: ")
        assert wire.read_answer().status == 408
        server.wait_for_access_line(r'"GET /half HTTP/1\.1" 408 ')
        server.wait_for_log(r"Invalid request from ip=127\.0\.0\.1: the head did not arrive in time")

    def test_the_first_head_has_its_time_from_the_connections_start(self, start, connect):
        """However long an idle connection may stay, one that says nothing goes; and quietly."""
        server = start("wsgi_app:app", "--header-read-timeout", "1", "--keep-alive", "600")
        silent = connect(server)
        assert silent.read_to_end() == b""

    def test_the_head_of_the_next_request_has_time_while_one_is_served(self, start, connect, gate: Gate):
        server = start("wsgi_app:app", "--threads", "2", "--workers", "1", "--header-read-timeout", "1")
        half = "GET /hello HTTP/1.1\r\nHost: t\r\nX-Slow: "
        served, waiting = connect(server), connect(server)
        served.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n{half}")
        gate.arrived()
        waiting.send(half)
        assert waiting.read_answer().status == 408
        gate.release()
        assert served.read_answer().status == 200

    def test_a_client_that_says_nothing_is_cut_off(self, wire):
        assert wire.read_to_end() == b""

    def test_an_idle_connection_is_closed_quietly(self, wire):
        assert wire.get("/hello").text == "hello"
        wire.assert_closed()

    def test_a_body_that_stops_is_cut_off(self, wire):
        wire.send("POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc")
        left = wire.read_to_end()
        assert left == b"" or left.startswith(b"HTTP/1.1 408 ")

    def test_a_client_that_does_not_read_gives_the_worker_back(self, connect, server):
        greedy = connect(server)
        greedy.send("GET /stream?megabytes=500 HTTP/1.1\r\nHost: t\r\n\r\n")
        greedy.read_head()
        assert connect(server, 20).get("/hello").text == "hello"

    def test_a_hundred_slow_clients_do_not_occupy_the_worker(self, connect, server):
        slow = [connect(server) for _ in range(100)]
        for number, wire in enumerate(slow):
            half = "GET /hello HTTP/1.1\r\nHo"
            body = "POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 99\r\n\r\nabc"
            wire.send(half if number % 2 else body)
        assert connect(server).get("/hello").text == "hello"


class TestRequestLimits:
    def test_a_request_line_of_8000_bytes_passes(self, wire):
        assert wire.get("/hello?" + "x" * 7900).status == 200

    def test_a_longer_request_line_is_a_414(self, wire):
        assert wire.get("/hello?" + "x" * 9000).status == 414
        wire.assert_closed()

    def test_a_hundred_headers_pass_and_more_are_a_431(self, connect, server):
        ninety = [f"X-{number}: 1" for number in range(90)]
        assert connect(server).get("/hello", *ninety).status == 200
        assert connect(server).get("/hello", *ninety, *ninety).status == 431

    def test_a_header_of_8000_bytes_passes_and_a_longer_one_is_a_431(self, connect, server):
        assert connect(server).get("/hello", "X-Long: " + "x" * 8000).status == 200
        assert connect(server).get("/hello", "X-Long: " + "x" * 9000).status == 431

    def test_a_head_without_end_is_refused(self, wire):
        answer = b""
        try:
            wire.send("GET /hello HTTP/1.1\r\nHost: t\r\n")
            for number in range(3000):
                wire.send(f"X-{number}: {'y' * 1000}\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = wire.read_to_end()
        assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))

    def test_a_body_over_the_limit_is_a_413_before_it_is_sent(self, wire):
        wire.send("POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 1000001\r\n\r\n")
        assert wire.read_answer().status == 413
        wire.assert_closed()

    def test_a_body_at_the_limit_passes(self, wire):
        assert wire.get("/upload", method="POST", body=b"x" * 1_000_000).status == 200

    def test_a_chunked_body_over_the_limit_is_a_413(self, wire):
        wire.send("POST /upload HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        try:
            for _ in range(20):
                wire.send(block)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert wire.read_answer().status == 413

    def test_gunicorns_three_limits_are_honoured(self, start, connect):
        server = start(
            *("wsgi_app:app", "--limit-request-line", "100", "--limit-request-fields", "3"),
            *("--limit-request-field_size", "50"),
        )
        assert connect(server).get("/hello").status == 200
        assert connect(server).get("/hello?" + "x" * 100).status == 414
        assert connect(server).get("/hello", "A: 1", "B: 2", "C: 3").status == 431
        assert connect(server).get("/hello", "A: " + "x" * 60).status == 431

    @pytest.mark.parametrize("most", [100, 101])
    def test_as_many_fields_as_may_be_are_served_and_one_more_is_not(self, start, connect, most):
        # The parser has places for a hundred of its own.
        server = start("wsgi_app:app", "--limit-request-fields", str(most))
        fields = [f"A{number}: 1" for number in range(most - len(["Host"]))]
        assert connect(server).get("/hello", *fields).status == 200
        assert connect(server).get("/hello", *fields, "B: 1").status == 431


class TestQueue:
    def test_a_full_queue_is_a_503_with_retry_after(self, start, connect, gate: Gate):
        server = start("wsgi_app:app", "--workers", "1", "--queue-requests-max", "4")
        target = f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n"
        wires = [connect(server, 20) for _ in range(60)]
        wires[0].send(target)
        gate.arrived()
        for wire in wires[1:]:
            wire.send(target)
        # The last ones cannot fit anywhere: they are refused while the worker is still held.
        refused = wires[-1].read_answer()
        assert refused.status == 503
        assert int(refused.header("retry-after") or 0) >= 1
        gate.release(len(wires))
        statuses = [wire.read_answer().status for wire in wires[:-1]]
        assert set(statuses) == {200, 503}
        assert statuses[0] == 200

    def test_a_request_that_waits_too_long_is_a_503(self, start, connect, gate: Gate):
        server = start("wsgi_app:app", "--workers", "1", "--queue-timeout", "1")
        holder, waiter = connect(server), connect(server)
        holder.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
        gate.arrived()
        answer = waiter.get("/hello")
        assert answer.status == 503
        assert answer.header("retry-after")
        gate.release()
        assert holder.read_answer().status == 200

    def test_a_request_whose_client_left_is_not_run(self, start, connect, gate: Gate, tmp_path):
        server = start("wsgi_app:app", "--workers", "1")
        holder, leaver, last = connect(server), connect(server), connect(server)
        holder.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
        gate.arrived()
        leaver.send(f"GET /close?mark={tmp_path / 'ran'} HTTP/1.1\r\nHost: t\r\n\r\n")
        # A reset: one that only closes its direction may wait for the answer.
        leaver.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaver.socket.close()
        # The front serves connections in order: a refusal made by the front alone shows that
        # it has seen what came before.
        assert connect(server).get("/hello?" + "x" * 9000).status == 414
        last.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
        gate.release()
        assert holder.read_answer().status == 200
        assert last.read_answer().text == "hello"
        assert not (tmp_path / "ran").exists()


def test_many_clients_at_once_are_all_served_by_gthread(start, connect):
    server = start("wsgi_app:app", "--workers", "2", "--threads", "8")
    failed: list[object] = []

    def client() -> None:
        wire = connect(server, 30)
        for _ in range(25):
            answer = wire.get("/hello")
            if answer.text != "hello":
                failed.append(answer)

    threads = [threading.Thread(target=client) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_more_clients_than_the_soft_limit_of_descriptors_are_served(tmp_path, connect):
    """The front raises it for itself; the application keeps the one it knows."""
    server = Server("wsgi_app:app", "--workers", "1", log_directory=tmp_path / "logs")
    server.command = ["sh", "-c", 'ulimit -Sn 64 && exec "$@"', "sh", *server.command]
    with server:
        wires = [connect(server) for _ in range(200)]
        assert [wire.get("/hello").text for wire in wires] == ["hello"] * 200
        limits = Path(f"/proc/{server.workers()[0]}/limits").read_text()
        assert re.search(r"Max open files +64 ", limits)
