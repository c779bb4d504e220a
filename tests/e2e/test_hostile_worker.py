"""A worker whose memory is overwritten, word by word: it may lose its own requests and nothing else.

Two workers, clients that check every answer, and one worker at a time that writes into its channel. Whatever it
writes: nobody gets a wrong answer, the server goes on with the other worker, and a worker whose channel cannot be
used any more is replaced with a reason in the log.
"""

from __future__ import annotations

import pytest
from support.load import Checked
from support.server import Server, poll

pytestmark = pytest.mark.indrik_only

LINE = 128
RING = 6 * LINE
"""What two sides of a ring share: six words, each on a line of its own."""

HEADER = {
    **{
        f"requests.{name}": LINE * (1 + at) for at, name in enumerate(("tail", "head", "sleeping", "starving", "space"))
    },
    **{
        f"responses.{name}": LINE + RING + LINE * at
        for at, name in enumerate(("tail", "head", "sleeping", "starving", "space"))
    },
    **{
        name: LINE + 2 * RING + LINE * at
        for at, name in enumerate(("shutdown", "heartbeat", "pulse", "interrupts", "interrupts_seen"))
    },
}
SLOTS, SLOT = 4096, 256
SLOT_WORDS = {"state": 0, "response_taken": 8, "credit": 16, "request_taken": 128, "wants_credit": 136, "route": 148}
EIGHT_BYTES = {"tail", "head", "heartbeat", "pulse", "state", "response_taken", "request_taken"}
VALUES = (0, 1, (1 << 64) - 1, 0x1234_5678_9ABC_DEF0)

BROKEN = {"requests.head": "ring index", "responses.tail": "ring index"}
"""Words of which the front must notice that they are garbage, and how it says so."""

KINDS = {
    "sync": ("harm_app:wsgi", "--worker-class", "sync"),
    "gthread": ("harm_app:wsgi", "--worker-class", "gthread", "--threads", "4"),
    "gevent": ("harm_app:wsgi", "--worker-class", "gevent"),
    "asgi": ("harm_app:asgi", "--worker-class", "asgi"),
}


@pytest.mark.parametrize("value", VALUES, ids=["zero", "one", "max", "random"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_word_of_garbage_in_one_workers_memory_gives_nobody_a_wrong_answer(connect, start, kind, value):
    server = start(*KINDS[kind], "--workers", "2", "--timeout", "5", "--graceful-timeout", "2")
    server.clean_stop = False
    words = HEADER | {f"slot.{name}": SLOTS + at for name, at in SLOT_WORDS.items()}
    with Checked(server, connect, 6) as clients:
        for name, offset in words.items():
            clients.goes_on(10)
            poke(server, connect, name, offset, value)
            clients.goes_on(40)
            poll(lambda: len(server.workers()) >= 2, "two workers", 30)
    assert clients.wrong == []
    # What the sick worker had begun is lost, and no more: a few requests for each word.
    assert len(clients.failed) <= 2 * len(words), clients.failed


def poke(server: Server, connect, name: str, offset: int, value: int, more: str = "") -> None:
    size = 8 if name.split(".")[-1] in EIGHT_BYTES else 4
    more += "&places=16&stride=256" if name.startswith("slot.") else ""
    target = f"/poke?offset={offset}&size={size}&value={value & ((1 << 8 * size) - 1)}{more}"
    wire = connect(server, 30)
    try:
        wire.get(target)
    except (OSError, EOFError):
        # It was this worker's own request.
        return


@pytest.mark.parametrize("word", BROKEN)
@pytest.mark.parametrize("kind", KINDS)
def test_an_impossible_index_replaces_the_worker_with_its_reason_in_the_log(connect, start, kind, word):
    server = start(*KINDS[kind], "--workers", "2")
    server.clean_stop = False
    before = server.workers()
    with Checked(server, connect, 4) as clients:
        clients.goes_on(10)
        poke(server, connect, word, HEADER[word], (1 << 64) - 1, "&keep=1")
        poll(lambda: BROKEN[word] in server.log(), "the reason in the log", 20)
        poll(lambda: len(server.workers()) == 2 and server.workers() != before, "a new worker", 20)
        clients.goes_on(40)
    assert clients.wrong == []


def test_an_asgi_application_whose_wait_is_wiped_out_goes_on_all_the_same(connect, start):
    server = start(*KINDS["asgi"], "--workers", "1", "--timeout", "2")
    answer = connect(server, 60).get("/unheard")
    assert answer.body == b"large" * 400_000
