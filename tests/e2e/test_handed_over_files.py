"""Files between front and worker, bodies one way and answers the other, beside everything else: each reaches the
request that it belongs to, whatever was full meanwhile."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable

import pytest
from support.server import Server
from support.wire import Wire

CLIENTS = 64
REQUESTS = 40
SIZES = (10, 1_000, 40_000, 60_000, 66_000, 100_000, 300_000)
LARGE_FIELD = "X-Large: " + "y" * 4_000

pytestmark = pytest.mark.indrik_only


@pytest.mark.parametrize(
    "arguments",
    [
        ("--workers", "1", "--worker-class", "sync"),
        ("--workers", "1", "--worker-class", "gthread", "--threads", "32"),
        ("--workers", "2", "--worker-class", "gthread", "--threads", "8"),
        ("--workers", "1", "--worker-class", "gevent"),
    ],
    ids=["sync", "gthread-32", "gthread-2x8", "gevent"],
)
def test_every_upload_and_every_file_is_the_one_that_was_asked_for(connect, start, arguments):
    if "gevent" in arguments:
        pytest.importorskip("gevent")
    server = start("files_app:app", *arguments)
    wrong = at_once(CLIENTS, lambda number: mixed(connect(server, 60), number))
    assert wrong == []
    # And nothing of it is left over for those that come afterwards.
    assert at_once(1, lambda number: mixed(connect(server, 60), number, uploads_only=True)) == []


def mixed(wire: Wire, client: int, uploads_only: bool = False) -> list[str]:
    """Many requests, one after the other; what was wrong."""
    chance = random.Random(client)
    wrong = []
    for number in range(REQUESTS):
        if chance.random() < 0.3 and not uploads_only:
            name = f"{client}-{number}"
            answer = wire.get(f"/file/{name}", LARGE_FIELD)
            good = answer.body == name.encode().ljust(3_000, b".")
        else:
            body = chance.randbytes(chance.choice(SIZES))
            answer = wire.get("/hash", LARGE_FIELD, method="POST", body=body)
            good = answer.text == hashlib.sha256(body).hexdigest()
        if answer.status != 200 or not good:
            wrong.append(f"client {client}, request {number}: {answer.status} {answer.text[:80]}")
    return wrong


def at_once(clients: int, run: Callable[[int], list[str]]) -> list[str]:
    wrong: list[str] = []

    def client(number: int) -> None:
        try:
            wrong.extend(run(number))
        except (OSError, EOFError, AssertionError) as error:
            wrong.append(f"client {number}: {error!r}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def get_reason(server: Server, connect: Callable[..., Wire], length: int) -> tuple[int, int]:
    answer = connect(server).get(f"/reason?{length}")
    return answer.status, len(answer.reason)


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_a_reason_phrase_that_is_too_long_is_a_500_and_the_worker_stays(connect, start, kind):
    server = start("files_app:app", "--workers", "1", "--worker-class", kind)
    worker = server.workers()
    assert get_reason(server, connect, 1024) == (200, 1024)
    for length in (1025, 70_000, 300_000, 1_000_000):
        assert get_reason(server, connect, length)[0] == 500
    assert connect(server).get("/").text == str(worker[0])
