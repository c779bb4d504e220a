"""What the front answers by itself is seen: in the counters, the access log, the error log and the health."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import socket
import ssl
import struct
import tempfile
from typing import Any

import pytest
from support.control import ctl
from support.gate import Gate
from support.http2 import Http2
from support.server import Server, poll

pytestmark = pytest.mark.indrik_only

APPS = pathlib.Path(__file__).parent.parent / "apps"
FORM = "q=%(q)s s=%(s)s p=%(p)s D=%(D)s queue=%(queue_us)s client=%(client_us)s total=%(total_us)s"


def refusing(start: Any, *options: str) -> Server:
    """One worker with one lane, whose front writes where the time of each request went."""
    logs = ("--access-logfile", "-", "--access-logformat", FORM)
    return start("wsgi_app:app", "--workers", "1", "--worker-class", "sync", *logs, *options)


def occupied(server: Server, connect: Any, gate: Gate) -> Any:
    wire = connect(server)
    wire.send(f"GET /gate?gate={gate.path} HTTP/1.1\r\nHost: t\r\n\r\n")
    gate.arrived()
    return wire


def times(server: Server, query: str) -> dict[str, int]:
    line = server.wait_for_access_line(f"q={query} ").string
    return {name: int(number) for name, number in re.findall(r"(\w+)=<?(\d+)>?", line)}


def counts(server: Server) -> dict[str, int]:
    found: dict[str, int] = ctl(server, "show", "stats")["answered_by_front"]
    return {reason: count for reason, count in found.items() if count}


def test_a_request_whose_time_in_the_queue_is_over_is_counted_timed_and_told(start, connect, gate: Gate):
    server = refusing(start, "--queue-timeout", "1")
    busy = occupied(server, connect, gate)
    assert connect(server).get("/hello?late").status == 503
    gate.release()
    assert busy.read_answer().status == 200
    assert counts(server) == {"queue_timeout": 1}
    stats = ctl(server, "show", "stats")
    assert (stats["requests_refused"], stats["requests_timed_out"]) == (1, 0)
    late = times(server, "late")
    assert late["D"] == 0
    assert late["queue"] >= 1_000_000
    assert late["p"] == server.process.pid
    told = "Overloaded: 1 request was answered 503: no worker was free in time (queue_timeout)"
    server.wait_for_log(re.escape(told))
    health = ctl(server, "health")
    assert (health["state"], health["ready"]) == ("degraded", True)
    assert health["why"] == "requests are refused: no worker was free in time (queue_timeout)"


def test_a_request_that_found_no_worker_all_the_time_says_so(start, connect, gate: Gate, tmp_path):
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(
        f"import sys\nsys.path.insert(0, {str(APPS)!r})\nfrom gates import wait_at_gate\n"
        f"def post_fork(server, worker):\n    wait_at_gate({str(gate.path)!r})\n"
    )
    gate.release()
    server = refusing(start, "--queue-timeout", "1", "-c", str(config))
    os.kill(gate.arrived(), signal.SIGKILL)
    # Its successor is not ready before the test lets it.
    gate.arrived()
    late = connect(server).get("/hello?late")
    assert (late.status, late.header("retry-after")) == (503, "1")
    assert counts(server) == {"no_worker": 1}
    assert times(server, "late")["queue"] >= 1_000_000
    server.wait_for_log("Overloaded: 1 request was answered 503: no worker was ready in time")
    gate.release()
    assert connect(server).get("/hello").text == "hello"


def test_of_many_refusals_the_log_has_a_line_at_once_and_the_number_of_all_at_the_end(start, connect, gate: Gate):
    server = refusing(start, "--queue-requests-max", "1")
    busy = occupied(server, connect, gate)
    waiting = connect(server)
    waiting.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
    poll(lambda: ctl(server, "show", "stats")["requests_waiting"] == 1, "a request that waits")
    wire = connect(server)
    refused = 30
    for number in range(refused):
        assert wire.get(f"/hello?n{number}").status == 503
    assert counts(server) == {"queue_full": refused}
    assert times(server, "n3")["D"] == 0
    gate.release()
    assert busy.read_answer().status == 200
    # Once nothing is refused any more, all is well again; what came with the first is told then, and is no news.
    over = rf"No request was refused for 10 s any more; since the overload began {refused} requests were answered 503"
    server.wait_for_log(over, seconds=30)
    assert len(re.findall("Overloaded: ", server.log())) == 1
    assert ctl(server, "health") == {"state": "ready", "ready": True, "why": ""}


@pytest.mark.parametrize("http2", ["off", "prior-knowledge", "both"])
def test_a_handshake_of_tls_on_a_port_without_is_told_as_what_it_is(start, connect, http2):
    options = () if http2 == "off" else ("--http-protocols", "h2,h1", "--http2-cleartext", http2)
    server = refusing(start, *options)
    wire = connect(server)
    client = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), client, server_hostname="localhost").do_handshake()
    wire.send(client.read())
    answer = wire.read_answer()
    told = "a TLS handshake came to a port without TLS: use http://, or set certfile"
    assert answer.status == 400
    assert told in answer.text
    server.wait_for_log(rf"Invalid request from ip=127\.0\.0\.1: {told}")
    assert counts(server) == {"malformed": 1}


def test_the_clients_faults_are_counted_by_what_they_are_and_are_no_overload(start, connect):
    server = refusing(start, "--body-size-max", "1000", "--body-read-timeout", "1", "--header-read-timeout", "1")
    assert connect(server).get("/hello", "Host: b").status == 400
    large = connect(server)
    large.send("POST /upload?large HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n")
    assert large.read_answer().status == 413
    assert connect(server).get("/" + "x" * 9000).status in (414, 431)
    slow = connect(server)
    slow.send("POST /upload?slow HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc")
    assert slow.read_answer().status == 408
    later = connect(server)
    assert later.get("/hello").status == 200
    later.send("GET /hello?late HTTP/1.1\r\nHost:")
    assert later.read_answer().status == 408
    assert counts(server) == {
        "malformed": 1,
        "head_timeout": 1,
        "body_too_large": 1,
        "head_too_large": 1,
        "body_timeout": 1,
    }
    for query in ("slow", "late"):
        waited = times(server, query)
        assert waited["D"] == 0
        # It was the client who was waited for.
        assert waited["client"] >= 1_000_000
    assert ctl(server, "health")["state"] == "ready"
    assert "Overloaded" not in server.log()


def hangs_up(wire: Any) -> None:
    wire.socket.close()


def resets(wire: Any) -> None:
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.socket.close()


@pytest.mark.parametrize("leaves", [hangs_up, resets])
def test_a_client_that_leaves_while_it_waits_is_counted_as_that_and_not_as_answered(start, connect, gate: Gate, leaves):
    server = refusing(start, "--queue-timeout", "2")
    busy = occupied(server, connect, gate)
    waiting = connect(server)
    waiting.send("GET /hello?left HTTP/1.1\r\nHost: t\r\n\r\n")
    poll(lambda: ctl(server, "show", "stats")["requests_waiting"] == 1, "a request that waits")
    leaves(waiting)
    line = server.wait_for_access_line("q=left ").string
    assert f"s=499 p=<{server.process.pid}> D=0 " in line
    assert counts(server) == {"client_left": 1}
    assert ctl(server, "show", "stats")["requests_refused"] == 0
    gate.release()
    assert busy.read_answer().status == 200


def test_a_client_that_has_closed_its_direction_only_is_told_what_it_waited_for(start, connect, gate: Gate):
    server = refusing(start, "--queue-timeout", "1")
    busy = occupied(server, connect, gate)
    waiting = connect(server)
    waiting.send("GET /hello?half HTTP/1.1\r\nHost: t\r\n\r\n")
    waiting.half_close()
    answer = waiting.read_answer()
    assert (answer.status, answer.header("retry-after")) == (503, "1")
    assert counts(server) == {"client_left": 1}
    gate.release()
    assert busy.read_answer().status == 200


@pytest.mark.parametrize("leaves", [hangs_up, resets])
@pytest.mark.parametrize("application", ["wsgi_app:app", "asgi_app:app"])
def test_a_client_that_leaves_within_its_body_is_counted_as_that(start, connect, application, leaves):
    server = start(application, "--access-logfile", "-", "--access-logformat", FORM)
    for framing, part in [("Content-Length: 100000", "abc"), ("Transfer-Encoding: chunked", "5\r\nabc")]:
        wire = connect(server)
        head = f"POST /upload?{framing[0]} HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"
        wire.send(head)
        # The body is being read.
        assert wire.read_answer(skip_interim=False).status == 100
        wire.send(part)
        leaves(wire)
        assert " s=499 " in server.wait_for_access_line(f"q={framing[0]} ").string
    assert counts(server) == {"client_left": 2}


def test_a_client_that_leaves_while_the_application_has_its_request_has_a_line(start, connect, tmp_path):
    server = start("asgi_app:app", "--access-logfile", "-", "--access-logformat", FORM)
    pid = connect(server).get("/pid").text
    wire = connect(server)
    wire.send(f"GET /until-disconnect?mark={tmp_path / 'mark'} HTTP/1.1\r\nHost: t\r\n\r\n")
    poll((tmp_path / "mark").exists, "the application")
    hangs_up(wire)
    line = server.wait_for_access_line("q=mark=").string
    assert f"s=499 p=<{pid}> D=" in line
    assert counts(server) == {"client_left": 1}


def test_a_stream_that_its_client_resets_while_it_waits_is_counted_as_left(start, connect, gate: Gate):
    server = refusing(start, "--http2-cleartext", "both", "--http-protocols", "h1,h2")
    busy = occupied(server, connect, gate)
    with Http2(server.connect()) as client:
        stream = client.request("/hello?reset")
        poll(lambda: ctl(server, "show", "stats")["requests_waiting"] == 1, "a request that waits")
        client.reset(stream)
        assert " s=499 " in server.wait_for_access_line("q=reset ").string
    assert counts(server) == {"client_left": 1}
    gate.release()
    assert busy.read_answer().status == 200


def test_what_begins_before_a_request_and_never_ends_is_answered_counted_and_told(start, connect):
    server = refusing(
        start,
        *("--header-read-timeout", "1", "--proxy-protocol", "auto"),
        *("--http2-cleartext", "both", "--http-protocols", "h1,h2"),
    )
    for beginning, why in [
        ("PROXY TCP4 192.0.2.1 ", "the PROXY header did not arrive in time"),
        ("PRI * HTTP/2.0", "the beginning of HTTP/2 did not arrive in time"),
    ]:
        slow = connect(server)
        slow.send(beginning)
        answer = slow.read_answer()
        assert (answer.status, why in answer.text) == (408, True)
        slow.assert_closed()
        server.wait_for_log(rf"Invalid request from ip=127\.0\.0\.1: {why}")
    assert counts(server) == {"head_timeout": 2}


def test_a_head_that_the_http2_library_refuses_by_itself_is_counted_and_told(start):
    server = refusing(start, "--http2-cleartext", "both", "--http-protocols", "h1,h2")
    with Http2(server.connect()) as client:
        assert client.get("/hello").status == 200
        huge = [(f"x-{number}", "a" * 12_000) for number in range(30)]
        assert [client.get("/hello", *huge).status for _ in range(2)] == [431, 431]
        assert client.get("/status?line=204%20No%20Content").status == 204
        assert client.get("/hello", method="HEAD").status == 200
    server.wait_for_log("Invalid request from ip=.*: the header fields are too large together, by far")
    assert counts(server) == {"head_too_large": 2}


def test_the_time_of_a_request_that_lost_its_worker_or_ran_too_long_is_the_applications(start, connect, gate: Gate):
    server = refusing(start, "--request-timeout", "1")
    stuck = occupied(server, connect, gate)
    assert stuck.read_answer().status == 504
    late = times(server, f"gate={re.escape(str(gate.path))}")
    assert late["D"] >= 1_000_000
    assert late["queue"] < late["D"]
    assert late["p"] != server.process.pid
    assert counts(server) == {"timed_out": 1}
    dying = connect(server)
    dying.send(f"POST /gate?gate={gate.path}&dying HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
    pid = gate.arrived()
    os.kill(pid, signal.SIGKILL)
    assert dying.read_answer().status == 502
    lost = times(server, f"gate={re.escape(str(gate.path))}&dying")
    assert lost["p"] == pid
    assert 0 < lost["D"] <= lost["total"] - lost["queue"]
    assert counts(server) == {"timed_out": 1, "worker_lost": 1}


def test_a_body_that_finds_no_room_on_the_disk_is_told_with_its_directory_and_counted(start, connect, tmp_path):
    spools = tmp_path / "bodies"
    spools.mkdir()
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(f"tmp_upload_dir = {str(spools)!r}\n")
    server = refusing(start, "-c", str(config), "--body-buffer-max", "100000")
    body = b"x" * 500_000
    assert connect(server).get("/upload", method="POST", body=body).status == 200
    spools.rmdir()
    for _ in range(3):
        assert connect(server).get("/upload?lost", method="POST", body=body).status == 507
    told = rf"the body of a request cannot be written to {spools} \(.*\): POST /upload\?lost \(client 127\.0\.0\.1\)"
    server.wait_for_log(told + " answered 507; make room there, or set tmp_upload_dir")
    assert len(re.findall("the body of a request cannot be written", server.log())) == 1
    assert counts(server) == {"body_unstored": 3}
    assert ctl(server, "show", "stats")["files"]["bodies"] == {"bytes": 0, "files": 0, "failures": 3}
    health = ctl(server, "health")
    assert (health["state"], health["ready"]) == ("degraded", True)
    assert re.fullmatch(f"bodies of requests cannot be written to {spools}, and are answered 507: .+", health["why"])
    # 10 s after the last one it is over.
    spools.mkdir()
    poll(lambda: ctl(server, "health")["state"] == "ready", "a healthy server", seconds=30)


def test_a_log_that_cannot_be_written_is_told_to_whoever_asks(start, connect, tmp_path):
    log = tmp_path / "access.log"
    log.symlink_to("/dev/full")
    server = start("wsgi_app:app", "--workers", "1", "--access-logfile", str(log))
    assert connect(server).get("/hello").text == "hello"
    told = f"the log {log} cannot be written: no space left on device; its entries are lost"
    poll(lambda: ctl(server, "health") == {"state": "degraded", "ready": True, "why": told}, "the reason")


def test_syslog_that_nobody_hears_is_told_to_whoever_asks_and_in_the_log(start, connect):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unheard:
        unheard.bind(("127.0.0.1", 0))
        to = f"udp://127.0.0.1:{unheard.getsockname()[1]}"
    server = start("wsgi_app:app", "--workers", "1", "--log-syslog", "--log-syslog-to", to)
    connect(server).get("/hello")
    server.wait_for_log(rf"\[WARNING\] Cannot reach the syslog server at {to}: Connection refused")
    told = f"messages to the syslog server at {to} are lost: Connection refused"
    poll(lambda: ctl(server, "health")["why"].startswith(told), "the reason")
    assert ctl(server, "health")["ready"] is True


def test_bodies_in_a_directory_that_lies_in_memory_have_no_more_than_the_front_may_hold(start, connect):
    """Otherwise a few large uploads would end the server, where its memory is limited."""
    memory = pathlib.Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        pytest.skip("no file system in memory")
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        config = pathlib.Path(directory, "gunicorn.conf.py")
        config.write_text(f"tmp_upload_dir = {directory!r}\n")
        server = refusing(start, "-c", str(config), "--body-buffer-max", "100000", "--front-memory-max", "32MiB")
        for size, status in ((20_000_000, 200), (32 * 1024 * 1024 + 1, 507), (20_000_000, 200)):
            body = b"x" * size
            assert connect(server, 30).get("/upload", method="POST", body=body).status == status
        server.wait_for_log(f"cannot be written to {directory} .*bodies in files have all that front_memory_max is")
        assert ctl(server, "show", "stats")["files"]["bodies"] == {"bytes": 0, "files": 0, "failures": 1}
