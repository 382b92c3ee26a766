"""Quorum devices: registering, polling, voting, and delaying a membership change."""

from __future__ import annotations

from votequorum_ipc.cluster import (
    Cluster,
    ClusterConfig,
    DeviceConfig,
    GetQuorate,
    QdeviceMasterWins,
    QdevicePoll,
    QdeviceRegister,
    QdeviceUnregister,
    QdeviceUpdate,
    Response,
    ServiceKind,
    SetVotes,
    configuration,
)
from votequorum_ipc.errors import CsErrorCode
from votequorum_ipc.types import (
    InfoFlags,
    Node,
    NodelistNotification,
    NodeState,
    QuorumNotification,
    RingId,
)

from .bench import (
    DEVICE,
    answer,
    cluster_of,
    error,
    info,
    live_device,
    master_wins,
    poll,
    quorate,
    register,
    sent_to,
    started,
    tracker,
)

ONE_VOTE = DeviceConfig(votes=1)


def pair() -> Cluster:
    """Two nodes and a device with one vote: three votes in all."""
    return cluster_of(2, device=ONE_VOTE)


def test_a_device_counts_as_expected_even_before_it_registers() -> None:
    assert (info(pair(), 1).node_expected_votes, info(pair(), 1).total_votes) == (3, 2)


def test_registering_is_answered_ok_and_shows_on_its_node_only() -> None:
    cluster = pair()
    assert error(cluster, 1, QdeviceRegister(DEVICE)) is CsErrorCode.OK
    assert InfoFlags.QDEVICE_REGISTERED in info(cluster, 1).flags
    assert InfoFlags.QDEVICE_REGISTERED not in info(cluster, 2).flags
    assert InfoFlags.QDEVICE_REGISTERED in info(cluster, 2, of=1).flags


def test_the_device_name_is_known_to_all_nodes() -> None:
    cluster = pair()
    register(cluster, 1)
    assert info(cluster, 2).qdevice_name == DEVICE


def test_registering_again_with_the_same_name_is_ok() -> None:
    cluster = pair()
    register(cluster, 1)
    assert error(cluster, 1, QdeviceRegister(DEVICE)) is CsErrorCode.OK


def test_registering_another_name_is_refused_on_every_node() -> None:
    cluster = pair()
    register(cluster, 1)
    for nodeid in (1, 2):
        assert error(cluster, nodeid, QdeviceRegister("other")) is CsErrorCode.EXIST


def test_a_name_that_leaves_no_room_for_its_nul_is_refused() -> None:
    cluster = pair()
    assert error(cluster, 1, QdeviceRegister("n" * 255)) is CsErrorCode.INVALID_PARAM
    assert error(cluster, 1, QdeviceRegister("n" * 254)) is CsErrorCode.OK


def test_a_poll_makes_the_device_alive_and_its_vote_count_on_that_node() -> None:
    cluster = pair()
    live_device(cluster, 1)
    flags = info(cluster, 1).flags
    assert InfoFlags.QDEVICE_ALIVE in flags
    assert InfoFlags.QDEVICE_CAST_VOTE in flags
    assert (info(cluster, 1).total_votes, info(cluster, 2).total_votes) == (3, 2)


def test_a_device_that_a_reload_replaces_by_two_node_still_counts_as_a_third_member_where_it_votes() -> None:
    cluster = pair()
    live_device(cluster, 1)
    cluster.reload(configuration(2, {"two_node": True}))
    assert [info(cluster, nodeid).quorum for nodeid in (1, 2)] == [2, 1]


def test_the_device_saves_the_node_that_it_votes_for() -> None:
    cluster = pair()
    conn = live_device(cluster, 1)
    cluster.partition({1}, {2})
    poll(cluster, conn)
    assert quorate(cluster) == {1}


def test_a_poll_without_the_vote_only_keeps_the_device_alive() -> None:
    cluster = pair()
    conn = live_device(cluster, 1)
    poll(cluster, conn, vote=False)
    flags = info(cluster, 1).flags
    assert InfoFlags.QDEVICE_ALIVE in flags
    assert InfoFlags.QDEVICE_CAST_VOTE not in flags


def test_a_device_that_falls_silent_loses_its_vote_after_the_timeout() -> None:
    cluster = pair()
    conn = live_device(cluster, 1)
    cluster.kill(2)
    poll(cluster, conn)
    assert quorate(cluster) == {1}
    cluster.advance(9.999)
    assert quorate(cluster) == {1}
    cluster.advance(0.001)
    assert quorate(cluster) == set()


def test_each_poll_restarts_the_timeout() -> None:
    cluster = pair()
    conn = live_device(cluster, 1)
    cluster.advance(7)
    poll(cluster, conn)
    assert cluster.next_deadline() == 17


def test_the_timeout_is_configurable() -> None:
    cluster = cluster_of(2, device=DeviceConfig(votes=1, timeout=1500))
    live_device(cluster, 1)
    assert cluster.next_deadline() == 1.5


def test_a_poll_with_an_old_ring_id_is_a_message_error() -> None:
    cluster = pair()
    old = cluster.node(1).ring_id
    register(cluster, 1)
    cluster.reform(1)
    assert error(cluster, 1, QdevicePoll(DEVICE, True, old)) is CsErrorCode.MESSAGE_ERROR


def test_device_calls_without_a_device_do_not_exist() -> None:
    cluster = pair()
    for request in (
        QdevicePoll(DEVICE, True, RingId(9, 9)),
        QdeviceUnregister(DEVICE),
        QdeviceUpdate(DEVICE, "new"),
        QdeviceMasterWins(DEVICE, True),
    ):
        assert error(cluster, 1, request) is CsErrorCode.NOT_EXIST


def test_device_calls_with_another_name_are_invalid() -> None:
    cluster = pair()
    register(cluster, 1)
    for request in (
        QdevicePoll("other", True, cluster.node(1).ring_id),
        QdeviceUnregister("other"),
        QdeviceUpdate("other", "new"),
        QdeviceMasterWins("other", True),
    ):
        assert error(cluster, 1, request) is CsErrorCode.INVALID_PARAM


def test_unregistering_removes_the_vote_and_the_name() -> None:
    cluster = pair()
    conn = live_device(cluster, 1)
    assert answer(cluster.request(conn, QdeviceUnregister(DEVICE)), conn).error is CsErrorCode.OK
    assert (info(cluster, 1).flags & ~InfoFlags.QUORATE, info(cluster, 2).qdevice_name) == (InfoFlags(0), "")
    assert cluster.next_deadline() is None


def test_the_name_stays_while_another_node_has_the_device() -> None:
    cluster = pair()
    register(cluster, 1)
    register(cluster, 2)
    error(cluster, 1, QdeviceUnregister(DEVICE))
    assert info(cluster, 1).qdevice_name == DEVICE


def test_a_device_can_be_renamed_everywhere() -> None:
    cluster = pair()
    register(cluster, 1)
    assert error(cluster, 1, QdeviceUpdate(DEVICE, "new")) is CsErrorCode.OK
    assert {info(cluster, nodeid).qdevice_name for nodeid in (1, 2)} == {"new"}


def test_a_device_outlives_the_connection_that_registered_it() -> None:
    cluster = pair()
    conn = live_device(cluster, 1)
    cluster.disconnect(conn)
    assert InfoFlags.QDEVICE_ALIVE in info(cluster, 1).flags


def test_a_node_that_joins_learns_the_devices_name() -> None:
    cluster = Cluster(ClusterConfig.of(2, device=ONE_VOTE))
    cluster.up(1)
    register(cluster, 1)
    cluster.up(2)
    assert info(cluster, 2).qdevice_name == DEVICE


def test_a_master_wins_device_makes_its_partition_quorate_without_a_majority() -> None:
    cluster = started(ClusterConfig.of(5, device=ONE_VOTE))
    conn = live_device(cluster, 1)
    cluster.kill(3, 4, 5)
    poll(cluster, conn)
    assert quorate(cluster) == set()
    master_wins(cluster, conn)
    assert quorate(cluster) == {1}


def test_master_wins_can_be_withdrawn() -> None:
    cluster = started(ClusterConfig.of(5, device=ONE_VOTE))
    conn = live_device(cluster, 1)
    cluster.kill(2, 3, 4, 5)
    poll(cluster, conn)
    master_wins(cluster, conn)
    master_wins(cluster, conn, allow=False)
    assert quorate(cluster) == set()


def test_master_wins_without_the_devices_vote_has_no_effect() -> None:
    cluster = started(ClusterConfig.of(5, device=ONE_VOTE))
    conn = live_device(cluster, 1)
    cluster.kill(2, 3, 4, 5)
    poll(cluster, conn, vote=False)
    master_wins(cluster, conn)
    assert quorate(cluster) == set()


def test_a_live_device_delays_the_membership_change_until_it_polls_with_the_new_ring() -> None:
    cluster = pair()
    conn = live_device(cluster, 1)
    client = tracker(cluster, 1, context=5)
    held = sent_to(client, cluster.kill(2))
    assert held == [NodelistNotification(5, RingId(1, 13), (1,))]
    assert cluster.is_synchronising(1)
    done = sent_to(client, poll(cluster, conn))
    device = Node(0, NodeState(0))
    nodes = (Node(2, NodeState.DEAD), Node(1, NodeState.MEMBER), device)
    assert done == [QuorumNotification(5, True, nodes)]
    assert not cluster.is_synchronising(1)


def test_a_device_on_one_node_delays_all_nodes_of_the_partition() -> None:
    cluster = cluster_of(3, device=ONE_VOTE)
    live_device(cluster, 1)
    client = tracker(cluster, 2)
    cluster.kill(3)
    assert cluster.is_synchronising(2)
    done = sent_to(client, cluster.advance(30))
    assert [type(event) for event in done] == [QuorumNotification]


def test_without_a_poll_the_change_completes_after_the_sync_timeout_and_the_device_is_lost() -> None:
    cluster = pair()
    live_device(cluster, 1)
    cluster.kill(2)
    cluster.advance(29.999)
    assert cluster.is_synchronising(1)
    cluster.advance(0.001)
    assert not cluster.is_synchronising(1)
    assert quorate(cluster) == set()
    assert InfoFlags.QDEVICE_ALIVE not in info(cluster, 1).flags


def test_a_device_that_never_polled_delays_nothing() -> None:
    cluster = pair()
    register(cluster, 1)
    cluster.kill(2)
    assert not cluster.is_synchronising(1)


def test_unregistering_releases_the_membership_change() -> None:
    cluster = pair()
    conn = live_device(cluster, 1)
    cluster.kill(2)
    cluster.request(conn, QdeviceUnregister(DEVICE))
    assert not cluster.is_synchronising(1)


def test_killing_the_node_with_the_device_releases_the_others() -> None:
    cluster = cluster_of(3, device=ONE_VOTE)
    live_device(cluster, 1)
    cluster.kill(3)
    cluster.kill(1)
    assert not cluster.is_synchronising(2)


def test_the_quorum_services_clients_are_answered_when_the_change_is_done() -> None:
    cluster = pair()
    conn = live_device(cluster, 1)
    client = cluster.connect(1, ServiceKind.QUORUM)
    cluster.kill(2)
    assert cluster.request(client, GetQuorate()) == []
    assert sent_to(client, poll(cluster, conn)) == [Response(GetQuorate(), value=True)]


def test_a_client_that_leaves_while_it_waits_is_not_answered() -> None:
    cluster = pair()
    conn = live_device(cluster, 1)
    client = cluster.connect(1, ServiceKind.QUORUM)
    cluster.kill(2)
    cluster.request(client, GetQuorate())
    cluster.disconnect(client)
    assert sent_to(client, poll(cluster, conn)) == []


def split_and_set(votes: int, to: int, speaks_first: int | None = None) -> Cluster:
    """Five nodes that have met again after the majority changed the device's votes without node 1."""
    cluster = cluster_of(5, device=DeviceConfig(votes=votes))
    if speaks_first is not None:
        cluster.speaks_first[1, 2, 3, 4, 5] = speaks_first - 1
    cluster.partition({1}, {2, 3, 4, 5})
    assert quorate(cluster) == {2, 3, 4, 5}
    assert error(cluster, 2, SetVotes(0, to)) is CsErrorCode.OK
    cluster.heal()
    return cluster


def device_votes(cluster: Cluster) -> list[int]:
    return [info(cluster, nodeid).qdevice_votes for nodeid in cluster.nodes]


def test_a_node_learns_a_devices_votes_when_the_partition_heals() -> None:
    assert device_votes(split_and_set(1, to=2)) == [2, 2, 2, 2, 2]


def test_a_device_gets_its_old_votes_back_from_a_node_that_was_away() -> None:
    """Node 3 speaks first, so node 1 is quorate when its own message arrives."""
    assert device_votes(split_and_set(2, to=1)) == [2, 2, 2, 2, 2]


def test_a_devices_votes_fall_only_on_a_node_without_quorum_that_hears_from_a_quorate_one() -> None:
    """The quorate nodes hear of the old votes from node 1, and for them a device's votes only grow."""
    assert device_votes(split_and_set(2, to=1, speaks_first=1)) == [1, 2, 2, 2, 2]
