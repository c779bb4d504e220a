"""The server's own alerts: what is told, to whom, how often, and what becomes of sinks that do not work."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from support.admin import Admin
from support.commands import answer, run
from support.control import ctl
from support.server import Server, poll
from support.webhook import Webhook

pytestmark = pytest.mark.indrik_only

# Memory is always in use.
ALWAYS = ("--alert-rules", "memory > 0% for 0")
BEGINS, ENDS = "memory > 0% for 0 recover 0", "memory > 100% for 0 recover 0"


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


def active(server: Server) -> list[str]:
    return [alert["alert"] for alert in answer(server, "alerts")["active"]]


def test_an_alert_is_told_once_when_it_begins_and_once_when_it_is_over(start, webhook):
    admin = Admin()
    hook = ("--alert-webhook", webhook.url, "--alert-webhook-header", "X-Key=k3y")
    server = start("wsgi_app:app", "--alert-rules", ENDS, "--alert-log", *hook, *admin.option)
    assert run(server, "alerts").stdout == "no alert is active\n"
    run(server, "set", f"alert_rules={BEGINS}")
    (fired,) = webhook.wait_for(1)
    assert (fired.path, fired.headers["x-key"]) == ("/hooks/s3cret?channel=ops", "k3y")
    told = fired.json
    assert (told["version"], told["what"], told["alert"], told["severity"]) == (1, "fired", "memory", "warning")
    assert told["server"]["pid"] == server.process.pid and told["value"] > told["threshold"] == 0
    (shown,) = admin.ask("/status").json["alerts"]["active"]
    assert (shown["alert"], shown["severity"]) == ("memory", "warning")
    metrics = admin.ask("/metrics").body.decode()
    assert 'indrik_alerts_active{alert="memory"} 1' in metrics and 'indrik_alerts_active{alert="cpu"} 0' in metrics
    assert "of the memory it may use (alert memory, warning" in run(server, "alerts").stdout
    run(server, "set", f"alert_rules={ENDS}")
    recovered = webhook.wait_for(2)[1].json
    assert (recovered["what"], recovered["since"]) == ("recovered", told["since"])
    poll(lambda: active(server) == [], "the end of the alert")
    server.wait_for_log(r"\[WARNING\] Alert memory \(warning\): .* of the memory it may use; threshold 0 %, since ")
    server.wait_for_log(r"\[INFO\] Alert memory \(warning\) is over after ")
    events = [entry["text"] for entry in ctl(server, "show", "events")["entries"] if entry["kind"] == "alert"]
    assert [text.split(" ")[0] for text in events] == ["memory", "memory"] and "is over" in events[1]
    counted = 'indrik_alert_deliveries_total{sink="webhook",result="ok"} 2'
    poll(lambda: counted in admin.ask("/metrics").body.decode(), counted)
    assert "s3cret" not in server.log() and "k3y" not in server.log()
    assert len(webhook.messages) == 2


def test_a_message_that_is_not_taken_is_tried_again_and_that_is_told_once(start, webhook):
    webhook.statuses = [500, 200]
    slack = ("--alert-webhook", webhook.url, "--alert-webhook-format", "slack")
    server = start("wsgi_app:app", *ALWAYS, *slack)
    first, second = webhook.wait_for(2)
    assert first.json == second.json and set(first.json) == {"text"}
    server.wait_for_log(r"Alerts: the webhook at http://127\.0\.0\.1:\d+ works again; 0 messages were not delivered")
    assert len(re.findall("does not work: it answers 500", server.log())) == 1


def test_a_test_says_of_each_sink_what_came_of_it(start, webhook):
    hook = ("--alert-webhook", webhook.url, "--alert-webhook-timeout", "1")
    server = start("wsgi_app:app", "--alert-log", *hook)
    said = run(server, "alerts", "--test").stdout
    assert re.fullmatch(r"log      works: .*\nwebhook  works: http://127\.0\.0\.1:\d+ answers 200\n", said)
    assert webhook.messages[0].json["what"] == "test"
    for status, why in [(404, "answers 404"), (500, "answers 500"), (0, "fails: ")]:
        webhook.statuses = [status]
        assert why in run(server, "alerts", "--test", code=1).stdout
    webhook.gate.clear()
    assert "no answer within 1 s" in run(server, "alerts", "--test", code=1).stdout
    webhook.gate.set()
    webhook.die()
    assert "refused" in run(server, "alerts", "--test", code=1).stdout


def test_a_webhook_is_known_by_authorities_of_its_own(start, tmp_path: Path):
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    with Webhook(tls=tls) as webhook:
        options = ("wsgi_app:app", "--workers", "1", "--alert-webhook", webhook.url)
        server = start(*options, "--alert-webhook-ca", str(ca))
        assert "answers 200" in run(server, "alerts", "--test").stdout
        # Those of a collector are not its own.
        stranger = start(*options, environment={"OTEL_EXPORTER_OTLP_CERTIFICATE": str(ca)})
        assert "certificate" in run(stranger, "alerts", "--test", code=1).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_command_runs_as_the_workers_user(start):
    user = ("--preload", "--user", "65534", "--group", "65534")
    server = start("wsgi_app:app", "--workers", "1", *user, "--alert-exec", "id")
    run(server, "alerts", "--test")
    said = server.wait_for_log(r"alert_exec \(pid \d+\) says: (.*)$").group(1)
    assert "uid=65534" in said and "gid=65534" in said and "=0" not in said


COMMAND = """#!/bin/sh
cat > {directory}/message
env > {directory}/environment
ls -l /proc/$$/fd > {directory}/descriptors
case $(cat {directory}/mode) in
fails) exit 3;;
prints) head -c 1000000 /dev/zero | tr '\\0' 'x';;
hangs) sleep 600 & echo $! $$ > {directory}/processes; wait;;
esac
"""


def test_a_command_gets_the_message_and_whatever_it_does_it_ends(start, tmp_path: Path):
    script = tmp_path / "page"
    script.write_text(COMMAND.format(directory=tmp_path))
    script.chmod(0o755)
    server = start("wsgi_app:app", "--alert-exec", f"{script} 'two words'", "--alert-exec-timeout", "1")

    def test(mode: str, code: int) -> str:
        (tmp_path / "mode").write_text(mode)
        return run(server, "alerts", "--test", code=code).stdout

    assert test("works", 0) == "exec     works: it has ended with code 0\n"
    message = json.loads((tmp_path / "message").read_text())
    assert (message["what"], message["server"]["pid"]) == ("test", server.process.pid)
    variables = dict(line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines() if "=" in line)
    assert (variables["INDRIK_ALERT_WHAT"], variables["INDRIK_ALERT_ALERT"]) == ("test", "test")
    assert "socket:" not in (tmp_path / "descriptors").read_text()
    assert "it ended with code 3" in test("fails", 1)
    assert "code 0" in test("prints", 0)
    server.wait_for_log(r"alert_exec \(pid \d+\) says: x{200}$")
    assert "it ran for more than 1 s and was killed" in test("hangs", 1)
    left = [int(pid) for pid in (tmp_path / "processes").read_text().split()]
    poll(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), "the end of all that it started")


def test_nothing_is_told_twice_over_a_reload_and_an_upgrade(start, webhook):
    admin = Admin()
    server = start("wsgi_app:app", *ALWAYS, "--alert-webhook", webhook.url, *admin.option)
    server.clean_stop = False
    (first,) = webhook.wait_for(1)
    run(server, "reload")
    run(server, "upgrade")

    def shown() -> list:
        status = admin.ask("/status").json
        return status["alerts"]["active"] if status["server"]["pid"] != server.process.pid else []

    poll(shown, "what the successor says of alerts", 20)
    (alert,) = shown()
    assert alert["summary"].split(" uses ")[0] == first.json["summary"].split(" uses ")[0]
    # The successor looks on, and has nothing new to tell.
    (pid,) = {admin.ask("/status").json["server"]["pid"]}
    run(None, "alerts", "--pid", str(pid), "--test")
    assert [message.json["what"] for message in webhook.messages] == ["fired", "test"]
    server.signal(signal.SIGQUIT)
