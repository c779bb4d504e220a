"""slowhttptest with 150 clients against sync workers: the service stays available throughout."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from support.server import Server

CLIENTS = 150
SECONDS = 12
PROBE_SECONDS = 0.05
COLOURS = re.compile(r"\x1b\[[0-9;]*m")

ATTACKS = {
    "slow head": ["-H", "-i", "2"],
    "slow body": ["-B", "-i", "2", "-s", "8192"],
    "slow read": ["-X", "-w", "512", "-y", "1024", "-n", "2", "-z", "32", "-k", "3"],
}
TARGETS = {"slow head": "/hello", "slow body": "/upload", "slow read": "/page"}

pytestmark = [
    pytest.mark.indrik_only,
    pytest.mark.skipif(not shutil.which("slowhttptest"), reason="slowhttptest is not installed"),
]


@pytest.fixture(scope="module")
def server(start_shared) -> Server:
    return start_shared("wsgi_app:app", "--worker-class", "sync", "--workers", "2")


@pytest.mark.parametrize("attack", ATTACKS)
def test_service_is_available_throughout(connect, server, attack):
    command = ["slowhttptest", *ATTACKS[attack], "-c", str(CLIENTS), "-r", str(CLIENTS)]
    command += ["-l", str(SECONDS), "-p", "3", "-u", server.url + TARGETS[attack]]
    attacker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        answered = 0
        while not ended_within(attacker, PROBE_SECONDS):
            # Our own probe: a fresh connection is answered all the time.
            probe = connect(server, 3)
            assert probe.get("/hello").text == "hello"
            probe.socket.close()
            answered += 1
    finally:
        output, _ = attacker.communicate()
    assert answered > 10, output.decode()
    verdicts = re.findall(r"service available:\s*(YES|NO)", COLOURS.sub("", output.decode()))
    assert verdicts, output.decode()
    assert "NO" not in verdicts, f"not available {verdicts.count('NO')} of {len(verdicts)} times"


def ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
