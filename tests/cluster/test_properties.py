"""Properties of every configuration and every sequence of inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from votequorum_ipc.cluster import (
    Cluster,
    ClusterConfig,
    ConnectionClosed,
    DeviceConfig,
    GetInfo,
    Outputs,
    QdeviceMasterWins,
    QdevicePoll,
    QdeviceRegister,
    QdeviceUnregister,
    QdeviceUpdate,
    Request,
    Response,
    ServiceKind,
    SetExpected,
    SetVotes,
    TrackStart,
    TrackStop,
)
from votequorum_ipc.strategies.clusters import starts
from votequorum_ipc.types import NodelistNotification, RingId, TrackFlags

from .scenarios import configs

NODES = (1, 2, 3, 4)
nodeids = st.sampled_from(NODES)
names = st.sampled_from(["net", "other", ""])
rings = st.builds(RingId, nodeids, st.sampled_from([5, 9, 13, 17]))
requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(GetInfo, st.integers(0, 5)),
    st.builds(SetExpected, st.integers(0, 10)),
    st.builds(SetVotes, st.integers(0, 5), st.integers(0, 5)),
    st.builds(TrackStart, st.sampled_from(list(TrackFlags)), st.integers(0, 3)),
    st.builds(TrackStop),
    st.builds(QdeviceRegister, names),
    st.builds(QdeviceUnregister, names),
    st.builds(QdeviceUpdate, names, names),
    st.builds(QdevicePoll, names, st.booleans(), rings),
    st.builds(QdeviceMasterWins, names, st.booleans()),
)
inputs = st.lists(
    st.one_of(
        st.tuples(st.just("up"), nodeids),
        st.tuples(st.just("kill"), nodeids),
        st.tuples(st.just("leave"), nodeids),
        st.tuples(st.just("reform"), nodeids),
        st.tuples(st.just("partition"), st.sets(nodeids)),
        st.tuples(st.just("advance"), st.sampled_from([0.5, 5.0, 10.0, 30.0])),
        st.tuples(st.just("request"), st.tuples(nodeids, requests)),
    ),
    max_size=25,
)
four_nodes = st.one_of(
    st.just(ClusterConfig.of(4)),
    st.just(ClusterConfig.of(4, device=DeviceConfig(votes=1))),
    st.just(ClusterConfig.of(4, allow_downscale=True, last_man_standing=True)),
    st.just(ClusterConfig.of(4, wait_for_all=True, auto_tie_breaker=(2, 4))),
)


def play(config: ClusterConfig, script: list[tuple[str, object]]) -> Iterator[tuple[Cluster, Outputs]]:
    """Feed the inputs; each node has one client of each service, which connects when the node starts."""
    cluster = Cluster(config)
    for word, what in script:
        yield cluster, _input(cluster, word, what)


def _input(cluster: Cluster, word: str, what: object) -> Outputs:
    match word, what:
        case "request", (int(nodeid), request):
            if nodeid not in cluster.nodes:
                return []
            return cluster.request(next(iter(cluster.node(nodeid).conns)), cast("Request", request))
        case "up", int(nodeid):
            return _up(cluster, nodeid)
        case "reform", int(nodeid):
            return cluster.reform(nodeid) if nodeid in cluster.nodes else []
        case _:
            outputs: Outputs = getattr(cluster, word)(what)
            return outputs


def _up(cluster: Cluster, nodeid: int) -> Outputs:
    outputs = cluster.up(nodeid)
    if not cluster.node(nodeid).conns:
        conn = cluster.connect(nodeid, ServiceKind.VOTEQUORUM)
        outputs = outputs + cluster.request(conn, TrackStart(TrackFlags.CHANGES, nodeid))
    return outputs


@given(four_nodes, inputs)
def test_the_same_inputs_give_the_same_outputs(
    config: ClusterConfig, script: list[tuple[str, object]]
) -> None:
    first, second = ([outputs for _, outputs in play(config, script)] for _ in range(2))
    assert first == second


@given(four_nodes, inputs)
def test_every_request_gets_one_answer_at_once(
    config: ClusterConfig, script: list[tuple[str, object]]
) -> None:
    for (cluster, outputs), (word, what) in zip(play(config, script), script, strict=True):
        if word == "request" and isinstance(what, tuple) and what[0] in cluster.nodes:
            assert [output.request for _, output in outputs if isinstance(output, Response)] == [what[1]]


@given(four_nodes, inputs)
def test_the_sums_in_a_database_are_those_of_its_members(
    config: ClusterConfig, script: list[tuple[str, object]]
) -> None:
    for cluster, _ in play(config, script):
        for node in cluster.nodes.values():
            db = node.votequorum.db
            members = list(db.members())
            here = [member.nodeid for member in members]
            assert db.member_count() == len(members)
            assert db.member_votes() == sum(member.votes for member in members)
            assert db.highest_expected() == max((member.expected_votes for member in members), default=0)
            assert db.lowest_and_highest() == (min([*here, db.us.nodeid]), max([*here, db.us.nodeid]))


@given(four_nodes, inputs)
def test_a_nodes_ring_sequence_only_grows(config: ClusterConfig, script: list[tuple[str, object]]) -> None:
    seen = dict.fromkeys(NODES, 0)
    for cluster, _ in play(config, script):
        for nodeid, node in cluster.nodes.items():
            assert node.ring_id.seq >= seen[nodeid]
            seen[nodeid] = node.ring_id.seq


@given(four_nodes, inputs)
def test_a_partitions_nodes_share_ring_and_members(
    config: ClusterConfig, script: list[tuple[str, object]]
) -> None:
    for cluster, _ in play(config, script):
        for members in cluster.partitions():
            rings_ = {(cluster.node(nodeid).ring_id, cluster.node(nodeid).members) for nodeid in members}
            assert len(rings_) == 1
            assert next(iter(rings_))[1] == members


@given(four_nodes, inputs)
def test_a_node_list_is_sent_with_the_ring_of_its_members(
    config: ClusterConfig, script: list[tuple[str, object]]
) -> None:
    for _, outputs in play(config, script):
        for conn, event in outputs:
            if isinstance(event, NodelistNotification):
                assert conn.nodeid in event.members
                assert event.ring_id.nodeid == event.members[0]


@given(four_nodes, inputs)
def test_nothing_follows_the_close_of_a_connection(
    config: ClusterConfig, script: list[tuple[str, object]]
) -> None:
    closed = set()
    for _, outputs in play(config, script):
        for conn, output in outputs:
            assert conn not in closed
            if isinstance(output, ConnectionClosed):
                closed.add(conn)


@given(st.integers(2, 7), st.data())
def test_at_most_one_partition_is_quorate_without_special_options(nodes: int, data: st.DataObject) -> None:
    cluster = Cluster(ClusterConfig.of(nodes))
    cluster.up(*range(1, nodes + 1))
    for _ in range(4):
        side = data.draw(st.sets(st.integers(1, nodes)))
        cluster.partition(side)
        quorate = {members for members in cluster.partitions() if cluster.node(members[0]).quorate}
        assert len(quorate) <= 1


@settings(max_examples=200)
@given(configs().filter(starts))
def test_any_accepted_configuration_starts_and_decides(config: ClusterConfig) -> None:
    cluster = Cluster(config)
    first = config.nodeids[0]
    cluster.up(*config.nodeids)
    conn = cluster.connect(first, ServiceKind.QUORUM)
    cluster.request(conn, TrackStart(TrackFlags.CHANGES))
    assert cluster.node(first).members == tuple(sorted(config.nodeids))
