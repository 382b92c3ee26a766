"""`check --running` reads the running corosync's configuration, and shows the cluster's current state."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.command import Line, votequorum_ipc, without_daemon
from tests.conftest import StartDaemon
from tests.real.cluster import Cluster
from tests.real.config import Config, Device, Node
from tests.real.daemon import Daemon
from votequorum_ipc.testing import simulated_cluster_in_process

TWO = (Node(1), Node(2, address="192.0.2.2"))


def checked(daemon: Daemon) -> tuple[int, Line]:
    """The exit code and the JSON of `check --running` on a daemon's host."""
    result = votequorum_ipc(daemon, "check", "--running", "--no-remedies", "--json")
    assert result.returncode in (0, 2), result.stderr
    (report,) = json.loads(result.stdout)
    return result.returncode, report


def outcomes(report: Line) -> dict[str, Any]:
    return {verdict["name"]: verdict["outcome"] for verdict in report["verdicts"]}


def test_three_real_nodes_are_checked_and_their_margin_is_shown(cluster3: Cluster) -> None:
    code, report = checked(cluster3[1])
    assert (code, report["warnings"]) == (0, [])
    assert report["rules"][0] == "3 nodes, 1 vote each."
    assert (report["running"]["quorate"], report["running"]["margin"]["nodes"]) == (True, 1)


@pytest.mark.parametrize(
    ("config", "rule", "code"),
    [
        (Config(nodes=TWO, quorum={"two_node": 1}), "two_node", 2),
        (Config(nodes=TWO, quorum={"auto_tie_breaker": 1}), "auto_tie_breaker", 2),
        (Config(nodes=TWO, device=Device(votes=1)), "A quorum device with 1 vote", 0),
    ],
    ids=["two_node", "auto_tie_breaker", "device"],
)
def test_the_options_of_a_real_corosync_are_those_of_its_file(
    start_daemon: StartDaemon, config: Config, rule: str, code: int
) -> None:
    found, report = checked(start_daemon(config))
    assert any(line.startswith(rule) for line in report["rules"])
    assert (found, report["running"]["quorate"]) == (code, False)


def test_votes_changed_at_run_time_are_named() -> None:
    with simulated_cluster_in_process(nodes=3) as cluster:
        address = cluster.address()
        changed = without_daemon("setvotes", "2", "3", "--address", address)
        result = without_daemon("check", "--running", "--no-remedies", "--address", address)
    assert changed.returncode == 0, changed.stderr
    assert "node 2 has 3 votes now, and 1 in the configuration, which is what is checked" in result.stdout
    assert "The cluster now\n  Quorate; members 1 2 3.\n" in result.stdout
