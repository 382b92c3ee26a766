"""Our own clients against the embedded daemon, over both transports, without a corosync."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from typing import Any, Literal

import pytest
import trio

from votequorum_ipc import (
    BadHandle,
    Cmap,
    Exist,
    InfoFlags,
    InvalidParam,
    Library,
    MessageError,
    NameNotFound,
    Node,
    NodelistNotification,
    NodeState,
    NotExist,
    QuorumNodelistNotification,
    QuorumNotification,
    QuorumType,
    QuorumV0Notification,
    QuorumV1Notification,
    RingId,
    TrackFlags,
    Votequorum,
)
from votequorum_ipc.cfg import Cfg
from votequorum_ipc.cluster import DeviceConfig
from votequorum_ipc.cmap import KeyChange, TrackType
from votequorum_ipc.handle import Handle
from votequorum_ipc.testing import SimulatedCluster, simulated_cluster

Transport = Literal["shm", "socket"]

MEMBER, DEAD = NodeState.MEMBER, NodeState.DEAD


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> Transport:
    name: Transport = request.param
    return name


@pytest.fixture
async def cluster(transport: Transport) -> AsyncIterator[SimulatedCluster]:
    """Three nodes with a vote each."""
    async with simulated_cluster(3, transport=transport) as cluster:
        yield cluster


@pytest.fixture
async def pair(transport: Transport) -> AsyncIterator[SimulatedCluster]:
    """Two nodes, and a quorum device that may vote."""
    async with simulated_cluster(2, transport=transport, device=DeviceConfig(votes=1)) as cluster:
        yield cluster


def delivered(handle: Handle[Any]) -> list[Any]:
    """The events that have already arrived, decoded; does not wait."""
    found = []
    while (raw := handle.connection.next_event_nowait()) is not None:
        found.append(handle._decode_event(raw))
    return found


PAUSED = 2
"""The flow control level at which a client's requests wait (QB_IPCS_RATE_OFF_2)."""


def flow_control(handle: Handle[Any]) -> int:
    """The flow control level that the daemon shows a client."""
    return handle.connection._transport.flow_control()


async def refused(error: type[Exception], call: Any) -> None:
    with pytest.raises(error):
        await call


# --- votequorum ---


async def test_getinfo_answers_for_each_node(cluster: SimulatedCluster) -> None:
    vq = await cluster.connect(1)
    info = await vq.getinfo()
    assert (info.node_id, info.node_state, info.node_votes) == (1, MEMBER, 1)
    assert (info.total_votes, info.quorum, info.highest_expected) == (3, 2, 3)
    assert info.flags == InfoFlags.QUORATE
    cluster.kill(3)
    assert (await vq.getinfo(3)).node_state is DEAD
    await refused(NotExist, vq.getinfo(9))


async def test_votes_change_everywhere_and_trackers_are_notified(cluster: SimulatedCluster) -> None:
    one, two = await cluster.connect(1), await cluster.connect(2)
    await two.trackstart(flags=TrackFlags.CHANGES_ONLY, context=5)
    await one.setvotes(2, 4)
    assert (await two.getinfo()).node_votes == 4
    await one.setexpected(7)
    assert (await two.getinfo()).highest_expected == 7
    assert [event.expected_votes for event in delivered(two)] == [6, 7]
    await refused(NameNotFound, one.setvotes(9, 1))
    await refused(InvalidParam, one.setexpected(1))


async def test_tracking_begins_with_the_current_state_and_ends(cluster: SimulatedCluster) -> None:
    vq = await cluster.connect(1)
    await refused(NotExist, vq.trackstop())
    await vq.trackstart(context=7)
    nodelist, quorum = delivered(vq)
    assert (nodelist.context, nodelist.members) == (7, (1, 2, 3))
    assert (quorum.context, quorum.quorate) == (7, True)
    await refused(Exist, vq.trackstart())
    assert len(delivered(vq)) == 2
    await vq.trackstop()
    cluster.kill(3)
    assert delivered(vq) == []


async def test_a_cut_has_notified_every_client_when_it_returns(cluster: SimulatedCluster) -> None:
    one, two = await cluster.connect(1), await cluster.connect(2)
    for vq in (one, two):
        await vq.trackstart(flags=TrackFlags.CHANGES_ONLY)
    cluster.partition({1}, {2, 3})
    nodelist, quorum = delivered(one)
    assert isinstance(nodelist, NodelistNotification)
    assert nodelist.members == (1,)
    assert quorum == QuorumNotification(0, False, (Node(2, DEAD), Node(3, DEAD), Node(1, MEMBER)))
    nodelist, quorum = delivered(two)
    assert nodelist.members == (2, 3)
    assert quorum.quorate
    cluster.heal()
    assert [event.members for event in delivered(one) if isinstance(event, NodelistNotification)] == [
        (1, 2, 3)
    ]


async def test_a_hundred_tasks_share_a_handle(cluster: SimulatedCluster) -> None:
    vq = await cluster.connect(1)
    seen = []

    async def ask(nodeid: int) -> None:
        for _ in range(5):
            seen.append((nodeid, (await vq.getinfo(nodeid)).node_id))

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(ask, 1 + number % 3)
    assert len(seen) == 500
    assert all(asked == answered for asked, answered in seen)


async def test_cancelled_calls_leave_the_handle_usable(cluster: SimulatedCluster) -> None:
    vq = await cluster.connect(1)
    chance = random.Random(1)

    async def ask(nodeid: int) -> None:
        with trio.CancelScope() as scope:
            scope.deadline = trio.current_time() + chance.random() / 1000
            assert (await vq.getinfo(nodeid)).node_id == nodeid

    for _ in range(10):
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(ask, 1 + number % 3)
        assert (await vq.getinfo(2)).node_id == 2


async def test_a_call_newer_than_this_corosync_is_refused_like_any_unknown_message(
    cluster: SimulatedCluster,
) -> None:
    vq = await cluster.connect(1)
    await refused(InvalidParam, vq.qdevice_set_extra_info(b"x"))
    await refused(InvalidParam, vq.qdevice_get_extra_info(1))
    assert (await vq.getinfo()).node_id == 1


# --- a quorum device ---


async def polled(vq: Votequorum, name: str = "D", cast_vote: bool = True) -> RingId:
    await vq.trackstart(flags=TrackFlags.CURRENT)
    nodelist, _ = delivered(vq)
    await vq.qdevice_poll(name, cast_vote, nodelist.ring_id)
    ring_id: RingId = nodelist.ring_id
    return ring_id


async def test_a_device_votes_until_it_is_silent_for_too_long(pair: SimulatedCluster) -> None:
    vq = await pair.connect(1)
    await refused(NotExist, vq.qdevice_unregister("D"))
    await vq.qdevice_register("D")
    ring_id = await polled(vq)
    info = await vq.getinfo()
    assert (info.total_votes, info.qdevice_name, info.qdevice_votes) == (3, "D", 1)
    await refused(MessageError, vq.qdevice_poll("D", True, RingId(ring_id.nodeid, ring_id.seq + 1)))
    pair.advance(9.9)
    assert InfoFlags.QDEVICE_ALIVE in (await vq.getinfo()).flags
    pair.advance(0.2)
    assert InfoFlags.QDEVICE_ALIVE not in (await vq.getinfo()).flags
    await vq.qdevice_master_wins("D", True)
    await vq.qdevice_update("D", "E")
    await refused(InvalidParam, vq.qdevice_unregister("D"))
    await vq.qdevice_unregister("E")
    assert (await vq.getinfo()).qdevice_name == ""


async def test_with_keep_time_time_passes_with_the_clock(
    pair: SimulatedCluster, autojump_clock: trio.testing.MockClock
) -> None:
    vq = await pair.connect(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.keep_time)
        await trio.sleep(20)
        await vq.qdevice_register("D")
        await polled(vq)
        await trio.sleep(9)
        assert InfoFlags.QDEVICE_ALIVE in (await vq.getinfo()).flags
        await trio.sleep(2)
        assert InfoFlags.QDEVICE_ALIVE not in (await vq.getinfo()).flags
        nursery.cancel_scope.cancel()


async def test_while_a_device_delays_a_change_only_votequorum_answers(pair: SimulatedCluster) -> None:
    vq, quorum = await pair.connect(1), await pair.connect_quorum(1)
    await vq.qdevice_register("D")
    await polled(vq)
    pair.kill(2)
    answers = []

    async def ask() -> None:
        answers.append(await quorum.getquorate())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(10):
            await vq.getinfo()
        assert answers == []
        assert (flow_control(quorum), flow_control(vq)) == (PAUSED, 0)
        await polled(vq)
    assert answers == [True]
    assert flow_control(quorum) == 0


# --- quorum ---


async def test_the_quorum_service_speaks_both_models(cluster: SimulatedCluster) -> None:
    old, new = await cluster.connect_quorum(1, model=0), await cluster.connect_quorum(1, model=1)
    for quorum in (old, new):
        assert quorum.quorum_type is QuorumType.SET
        assert await quorum.getquorate()
        await quorum.trackstart()
    assert [type(event) for event in delivered(old)] == [QuorumV0Notification]
    assert [type(event) for event in delivered(new)] == [QuorumNodelistNotification, QuorumV1Notification]
    cluster.partition({1}, {2, 3})
    (event,) = delivered(old)
    assert (event.quorate, event.members) == (False, (1,))
    nodelist, event = delivered(new)
    assert (nodelist.members, nodelist.joined, nodelist.left) == ((1,), (), (2, 3))
    assert (event.quorate, event.members) == (False, (1,))
    await old.trackstop()
    cluster.heal()
    assert delivered(old) == []
    assert len(delivered(new)) == 2


# --- cmap and cfg ---


async def test_keys_can_be_read_listed_and_followed(cluster: SimulatedCluster) -> None:
    async with await Cmap.initialize(address=cluster.address(2)) as cmap:
        assert await cmap.get("totem.cluster_name") == "simulated"
        assert await cmap.get("nodelist.local_node_pos") == 1
        assert await cmap.get("runtime.votequorum.this_node_id") == 2
        assert await cmap.keys("nodelist.node.2.") == [
            f"nodelist.node.2.{name}" for name in ("name", "nodeid", "ring0_addr")
        ]
        await refused(NotExist, cmap.get("no.such.key"))
        number = await cmap.track_add("runtime.members.", TrackType.MODIFY | TrackType.PREFIX)
        cluster.kill(3)
        key = "runtime.members.3.status"
        assert delivered(cmap) == [KeyChange(number, key, TrackType.MODIFY, "joined", "left")]
        await cmap.track_delete(number)
        cluster.up(3)
        assert delivered(cmap) == []


async def test_reading_a_key_always_gives_its_current_value(cluster: SimulatedCluster) -> None:
    async with await Cmap.initialize(address=cluster.address(1)) as cmap:
        for change, status in ((cluster.kill, "left"), (cluster.up, "joined")):
            change(3)
            for _ in range(2):
                assert await cmap.get("runtime.members.3.status") == status
        assert await cmap.get("runtime.members.3.join_count") == 2


async def test_only_flags_that_cmap_has_can_be_tracked(cluster: SimulatedCluster) -> None:
    async with await Cmap.initialize(address=cluster.address(1)) as cmap:
        for flags in (16, 32 | TrackType.ADD, 1 << 30):
            await refused(InvalidParam, cmap.track_add("totem.", TrackType(flags)))


@pytest.mark.parametrize("value", [1, 7])
async def test_an_operator_can_end_the_wait_for_all(transport: Transport, value: int) -> None:
    from votequorum_ipc.ipc import connect
    from votequorum_ipc.wire import cmap as cmap_wire

    async with simulated_cluster(3, transport=transport, wait_for_all=True) as cluster:
        cluster.kill(1, 2, 3)
        cluster.up(1, 2)
        quorum = await cluster.connect_quorum(1)
        assert not await quorum.getquorate()
        order = cmap_wire.SET.encode(key_name="quorum.cancel_wait_for_all", type=2, value=bytes([value]))
        async with await connect("cmap", address=cluster.address(1)) as cmap:
            assert cmap_wire.SET_RESPONSE.decode(await cmap.request(order)).error == 1
        assert await quorum.getquorate()


async def test_the_addresses_and_the_own_id_are_reported(cluster: SimulatedCluster) -> None:
    async with await Cfg.initialize(address=cluster.address(2)) as cfg:
        assert await cfg.local_get() == 2
        assert await cfg.get_node_addrs(3) == [IPv4Address("127.0.0.3")]
        assert await cfg.get_node_addrs(0) == [IPv4Address("127.0.0.2")]
        await refused(NotExist, cfg.get_node_addrs(9))


# --- nodes that come and go ---


@pytest.mark.parametrize("end", ["kill", "leave"])
async def test_a_node_that_leaves_disconnects_its_clients(cluster: SimulatedCluster, end: str) -> None:
    vq = await cluster.connect(2)
    await vq.trackstart(flags=TrackFlags.CHANGES_ONLY)
    getattr(cluster, end)(2)
    await refused(Library, vq.getinfo())
    await refused(Library, vq.next_event())
    await refused(Library, cluster.connect(2))
    assert (await (await cluster.connect(1)).getinfo(2)).node_state is DEAD
    cluster.up(2)
    assert (await (await cluster.connect(2)).getinfo()).node_id == 2


async def test_a_call_under_way_ends_with_its_node(pair: SimulatedCluster) -> None:
    vq, quorum = await pair.connect(1), await pair.connect_quorum(1)
    await vq.qdevice_register("D")
    await polled(vq)
    pair.kill(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused, Library, quorum.getquorate())
        await trio.testing.wait_all_tasks_blocked()
        pair.kill(1)


async def test_handles_end_with_the_cluster(transport: Transport) -> None:
    async with simulated_cluster(2, transport=transport) as cluster:
        vq = await cluster.connect(1)
    await refused(BadHandle, vq.getinfo())


async def test_ten_clusters_run_side_by_side(transport: Transport) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clusters = [
            await stack.enter_async_context(simulated_cluster(2 + number % 3, transport=transport))
            for number in range(10)
        ]
        handles = [await cluster.connect(2) for cluster in clusters]
        clusters[4].kill(1)
        votes = [(await vq.getinfo()).total_votes for vq in handles]
    assert votes == [2, 3, 4, 2, 2, 4, 2, 3, 4, 2]


async def test_an_exception_in_the_block_is_raised_unchanged(transport: Transport) -> None:
    with pytest.raises(ZeroDivisionError):
        async with simulated_cluster(2, transport=transport):
            raise ZeroDivisionError


async def test_votes_too_large_for_the_protocol_wrap_as_in_c(cluster: SimulatedCluster) -> None:
    vq = await cluster.connect(1)
    for nodeid in (1, 2, 3):
        await vq.setvotes(nodeid, 0xFFFFFFFF)
    assert (await vq.getinfo()).total_votes == 3 * 0xFFFFFFFF & 0xFFFFFFFF


async def test_a_device_name_may_have_any_bytes(pair: SimulatedCluster) -> None:
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    vq = await pair.connect(1)
    await vq.qdevice_register(name)
    assert (await vq.getinfo()).qdevice_name == name
