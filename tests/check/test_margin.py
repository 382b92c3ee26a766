"""The margin of a running partition is what trying every set of failures in the model says."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cluster.bench import DEVICE, info, started
from votequorum_ipc.check.margin import Margin, margin, rules_of
from votequorum_ipc.cluster import (
    Cluster,
    ClusterConfig,
    DeviceConfig,
    NodeConfig,
    QdevicePoll,
    QdeviceRegister,
    ServiceKind,
    TieBreaker,
)


def device_votes(cluster: Cluster) -> None:
    for nodeid, node in cluster.nodes.items():
        conn = cluster.connect(nodeid, ServiceKind.VOTEQUORUM)
        cluster.request(conn, QdeviceRegister(DEVICE))
        cluster.request(conn, QdevicePoll(DEVICE, True, node.ring_id))


def running(config: ClusterConfig) -> Cluster:
    cluster = started(config)
    if config.device is not None:
        device_votes(cluster)
    return cluster


def told(cluster: Cluster) -> Margin:
    infos = {nodeid: info(cluster, nodeid) for nodeid in cluster.nodes}
    return margin(cluster.rules, infos, next(iter(infos)))


def goes_on(config: ClusterConfig, lost: tuple[int, ...]) -> bool:
    cluster = running(config)
    cluster.kill(*lost)
    if config.device is not None:
        device_votes(cluster)
    return any(node.quorate for node in cluster.nodes.values())


def survived(config: ClusterConfig) -> int:
    """How many nodes can go, whichever they are: every set is tried in the model."""
    for size in range(1, len(config.nodes) + 1):
        if not all(goes_on(config, lost) for lost in combinations(config.nodeids, size)):
            return size - 1
    return len(config.nodes)


@st.composite
def configs(draw: st.DrawFn) -> ClusterConfig:
    count = draw(st.integers(1, 6))
    votes = draw(st.sampled_from([(1,), (1,), (1, 2, 3)]))
    nodes = tuple(NodeConfig(at, votes=draw(st.sampled_from(votes))) for at in range(1, count + 1))
    even = sum(node.votes for node in nodes) % 2 == 0
    breakers: list[TieBreaker | tuple[int, ...]] = [
        TieBreaker.NONE,
        TieBreaker.LOWEST,
        TieBreaker.HIGHEST,
        (2, 1),
    ]
    tie_breaker = draw(st.sampled_from(breakers))
    if draw(st.booleans()) and count > 1:
        return ClusterConfig(nodes, device=DeviceConfig(votes=draw(st.integers(1, 3))))
    return ClusterConfig(
        nodes,
        two_node=draw(st.booleans()),
        auto_tie_breaker=tie_breaker if even and count > 1 else TieBreaker.NONE,
        wait_for_all=draw(st.booleans()),
    )


@settings(max_examples=60, deadline=None)
@given(configs())
def test_the_margin_is_what_the_model_survives(config: ClusterConfig) -> None:
    found = told(running(config))
    assert found.nodes == survived(config)
    assert not found.fatal or not goes_on(config, found.fatal)
    assert found.alone == tuple(nodeid for nodeid in config.nodeids if not goes_on(config, (nodeid,)))


def test_a_partition_without_quorum_has_no_margin() -> None:
    cluster = started(ClusterConfig.of(3))
    cluster.kill(2, 3)
    assert told(cluster) == Margin(False)


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        (1, "survives the loss of no node; not of 1"),
        (3, "survives the loss of any one node; not of 2 and 3 together"),
        (5, "survives the loss of any 2 nodes; not of 3, 4 and 5 together"),
    ],
)
def test_the_margin_in_words(nodes: int, text: str) -> None:
    assert str(told(started(ClusterConfig.of(nodes)))) == text


def test_losing_the_device_is_part_of_the_margin() -> None:
    two = running(ClusterConfig.of(2, device=DeviceConfig(votes=1)))
    assert told(two).device is True
    two.kill(2)
    device_votes(two)
    assert told(two).device is False


def test_the_rules_follow_from_getinfo() -> None:
    cluster = running(ClusterConfig.of(4, auto_tie_breaker=TieBreaker.LOWEST))
    infos = {nodeid: info(cluster, nodeid) for nodeid in cluster.nodes}
    assert margin(rules_of(infos[1]), infos, 1) == told(cluster)
