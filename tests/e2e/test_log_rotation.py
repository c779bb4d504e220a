"""Rotation without any tool: by size and age, compressed, and not a line of it lost."""

from __future__ import annotations

import gzip
import os
import re
import time
from pathlib import Path

import pytest
from support.logs import wait_for
from support.server import poll

pytestmark = pytest.mark.indrik_only

SAYS = """
def app(environ, start_response):
    environ["wsgi.errors"].write(f"said {environ['QUERY_STRING']}\\n")
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""

ROTATED = re.compile(r"\.\d{8}-\d{6}(-\d+)?(\.gz)?$")


def rotated(log: Path) -> list[Path]:
    """The files that a log has left, oldest first."""
    found = [path for path in log.parent.iterdir() if path.name.startswith(log.name + ".")]
    return sorted(path for path in found if ROTATED.search(path.name))


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def packed(log: Path) -> bool:
    files = rotated(log)
    return bool(files) and all(path.suffix == ".gz" for path in files)


def test_a_log_that_grows_is_rotated_and_compressed_and_every_line_is_there_once_and_whole(start, connect, tmp_path):
    log = tmp_path / "log"
    (tmp_path / "says.py").write_text(SAYS)
    server = start(
        *("says:app", "--workers", "2", "--error-logfile", str(log), "--access-logfile", str(log)),
        *("--log-rotate-size", "8KiB", "--log-rotate-keep", "1000"),
        chdir=tmp_path,
    )
    asked = 0

    def four_files() -> bool:
        nonlocal asked
        with connect(server) as wire:
            for _ in range(20):
                # The worker writes a line of its own to the same file.
                assert wire.get(f"/?{asked:06}").status == 200
                asked += 1
        return len(rotated(log)) >= 4

    poll(four_files, "four rotations", 60)
    server.stop()
    lines = "".join(text_of(path) for path in [*rotated(log), log]).splitlines()
    requests = [match[1] for line in lines if (match := re.search(r'"GET /\?(\d+) HTTP/1\.1" 200 ', line))]
    assert sorted(requests) == [f"{number:06}" for number in range(asked)]
    said = [line.removeprefix("said ") for line in lines if line.startswith("said ")]
    assert sorted(said) == sorted(requests)
    whole = re.compile(r"\[20.*\] \[\d+\] \[[A-Z]+\] .|127\.0\.0\.1 .* \"[^\"]*\"$|said \d+$|  \S")
    assert [line for line in lines if not whole.match(line)] == []
    # All but what the last server's end did not leave time for.
    first = gzip.open(rotated(log)[0], "rt").read()
    assert "Starting indrik" in first or "Listening at" in first


def test_a_log_of_yesterday_is_rotated_at_the_start_and_only_so_many_are_kept(start, connect, tmp_path):
    log = tmp_path / "access.log"
    log.write_text("yesterday\n")
    yesterday = time.time() - 86_400
    os.utime(log, (yesterday, yesterday))
    log.chmod(0o640)
    for day in range(10, 20):
        (tmp_path / f"access.log.202001{day}-000000").write_text(f"{day}\n")
    (tmp_path / "access.log.1").write_text("not ours\n")
    server = start(
        *("wsgi_app:app", "--access-logfile", str(log)), *("--log-rotate-age", "1d", "--log-rotate-keep", "3")
    )
    poll(lambda: packed(log) and len(rotated(log)) == 3, "three compressed files")
    assert [text_of(path) for path in rotated(log)] == ["18\n", "19\n", "yesterday\n"]
    assert (tmp_path / "access.log.1").read_text() == "not ours\n"
    assert [path.stat().st_mode & 0o777 for path in [rotated(log)[-1], log]] == [0o640, 0o640]
    with connect(server) as wire:
        wire.get("/hello?today")
    wait_for(log, r"hello\?today")


def test_a_log_that_is_a_link_is_left_alone_and_that_is_told_once(start, connect, tmp_path):
    target, log = tmp_path / "target", tmp_path / "access.log"
    log.symlink_to(target)
    server = start("wsgi_app:app", "--access-logfile", str(log), "--log-rotate-size", "1KiB")
    with connect(server) as wire:
        for _ in range(50):
            assert wire.get("/hello").status == 200
    server.wait_for_log(r"cannot rotate the log .*access\.log: it is no file; links and pipes are left alone")
    assert target.stat().st_size > 1024
    assert rotated(log) == rotated(target) == []


def test_a_server_that_has_lost_its_log_makes_it_again(start, connect, tmp_path):
    log = tmp_path / "access.log"
    server = start("wsgi_app:app", "--access-logfile", str(log), "--log-rotate-size", "1MiB")
    log.rename(tmp_path / "moved")
    poll(log.exists, "the new file")
    with connect(server) as wire:
        wire.get("/hello?again")
    wait_for(log, r"hello\?again")
