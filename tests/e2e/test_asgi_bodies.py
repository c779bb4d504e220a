"""Bodies of requests to ASGI applications: of those whose worker dies before it answers, and of many at once."""

from __future__ import annotations

import hashlib
import json
import os
import threading

import pytest
from support.server import poll

pytestmark = pytest.mark.indrik_only

HELD = 1024 * 1024
UPLOADS_EACH = 10


@pytest.fixture
def wire(start, connect):
    server = start("dying_app:app", "--worker-class", "asgi", "--workers", "2", interface="asgi")
    return connect(server, 30)


@pytest.mark.parametrize("size", [10, 65_536, 65_537, 300_000, HELD])
def test_a_body_that_is_here_is_given_to_another_worker(wire, tmp_path, size):
    body = os.urandom(size)
    answer = wire.get(f"/?in={tmp_path}", method="PUT", body=body)
    assert (answer.status, answer.text) == (200, f"sum: {hashlib.sha256(body).hexdigest()}")


@pytest.mark.parametrize("first", [1, 70_000, 600_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_streamed_is_given_to_another_worker_from_its_beginning(wire, tmp_path, first, chunked):
    body = os.urandom(900_000)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    wire.send(f"PUT /?in={tmp_path} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n")
    for part, end in ((body[:first], b""), (body[first:], b"0\r\n\r\n")):
        wire.send(b"%x\r\n%b\r\n%b" % (len(part), part, end) if chunked else part)
        # The application has some of it before the rest is sent.
        poll((tmp_path / "begun").exists, "the application has begun to read")
    answer = wire.read_answer()
    assert (answer.status, answer.text) == (200, f"sum: {hashlib.sha256(body).hexdigest()}")


@pytest.mark.parametrize("messages", [1, 2])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_whose_worker_ends_in_its_middle_is_given_whole_to_another_one(wire, tmp_path, messages, chunked):
    body = os.urandom(900_000)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    wire.send(f"PUT /?in={tmp_path}&dies={messages} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n")
    # The rest is there, or comes, before anybody knows that the worker is gone.
    for part, end in ((body[:1000], b""), (body[1000:], b"0\r\n\r\n")):
        wire.send(b"%x\r\n%b\r\n%b" % (len(part), part, end) if chunked else part)
        poll((tmp_path / "begun").exists, "the application has begun to read")
    answer = wire.read_answer()
    assert (answer.status, answer.text) == (200, f"sum: {hashlib.sha256(body).hexdigest()}")


@pytest.mark.parametrize("messages", [0, 1, 3])
def test_an_answer_that_begins_before_the_body_came_again_gets_all_of_it(wire, tmp_path, messages):
    body = os.urandom(900_000)
    framing = f"Content-Length: {len(body)}"
    wire.send(f"PUT /?in={tmp_path}&early={messages} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n")
    for part in (body[:1000], body[1000:]):
        wire.send(part)
        poll((tmp_path / "begun").exists, "the application has begun to read")
    answer = wire.read_answer()
    assert (answer.status, answer.text) == (200, f"sum: {hashlib.sha256(body).hexdigest()}")


def test_a_body_that_streamed_and_is_too_large_to_hold_is_a_502(wire, tmp_path):
    body = os.urandom(2 * HELD)
    wire.send(f"PUT /?in={tmp_path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n")
    wire.send(body[:1000])
    poll((tmp_path / "begun").exists, "the application has begun to read")
    wire.send(body[1000:])
    assert wire.read_answer().status == 502


def test_a_post_is_not_run_twice(wire, tmp_path):
    assert wire.get(f"/?in={tmp_path}", method="POST", body=b"x" * 300_000).status == 502


def test_uploads_that_share_a_worker_get_on_alike(start, connect):
    server = start("asgi_app:app", "--worker-class", "asgi", "--workers", "1", interface="asgi")
    counts = [0] * 24
    over = threading.Event()
    body = os.urandom(4 * 1024 * 1024)

    def upload(client: int) -> None:
        with connect(server, 60) as wire:
            while not over.is_set():
                assert json.loads(wire.get("/upload", method="POST", body=body).text)["bytes"] == len(body)
                counts[client] += 1
                if counts[client] == UPLOADS_EACH:
                    over.set()

    threads = [threading.Thread(target=upload, args=(client,)) for client in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # Each finishes the one that it is at when the fastest is through with all.
    assert min(counts) > UPLOADS_EACH // 4, sorted(counts)
