"""The alert rules and the dashboard: unit tests by promtool, and a scripted day in a real Prometheus."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.real.host import ROOT
from tests.real.waiting import eventually
from votequorum_ipc.exporter.metrics import METRICS
from votequorum_ipc.testing import DeviceConfig, SimulatedCluster, simulated_cluster

from . import day
from .document import ALERTS, DOCUMENT, NAME, alerts, document
from .scraping import exporter

DIRECTORY = ROOT / "contrib" / "monitoring"
DASHBOARD = json.loads((DIRECTORY / "dashboard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]

needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="Debian's package prometheus is not installed"
)


def test_the_table_of_metrics_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == document(), "run: python -m tests.exporter.document"


def test_alerts_and_dashboard_use_existing_metrics() -> None:
    known = {metric.name for metric in METRICS}
    assert alerts()
    assert ALERTS.count("- alert:") == len(alerts())
    used = {name for names in alerts().values() for name in names}
    used |= {name for expression in EXPRESSIONS for name in NAME.findall(expression)}
    assert used <= known


@needs_prometheus
@pytest.mark.parametrize(("what", "file"), [("check", "alerts.yml"), ("test", "alerts_test.yml")])
def test_promtool_accepts_the_rules_and_their_tests(what: str, file: str) -> None:
    done = subprocess.run(
        ["promtool", what, "rules", str(DIRECTORY / file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_unit_test() -> None:
    tested = (DIRECTORY / "alerts_test.yml").read_text()
    assert [name for name in alerts() if f"alertname: {name}" not in tested] == []


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/query"

    def query(self, expression: str) -> list[Any]:
        """The current series of an expression. Raises `OSError` for an invalid one."""
        quoted = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self._url}?{quoted}", timeout=10) as answer:
            result: list[Any] = json.load(answer)["data"]["result"]
        return result

    def wait_for(self, expression: str, value: str) -> None:
        """Block until an expression has this value."""

        def found() -> bool:
            with contextlib.suppress(OSError):
                return [series["value"][1] for series in self.query(expression)] == [value]
            return False

        eventually(found, otherwise=lambda: f"{expression} is {value}, not {self.query(expression)}")

    def wait_for_none(self, expression: str) -> None:
        """Block until an expression has no series."""
        eventually(lambda: not self.query(expression), otherwise=lambda: f"no {expression}")


@contextlib.contextmanager
def prometheus(directory: Path, target: str) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the exporter and evaluates the rules every second; it ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(DIRECTORY / "alerts.yml")],
        "scrape_configs": [{"job_name": "c", "static_configs": [{"targets": [target]}]}],
    }
    (directory / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    argv = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with subprocess.Popen(argv) as process:
        try:
            yield Prometheus(port)
        finally:
            process.terminate()


def _day(cluster: SimulatedCluster, directory: Path) -> dict[str, bool]:
    """Quorum is lost, corosync ends, and everything recovers; returns which dashboard expressions have
    series.
    """
    quorate = "ha_cluster_corosync_quorate"
    known = "ha_cluster_scrape_success"
    with exporter("--address", cluster.address(1)) as url:
        target = urllib.parse.urlsplit(url).netloc
        with prometheus(directory, target) as server:
            server.wait_for(quorate, "1")
            trio.from_thread.run_sync(cluster.kill, 2, 3)
            server.wait_for(quorate, "0")
            server.wait_for('count(ALERTS{alertname="QuorumLost"})', "1")
            trio.from_thread.run_sync(cluster.kill, 1)
            server.wait_for_none(quorate)
            server.wait_for(known, "0")
            server.wait_for('count(ALERTS{alertname="QuorumUnknown"})', "1")
            trio.from_thread.run_sync(cluster.up, 1, 2, 3)
            server.wait_for(quorate, "1")
            trio.from_thread.run_sync(cluster.set_statistic, 1, "stats.knet.node2.link0.latency_ave", 209)
            server.wait_for('ha_cluster_corosync_link_latency_seconds{node="node2"}', "0.000209")
            trio.from_thread.run_sync(cluster.set_statistic, 1, "stats.srp.operational_token_lost", 2)
            server.wait_for('ha_cluster_corosync_token_losses_total{state="operational"}', "2")
            for name in ("tx_ping_packets", "rx_pong_packets"):
                trio.from_thread.run_sync(cluster.set_statistic, 1, f"stats.knet.node2.link0.{name}", 40)
            return {
                expression: bool(
                    server.query(expression.replace("$job", ".*").replace("$__rate_interval", "1m"))
                )
                for expression in EXPRESSIONS
            }


async def test_the_day_in_the_picture_shows_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day, "STEP", 1800)
    monkeypatch.setattr(day, "STEPS", 48)
    text = await day.told()
    quorate = re.findall(r'^ha_cluster_corosync_quorate{.*instance="alpha"} (\S+) (\d+)$', text, re.M)
    hours = {(int(at) - day.BEGIN) / 3600: float(value) for value, at in quorate}
    assert {hour for hour, value in hours.items() if not value} == {17.5, 18.0}
    # There is no sample while corosync is down.
    assert {step / 2 for step in range(48)} - {*hours} == {20.5, 21.0}


@needs_prometheus
async def test_a_real_prometheus_sees_the_day_and_evaluates_every_expression(tmp_path: Path) -> None:
    device = DeviceConfig(votes=1)
    async with simulated_cluster(nodes=3, device=device, expected_votes=4) as cluster:
        has_series = await trio.to_thread.run_sync(partial(_day, cluster, tmp_path))
    assert [expression for expression, found in has_series.items() if not found] == []
