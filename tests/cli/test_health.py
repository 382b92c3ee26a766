"""`votequorum-ipc health`: states, thresholds and output, on simulated clusters and real corosyncs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial

import pytest
import trio

from tests.conftest import StartDaemon
from tests.real.config import Config, Node
from votequorum_ipc.cli.health import FIGURES, HealthState, Range, Reading, _state, judged
from votequorum_ipc.overview import Observer
from votequorum_ipc.testing import DeviceConfig, SimulatedCluster, simulated_cluster

from .command import Result, votequorum_ipc, without_daemon


async def health(cluster: SimulatedCluster, *arguments: str) -> Result:
    where = ["--address", cluster.address(1)]
    return await trio.to_thread.run_sync(partial(without_daemon, "health", *where, *arguments))


async def test_a_healthy_cluster_is_ok_with_performance_data() -> None:
    async with simulated_cluster(nodes=3) as cluster:
        result = await health(cluster)
    assert result.returncode == 0
    text, data = result.stdout.rstrip("\n").split(" | ")
    assert text == (
        "QUORUM OK - quorate with 3 of 3 votes, survives the loss of any one node; not of 2 and 3 together"
    )
    figures = dict(figure.split("=") for figure in data.split())
    assert (
        figures.items()
        >= {
            "votes": "3;;;0",
            "margin": "1;1:;;0",
            "missing": "0;0;;0",
            "links_down": "0;0;;0",
            "token_losses": "0c;;;0",
            "configuration": "0;0;;0",
        }.items()
    )


async def test_a_missing_node_that_leaves_no_margin_is_a_warning() -> None:
    async with simulated_cluster(nodes=3) as cluster:
        cluster.kill(3)
        result = await health(cluster)
        tolerant = await health(
            cluster, "--warning", "margin=", "--warning", "missing=1", "--warning", "links_down=1"
        )
        strict = await health(cluster, "--critical", "margin=1:")
    assert result.returncode == 1
    assert result.stdout.startswith("QUORUM WARNING - ")
    assert "missing: node3" in result.stdout
    assert "does not survive the loss of node 1 or 2" in result.stdout
    assert tolerant.returncode == 0
    assert strict.returncode == 2


async def test_links_that_disagree_with_the_membership_are_a_warning() -> None:
    async with simulated_cluster(nodes=3) as cluster, Observer(cluster.address(1)) as observer:
        overview = await observer.read()
    assert overview.status
    # Node 1 sees this when nodes 2 and 3 do not hear each other.
    without_3 = replace(overview.status, members=overview.status.members[:2])
    default = {"connectivity": Range.parse(FIGURES["connectivity"].warning)}
    judgement = judged(Reading(overview, without_3), default, {})
    assert judgement.state is HealthState.WARNING
    assert judgement.sentences[1].startswith("node3 is connected, but not a member: ")
    assert " connectivity=1;0;;0" in judgement.line()
    assert judged(Reading(overview, overview.status), default, {}).state is HealthState.OK


async def test_no_quorum_is_critical_and_says_why() -> None:
    async with simulated_cluster(nodes=3) as cluster:
        cluster.kill(2, 3)
        result = await health(cluster, "--json")
    shape = json.loads(result.stdout)
    assert (result.returncode, shape["state"]) == (2, "CRITICAL")
    assert shape["sentences"][0] == (
        "no quorum: 1 of 3 votes is present; 2 are needed; node2, node3 are missing"
    )


async def test_a_device_that_does_not_vote_is_a_warning() -> None:
    async with simulated_cluster(nodes=3, device=DeviceConfig(votes=1), expected_votes=4) as cluster:
        result = await health(cluster)
    assert result.returncode == 1
    assert "the quorum device does not vote on this node" in result.stdout
    assert "device_votes=0;1:;;0" in result.stdout


def test_an_unknown_figure_with_a_range_makes_the_state_unknown() -> None:
    assert _state(None, Range.parse("20"), None) is HealthState.UNKNOWN
    assert _state(None, None, Range.parse("20")) is HealthState.UNKNOWN
    assert _state(None, None, None) is HealthState.OK


def test_without_corosync_the_state_is_unknown() -> None:
    result = without_daemon("health", "--address", "@nothing-listens-here-{service}")
    assert result.returncode == 3
    assert result.stdout.startswith("QUORUM UNKNOWN - ")
    assert result.stdout.count("\n") == 1


def test_a_stopped_daemon_is_unknown_within_the_timeout(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(nodes=(Node(1),)))
    assert votequorum_ipc(daemon, "health").returncode == 0
    with daemon.frozen():
        assert votequorum_ipc(daemon, "health", "--timeout", "1").returncode == 3


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("10", [0, 10], [-1, 11]),
        ("10:", [10, 1e9], [9]),
        ("~:10", [-1e9, 10], [11]),
        ("10:20", [10, 20], [9, 21]),
        ("@10:20", [9, 21], [10, 20]),
    ],
)
def test_ranges_are_those_of_the_guidelines(text: str, good: list[float], bad: list[float]) -> None:
    range_ = Range.parse(text)
    assert all(range_.allows(value) for value in good)
    assert not any(range_.allows(value) for value in bad)


@pytest.mark.parametrize("text", ["margin=x", "margin=5:1", "height=1"])
def test_an_invalid_threshold_is_wrong_usage(text: str) -> None:
    assert without_daemon("health", "--warning", text).returncode == 64


def test_default_ranges_can_be_read_and_names_fit_performance_data() -> None:
    for name, figure in FIGURES.items():
        assert re.fullmatch(r"[a-z_]+", name)
        if figure.warning:
            Range.parse(figure.warning)
