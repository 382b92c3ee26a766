"""Multicasts that take time. Once all have arrived, the oracle is the cluster without latency."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from votequorum_ipc import CsErrorCode, NodeState
from votequorum_ipc.cluster import (
    Cluster,
    ClusterConfig,
    Conn,
    DeviceConfig,
    GetInfo,
    Latency,
    NodeModel,
    Output,
    QdevicePoll,
    QdeviceRegister,
    QdeviceUnregister,
    QdeviceUpdate,
    Request,
    Response,
    ServiceKind,
    SetVotes,
)
from votequorum_ipc.types import NodeInfo

DEVICE = ClusterConfig.of(3, device=DeviceConfig(votes=1))


def started(config: ClusterConfig, latency: Latency | None) -> Cluster:
    """A cluster whose nodes are all up and have heard each other."""
    cluster = Cluster(config, latency)
    cluster.up(*config.nodeids)
    cluster.settle()
    return cluster


def client(cluster: Cluster, nodeid: int = 1) -> Conn:
    return cluster.connect(nodeid, ServiceKind.VOTEQUORUM)


def answers(outputs: list[tuple[Conn, Output]], conn: Conn) -> list[CsErrorCode]:
    return [output.error for to, output in outputs if to == conn and isinstance(output, Response)]


def info(cluster: Cluster, at: int, about: int = 0) -> NodeInfo:
    """A node's report about another node, or about itself."""
    [(_, output)] = cluster.request(client(cluster, at), GetInfo(about))
    assert isinstance(output, Response)
    assert isinstance(output.value, NodeInfo)
    return output.value


def device_on(cluster: Cluster, nodeid: int, name: str) -> Conn:
    """A registered device that votes."""
    conn = client(cluster, nodeid)
    cluster.request(conn, QdeviceRegister(name))
    assert answers(cluster.settle(), conn) == [CsErrorCode.OK]
    cluster.request(conn, QdevicePoll(name, True, cluster.node(nodeid).ring_id))
    cluster.settle()
    return conn


def test_a_changed_vote_is_seen_elsewhere_a_moment_later() -> None:
    cluster = started(ClusterConfig.of(3), Latency(seed=1))
    cluster.request(client(cluster), SetVotes(2, 2))
    assert (info(cluster, 1, 2).node_votes, info(cluster, 2, 2).node_votes) == (2, 1)
    cluster.settle()
    assert (info(cluster, 1, 2).node_votes, info(cluster, 2, 2).node_votes) == (2, 2)


@pytest.mark.parametrize(
    ("request_", "after"), [(QdeviceUpdate("old", "new"), "new"), (QdeviceUnregister("old"), "")]
)
def test_a_devices_old_name_is_still_there_just_after_the_call(request_: Request, after: str) -> None:
    cluster = started(DEVICE, Latency(seed=1))
    conn = device_on(cluster, 1, "old")
    assert answers(cluster.request(conn, request_), conn) == [CsErrorCode.OK]
    assert info(cluster, 1).qdevice_name == "old"
    cluster.settle()
    assert info(cluster, 1).qdevice_name == after


def test_of_two_simultaneous_registrations_one_gets_try_again() -> None:
    cluster = started(DEVICE, Latency(seed=1))
    first, second = client(cluster), client(cluster)
    assert answers(cluster.request(first, QdeviceRegister("one")), first) == []
    assert answers(cluster.request(second, QdeviceRegister("two")), second) == [CsErrorCode.TRY_AGAIN]
    assert answers(cluster.settle(), first) == [CsErrorCode.OK]
    assert answers(cluster.request(second, QdeviceRegister("two")), second) == [CsErrorCode.EXIST]


def test_a_client_that_leaves_before_its_registration_is_delivered_gets_nothing() -> None:
    cluster = started(DEVICE, Latency(seed=1))
    conn = client(cluster)
    cluster.request(conn, QdeviceRegister("one"))
    cluster.disconnect(conn)
    assert cluster.settle() == []
    assert info(cluster, 1).qdevice_name == "one"


def test_the_seed_decides_whose_device_is_first() -> None:
    def winner(seed: int) -> str:
        cluster = started(DEVICE, Latency(seed=seed))
        for nodeid, name in ((1, "one"), (2, "two")):
            cluster.request(client(cluster, nodeid), QdeviceRegister(name))
        cluster.settle()
        names = {info(cluster, nodeid).qdevice_name for nodeid in cluster.nodes}
        assert len(names) == 1
        return names.pop()

    assert {winner(seed) for seed in range(20)} == {"one", "two"}


def test_a_node_that_shuts_down_is_leaving_for_a_while() -> None:
    cluster = started(ClusterConfig.of(3, allow_downscale=True), Latency(seed=1))
    cluster.leave(3)
    assert 3 not in cluster.nodes
    states = []
    while not cluster.is_settled:
        states.append(info(cluster, 1, 3).node_state)
        cluster.advance(0.001)
    states.append(info(cluster, 1, 3).node_state)
    assert list(dict.fromkeys(states)) == [NodeState.MEMBER, NodeState.LEAVING, NodeState.DEAD]
    assert cluster.partitions() == [(1, 2)]


def test_a_node_can_start_again_while_its_predecessor_shuts_down() -> None:
    cluster = started(ClusterConfig.of(3), Latency(seed=1))
    cluster.leave(3)
    cluster.up(3)
    cluster.settle()
    assert cluster.partitions() == [(1, 2, 3)]
    assert info(cluster, 1, 3).node_state == NodeState.MEMBER


def test_a_membership_change_takes_until_the_nodes_have_heard_each_other() -> None:
    cluster = started(ClusterConfig.of(3), Latency(seed=1))
    cluster.partition({1}, {2, 3})
    assert cluster.is_synchronising(1)
    assert cluster.node(1).quorate
    cluster.settle()
    assert not cluster.is_synchronising(1)
    assert not cluster.node(1).quorate


def test_all_survivors_hear_what_one_of_them_heard_from_a_dead_node() -> None:
    """Otherwise their databases would differ permanently."""
    seen = set()
    for seed in range(30):
        cluster = started(ClusterConfig.of(4), Latency(seed=seed))
        cluster.request(client(cluster, 4), SetVotes(1, 3))
        cluster.advance(0.006)
        cluster.kill(4)
        cluster.settle()
        votes = {info(cluster, nodeid, 1).node_votes for nodeid in (2, 3)}
        assert len(votes) == 1
        seen |= votes
    assert seen == {1, 3}


def test_a_copy_continues_like_the_original() -> None:
    cluster = started(DEVICE, Latency(seed=5))
    cluster.request(client(cluster, 1), SetVotes(2, 3))
    cluster.partition({1}, {2, 3})
    twin = copy.deepcopy(cluster)
    assert twin.settle() == cluster.settle()
    assert twin.now == cluster.now


@pytest.mark.parametrize(("least", "most"), [(-1, 1), (2, 1)])
def test_an_impossible_latency_is_refused(least: float, most: float) -> None:
    with pytest.raises(ValueError, match="least"):
        Latency(least, most)


# --- properties ---

STEPS = st.one_of(
    st.tuples(st.just("up"), st.integers(1, 4)),
    st.tuples(st.just("kill"), st.integers(1, 4)),
    st.tuples(st.just("leave"), st.integers(1, 4)),
    st.tuples(st.just("partition"), st.sets(st.integers(1, 4))),
    st.tuples(st.just("votes"), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3)),
)
LATENCIES = st.builds(
    Latency, least=st.just(0.0), most=st.sampled_from([0.0, 0.001, 0.01]), seed=st.integers(0, 2**64)
)


def take_step(cluster: Cluster, step: tuple[Any, ...]) -> None:
    kind, *arguments = step
    if kind == "votes":
        at, about, votes = arguments
        if at in cluster.nodes:
            cluster.request(client(cluster, at), SetVotes(about, votes))
    else:
        getattr(cluster, kind)(*arguments)


def view(cluster: Cluster) -> dict[int, Any]:
    """Each node's report about the whole cluster."""
    return {
        nodeid: (node.quorate, node.ring_id, node.members, info(cluster, nodeid))
        for nodeid, node in cluster.nodes.items()
    }


@given(st.lists(STEPS, max_size=12), st.sampled_from([0.0, 0.001, 0.01]))
def test_once_all_multicasts_have_arrived_the_result_is_as_without_latency(
    steps: list[tuple[Any, ...]], leg: float
) -> None:
    """If all delays are equal, the order is that of sending, and so are all its effects."""
    immediate, cluster = (started(ClusterConfig.of(4), each) for each in (None, Latency(leg, leg)))
    for step in steps:
        for each in (immediate, cluster):
            take_step(each, step)
            each.settle()
        assert view(cluster) == view(immediate), step


@given(st.lists(STEPS, max_size=12), LATENCIES)
def test_nodes_of_a_ring_hear_everything_in_one_order(steps: list[tuple[Any, ...]], latency: Latency) -> None:
    heard: dict[tuple[object, int], list[object]] = {}
    deliver = NodeModel.deliver

    def listen(self: NodeModel, message: Any, sender: int) -> None:
        heard.setdefault((self.ring_id, self.nodeid), []).append(message)
        deliver(self, message, sender)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NodeModel, "deliver", listen)
        cluster = started(ClusterConfig.of(4), latency)
        for step in steps:
            take_step(cluster, step)
            cluster.advance(0.002)
        cluster.settle()
    for ((ring, _), one), ((other_ring, _), other) in itertools.combinations(heard.items(), 2):
        if ring == other_ring:
            assert common(one, other) == common(other, one)


def common(order: list[object], other: list[object]) -> list[int]:
    """The multicasts that are in both lists. Each is one object, which all nodes get."""
    there = {id(message) for message in other}
    return [id(message) for message in order if id(message) in there]
