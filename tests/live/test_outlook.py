"""What would happen if a node failed, compared with a cluster in which it does fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from votequorum_ipc import blocking
from votequorum_ipc.cluster import ClusterConfig, NodeConfig, TieBreaker
from votequorum_ipc.live.outlook import outlook
from votequorum_ipc.testing import SimulatedClusterProxy, simulated_cluster_in_thread
from votequorum_ipc.types import ClusterStatus

CONFIGURATIONS = {
    "two nodes": ClusterConfig.of(2),
    "two_node": ClusterConfig.of(2, two_node=True),
    "three nodes": ClusterConfig.of(3),
    "four nodes, and a tie breaker": ClusterConfig.of(4, auto_tie_breaker=TieBreaker.LOWEST),
    "unequal votes": ClusterConfig((NodeConfig(1), NodeConfig(2), NodeConfig(3, votes=3))),
}


def status_of(cluster: SimulatedClusterProxy, node: int = 1) -> ClusterStatus:
    return blocking.cluster_status(cluster.address(node))


@pytest.mark.parametrize("config", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_the_sentence_comes_true(config: ClusterConfig) -> None:
    with simulated_cluster_in_thread(config=config) as cluster:
        status = status_of(cluster)
        for lost in config.nodeids:
            sentence = outlook(status, lost, status.configured)
            cluster.kill(lost)
            survivors = [node for node in config.nodeids if node != lost]
            stays = any(status_of(cluster, node).quorate for node in survivors)
            assert ("would stay" if stays else "would be LOST") in sentence
            cluster.up(lost)


def test_if_the_margin_is_unknown_the_sentence_says_so() -> None:
    with simulated_cluster_in_thread(2) as cluster:
        status = status_of(cluster)
    assert outlook(replace(status, margin=None), 2, status.configured) == "If node2 failed: unknown"
    assert outlook(None, 2, ()) == "If node 2 failed: unknown"


def test_without_quorum_there_is_nothing_to_lose() -> None:
    with simulated_cluster_in_thread(3) as cluster:
        cluster.kill(2, 3)
        status = status_of(cluster)
    sentence = outlook(status, 1, status.configured)
    assert sentence == "If node1 failed: there is no quorum to lose"
