"""What workers may take of the machine: the kernel shows it for each process in /proc."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.project import Project
from support.server import free_port, poll

pytestmark = pytest.mark.indrik_only

FILES, CORE, CPU = "Max open files", "Max core file size", "Max cpu time"
SETTINGS = """
import os
import re
import resource

worker_rlimits = ["nofile=512:1024", "core=0", "cpu=1h"]
worker_nice = {nice}
worker_oom_score_adj = {score}
worker_no_new_privs = True

def post_fork(server, worker):
    server.log.info("post_fork has %s", (resource.getrlimit(resource.RLIMIT_NOFILE), os.nice(0), no_new_privs()))

def no_new_privs():
    with open("/proc/self/status") as status:
        return next(line.split()[1] for line in status if line.startswith("NoNewPrivs"))
"""


@pytest.fixture
def project(tmp_path: Path, start) -> Project:
    return Project(tmp_path / "project", start)


def rlimit(pid: int | str, name: str) -> tuple[str, str]:
    """Soft and hard limit as /proc shows them."""
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith(name):
            soft, hard, *_ = line.removeprefix(name).split()
            return soft, hard
    raise AssertionError(f"/proc/{pid}/limits has no {name}")


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_each_worker_has_them_before_its_first_hook_and_the_front_does_not(start, tmp_path):
    own = score(os.getpid())
    wanted = {"nice": niceness(0) + 3, "score": min(own + 300, 1000)}
    path = tmp_path / "limits.py"
    path.write_text(SETTINGS.format(**wanted))
    server = start("wsgi_app:app", "--config", str(path), "--workers", "2")
    shown = f"((512, 1024), {wanted['nice']}, '1')"
    assert server.wait_for_log(r"post_fork has (.*)").group(1) == shown
    for pid in server.workers():
        assert rlimit(pid, FILES) == ("512", "1024")
        assert rlimit(pid, CORE) == ("0", "0")
        assert rlimit(pid, CPU) == ("3600", "3600")
        assert (niceness(pid), score(pid)) == (wanted["nice"], wanted["score"])
    for pid in (server.process.pid, server.zygote()):
        assert rlimit(pid, CPU) == rlimit("self", CPU)
        assert niceness(pid) == niceness(0)
    assert score(server.process.pid) == own <= score(server.zygote()) <= wanted["score"]


def test_unless_told_otherwise_workers_die_for_memory_before_the_zygote_and_that_before_the_front(start):
    server = start("wsgi_app:app", "--workers", "1")
    (worker,) = server.workers()
    front = score(server.process.pid)
    assert front == score(os.getpid())
    assert score(worker) == min(front + 100, 1000)
    assert front <= score(server.zygote()) <= score(worker)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may")
def test_what_takes_rights_is_done_before_they_are_given_up(project):
    # Preloaded: that user may not be able to read the application.
    server = project.start(
        *("--workers", "1", "--preload", "--user", "65534", "--group", "65534"),
        *("--worker-nice", str(niceness(0) - 1), "--worker-rlimits", "core=1MiB,sigpending=100"),
    )
    (worker,) = server.workers()
    poll(lambda: os.stat(f"/proc/{worker}").st_uid == 65534, "the other user")
    assert niceness(worker) == niceness(0) - 1
    assert rlimit(worker, CORE) == ("1048576", "1048576")


def test_a_reload_gives_new_workers_what_the_file_says_then(start, tmp_path):
    path = tmp_path / "limits.py"
    path.write_text("worker_rlimits = ['nofile=512']\n")
    server = start("wsgi_app:app", "--config", str(path), "--workers", "1")
    path.write_text("worker_rlimits = ['nofile=600']\n")
    server.signal(1)
    poll(lambda: server.workers(generation=2) and not server.workers(generation=1), "the new worker")
    (worker,) = server.workers()
    assert rlimit(worker, FILES) == ("600", "600")


def test_limits_that_cannot_be_imposed_stop_the_start(project):
    project.config("worker_rlimits = ['nofile=99999999999']\n")
    done = project.run("app:app")
    assert done.code == 1
    assert "worker_rlimits: this process may not give workers nofile=99999999999" in done.stderr


@pytest.mark.parametrize("worker_class", ["asgi", "gthread"])
def test_fewer_descriptors_than_a_worker_of_the_class_has_are_refused_with_the_least(project, worker_class):
    project.config(f"worker_class = {worker_class!r}\nworker_rlimits = ['nofile=12']\n")
    done = project.run("app:app")
    assert done.code == 1
    assert "worker_rlimits: with nofile=12 no worker can serve" in done.stderr
    assert f"needs {24 if worker_class == 'asgi' else 16} before the application" in done.stderr


def test_a_worker_that_fails_under_limits_names_them(project):
    project.write("app.py", "import os\nos.abort()\n")
    project.config("worker_rlimits = ['nofile=24']\n")
    done = project.run("--bind", "127.0.0.1:0", "app:app")
    assert done.code == 3
    assert "it ended before the application was loaded (worker_rlimits may be too low for it)" in done.stderr


def test_every_mistake_is_told_at_once(project):
    project.config(
        "worker_rlimits = ['nofiles=3']\nworker_nice = 20\nworker_oom_score_adj = 1001\n"
        "worker_memory_high = '2GiB'\nworker_memory_max = '1GiB'\n"
    )
    done = project.run("app:app")
    assert done.code == 1
    for said in (
        "worker_rlimits: 'nofiles=3' is not a limit: no limit has that name; did you mean nofile?",
        "worker_nice: '20' is too large",
        "worker_oom_score_adj: '1001' is too large",
        "worker_memory_high is above worker_memory_max",
    ):
        assert done.stderr.count(said) == 1, done.stderr


def test_a_worker_has_a_control_group_or_the_log_says_why_not(start):
    server = start("wsgi_app:app", "--workers", "2", "--worker-memory-max", "1GiB", "--worker-cpu-weight", "50")
    for pid in server.workers():
        groups = Path(f"/proc/{pid}/cgroup").read_text()
        if f"/indrik.workers/worker-{pid}\n" in groups:
            continue
        said = "no control groups for worker_memory_max, worker_cpu_weight: "
        server.wait_for_log(said)
        assert server.log().count(said) == 1


@pytest.mark.skipif(os.access("/sys/fs/cgroup/cgroup.procs", os.W_OK), reason="a group may be had here")
def test_without_a_control_group_the_start_is_refused_if_one_is_required(project):
    project.config("worker_cgroup_required = True\nworker_cpu_weight = 50\n")
    done = project.run("app:app")
    assert done.code == 1
    assert "no control groups for worker_cpu_weight: " in done.stderr
    assert "Delegate=" in done.stderr


@pytest.mark.parametrize("name", ["as", "data"])
def test_a_limit_of_memory_below_what_every_worker_has_is_named_with_its_floor(name: str, project: Project) -> None:
    project.config(f"worker_rlimits = ['{name}=60MiB']\nworkers = 1")
    done = project.run("app:app", "--bind", f"127.0.0.1:{free_port()}")
    assert done.code == 1
    assert f"worker_rlimits: under {name}=60MiB no worker can start" in done.stderr
    said = re.search(rf"it has {name}=(\d+)MiB before it loads the application", done.stderr)
    assert said, done.stderr
    # With a little more than that, workers start.
    project.config(f"worker_rlimits = ['{name}={int(said[1]) + 64}MiB']\nworkers = 1")
    project.start()
