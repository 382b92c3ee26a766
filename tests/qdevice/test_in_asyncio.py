"""A quorum device in an asyncio program, as in examples/qdevice/in_asyncio.py."""

from __future__ import annotations

import asyncio
import threading

import pytest

from examples.qdevice.in_asyncio import Heartbeat, quorum_device
from tests.real.waiting import DEADLINE
from votequorum_ipc import Access, NodeInfo, Votequorum
from votequorum_ipc.testing import DeviceConfig, SimulatedClusterProxy, simulated_cluster_in_thread

from .support import CAST, REGISTERED

NAME = "test"


async def own_info(cluster: SimulatedClusterProxy) -> NodeInfo:
    async with await Votequorum.initialize(address=cluster.address(1)) as votequorum:
        return await votequorum.getinfo()


async def until_vote(cluster: SimulatedClusterProxy, cast: bool) -> None:
    async with asyncio.timeout(DEADLINE):
        while (CAST in (await own_info(cluster)).flags) is not cast:
            await asyncio.sleep(0.01)


def test_it_votes_within_the_block_and_is_gone_afterwards() -> None:
    async def main(cluster: SimulatedClusterProxy) -> None:
        async with quorum_device(NAME, Heartbeat(DEADLINE).vote, address=cluster.address(1)):
            await until_vote(cluster, cast=True)
            assert (await own_info(cluster)).qdevice_name == NAME
        assert REGISTERED not in (await own_info(cluster)).flags

    with simulated_cluster_in_thread(2, device=DeviceConfig(votes=1)) as cluster:
        asyncio.run(main(cluster))


def test_a_cancelled_program_has_withdrawn_its_vote_when_it_ends() -> None:
    async def main(cluster: SimulatedClusterProxy) -> None:
        async with quorum_device(NAME, Heartbeat(DEADLINE).vote, address=cluster.address(1)):
            await until_vote(cluster, cast=True)
            current = asyncio.current_task()
            assert current is not None
            current.cancel()
            await asyncio.sleep(DEADLINE)

    with simulated_cluster_in_thread(2, device=DeviceConfig(votes=1)) as cluster:
        before = threading.active_count()
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(main(cluster))
        assert REGISTERED not in asyncio.run(own_info(cluster)).flags
        assert threading.active_count() == before


def test_a_stuck_loop_loses_the_vote() -> None:
    async def main(cluster: SimulatedClusterProxy) -> None:
        now = [0.0]
        heartbeat = Heartbeat(3.0, lambda: now[0])
        async with quorum_device(NAME, heartbeat.vote, interval=0.02, address=cluster.address(1)):
            await until_vote(cluster, cast=True)
            now[0] = 3.0
            await until_vote(cluster, cast=False)
            heartbeat.beat()
            await until_vote(cluster, cast=True)

    with simulated_cluster_in_thread(2, device=DeviceConfig(votes=1)) as cluster:
        asyncio.run(main(cluster))


def test_a_cluster_without_a_device_ends_the_block_with_the_reason() -> None:
    async def main(cluster: SimulatedClusterProxy) -> None:
        async with quorum_device(NAME, Heartbeat(DEADLINE).vote, address=cluster.address(1)):
            raise AssertionError("it cannot have been registered")

    with (
        simulated_cluster_in_thread(2, two_node=True) as cluster,
        pytest.raises(BaseExceptionGroup) as caught,
    ):
        asyncio.run(main(cluster))
    assert caught.group_contains(Access)
