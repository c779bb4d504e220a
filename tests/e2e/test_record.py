"""`indrik record`: what clients ask of a running server, in a bounded file."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.control import ctl
from support.server import COMMAND, Server, poll

pytestmark = pytest.mark.indrik_only


class Recording:
    """An `indrik record` that runs."""

    def __init__(self, server: Server, path: Path, *options: str) -> None:
        self.path = path
        command = [*COMMAND, "record", "-p", str(server.process.pid), "-o", str(path), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # Its head is sent when it has begun.
        poll(lambda: self.process.poll() is not None or (path.exists() and path.stat().st_size), "the recording's head")

    def end(self, number: int | None = None) -> list[dict[str, Any]]:
        """What it has written, when it has ended in order."""
        if number is not None:
            self.process.send_signal(number)
        out, error = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, error
        assert "recorded in" in out
        return [json.loads(line) for line in self.path.read_text().splitlines()]


def test_every_request_is_recorded_with_its_phases_and_the_file_is_ones_own(start, connect, tmp_path):
    server = start("wsgi_app:app", "--workers", "2")
    recording = Recording(server, tmp_path / "file")
    with connect(server) as wire:
        for _ in range(30):
            assert wire.get("/hello").status == 200
        assert wire.get("/raise").status == 500
    head, *requests, trailer = recording.end(signal.SIGINT)
    assert (head["indrik_record"], head["sample"], head["workers"]) == (1, 1, 2)
    assert [request["status"] for request in requests] == [200] * 30 + [500]
    assert (trailer["end"], trailer["seen"], trailer["recorded"], trailer["lost"]) == ("stopped", 31, 31, 0)
    pids = set(server.workers())
    arrivals = [request["at_us"] for request in requests]
    assert arrivals == sorted(arrivals)
    for request in requests[:-1]:
        assert (request["method"], request["protocol"], request["bytes_out"]) == ("GET", "HTTP/1.1", 5)
        assert request["worker"] in pids
        assert request["total_us"] >= request["app_us"] + request["queue_us"]
        assert "target" not in request
    assert stat.S_IMODE(os.stat(recording.path).st_mode) == 0o600


def test_requests_are_redacted_and_an_old_file_is_not_written_over(start, connect, tmp_path):
    server = start("wsgi_app:app")
    recording = Recording(server, tmp_path / "file", "--requests")
    with connect(server) as wire:
        wire.get("/hello?user=me&token=s3cret", "Authorization: Basic s3cret", "Cookie: id=s3cret", "X-Kind: plain")
    _head, request, _trailer = recording.end(signal.SIGINT)
    assert request["target"] == "/hello?user=*&token=*"
    assert request["headers"]["authorization"] == request["headers"]["cookie"] == "*"
    assert request["headers"]["x-kind"] == "plain"
    assert "s3cret" not in recording.path.read_text()
    again = subprocess.run(
        [*COMMAND, "record", "-p", str(server.process.pid), "-o", str(recording.path)], capture_output=True, text=True
    )
    assert again.returncode == 1
    assert "name a new file" in again.stderr


def test_a_recording_ends_with_its_time_and_with_the_server_and_there_is_one_at_a_time(start, connect, tmp_path):
    server = start("wsgi_app:app")
    assert Recording(server, tmp_path / "short", "--for", "100ms").end()[-1]["end"] == "time"
    recording = Recording(server, tmp_path / "long")
    other = subprocess.run(
        [*COMMAND, "record", "-p", str(server.process.pid), "-o", str(tmp_path / "other")],
        capture_output=True,
        text=True,
    )
    assert other.returncode == 1
    assert "requests are recorded already" in other.stderr
    with connect(server) as wire:
        assert wire.get("/hello").status == 200
    server.stop()
    *_, request, trailer = recording.end()
    assert (request["status"], trailer["end"], trailer["recorded"]) == (200, "server", 1)


def test_a_recorder_that_is_killed_leaves_nothing_behind(start, connect, tmp_path):
    server = start("wsgi_app:app")
    recording = Recording(server, tmp_path / "file")
    recording.process.kill()
    recording.process.communicate()
    with connect(server) as wire:
        poll(lambda: wire.get("/hello").status == 200 and another(server, tmp_path), "room for another recording")
    assert ctl(server, "show", "stats")["health"]["state"] == "ready"


def another(server: Server, folder: Path) -> bool:
    path = folder / "another"
    path.unlink(missing_ok=True)
    command = [*COMMAND, "record", "-p", str(server.process.pid), "--for", "1ms", "-o", str(path)]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_bodies_are_recorded_without_secrets_and_chunked_ones_are_counted(start, connect, tmp_path):
    server = start("wsgi_app:app", "--workers", "1", "--record-redact", "kunde")
    recording = Recording(server, tmp_path / "file", "--bodies")
    head = "POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    with connect(server) as wire:
        chunks = '19\r\n{"a":1,"password":"geheim\r\ne\r\n","kunde":"7"}\r\n0\r\n\r\n'
        wire.send(f"{head}Content-Type: application/json\r\n\r\n{chunks}")
        assert wire.read_answer().status == 200
        form = ("Content-Type: application/x-www-form-urlencoded", "Authorization: Bearer geheim")
        wire.get("/hello", *form, method="POST", body=b"a=1&token=geheim")
        wire.get("/hello", "Content-Type: image/png", method="POST", body=b"geheim")
        wire.get("/hello")
    first, *requests, _ = recording.end(signal.SIGINT)
    assert first["bodies"] is True
    assert [request["bytes_in"] for request in requests] == [39, 16, 6, None]
    assert json.loads(requests[0]["body"]) == {"a": 1, "kunde": "*", "password": "*"}
    assert [request.get("body") for request in requests[1:]] == ["a=1&token=*", None, None]
    assert "neither" in requests[2]["body_left_out"] and "body_left_out" not in requests[3]
    assert "geheim" not in recording.path.read_text()
