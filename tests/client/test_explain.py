"""The reason why there is no quorum, as a sentence: on simulated clusters, with corosync's rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from votequorum_ipc import Votequorum, cluster_status
from votequorum_ipc.cluster import TieBreaker
from votequorum_ipc.explain import WARNINGS, configuration_warnings, why_not_quorate
from votequorum_ipc.testing import DeviceConfig, SimulatedCluster, simulated_cluster
from votequorum_ipc.types import ClusterStatus, ConfiguredNode, InfoFlags, QuorumType


async def why(cluster: SimulatedCluster, node: int = 1) -> str:
    return why_not_quorate(await cluster_status(cluster.address(node)))


async def register(cluster: SimulatedCluster, *, votes: bool) -> Votequorum:
    device = await cluster.connect(1)
    await device.qdevice_register("witness")
    status = await cluster_status(cluster.address(1))
    await device.qdevice_poll("witness", votes, status.ring_id)
    return device


async def test_there_is_no_reason_while_there_is_quorum() -> None:
    async with simulated_cluster(nodes=3) as cluster:
        assert await why(cluster) == ""


async def test_missing_votes_are_counted_and_missing_nodes_are_named() -> None:
    async with simulated_cluster(nodes=5) as cluster:
        cluster.partition({1, 2}, {3, 4, 5})
        assert await why(cluster) == (
            "2 of 5 votes are present; 3 are needed; node3, node4, node5 are missing"
        )
        cluster.partition({1}, {2, 3, 4, 5})
        assert await why(cluster) == (
            "1 of 5 votes is present; 3 are needed; node2, node3, node4, node5 are missing"
        )


async def test_wait_for_all_is_the_reason_even_if_the_votes_would_suffice() -> None:
    async with simulated_cluster(nodes=3, wait_for_all=True) as cluster:
        cluster.kill(1, 2, 3)
        cluster.up(1, 2)
        assert await why(cluster) == (
            "wait_for_all: 2 of 3 votes are present, and all of them must be present at once before there is "
            "quorum; node3 is missing"
        )


async def test_the_half_without_the_tie_breaker_is_told_so() -> None:
    async with simulated_cluster(nodes=4, auto_tie_breaker=TieBreaker.LOWEST) as cluster:
        cluster.partition({1, 2}, {3, 4})
        assert await why(cluster, 1) == ""
        assert "this half does not have the node that breaks ties" in await why(cluster, 3)


@pytest.mark.parametrize(
    ("votes", "passed", "sentence"),
    [
        (None, 0, "the quorum device does not run on this node"),
        (False, 0, "the quorum device is alive and votes no"),
        (True, 60, "the quorum device on this node does not answer in time"),
    ],
    ids=["not registered", "votes no", "silent"],
)
async def test_the_quorum_device_is_named_as_the_reason(
    votes: bool | None, passed: int, sentence: str
) -> None:
    async with simulated_cluster(nodes=2, device=DeviceConfig(votes=1)) as cluster:
        cluster.partition({1}, {2})
        if votes is not None:
            await register(cluster, votes=votes)
        cluster.advance(passed)
        assert (await why(cluster)).split("; ")[-1] == sentence


async def test_a_daemon_without_a_provider_cannot_know() -> None:
    async with simulated_cluster(nodes=1) as cluster:
        status = await cluster_status(cluster.address(1))
    free = replace(status, quorum_type=QuorumType.FREE, info=None)
    assert why_not_quorate(free) == "no quorum provider is configured, so corosync cannot tell"


# --- warnings ---


def with_info(
    status: ClusterStatus, node: int, flags: InfoFlags | None = None, votes: int = 0
) -> ClusterStatus:
    """The status with other flags, or other expected votes, on one member."""
    members = []
    for member in status.members:
        info = member.info
        assert info is not None
        if member.node_id == node:
            info = info._replace(
                flags=info.flags if flags is None else flags,
                node_expected_votes=votes or info.node_expected_votes,
            )
        members.append(replace(member, info=info))
    return replace(status, members=tuple(members))


async def test_each_warning_is_found_and_a_healthy_cluster_has_none() -> None:
    async with simulated_cluster(nodes=3) as cluster:
        sound = await cluster_status(cluster.address(1))
    assert configuration_warnings(sound) == {}
    assert sound.info is not None
    two_node = replace(sound, info=sound.info._replace(flags=sound.info.flags | InfoFlags.TWONODE))
    registered = sound.info.flags | InfoFlags.QDEVICE_REGISTERED
    cases = {
        "expected_votes_differ": (
            with_info(sound, 2, votes=5),
            "the members' expected votes differ: 3 on node 1, 5 on node 2, 3 on node 3",
        ),
        "options_differ": (
            with_info(sound, 3, sound.info.flags | InfoFlags.WAIT_FOR_ALL),
            "the members' quorum options differ: none on node 1, none on node 2, WAIT_FOR_ALL on node 3",
        ),
        "device_not_everywhere": (
            with_info(sound, 1, registered),
            "the quorum device does not run on node 2, 3, but on other members",
        ),
        "unlisted_member": (
            replace(sound, configured=(ConfiguredNode(1, "", ""), ConfiguredNode(2, "", ""))),
            "node 3 is a member, but not in this node's node list",
        ),
        "two_node_with_more": (two_node, "two_node is set, but the node list has 3 nodes"),
    }
    assert cases.keys() == WARNINGS.keys()
    for name, (status, sentence) in cases.items():
        assert configuration_warnings(status) == {name: sentence}
