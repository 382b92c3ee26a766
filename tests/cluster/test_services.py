"""What clients receive: answers and events of both services, their order, and ring ids."""

from __future__ import annotations

import pytest

from votequorum_ipc.cluster import (
    Cluster,
    ClusterConfig,
    Conn,
    ConnectionClosed,
    DeviceConfig,
    GetInfo,
    GetQuorate,
    GetType,
    ModelGetType,
    NodeConfig,
    QdeviceGetExtraInfo,
    QdeviceSetExtraInfo,
    Response,
    RuntimeValue,
    ServiceKind,
    SetExpected,
    SetVotes,
    TieBreaker,
    TrackStart,
    TrackStop,
    UnknownRequest,
)
from votequorum_ipc.errors import CsErrorCode, Library
from votequorum_ipc.types import (
    ExpectedVotesNotification,
    InfoFlags,
    Node,
    NodeInfo,
    NodelistNotification,
    NodeState,
    QuorumNodelistNotification,
    QuorumNotification,
    QuorumType,
    QuorumV0Notification,
    QuorumV1Notification,
    RingId,
    TrackFlags,
    ValueType,
)

from .bench import (
    answer,
    cluster_of,
    error,
    info,
    live_device,
    quorate,
    sent_to,
    started,
    tracker,
)

MEMBER, DEAD = NodeState.MEMBER, NodeState.DEAD


def quorum_client(cluster: Cluster, nodeid: int, model: int) -> Conn:
    """A client of the quorum service with a model, which tracks changes."""
    conn = cluster.connect(nodeid, ServiceKind.QUORUM)
    cluster.request(conn, ModelGetType(model))
    cluster.request(conn, TrackStart(TrackFlags.CHANGES_ONLY))
    return conn


# -- getinfo, setexpected, setvotes ----------------------------------------------------------------------


def test_getinfo_reports_the_node_and_the_cluster() -> None:
    assert info(cluster_of(3), 2, of=3) == NodeInfo(
        node_id=3,
        node_state=MEMBER,
        node_votes=1,
        node_expected_votes=3,
        highest_expected=3,
        total_votes=3,
        quorum=2,
        flags=InfoFlags.QUORATE,
        qdevice_votes=0,
        qdevice_name="",
    )


def test_getinfo_shows_the_options_as_flags() -> None:
    cluster = cluster_of(
        4, wait_for_all=True, last_man_standing=True, auto_tie_breaker=TieBreaker.LOWEST, allow_downscale=True
    )
    assert info(cluster, 1).flags == (
        InfoFlags.QUORATE
        | InfoFlags.WAIT_FOR_ALL
        | InfoFlags.LAST_MAN_STANDING
        | InfoFlags.AUTO_TIE_BREAKER
        | InfoFlags.ALLOW_DOWNSCALE
    )


def test_getinfo_of_a_node_never_seen_does_not_exist() -> None:
    assert error(cluster_of(3), 1, GetInfo(9)) is CsErrorCode.NOT_EXIST


def test_setexpected_changes_quorum_on_every_node() -> None:
    cluster = cluster_of(3)
    assert error(cluster, 1, SetExpected(5)) is CsErrorCode.OK
    assert {info(cluster, nodeid).quorum for nodeid in (1, 2, 3)} == {3}


def test_setexpected_can_make_a_minority_quorate() -> None:
    cluster = cluster_of(5)
    cluster.kill(3, 4, 5)
    assert error(cluster, 1, SetExpected(2)) is CsErrorCode.OK
    assert quorate(cluster) == {1, 2}


def test_setvotes_can_give_a_node_most_of_the_votes() -> None:
    """The new quorum, and whether it can be reached, follow from the votes then present."""
    cluster = cluster_of(3)
    assert error(cluster, 1, SetVotes(1, 100)) is CsErrorCode.OK
    assert (info(cluster, 2).total_votes, info(cluster, 2).quorum) == (102, 52)


def test_setexpected_below_the_votes_present_is_refused() -> None:
    assert error(cluster_of(3), 1, SetExpected(2)) is CsErrorCode.INVALID_PARAM


def test_setexpected_that_would_cost_quorum_is_refused() -> None:
    assert error(cluster_of(3), 1, SetExpected(6)) is CsErrorCode.INVALID_PARAM


def test_setexpected_may_raise_the_quorum_of_a_cluster_that_is_not_quorate() -> None:
    cluster = cluster_of(3)
    cluster.kill(2, 3)
    assert error(cluster, 1, SetExpected(9)) is CsErrorCode.OK


def test_setexpected_answers_before_its_events() -> None:
    cluster = cluster_of(3)
    client = tracker(cluster, 1, context=8)
    request = SetExpected(4)
    assert sent_to(client, cluster.request(client, request)) == [
        Response(request),
        ExpectedVotesNotification(8, 4),
    ]


def test_setvotes_changes_a_nodes_votes_everywhere() -> None:
    cluster = cluster_of(3)
    assert error(cluster, 1, SetVotes(2, 3)) is CsErrorCode.OK
    assert {info(cluster, nodeid, of=2).node_votes for nodeid in (1, 2, 3)} == {3}
    assert info(cluster, 1).quorum == 3


def test_setvotes_that_raise_the_total_raise_the_expected_votes() -> None:
    cluster = cluster_of(3)
    client = tracker(cluster, 1, context=8)
    assert ExpectedVotesNotification(8, 5) in sent_to(client, cluster.request(client, SetVotes(2, 3)))


def test_setvotes_of_a_node_never_seen_is_refused() -> None:
    assert error(cluster_of(3), 1, SetVotes(9, 1)) is CsErrorCode.NAME_NOT_FOUND


def test_setvotes_that_put_quorum_out_of_reach_are_refused_and_dropped() -> None:
    cluster = started(ClusterConfig((NodeConfig(1), NodeConfig(2, votes=3), NodeConfig(3))))
    assert error(cluster, 1, SetVotes(2, 0)) is CsErrorCode.INVALID_PARAM
    assert info(cluster, 1, of=2).node_votes == 3


def test_setvotes_of_node_0_change_the_devices_votes() -> None:
    cluster = cluster_of(3, device=DeviceConfig(votes=1))
    assert error(cluster, 1, SetVotes(0, 2)) is CsErrorCode.OK
    assert info(cluster, 3).qdevice_votes == 2


@pytest.mark.parametrize(
    "request_", [QdeviceSetExtraInfo(b"x"), QdeviceGetExtraInfo(1), UnknownRequest(99), GetQuorate()]
)
def test_requests_that_votequorum_3_1_7_does_not_know_are_invalid(
    request_: QdeviceSetExtraInfo | QdeviceGetExtraInfo | UnknownRequest | GetQuorate,
) -> None:
    assert error(cluster_of(1), 1, request_) is CsErrorCode.INVALID_PARAM


# -- tracking votequorum ---------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [TrackFlags.CURRENT, TrackFlags.CHANGES])
def test_trackstart_sends_the_current_state_before_its_answer(flags: TrackFlags) -> None:
    cluster = cluster_of(1)
    conn = cluster.connect(1, ServiceKind.VOTEQUORUM)
    request = TrackStart(flags, 7)
    assert sent_to(conn, cluster.request(conn, request)) == [
        NodelistNotification(7, RingId(1, 5), (1,)),
        QuorumNotification(7, True, (Node(1, MEMBER),)),
        Response(request),
    ]


def test_changes_only_sends_nothing_at_first() -> None:
    cluster = cluster_of(1)
    conn = cluster.connect(1, ServiceKind.VOTEQUORUM)
    request = TrackStart(TrackFlags.CHANGES_ONLY, 7)
    assert cluster.request(conn, request) == [(conn, Response(request))]


def test_current_does_not_follow_changes() -> None:
    cluster = cluster_of(2)
    client = tracker(cluster, 1, flags=TrackFlags.CURRENT)
    assert sent_to(client, cluster.kill(2)) == []


def test_a_second_trackstart_sends_the_state_with_its_own_context_and_keeps_the_first() -> None:
    cluster = cluster_of(2)
    client = tracker(cluster, 1, context=1)
    outputs = sent_to(client, cluster.request(client, TrackStart(TrackFlags.CHANGES, 2)))
    assert [getattr(output, "context", None) for output in outputs] == [2, 2, None]
    assert outputs[-1] == Response(TrackStart(TrackFlags.CHANGES, 2), CsErrorCode.EXIST)
    assert {getattr(event, "context", None) for event in sent_to(client, cluster.kill(2))} == {1}


def test_trackstop_ends_the_events() -> None:
    cluster = cluster_of(2)
    client = tracker(cluster, 1)
    assert answer(cluster.request(client, TrackStop()), client).error is CsErrorCode.OK
    assert sent_to(client, cluster.kill(2)) == []


def test_trackstop_without_trackstart_does_not_exist() -> None:
    assert error(cluster_of(1), 1, TrackStop()) is CsErrorCode.NOT_EXIST


def test_a_membership_change_sends_the_node_list_then_quorum_even_if_it_is_unchanged() -> None:
    cluster = cluster_of(3)
    client = tracker(cluster, 1, context=7)
    assert sent_to(client, cluster.kill(3)) == [
        NodelistNotification(7, RingId(1, 13), (1, 2)),
        QuorumNotification(7, True, (Node(2, MEMBER), Node(3, DEAD), Node(1, MEMBER))),
    ]


def test_a_node_above_all_known_ones_is_listed_before_the_last() -> None:
    cluster = cluster_of(4)
    assert [node.nodeid for node in cluster.node(1).votequorum.db.states()] == [2, 3, 4, 1]
    assert [node.nodeid for node in cluster.node(4).votequorum.db.states()] == [1, 2, 3, 4]


def test_the_newest_tracker_is_notified_first() -> None:
    cluster = cluster_of(2)
    first, second = tracker(cluster, 1), tracker(cluster, 1)
    assert [conn for conn, _ in cluster.kill(2)] == [second, first, second, first]


def test_the_two_services_events_come_in_corosyncs_order() -> None:
    cluster = cluster_of(3)
    votes, model1 = tracker(cluster, 1), quorum_client(cluster, 1, model=1)
    assert [(conn, type(event)) for conn, event in cluster.kill(3)] == [
        (model1, QuorumNodelistNotification),
        (votes, NodelistNotification),
        (model1, QuorumV1Notification),
        (votes, QuorumNotification),
    ]


# -- the quorum service ----------------------------------------------------------------------------------


def test_the_quorum_service_reports_whether_the_node_is_quorate() -> None:
    cluster = cluster_of(3)
    conn = cluster.connect(3, ServiceKind.QUORUM)
    assert answer(cluster.request(conn, GetQuorate()), conn).value is True
    cluster.kill(1, 2)
    assert answer(cluster.request(conn, GetQuorate()), conn).value is False


def test_the_quorum_type_is_set() -> None:
    cluster = cluster_of(1)
    conn = cluster.connect(1, ServiceKind.QUORUM)
    assert answer(cluster.request(conn, GetType()), conn).value is QuorumType.SET


def test_model_0_gets_one_event_for_a_membership_change() -> None:
    cluster = cluster_of(3)
    conn = quorum_client(cluster, 1, model=0)
    assert sent_to(conn, cluster.kill(3)) == [QuorumV0Notification(True, 13, (1, 2))]


def test_model_1_gets_the_node_list_and_then_quorum() -> None:
    cluster = cluster_of(3)
    conn = quorum_client(cluster, 1, model=1)
    assert sent_to(conn, cluster.kill(2, 3)) == [
        QuorumNodelistNotification(RingId(1, 13), (1,), (), (2, 3)),
        QuorumV1Notification(RingId(1, 13), False, (1,)),
    ]


def test_returning_nodes_count_as_joined() -> None:
    cluster = cluster_of(3)
    cluster.partition({1}, {2, 3})
    one, two = quorum_client(cluster, 1, model=1), quorum_client(cluster, 2, model=1)
    outputs = cluster.heal()
    nodelist = [sent_to(conn, outputs)[0] for conn in (one, two)]
    assert nodelist == [
        QuorumNodelistNotification(RingId(1, 17), (1, 2, 3), (2, 3), ()),
        QuorumNodelistNotification(RingId(1, 17), (1, 2, 3), (1,), ()),
    ]


def test_a_change_overtaken_by_another_is_announced_but_not_decided() -> None:
    cluster = cluster_of(3, device=DeviceConfig(votes=1))
    live_device(cluster, 1)
    client = tracker(cluster, 1)
    events = sent_to(client, cluster.partition({3}) + cluster.heal() + cluster.advance(30))
    assert [type(event) for event in events] == [
        NodelistNotification,
        NodelistNotification,
        QuorumNotification,
    ]


def test_another_model_is_refused() -> None:
    cluster = cluster_of(1)
    conn = cluster.connect(1, ServiceKind.QUORUM)
    assert answer(cluster.request(conn, ModelGetType(2)), conn).error is CsErrorCode.INVALID_PARAM


def test_trackstart_of_the_quorum_service_sends_the_state_without_joined_and_left() -> None:
    cluster = cluster_of(2)
    conn = cluster.connect(1, ServiceKind.QUORUM)
    cluster.request(conn, ModelGetType(1))
    request = TrackStart(TrackFlags.CURRENT)
    assert sent_to(conn, cluster.request(conn, request)) == [
        QuorumNodelistNotification(RingId(1, 9), (1, 2), (), ()),
        QuorumV1Notification(RingId(1, 9), True, (1, 2)),
        Response(request),
    ]


def test_a_second_trackstart_of_the_quorum_service_is_refused() -> None:
    cluster = cluster_of(1)
    conn = quorum_client(cluster, 1, model=0)
    outputs = cluster.request(conn, TrackStart(TrackFlags.CHANGES))
    assert answer(outputs, conn).error is CsErrorCode.EXIST


def test_trackstop_of_the_quorum_service_is_always_ok() -> None:
    cluster = cluster_of(1)
    conn = cluster.connect(1, ServiceKind.QUORUM)
    assert answer(cluster.request(conn, TrackStop()), conn).error is CsErrorCode.OK


def test_requests_that_the_quorum_service_does_not_know_are_invalid() -> None:
    cluster = cluster_of(1)
    conn = cluster.connect(1, ServiceKind.QUORUM)
    assert answer(cluster.request(conn, GetInfo()), conn).error is CsErrorCode.INVALID_PARAM


# -- connections -----------------------------------------------------------------------------------------


def test_a_node_that_goes_down_closes_its_connections() -> None:
    cluster = cluster_of(2)
    conn = tracker(cluster, 1)
    assert sent_to(conn, cluster.kill(1)) == [ConnectionClosed()]
    with pytest.raises(Library):
        cluster.request(conn, GetInfo())


def test_a_connection_does_not_come_back_with_its_node() -> None:
    cluster = cluster_of(2)
    conn = tracker(cluster, 1)
    cluster.kill(1)
    cluster.up(1)
    with pytest.raises(Library):
        cluster.request(conn, GetInfo())


def test_a_node_that_is_down_accepts_no_connection() -> None:
    with pytest.raises(Library):
        Cluster(ClusterConfig.of(1)).connect(1, ServiceKind.QUORUM)


def test_a_client_that_disconnected_gets_no_more() -> None:
    cluster = cluster_of(2)
    conn = tracker(cluster, 1)
    cluster.disconnect(conn)
    cluster.disconnect(conn)
    assert cluster.kill(2) == []


# -- rings -----------------------------------------------------------------------------------------------


def test_the_first_ring_of_a_fresh_node_has_only_that_node() -> None:
    cluster = Cluster(ClusterConfig.of(3))
    cluster.up(2)
    assert cluster.node(2).ring_id == RingId(2, 5)


def test_a_ring_is_named_after_its_lowest_node_and_continues_from_the_highest_sequence() -> None:
    cluster = cluster_of(3)
    cluster.partition({1}, {2, 3})
    assert (cluster.node(1).ring_id, cluster.node(3).ring_id) == (RingId(1, 13), RingId(2, 13))
    cluster.kill(3)
    cluster.heal()
    assert cluster.node(1).ring_id == RingId(1, 21)


def test_a_node_that_restarts_continues_from_its_stored_sequence() -> None:
    cluster = Cluster(ClusterConfig.of(1))
    cluster.up(1)
    cluster.kill(1)
    cluster.up(1)
    assert cluster.node(1).ring_id == RingId(1, 10)


def test_a_partition_that_does_not_change_keeps_its_ring() -> None:
    cluster = cluster_of(4)
    cluster.partition({1, 2}, {3, 4})
    before = cluster.node(1).ring_id
    cluster.partition({1, 2}, {3}, {4})
    assert cluster.node(1).ring_id == before


def test_a_lost_token_gives_the_same_members_a_new_ring() -> None:
    cluster = cluster_of(3)
    cluster.reform(2)
    assert (cluster.node(1).ring_id, cluster.node(1).members) == (RingId(1, 13), (1, 2, 3))


def test_nodes_in_no_group_stay_together() -> None:
    cluster = cluster_of(4)
    cluster.partition({2})
    assert cluster.partitions() == [(1, 3, 4), (2,)]


def test_a_node_starts_in_the_group_that_it_was_put_in() -> None:
    cluster = Cluster(ClusterConfig.of(3))
    cluster.partition({1}, {2, 3})
    cluster.up(1, 2, 3)
    assert cluster.partitions() == [(1,), (2, 3)]


def test_a_node_cannot_be_in_two_groups() -> None:
    with pytest.raises(ValueError, match="two groups"):
        cluster_of(3).partition({1, 2}, {2, 3})


def test_a_node_that_is_not_configured_is_no_such_node() -> None:
    with pytest.raises(ValueError, match="no such node: 4, 9"):
        cluster_of(3).up(9, 4)


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        cluster_of(1).advance(-1)


def test_time_adds_up_exactly() -> None:
    cluster = cluster_of(1)
    for _ in range(10):
        cluster.advance(0.1)
    assert cluster.now == 1


# -- cmap ------------------------------------------------------------------------------------------------


def runtime(cluster: Cluster, nodeid: int) -> dict[str, RuntimeValue]:
    """A node's runtime keys without their prefix."""
    prefix = "runtime.votequorum."
    return {key.removeprefix(prefix): value for key, value in cluster.node(nodeid).runtime.items()}


def test_a_plain_node_publishes_what_votequorum_publishes() -> None:
    assert runtime(cluster_of(3), 2) == {
        "this_node_id": RuntimeValue(ValueType.UINT32, 2),
        "ev_barrier": RuntimeValue(ValueType.UINT32, 3),
        "two_node": RuntimeValue(ValueType.UINT8, 0),
        "lowest_node_id": RuntimeValue(ValueType.UINT32, 1),
        "highest_node_id": RuntimeValue(ValueType.UINT32, 3),
    }


def test_a_node_that_was_never_quorate_knows_no_lowest_node() -> None:
    cluster = Cluster(ClusterConfig.of(3))
    cluster.up(1)
    assert "lowest_node_id" not in runtime(cluster, 1)


def test_wait_for_all_publishes_whether_it_waits() -> None:
    cluster = Cluster(ClusterConfig.of(2, two_node=True))
    cluster.up(1)
    assert runtime(cluster, 1)["wait_for_all_status"] == RuntimeValue(ValueType.UINT8, 1)
    cluster.up(2)
    assert runtime(cluster, 1)["wait_for_all_status"] == RuntimeValue(ValueType.UINT8, 0)


def test_the_other_options_publish_their_keys() -> None:
    breaker = runtime(cluster_of(2, auto_tie_breaker=(2, 1), expected_votes_tracking=True), 1)
    assert breaker["atb_type"] == RuntimeValue(ValueType.UINT32, 3)
    assert breaker["ev_tracking_barrier"] == RuntimeValue(ValueType.UINT32, 2)
    device = runtime(cluster_of(2, device=DeviceConfig(votes=1)), 1)
    assert device["qdevice_can_operate"] == RuntimeValue(ValueType.UINT8, 1)
