"""Every path that a setting names may be a named pipe that nobody opens on the other side: nobody waits for it."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from support.control import ctl
from support.project import Project
from support.server import poll

pytestmark = pytest.mark.indrik_only


@pytest.fixture
def project(start, tmp_path: Path) -> Project:
    return Project(tmp_path / "project", start)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--error-logfile", "{}"), "cannot open the error log {}: it is a named pipe that nobody reads"),
        (("--access-logfile", "{}"), "cannot open the access log {}: it is a named pipe that nobody reads"),
        (("--pid", "{}"), "cannot write the pid file {}: it is a named pipe"),
        (("--certfile", "{}", "--keyfile", "{}"), "certfile: {}: cannot be read: it is a named pipe, not a file"),
        (("--bind", "unix:{}"), "cannot listen on unix:{}: the path exists and is not a socket"),
        (("--config-setting-upload", "{}"), "tmp_upload_dir: cannot use {}: it is not a directory"),
    ],
    ids=["errorlog", "accesslog", "pidfile", "certfile", "bind", "tmp_upload_dir"],
)
def test_at_the_start_it_is_refused_by_name(project: Project, fifo: Path, arguments: tuple[str, ...], message: str):
    arguments = tuple(argument.format(fifo) for argument in arguments)
    if arguments[0] == "--config-setting-upload":
        project.config(f"tmp_upload_dir = {str(fifo)!r}")
        arguments = ()
    if arguments[:1] != ("--bind",):
        arguments = ("--bind", "127.0.0.1:0", *arguments)
    done = project.run(*arguments, "app:app")
    assert done.code == 1, done.output
    assert message.format(fifo) in done.output


PIPE = "it is a named pipe, and nobody wrote to it for 10 s"
DEVICE = "it is a device, not a file"


@pytest.mark.parametrize("option", ["-c", "--log-config", "--log-config-json"])
@pytest.mark.parametrize(("kind", "message"), [("pipe", PIPE), ("/dev/zero", DEVICE), ("/dev/full", DEVICE)])
def test_what_python_reads_has_an_end(project: Project, fifo: Path, option: str, kind: str, message: str):
    """Devices are not read without end, and a pipe is waited at for a while only."""
    path = str(fifo) if kind == "pipe" else kind
    done = project.run("--bind", "127.0.0.1:0", option, path, "app:app")
    assert done.code == 1, done.output
    assert message in done.output


@pytest.mark.parametrize("command", [["check"], ["explain", "workers"]])
def test_commands_that_look_wait_no_longer(project: Project, command: list[str]):
    done = project.run(*command, "-c", "/dev/zero", *(["app:app"] if command == ["check"] else []))
    assert done.code == 1, done.output
    assert DEVICE in done.output


def test_no_configuration_may_be_asked_for_with_the_device_that_is_empty(project: Project):
    done = project.run("--print-config", "-c", "/dev/null", "app:app")
    assert done.code == 0, done.output


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero"])
@pytest.mark.parametrize("option", ["-c", "--log-config-json"])
def test_a_reload_ends_at_such_a_path_and_the_next_one_is_made(project: Project, fifo: Path, option: str, kind: str):
    path = project.directory / "given"
    good = "{}" if option == "--log-config-json" else "workers = 1\n"
    path.write_text(good)
    server = project.start(option, str(path))
    path.unlink()
    path.symlink_to(fifo if kind == "pipe" else kind)
    server.signal(signal.SIGHUP)
    server.wait_for_log(PIPE if kind == "pipe" else DEVICE, 30)
    path.unlink()
    path.write_text(good)
    server.signal(signal.SIGHUP)
    poll(lambda: ctl(server, "show", "stats")["generation"] == 3, "the next generation", 30)


def test_a_configuration_that_somebody_writes_into_a_pipe_is_read(project: Project, fifo: Path):
    writer = os.open(fifo, os.O_RDWR)
    os.write(writer, b"workers = 3\n")
    reader = os.open(fifo, os.O_RDONLY)
    os.close(writer)
    # What was written stays as long as somebody has the pipe open.
    done = project.run("--print-config", "-c", str(fifo), "app:app")
    os.close(reader)
    assert "workers" in done.stdout and done.code == 0, done.output


def test_control_socket_in_the_way_is_gone_without(project: Project, fifo: Path):
    server = project.start("--control-socket", str(fifo))
    server.wait_for_log("Cannot open the control socket, going on without it: .*is not a socket")
    assert server.stop() == 0


def test_a_log_that_becomes_one_is_written_on_where_it_was_and_signals_are_heard(project: Project, fifo: Path):
    log = project.directory / "error.log"
    server = project.start("--error-logfile", str(log), "--workers", "1")
    shutil.move(log, project.directory / "error.log.1")
    os.rename(fifo, log)
    server.signal(signal.SIGUSR1)
    old = project.directory / "error.log.1"
    poll(lambda: "cannot reopen the log" in old.read_text(), "a complaint in the old log")
    assert "it is a named pipe that nobody reads" in old.read_text()
    server.signal(signal.SIGHUP)
    poll(lambda: "Reload failed" in old.read_text(), "the end of the reload", 20)
    assert ctl(server, "show", "stats")["generation"] == 1
    assert server.stop() == 0


def test_a_certificate_that_becomes_one_is_complained_of_and_renewed_when_it_is_a_file_again(start, fifo: Path, pki):
    server = start("wsgi_app:app", *pki.flags())
    os.replace(fifo, pki.certificate)
    server.wait_for_log("cannot be read: it is a named pipe, not a file; the old certificate stays in use", 60)
    pki.renew()
    server.wait_for_log("the new certificate is in use", 60)


def test_a_python_logger_is_given_no_pipe_that_nobody_reads(project: Project, fifo: Path):
    project.config("logger_class = 'gunicorn.glogging.Logger'\nlogconfig_dict = {'version': 1}\n")
    done = project.run("--bind", "127.0.0.1:0", "--access-logfile", str(fifo), "app:app")
    assert done.code == 1, done.output
    assert "named pipe that nobody reads" in done.output
