"""The oracle for the margin of a running partition: the model, with every set of failures tried in it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cluster.bench import DEVICE, info, quorate, started
from votequorum_ipc.cluster import (
    Cluster,
    ClusterConfig,
    DeviceConfig,
    NodeConfig,
    QdeviceMasterWins,
    QdevicePoll,
    QdeviceRegister,
    ServiceKind,
    TieBreaker,
)
from votequorum_ipc.margin import margin
from votequorum_ipc.types import Margin


@dataclass(frozen=True)
class Running:
    """A cluster whose device votes for some nodes."""

    cluster: Cluster
    voted_for: frozenset[int]
    master_wins: bool = False

    def polled(self) -> Running:
        for nodeid, node in self.cluster.nodes.items():
            conn = self.cluster.connect(nodeid, ServiceKind.VOTEQUORUM)
            self.cluster.request(conn, QdeviceRegister(DEVICE))
            self.cluster.request(conn, QdeviceMasterWins(DEVICE, self.master_wins))
            self.cluster.request(conn, QdevicePoll(DEVICE, nodeid in self.voted_for, node.ring_id))
        return self

    def without(self, lost: tuple[int, ...]) -> Running:
        """A copy in which these nodes have failed."""
        after = Running(copy.deepcopy(self.cluster), self.voted_for, self.master_wins)
        after.cluster.kill(*lost)
        return after.polled() if self.cluster.rules.has_device else after

    def goes_on_without(self, lost: tuple[int, ...]) -> bool:
        return bool(quorate(self.without(lost).cluster))

    def survived(self) -> int:
        """How many nodes can fail, whichever they are: tries every set."""
        nodeids = tuple(self.cluster.nodes)
        return next(
            size - 1
            for size in range(1, len(nodeids) + 1)
            if not all(map(self.goes_on_without, combinations(nodeids, size)))
        )

    def told(self, local: int) -> Margin:
        """The margin, computed from node `local`'s answers about each member."""
        infos = {nodeid: info(self.cluster, local, of=nodeid) for nodeid in self.cluster.nodes}
        breaker = self.cluster.rules.tie_breaker
        listed = self.cluster.rules.tie_breaker_nodes
        return margin(infos, local, listed if breaker is TieBreaker.LIST else breaker)


def whole(config: ClusterConfig) -> Running:
    """All nodes are up, and the device votes for all."""
    running = Running(started(config), frozenset(config.nodeids))
    return running.polled() if config.device is not None else running


@st.composite
def clusters(draw: st.DrawFn) -> Running:
    """Clusters with any options; some have a device that votes for some nodes, and some have lost nodes."""
    count = draw(st.integers(1, 6))
    votes = draw(st.sampled_from([(1,), (1,), (0, 1, 2, 3)]))
    nodes = tuple(NodeConfig(at, votes=draw(st.sampled_from(votes))) for at in range(1, count + 1))
    breakers: list[TieBreaker | tuple[int, ...]] = [*list(TieBreaker)[:3], (2, 1)]
    if draw(st.booleans()) and count > 1:
        config = ClusterConfig(nodes, device=DeviceConfig(votes=draw(st.integers(1, 3))))
        voted_for = draw(st.frozensets(st.sampled_from(config.nodeids)))
        running = Running(started(config), voted_for, draw(st.booleans())).polled()
    else:
        config = ClusterConfig(
            nodes,
            two_node=draw(st.booleans()),
            auto_tie_breaker=draw(st.sampled_from(breakers)),
            wait_for_all=draw(st.booleans()),
        )
        running = Running(started(config), frozenset())
    lost = tuple(draw(st.sets(st.sampled_from(config.nodeids), max_size=count - 1)))
    return running.without(lost) if lost else running


@settings(max_examples=60, deadline=None)
@given(clusters())
def test_the_margin_agrees_with_the_model(running: Running) -> None:
    for local, node in running.cluster.nodes.items():
        found = running.told(local)
        assert found.quorate == node.quorate
        if node.quorate:
            assert found.nodes == running.survived()
            assert len(found.fatal) == found.nodes + 1
            assert not running.goes_on_without(found.fatal)
            alone = [one for one in running.cluster.nodes if not running.goes_on_without((one,))]
            assert list(found.alone) == alone


def test_a_partition_without_quorum_has_no_margin() -> None:
    assert whole(ClusterConfig.of(3)).without((2, 3)).told(1) == Margin(False)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (ClusterConfig.of(1), "does not survive the loss of node 1"),
        (ClusterConfig.of(2), "does not survive the loss of node 1 or 2"),
        (ClusterConfig.of(2, two_node=True), "survives the loss of any one node; not of 1 and 2 together"),
        (ClusterConfig.of(3), "survives the loss of any one node; not of 2 and 3 together"),
        (ClusterConfig.of(5), "survives the loss of any 2 nodes; not of 3, 4 and 5 together"),
    ],
)
def test_the_margin_in_words(config: ClusterConfig, text: str) -> None:
    assert str(whole(config).told(1)) == text


def test_losing_the_device_is_part_of_the_margin() -> None:
    two = whole(ClusterConfig.of(2, device=DeviceConfig(votes=1)))
    assert two.told(1).device is True
    assert two.without((2,)).told(1).device is False


def test_a_device_that_votes_for_one_node_only_makes_that_node_count() -> None:
    config = ClusterConfig.of(4, device=DeviceConfig(votes=1))
    running = Running(started(config), frozenset({1})).polled()
    assert running.told(2) == Margin(True, 1, (1, 4), (), True)
