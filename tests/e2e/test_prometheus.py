"""A real Prometheus scrapes the server: native histograms, the rules, and every panel of the board."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.admin import Admin
from support.control import all_ready
from support.server import REPOSITORY, free_port, poll

RULES = REPOSITORY / "deploy" / "prometheus" / "indrik.rules.yml"
BOARD = REPOSITORY / "deploy" / "grafana" / "indrik.json"

pytestmark = [
    pytest.mark.indrik_only,
    pytest.mark.skipif(
        not shutil.which("prometheus"), reason="there is no prometheus (Debian: apt install prometheus)"
    ),
]

CONFIGURATION = """
global:
  scrape_interval: 500ms
  evaluation_interval: 1s
rule_files: ['{rules}']
scrape_configs:
  - job_name: indrik
    static_configs:
      - targets: ['127.0.0.1:{port}']
"""


class Prometheus:
    """One that runs for a test."""

    def __init__(self, directory: Path, scraped: int) -> None:
        self.port = free_port()
        directory.mkdir()
        (directory / "prometheus.yml").write_text(CONFIGURATION.format(rules=RULES, port=scraped))
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--enable-feature=native-histograms",
            ],
            stdout=subprocess.DEVNULL,
            stderr=(directory / "log").open("wb"),
        )

    def ask(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}", timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def query(self, expression: str) -> list[Any]:
        data = self.ask("query", query=expression)
        return data["result"] if data else []

    def wait_for(self, expression: str) -> list[Any]:
        poll(lambda: bool(self.query(expression)), f"data for {expression}", 30)
        return self.query(expression)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Any]:
    started: list[Prometheus] = []

    def start(scraped: int) -> Prometheus:
        started.append(Prometheus(tmp_path / "prometheus", scraped))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def expressions() -> Iterator[str]:
    """Every query of the board, as Grafana would ask it."""
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$instance", ".*").replace("$__rate_interval", "5s")


def test_prometheus_takes_native_histograms_and_every_panel_has_data(start, connect, prometheus) -> None:
    admin = Admin()
    server = all_ready(start("routed_flask:app", "--workers", "2", *admin.option))
    database = prometheus(admin.port)
    over = threading.Event()

    def load() -> None:
        wire = connect(server)
        while not over.wait(0.02):
            wire.get("/users/1")

    thread = threading.Thread(target=load)
    thread.start()
    try:
        counted = database.wait_for("histogram_count(sum(indrik_http_request_duration_seconds)) > 20")
        assert float(counted[0]["value"][1]) > 20
        assert not database.query("indrik_http_request_duration_seconds_bucket"), "classic ones came instead"
        half = database.wait_for("histogram_quantile(0.5, sum(rate(indrik_http_request_duration_seconds[5s])))")
        assert 0 < float(half[0]["value"][1]) < 10
        for expression in expressions():
            database.wait_for(expression)
        groups = database.ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        poll(lambda: all(rule["health"] != "unknown" for rule in database.ask("rules")["groups"][0]["rules"]), "rules")
        assert [rule for rule in rules if rule.get("lastError")] == []
    finally:
        over.set()
        thread.join()


@pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool (Debian: apt install prometheus)")
def test_the_rules_are_rules() -> None:
    checked = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr


RULES_TEST = """
rule_files: ['{rules}']
evaluation_interval: 1m
tests:
  - name: what a maintenance refuses is no failure
    interval: 1m
    input_series:
      - series: 'indrik_http_requests_total{{instance="a",pool="web",route="",class="5xx"}}'
        values: '0+60x30'
      - series: 'indrik_http_requests_total{{instance="a",pool="web",route="/x",class="2xx"}}'
        values: '0+60x30'
      - series: 'indrik_http_refused_total{{instance="a",pool="web",reason="maintenance"}}'
        values: '0+60x30'
    alert_rule_test:
      - {{eval_time: 20m, alertname: IndrikRouteFails, exp_alerts: []}}
      - {{eval_time: 20m, alertname: IndrikSuccessLow, exp_alerts: []}}
  - name: what fails beside it is one
    interval: 1m
    input_series:
      - series: 'indrik_http_requests_total{{instance="a",pool="web",route="",class="5xx"}}'
        values: '0+60x30'
      - series: 'indrik_http_requests_total{{instance="a",pool="web",route="/x",class="5xx"}}'
        values: '0+60x30'
      - series: 'indrik_http_refused_total{{instance="a",pool="web",reason="maintenance"}}'
        values: '0+60x30'
    promql_expr_test:
      - expr: ALERTS{{alertname="IndrikRouteFails",alertstate="firing"}}
        eval_time: 20m
        exp_samples:
          - labels: >-
              ALERTS{{alertname="IndrikRouteFails",alertstate="firing",instance="a",pool="web",route="/x",severity="warning"}}
            value: 1
"""


@pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool (Debian: apt install prometheus)")
def test_the_rules_count_no_answer_of_a_maintenance_as_a_failure(tmp_path: Path) -> None:
    (tmp_path / "rules_test.yml").write_text(RULES_TEST.format(rules=RULES))
    command = ["promtool", "test", "rules", str(tmp_path / "rules_test.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stdout + checked.stderr
