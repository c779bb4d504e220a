"""The messages of zygote and workers, and how little these processes import."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import indrik
from indrik import messages
from indrik.loader import LoadError

HEAVY = {"ast", "asyncio", "collections", "enum", "functools", "json", "re", "socket", "traceback", "typing"}
"""Each takes memory from the zygote and every worker, also of an application that needs none of them."""


def sent(message: dict[str, object]) -> bytes:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        messages.send(ours, message)
        return theirs.recv(2 * messages.MESSAGE_BYTES_MAX)


@pytest.mark.parametrize(
    "message",
    [
        {"event": "forked", "worker": 3, "pid": 1 << 40},
        {"event": "config", "path": None, "values": {"a": [1, -2.5e-9, True, False, None, {"ü": []}]}, "lines": {}},
        {"event": "failed", "message": 'quotes " \\ and\nlines\t\x00\x1f\x7f', "hint": "größer 🦀"},
    ],
)
def test_a_message_is_json(message: dict[str, object]) -> None:
    assert json.loads(sent(message)) == message


def test_half_a_surrogate_pair_is_shown_as_an_escape() -> None:
    assert json.loads(sent({"event": "failed", "message": "caf\udce9.py"}))["message"] == "caf\\udce9.py"


def test_a_message_that_is_too_large_is_cut() -> None:
    data = sent({"event": "failed", "message": "x" * messages.MESSAGE_BYTES_MAX, "hint": ""})
    assert len(json.loads(data)["message"]) == 1000


def test_settings_that_are_too_large_are_an_error() -> None:
    values = {f"name_{number}": "x" * 1000 for number in range(100)}
    answer = json.loads(sent({"event": "config", "path": "conf.py", "values": values, "lines": {}}))
    assert (answer["event"], answer["file"]) == ("config_failed", "conf.py")


def test_a_long_traceback_keeps_its_two_ends() -> None:
    text = messages.describe(LoadError("boot", "failed", "", "a" * 20_000 + "z" * 20_000))["traceback"]
    assert text.startswith("a" * 5000) and text.endswith("z" * 5000) and "30000 characters left out" in text


def test_a_message_arrives_with_its_descriptors() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, open(os.devnull) as file:
        message = {"op": "fork", "worker": 7, "text": "ä\n🦀", "list": [1.5, None, {}]}
        socket.send_fds(ours, [json.dumps(message).encode()], [file.fileno()] * messages.FORK_FDS)
        found, fds = messages.receive(theirs)
        try:
            assert found == message
            assert len(fds) == messages.FORK_FDS
            assert all(os.path.samestat(os.fstat(fd), os.fstat(file.fileno())) for fd in fds)
        finally:
            for fd in fds:
                os.close(fd)


def test_a_closed_socket_is_the_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        ours.close()
        assert messages.receive(theirs) == (None, [])


def test_the_zygote_and_its_workers_import_no_heavy_module() -> None:
    code = "import sys, os; sys.path.insert(0, sys.argv[1]); import indrik.zygote; print(*sys.modules, *os.environ)"
    package = str(Path(indrik.__file__).parents[1])
    # Without `site`, whose additions are the environment's own.
    result = subprocess.run([sys.executable, "-I", "-S", "-c", code, package], stdout=subprocess.PIPE, check=True)
    found = set(result.stdout.decode().split())
    assert "indrik.worker" in found
    assert not HEAVY & found
    assert "MIMALLOC_ALLOW_THP" not in found
