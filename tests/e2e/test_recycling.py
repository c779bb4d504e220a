"""Workers that are old, have grown or were killed for memory: who is replaced, when, and what is said.

The order of replacement is decided in indrik-core and tested there.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gate import Gate
from support.load import Load
from support.project import Project
from support.server import poll, status_kib

pytestmark = pytest.mark.indrik_only

MIB = 1024
"""In KiB, as /proc tells."""


def rss(pid: int) -> int:
    """Of a process that may have ended: 0."""
    try:
        return status_kib(pid, "VmRSS")
    except (OSError, LookupError, StopIteration, ValueError):
        return 0


class TestDescriptors:
    def test_workers_that_leak_descriptors_are_replaced_and_no_request_fails(self, start, connect, tmp_path: Path):
        project = Project(tmp_path / "project", start)
        project.write(
            "app.py",
            """
            import itertools, os
            numbers = itertools.count()
            def app(environ, start_response):
                # Workers are looked at each second; it must not have all that it may have before that.
                if next(numbers) % 100 == 0:
                    os.open("/dev/null", os.O_RDONLY)
                start_response("200 OK", [("Content-Length", "2")])
                return [b"ok"]
            """,
        )
        server = project.start("--workers", "2", "--worker-max-fds", "60")
        with Load(server, connect, 2, "/") as load:
            poll(lambda: server.log().count("ended: descriptors;") >= 2, "two workers that were replaced", 60)
        assert load.failures == []
        server.wait_for_log(r"has \d+ descriptors open, more than worker_max_fds = 60")

    def test_a_limit_below_what_a_worker_starts_with_replaces_nobody(self, start, connect):
        server = start("wsgi_app:app", "--workers", "1", "--worker-max-fds", "2")
        server.wait_for_log("worker_max_fds = 2, as soon as it had started; no worker is replaced for that")
        pid = connect(server).get("/pid").text
        assert server.workers() == [int(pid)]


class TestMemory:
    def test_workers_that_leak_a_mebibyte_a_request_stay_bounded_and_no_request_fails(self, start, connect):
        server = start("hungry_app:app", "--workers", "2", "--worker-max-rss", "80M")
        largest = 0

        def four_were_replaced() -> bool:
            nonlocal largest
            largest = max([largest, *map(rss, server.workers())])
            return server.log().count("ended: memory;") >= 4

        with Load(server, connect, 4, "/?mib=1") as load:
            poll(four_were_replaced, "four workers that were replaced", 60)
        assert load.failures == []
        # Half above the limit a worker gets nothing more; what it grows until that is seen comes on top.
        assert largest < 200 * MIB
        assert "worker_max_rss = 80.0 MiB" in server.log()

    def test_a_worker_above_the_hard_limit_is_killed_with_its_tracebacks(self, start, connect, gate: Gate):
        server = start("hungry_app:app", "--workers", "1", "--worker-max-rss-hard", "100M")
        wire = connect(server, 30)
        # Not repeated: it may have done something.
        answer = wire.get(f"/?mib=150&gate={gate.path}", method="POST")
        assert answer.status == 502
        server.wait_for_log(r"more than worker_max_rss_hard = 100\.0 MiB; it is killed")
        # Where it was.
        server.wait_for_log(r"hungry_app\.py")
        assert connect(server, 30).get("/").status == 200
        server.wait_for_log("ended: memory_hard;")

    def test_a_limit_below_what_the_application_starts_with_is_told_and_replaces_nobody(self, start, connect):
        environment = {"HUNGRY_START_MIB": "60"}
        limits = ("--worker-max-rss", "40M", "--worker-max-pss", "30M")
        server = start("hungry_app:app", "--workers", "1", *limits, environment=environment)
        server.wait_for_log("of memory .*, as soon as it had started")
        pid = connect(server).get("/?mib=20").text
        assert connect(server).get("/").text == pid

    def test_the_proportional_share_counts_what_the_worker_has_alone(self, start, connect):
        environment = {"HUNGRY_START_MIB": "60"}
        options = ("--workers", "2", "--preload", "--worker-max-pss", "70M")
        server = start("hungry_app:app", *options, environment=environment)
        # Resident memory is above the limit already, and everything else is shared.
        with Load(server, connect, 2, "/?mib=1") as load:
            server.wait_for_log(r"of memory \(PSS\), more than worker_max_pss = 70.0 MiB", 40)
            server.wait_for_log("ended: memory;")
        assert load.failures == []


class TestAge:
    def test_an_old_worker_is_replaced(self, start, connect):
        server = start("wsgi_app:app", "--workers", "1", "--max-worker-age", "500ms", "--max-worker-age-jitter", "1ms")
        wire = connect(server)
        first = wire.get("/pid").text
        poll(lambda: wire.get("/pid").text != first, "another worker")
        server.wait_for_log("ended: age;")


class TestSigkill:
    def test_a_worker_that_was_killed_from_outside_was_not_killed_by_the_kernel(self, start):
        if counter() is None:
            pytest.skip("the kernel does not say here whom it killed")
        server = start("wsgi_app:app", "--workers", "1")
        os.kill(server.workers()[0], signal.SIGKILL)
        server.wait_for_log("was sent SIGKILL! Somebody else did: the kernel's OOM killer did not")
        server.wait_for_log("ended: crash:SIGKILL;")

    def test_a_worker_that_the_kernel_killed_is_named_so(self, small_group: Path, start, connect):
        server = start("hungry_app:app", "--workers", "1", "--worker-oom-score-adj", "1000")
        for pid in server.processes():
            (small_group / "cgroup.procs").write_text(str(pid))
        # Its successor is born in the group.
        replaced = server.workers()
        os.kill(replaced[0], signal.SIGKILL)
        poll(lambda: server.workers() and server.workers() != replaced, "a worker of the group")
        answer = connect(server, 30).get("/?mib=300", method="POST")
        assert answer.status == 502
        server.wait_for_log("was sent SIGKILL! The kernel's OOM killer did it")
        server.wait_for_log("ended: oom;")


def own_group() -> Path | None:
    """The directory of this process's control group for memory."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Path("/sys/fs/cgroup/memory" + path)
    return next((Path("/sys/fs/cgroup" + line[3:]) for line in lines if line.startswith("0::")), None)


def counter() -> Path | None:
    group = own_group()
    files = [group / name for name in ("memory.events", "memory.oom_control")] if group else []
    return next((file for file in files if file.exists()), None)


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group that may use 200 MiB, if this process may make one."""
    group = own_group()
    if group is None:
        pytest.skip("there are no control groups here")
    made = group / f"indrik-test-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    try:
        limits = [made / name for name in ("memory.max", "memory.limit_in_bytes") if (made / name).exists()]
        if not limits:
            pytest.skip("control groups made here do not limit memory")
        limits[0].write_text(str(200 << 20))
        yield made
        poll(lambda: not (made / "cgroup.procs").read_text().strip(), "an empty group")
    finally:
        made.rmdir()
