"""The application's metrics: one number for all workers, exact and never less than before, whatever dies."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from support.admin import Admin
from support.control import ctl
from support.metrics import scrape
from support.server import Server, poll

pytestmark = pytest.mark.indrik_only

KINDS = {
    "sync": ("counting_app:wsgi", "--worker-class", "sync"),
    "gthread": ("counting_app:wsgi", "--worker-class", "gthread", "--threads", "4"),
    "gevent": ("counting_app:wsgi", "--worker-class", "gevent"),
    "asgi": ("counting_app:asgi", "--worker-class", "asgi"),
}
WORKERS = 4
DEATHS = int(os.environ.get("INDRIK_TEST_DEATHS", "6"))
"""For each class of workers; the whole bar is 200."""

COUNTED = ('shop_hits_total{path="/"}', 'lib_hits_total{path="/"}', "lib_summary_count", "shop_sizes_count")
"""All of them count each request once."""


@pytest.fixture
def counting(start: Callable[..., Server], tmp_path: Path) -> Callable[..., tuple[Server, Admin]]:
    """Starts a server of the counting application."""

    def begin(kind: str, *arguments: str, **environment: str) -> tuple[Server, Admin]:
        admin = Admin()
        settings = {"TEST_NOTES": str(tmp_path / "notes"), "TEST_GATE": str(tmp_path / "gate")}
        return start(*KINDS[kind], *admin.option, *arguments, environment=settings | environment), admin

    return begin


Samples = dict[str, float]


def shown(admin: Admin) -> Samples:
    """All samples, named as in `hits_total{path="/"}`, labels in alphabetical order."""
    samples: Samples = {}
    for name, labels, value in scrape(admin).samples:
        texts = ",".join(f'{label}="{text}"' for label, text in sorted(labels.items()))
        samples[f"{name}{{{texts}}}" if texts else name] = value
    return samples


@contextmanager
def load(server: Server) -> Iterator[None]:
    """Clients that go on whatever happens to their requests."""
    over = threading.Event()

    def ask() -> None:
        client = HTTPConnection(*server.address, timeout=10)
        while not over.is_set():
            try:
                client.request("GET", "/")
                client.getresponse().read()
            except (OSError, HTTPException):
                client.close()
        client.close()

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        over.set()
        for client in clients:
            client.join()


def open_gate(gate: Path) -> None:
    """Lets go whoever waits there now."""
    try:
        os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        pass  # Nobody.


def growing(before: Samples, after: Samples) -> None:
    for name, value in before.items():
        if name.endswith(("_total", "_count", "_sum")) or "_bucket{" in name:
            assert after.get(name, -1) >= value, name


@pytest.mark.parametrize("kind", KINDS)
def test_totals_are_exact_and_monotone_whichever_worker_is_killed_when(counting, kind, tmp_path):
    server, admin = counting(kind, "--workers", str(WORKERS))
    server.clean_stop = False
    chance = random.Random(17)
    before = shown(admin)
    with load(server):
        for _ in range(DEATHS):
            workers = server.workers()
            victim = chance.choice(workers)
            os.kill(victim, signal.SIGKILL)
            poll(lambda victim=victim: victim not in server.workers(), "the end of the worker")
            poll(lambda: len(server.workers()) == WORKERS, "another one", 30)
            after = shown(admin)
            growing(before, after)
            before = after
    after = shown(admin)
    growing(before, after)
    # A request that is killed may have counted and not noted it.
    noted = (tmp_path / "notes").stat().st_size
    assert noted > 0
    for name in COUNTED:
        assert noted <= after[name] <= noted + 4 * DEATHS, name
    assert after['shop_sizes_bucket{le="1.0"}'] == 0
    assert after['shop_sizes_bucket{le="10.0"}'] == after["shop_sizes_count"]
    # Some are killed before they have imported it.
    assert 0 < after["shop_imports_total"] <= DEATHS + WORKERS


@pytest.mark.parametrize("kind", ["gthread", "asgi"])
def test_what_recycled_and_reloaded_workers_have_counted_is_equal_to_the_clients_count(counting, connect, kind):
    server, admin = counting(kind, "--workers", "2", "--max-requests", "20")
    client = connect(server)
    for _ in range(100):
        assert client.get("/").status == 200
    workers = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_for_new_workers(workers, 2)
    for _ in range(30):
        assert client.get("/").status == 200
    after = shown(admin)
    assert {name: after[name] for name in COUNTED} == dict.fromkeys(COUNTED, 130)
    assert after["lib_summary_sum"] == 260


def test_what_a_preloaded_application_counts_at_import_counts_once(counting, connect):
    server, admin = counting("sync", "--workers", "3", "--preload")
    for _ in range(10):
        assert connect(server).get("/").status == 200
    after = shown(admin)
    assert after["shop_imports_total"] == 1
    assert {name: after[name] for name in COUNTED} == dict.fromkeys(COUNTED, 10)
    assert after['shop_build_info{version="1.2"}'] == after['lib_build_info{version="3"}'] == 1
    states = after['lib_state{lib_state="idle"}'], after['lib_state{lib_state="busy"}']
    assert states == (3, 0)


def test_gauges_are_of_the_living_or_of_all_as_they_say(counting, connect, tmp_path):
    os.mkfifo(tmp_path / "gate")
    server, admin = counting("sync", "--workers", "2")
    # One for each worker, which it keeps until both have theirs.
    with ThreadPoolExecutor(2) as clients:
        answers = [clients.submit(lambda: int(connect(server, 30).get("/hold").text)) for _ in range(2)]
        poll(lambda: shown(admin).get('shop_hits_total{path="/hold"}') == 2, "both requests")
        while not all(answer.done() for answer in answers):
            open_gate(tmp_path / "gate")
    pids = {answer.result() for answer in answers}
    assert connect(server).get("/last?7").status == 200
    after = shown(admin)
    assert (after["shop_busy"], after["lib_live"], after["shop_last"]) == (2, 2, 7)
    each = {after['lib_all{worker="1"}'], after['lib_all{worker="2"}']}
    assert each == pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    server.wait_for_new_workers(pids, 2)
    poll(lambda: shown(admin).get("lib_live") == 0, "the new ones")
    after = shown(admin)
    assert (after["shop_busy"], after["lib_live"], after["shop_last"]) == (0, 0, 7)
    server.clean_stop = False


@pytest.mark.parametrize("kind", KINDS)
def test_children_of_the_application_count_with_their_worker(counting, connect, kind):
    server, admin = counting(kind, "--workers", "1")
    assert connect(server, 30).get("/fork?3").status == 200
    after = shown(admin)
    assert after['shop_hits_total{path="/fork"}'] == after['lib_hits_total{path="/fork"}'] == 3


def test_a_child_that_outlives_its_worker_is_counted_to_the_end(counting, connect, tmp_path):
    os.mkfifo(tmp_path / "gate")
    server, admin = counting("sync", "--workers", "1")
    worker = int(connect(server).get("/orphan").text)
    for _ in range(5):
        assert connect(server).get("/").status == 200
    os.kill(worker, signal.SIGKILL)
    poll(lambda: ready_workers(server) - {worker}, "the new worker")
    assert shown(admin)['shop_hits_total{path="/"}'] == 5
    (tmp_path / "gate").write_bytes(b"go")
    poll(lambda: shown(admin).get('shop_hits_total{path="/orphan"}') == 1, "what the child counts")
    server.clean_stop = False


def ready_workers(server):
    """The child that is left behind has its worker's title: the server says who is one."""
    return {worker["pid"] for worker in ctl(server, "show", "workers")["workers"] if worker["state"] == "ready"}


def test_what_there_is_no_room_for_is_counted_and_told_of_once(counting, connect):
    limits = ("--app-metrics-max", "65536", "--app-metrics-series-max", "60")
    server, admin = counting("gthread", "--workers", "1", *limits)
    for path in ("/labels?5000", "/labels?5000", "/clash", "/clash", "/"):
        assert connect(server, 30).get(path).status == 200
    after = shown(admin)
    lost = {reason: after[f'indrik_app_metrics_lost_total{{reason="{reason}"}}'] for reason in LOST}
    assert all(lost.values()), lost
    texts = ("is full. Raise app_metrics_max", "was cut", "is defined twice", "more series than app_metrics_series_max")
    for text in texts:
        server.wait_for_log(text)
        assert server.log().count(text) == 1
    assert sum(name.startswith("shop_hits_total") for name in after) <= 60


LOST = ("table_full", "too_many_series", "clash", "label_cut")


def test_where_the_library_keeps_files_they_are_shown_as_it_shows_them(counting, connect, tmp_path):
    directory = tmp_path / "files"
    directory.mkdir()
    server, admin = counting("sync", "--workers", "2", PROMETHEUS_MULTIPROC_DIR=str(directory))
    for _ in range(10):
        assert connect(server).get("/").status == 200
    (directory / "counter_1.db").write_bytes(b"\xff\xff\xff\x7f" + b"x" * 100)
    after = shown(admin)
    assert after['lib_hits_total{path="/"}'] == after['shop_hits_total{path="/"}'] == 10
    assert after['lib_times_seconds_bucket{le="1.0"}'] == after["lib_times_seconds_count"] == 10
    assert after["lib_summary_sum"] == 20
    # A worker that was asked nothing is there with zeros.
    assert after["lib_live"] == sum(after.get(f'lib_all{{pid="{pid}"}}') == pid for pid in server.workers())
    assert after['indrik_app_metrics_lost_total{reason="corrupt"}'] > 0
