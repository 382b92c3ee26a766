"""Membership changes of a real three-node cluster arrive on every node, complete and in order.

Only under trio: each test changes a cluster, which takes seconds. `test_events` covers events on one node in
each way to wait.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
import trio

from tests.client.support import code_of
from tests.conftest import StartCluster
from tests.real.cluster import Cluster, three_nodes
from tests.real.config import Config, Device
from tests.real.waiting import DEADLINE, eventually_async
from votequorum_ipc import (
    CsErrorCode,
    InfoFlags,
    NodelistNotification,
    NodeState,
    Quorum,
    QuorumNodelistNotification,
    QuorumNotification,
    QuorumV1Notification,
    RingId,
    TrackFlags,
    Votequorum,
)

ALL = (1, 2, 3)


@contextlib.asynccontextmanager
async def on_every_node(cluster: Cluster) -> AsyncIterator[dict[int, Votequorum]]:
    """A votequorum handle on each node."""
    async with contextlib.AsyncExitStack() as stack:
        handles = {}
        for nodeid in ALL:
            with cluster[nodeid].namespace():
                handle = await Votequorum.initialize()
            handles[nodeid] = await stack.enter_async_context(handle)
        yield handles


async def until_members(handle: Votequorum, members: tuple[int, ...]) -> list[object]:
    """All events up to the quorum notification that ends the membership change to `members`."""
    events: list[object] = []
    met = False
    with trio.fail_after(DEADLINE):
        async for event in handle.events():
            events.append(event)
            met = met or (isinstance(event, NodelistNotification) and event.members == members)
            if met and isinstance(event, QuorumNotification):
                return events
    raise AssertionError("the events ended")


def rings(events: list[object]) -> list[RingId]:
    return [event.ring_id for event in events if isinstance(event, NodelistNotification)]


def states(events: list[object]) -> dict[int, NodeState]:
    last = events[-1]
    assert isinstance(last, QuorumNotification)
    return dict(last.nodes)


class Told:
    """What one node's events have reported since `trackstart`."""

    def __init__(self) -> None:
        self.events: list[NodelistNotification | QuorumNotification] = []

    async def listen(self, handle: Votequorum) -> None:
        async for event in handle.events():
            assert isinstance(event, NodelistNotification | QuorumNotification)
            self.events.append(event)

    def membership(self) -> tuple[RingId, tuple[int, ...]] | None:
        """The current membership; None until the quorum notification that ends the change to it."""
        if len(self.events) < 2 or not isinstance(self.events[-1], QuorumNotification):
            return None
        last = [event for event in self.events if isinstance(event, NodelistNotification)][-1]
        return last.ring_id, last.members

    def quorum(self) -> QuorumNotification:
        event = self.events[-1]
        assert isinstance(event, QuorumNotification)
        return event


async def until_told(told: dict[int, Told], nodeids: tuple[int, ...]) -> RingId:
    """Wait until these nodes report one membership, with exactly them. A busy cluster may take detours."""

    def agreed() -> set[tuple[RingId, tuple[int, ...]] | None] | None:
        memberships = {told[nodeid].membership() for nodeid in nodeids}
        [first, *more] = memberships
        return memberships if first is not None and not more and first[1] == nodeids else None

    [membership] = await eventually_async(agreed, otherwise=lambda: f"{nodeids}: {told}") or [None]
    assert membership is not None
    return membership[0]


async def test_a_partition_and_its_healing_arrive_on_every_node(cluster3: Cluster) -> None:
    async with on_every_node(cluster3) as handles, trio.open_nursery() as nursery:
        told = {nodeid: Told() for nodeid in ALL}
        for nodeid, handle in handles.items():
            await handle.trackstart(context=nodeid)
            nursery.start_soon(told[nodeid].listen, handle)
        whole = await until_told(told, ALL)

        cluster3.partition([1], [2, 3])
        alone = await until_told(told, (1,))
        together = await until_told(told, (2, 3))
        assert alone != together
        assert min(alone.seq, together.seq) > whole.seq
        member, dead = NodeState.MEMBER, NodeState.DEAD
        assert dict(told[1].quorum().nodes) == {1: member, 2: dead, 3: dead}
        for nodeid in (2, 3):
            assert dict(told[nodeid].quorum().nodes) == {1: dead, 2: member, 3: member}
        assert [told[nodeid].quorum().quorate for nodeid in ALL] == [False, True, True]

        cluster3.heal()
        healed = await until_told(told, ALL)
        assert healed.seq > max(alone.seq, together.seq)
        for nodeid in ALL:
            assert dict(told[nodeid].quorum().nodes) == dict.fromkeys(ALL, member)
            assert told[nodeid].quorum().quorate
            assert {event.context for event in told[nodeid].events} == {nodeid}
            rings = [
                event.ring_id for event in told[nodeid].events if isinstance(event, NodelistNotification)
            ]
            assert [ring.seq for ring in rings] == sorted({ring.seq for ring in rings})
        assert (await handles[1].getinfo()).flags == InfoFlags.QUORATE
        nursery.cancel_scope.cancel()


async def test_the_quorum_service_reports_who_left_and_who_joined(cluster3: Cluster) -> None:
    with cluster3[1].namespace():
        quorum = await Quorum.initialize()
    async with quorum:
        await quorum.trackstart(TrackFlags.CHANGES_ONLY)
        members = set(ALL)
        left: list[int] = []
        joined: list[int] = []
        quorate: list[bool] = []
        cluster3.isolate(1)
        with trio.fail_after(DEADLINE):
            async for event in quorum.events():
                if isinstance(event, QuorumNodelistNotification):
                    # A node may be in both lists: it has left and joined again meanwhile.
                    members = members - set(event.left) | set(event.joined)
                    assert members == set(event.members)
                    left += event.left
                    joined += event.joined
                elif isinstance(event, QuorumV1Notification):
                    quorate.append(event.quorate)
                    if event.members == (1,):
                        cluster3.heal()
                    elif event.members == ALL and left:
                        break
        assert {2, 3} <= set(left)
        assert {2, 3} <= set(joined)
        assert False in quorate
        assert quorate[-1] is True
        assert await quorum.getquorate() is True


@pytest.fixture
def cluster_with_device(start_cluster: StartCluster) -> Cluster:
    """Three nodes that accept a device with one vote, which may be silent for two seconds."""
    device = Device(votes=1, timeout=2000, sync_timeout=4000)
    return start_cluster(Config(nodes=three_nodes(), device=device))


async def test_only_the_current_ring_id_is_accepted_by_poll(cluster_with_device: Cluster) -> None:
    cluster = cluster_with_device
    async with on_every_node(cluster) as handles:
        handle = handles[1]
        await handle.qdevice_register("device")
        await handle.trackstart()
        [old] = rings(await until_members(handle, ALL))
        await handle.qdevice_poll("device", True, old)
        cluster.partition([1], [2, 3])
        new = None
        with trio.fail_after(DEADLINE):
            async for event in handle.events():
                # The membership is complete only after the device has polled; this notification comes before.
                if isinstance(event, NodelistNotification) and event.members == (1,):
                    new = event.ring_id
                    break
        assert new is not None
        assert await code_of(handle.qdevice_poll("device", True, old)) == CsErrorCode.MESSAGE_ERROR
        await handle.qdevice_poll("device", True, new)
        info = await handle.getinfo()
        assert InfoFlags.QDEVICE_CAST_VOTE in info.flags
        await handle.qdevice_unregister("device")


async def test_a_devices_vote_counts_while_it_polls_and_is_lost_when_it_stops(
    cluster_with_device: Cluster,
) -> None:
    async with on_every_node(cluster_with_device) as handles:
        device = handles[1]
        assert (await device.getinfo()).node_expected_votes == 4
        await device.trackstart()
        ring = rings(await until_members(device, ALL))[-1]
        before = await device.getinfo()
        assert (before.total_votes, before.quorum) == (3, 3)
        await device.qdevice_register("device")
        await device.qdevice_poll("device", True, ring)
        await device.qdevice_master_wins("device", True)
        info = await device.getinfo()
        assert info.total_votes == 4
        assert (info.qdevice_votes, info.qdevice_name) == (1, "device")
        voting = InfoFlags.QDEVICE_REGISTERED | InfoFlags.QDEVICE_ALIVE | InfoFlags.QDEVICE_CAST_VOTE
        assert info.flags == InfoFlags.QUORATE | voting | InfoFlags.QDEVICE_MASTER_WINS
        await device.qdevice_update("device", "renamed")
        await _until_flags(device, InfoFlags.QUORATE | voting | InfoFlags.QDEVICE_MASTER_WINS, "renamed")
        # The device no longer polls: after its timeout it counts as dead, and its vote is gone.
        await _until_flags(
            device,
            InfoFlags.QUORATE | InfoFlags.QDEVICE_REGISTERED | InfoFlags.QDEVICE_MASTER_WINS,
            "renamed",
        )
        assert (await device.getinfo()).total_votes == 3
        await device.qdevice_unregister("renamed")
        await _until_flags(device, InfoFlags.QUORATE, "")


async def _until_flags(handle: Votequorum, flags: InfoFlags, name: str) -> None:
    with trio.fail_after(DEADLINE):
        while True:
            info = await handle.getinfo()
            if (info.flags, info.qdevice_name) == (flags, name):
                return
            await trio.sleep(0.005)


async def test_the_device_keeps_its_node_quorate_when_the_others_are_cut_off(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster(Config(nodes=three_nodes(), device=Device(votes=2, sync_timeout=4000)))
    async with on_every_node(cluster) as handles:
        handle = handles[1]
        await handle.qdevice_register("device")
        await handle.trackstart()
        async with trio.open_nursery() as nursery:

            async def vote() -> None:
                async for event in handle.events():
                    if isinstance(event, NodelistNotification):
                        await handle.qdevice_poll("device", True, event.ring_id)

            nursery.start_soon(vote)
            await eventually_async(lambda: _quorate(cluster) == [1, 2, 3])
            cluster.partition([1], [2, 3])
            await cluster.until_agreed()
            await eventually_async(lambda: _quorate(cluster) == [1])
            nursery.cancel_scope.cancel()
        await handle.qdevice_unregister("device")


def _quorate(cluster: Cluster) -> list[int]:
    statuses = cluster.statuses()
    return [nodeid for nodeid, status in statuses.items() if status is not None and status.quorate]


async def test_100_tasks_share_one_connection_and_each_gets_its_own_answers(cluster3: Cluster) -> None:
    with cluster3[1].namespace():
        handle = await Votequorum.initialize()
    wrong: list[tuple[int, int]] = []

    async def ask(first: int) -> None:
        for number in range(200):
            nodeid = 1 + (first + number) % 3
            info = await handle.getinfo(nodeid)
            if info.node_id != nodeid:
                wrong.append((nodeid, info.node_id))

    async with handle, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(ask, number)
    assert wrong == []
