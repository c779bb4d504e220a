"""What an application forks is not the worker: it touches neither the ring nor the supervisor. And what it closes
of ours ends the worker with a reason, and lands in nobody's file."""

from __future__ import annotations

import pytest
from support.control import ctl
from support.load import Checked
from support.server import poll

pytestmark = pytest.mark.indrik_only

KINDS = {
    "sync": ("harm_app:wsgi", "--worker-class", "sync"),
    "gthread": ("harm_app:wsgi", "--worker-class", "gthread", "--threads", "4"),
    "asgi": ("harm_app:asgi", "--worker-class", "asgi", "--asgi-loop", "asyncio"),
}
WITH_HUB = {"gevent": ("harm_app:wsgi", "--worker-class", "gevent")}
WAYS = [
    ("/pool", "[0, 1, 4, 9, 16]"),
    ("/terminate", "-15"),
    ("/fork/returns", "0"),
    ("/fork/raises", "1"),
    ("/fork/exits", "7"),
    ("/fork/leaves", "8"),
]
HUBS = ("gevent", "eventlet")
ROUNDS = 5
POSTERS = 3


@pytest.mark.parametrize("kind", KINDS)
def test_children_leave_the_worker_and_the_posts_beside_them_alone(connect, start, kind):
    server = start(*KINDS[kind], "--workers", "1")
    worker = server.workers()
    with Checked(server, connect, POSTERS, posts_only=True) as posts:
        for _ in range(ROUNDS):
            for path, wanted in WAYS:
                answer = connect(server, 30).get(path)
                assert (answer.status, answer.text) == (200, wanted), path
    assert posts.wrong == posts.failed == []
    assert posts.served > 0
    assert server.workers() == worker
    assert connect(server).get("/").text == str(worker[0])


@pytest.mark.parametrize("kind", HUBS)
def test_children_of_greenlets_wait_in_the_hub_and_go_on(connect, start, kind):
    server = start("harm_app:wsgi", "--worker-class", kind, "--workers", "1", "--timeout", "2")
    worker = server.workers()
    # A pool waits in the kernel for its children, which no hub can do.
    for path, wanted in [*WAYS[1:], ("/fork/waits", "9")]:
        answer = connect(server, 30).get(path)
        assert (answer.status, answer.text) == (200, wanted), path
    assert connect(server).get("/").text == str(worker[0])


@pytest.mark.parametrize("first", [3, 256], ids=["all", "all but the loop's"])
@pytest.mark.parametrize("kind", KINDS | WITH_HUB)
def test_a_worker_whose_descriptors_were_closed_is_replaced_and_writes_into_no_file(connect, start, kind, first):
    server = start(*(KINDS | WITH_HUB)[kind], "--workers", "2")
    server.clean_stop = False
    before = server.workers()
    with Checked(server, connect, POSTERS, posts_only=True) as posts:
        # The answer may be lost with the worker; a file with something of ours in it may not be.
        try:
            answer = connect(server, 30).get(f"/close?{first}")
            assert answer.status != 200 or answer.text == "b''"
        except (OSError, EOFError):
            pass
        poll(lambda: len(server.workers()) == 2 and server.workers() != before, "a new worker", 30)
        poll(lambda: ctl(server, "show", "stats")["ends"].get("descriptors_lost"), "the reason in the counters", 20)
        posts.goes_on(20)
    # What ran in the worker when it ended is lost, and no more.
    assert posts.wrong == []
    assert len(posts.failed) <= POSTERS, posts.failed
