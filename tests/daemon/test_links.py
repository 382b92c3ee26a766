"""Links that a test improves or breaks: what cfg and the statistics report, and who hears whom."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from votequorum_ipc import Access, Cmap, InvalidParam
from votequorum_ipc.cfg import Cfg
from votequorum_ipc.cmap import TrackType
from votequorum_ipc.testing import ClusterConfig, NodeConfig, SimulatedCluster, simulated_cluster
from votequorum_ipc.types import ShutdownNotification, ValueType
from votequorum_ipc.wire.cfg import TRYSHUTDOWN

TWO_LINKS = ClusterConfig(
    nodes=tuple(NodeConfig(n, addresses=(f"192.0.2.{n}", f"198.51.100.{n}")) for n in (1, 2, 3))
)


@pytest.fixture
async def cluster() -> AsyncIterator[SimulatedCluster]:
    async with simulated_cluster(config=TWO_LINKS) as cluster:
        yield cluster


async def link(cluster: SimulatedCluster, node: int, peer: int, number: int = 0) -> dict[str, object]:
    """A node's statistics of one link."""
    prefix = f"stats.knet.node{peer}.link{number}."
    async with await Cmap.initialize(map="stats", address=cluster.address(node)) as stats:
        return {key.removeprefix(prefix): value for key, value in (await stats.items(prefix)).items()}


async def connected(cluster: SimulatedCluster, node: int, peer: int) -> list[bool]:
    """Which links to another node are connected, according to cfg."""
    async with await Cfg.initialize(address=cluster.address(node)) as cfg:
        status = await cfg.node_status_get(peer)
        assert status.reachable is any(each.connected for each in status.link_status)
        return [each.connected for each in status.link_status if each.enabled]


async def test_both_nodes_report_a_failed_link_and_the_membership_stays(
    cluster: SimulatedCluster,
) -> None:
    cluster.link(1, 2, 1, connected=False)
    assert await connected(cluster, 1, 2) == [True, False]
    assert await connected(cluster, 2, 1) == [True, False]
    assert await connected(cluster, 1, 3) == [True, True]
    assert cluster.model.partitions() == [(1, 2, 3)]
    cluster.link(1, 2, 1, connected=True)
    values = await link(cluster, 1, 2, 1)
    assert (values["connected"], values["up_count"], values["down_count"]) == (1, 2, 2)
    values = await link(cluster, 1, 2, 0)
    assert (values["connected"], values["up_count"], values["down_count"]) == (1, 1, 1)


async def test_if_a_link_fails_one_way_only_one_node_sees_the_change(cluster: SimulatedCluster) -> None:
    cluster.link(1, 2, 1, connected=False, one_way=True)
    assert await connected(cluster, 1, 2) == [True, False]
    assert await connected(cluster, 2, 1) == [True, True]


async def test_nodes_without_a_link_do_not_hear_each_other_until_one_is_back(
    cluster: SimulatedCluster,
) -> None:
    cluster.link(1, 3, connected=False)
    # Node 2 hears both, but all nodes of a ring must hear each other.
    assert cluster.model.partitions() == [(1, 2), (3,)]
    assert await connected(cluster, 1, 3) == [False, False]
    cluster.link(1, 3, 1, connected=True)
    assert cluster.model.partitions() == [(1, 2, 3)]
    assert await connected(cluster, 1, 3) == [False, True]


async def test_a_cut_network_takes_its_links_down_and_healing_brings_every_link_up(
    cluster: SimulatedCluster,
) -> None:
    cluster.partition({1}, {2, 3})
    assert await connected(cluster, 1, 2) == [False, False]
    cluster.link(2, 3, connected=False)
    assert cluster.model.partitions() == [(1,), (2,), (3,)]
    cluster.heal()
    assert cluster.model.partitions() == [(1, 2, 3)]
    for peer in (2, 3):
        values = await link(cluster, 1, peer)
        assert (values["connected"], values["down_count"]) == (1, 2)


async def test_latency_loss_and_mtu_are_as_set(cluster: SimulatedCluster) -> None:
    cluster.link(1, 2, 0, latency=0.2, loss=0.25, mtu=1200)
    cluster.advance(75)
    values = await link(cluster, 1, 2)
    assert values["latency_ave"] == values["latency_max"] == 200_000
    assert values["latency_min"] == 200
    assert values["mtu"] == 1200
    assert (values["tx_ping_packets"], values["rx_pong_packets"]) == (100, 75)
    other = await link(cluster, 1, 3)
    assert (other["latency_ave"], other["tx_ping_packets"], other["rx_pong_packets"]) == (200, 100, 100)


async def test_a_restarted_node_counts_from_0_and_the_others_saw_it_leave(
    cluster: SimulatedCluster,
) -> None:
    cluster.advance(60)
    cluster.kill(2)
    cluster.up(2)
    seen, own = await link(cluster, 1, 2), await link(cluster, 2, 1)
    assert (seen["up_count"], seen["down_count"]) == (2, 2)
    assert (own["up_count"], own["down_count"], own["tx_ping_packets"]) == (1, 1, 0)
    async with await Cmap.initialize(map="stats", address=cluster.address(1)) as stats:
        assert await stats.get("stats.srp.operational_token_lost") == 1


async def test_statistics_can_be_set_and_cleared(cluster: SimulatedCluster) -> None:
    async with await Cmap.initialize(map="stats", address=cluster.address(1)) as stats:
        number = await stats.track_add("stats.srp.mcast_retx", TrackType.MODIFY)
        cluster.set_statistic(1, "stats.srp.mcast_retx", 7)
        cluster.set_statistic(1, "stats.knet.node2.link1.tx_data_errors", 3)
        cluster.schedule_miss(1, 1.5)
        assert await stats.get("stats.srp.mcast_retx") == 7
        assert (await stats.next_event()).new == 7
        assert await stats.get("stats.knet.node2.link1.tx_data_errors") == 3
        assert await stats.get("stats.schedmiss.0.delay") == 1500
        await stats.track_delete(number)
        await stats.set("stats.clear.all", 1, ValueType.UINT8)
        assert await stats.get("stats.srp.mcast_retx") == 0
        assert await stats.get("stats.knet.node2.link1.tx_data_errors") == 0
        assert await stats.keys("stats.schedmiss.") == []


async def test_an_invalid_link_change_is_refused(cluster: SimulatedCluster) -> None:
    wrongs: list[Callable[[], None]] = [
        lambda: cluster.link(1, 9, connected=False),
        lambda: cluster.link(1, 1, connected=False),
        lambda: cluster.link(1, 2, 2, connected=False),
        lambda: cluster.link(1, 2, latency=-1),
        lambda: cluster.link(1, 2, loss=1.1),
        lambda: cluster.set_statistic(1, "stats.srp.no_such", 1),
        lambda: cluster.set_statistic(1, "stats.ipcs.global.active", 1),
        lambda: cluster.set_statistic(1, "stats.srp.mcast_retx", -1),
        lambda: cluster.set_statistic(1, "stats.srp.mtt_rx_token", 1 << 32),
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"\w"):
            wrong()
    assert cluster.model.partitions() == [(1, 2, 3)]


# --- effects of cfg's clients ---


async def test_a_client_reloads_the_file_that_a_test_has_written(cluster: SimulatedCluster) -> None:
    async with (
        await Cfg.initialize(address=cluster.address(1)) as cfg,
        await Cmap.initialize(address=cluster.address(2)) as cmap,
    ):
        cluster.write_config(ClusterConfig(nodes=TWO_LINKS.nodes, expected_votes=5))
        assert await cmap.get_or_none("quorum.expected_votes") is None
        await cfg.reload_config()
        assert await cmap.get("quorum.expected_votes") == 5
        assert await cmap.get("config.reload_status") == 1
        cluster.write_config(ClusterConfig(nodes=TWO_LINKS.nodes, expected_votes=-1))
        with pytest.raises(InvalidParam, match="not reloaded: expected_votes is 0 to"):
            await cfg.reload_config()
        assert await cmap.get("quorum.expected_votes") == 5
        assert await cmap.get("config.reload_in_progress") == 0


async def test_a_node_is_killed_by_another_or_by_itself(cluster: SimulatedCluster) -> None:
    async with contextlib.AsyncExitStack() as stack:
        cfg = await stack.enter_async_context(await Cfg.initialize(address=cluster.address(1)))
        await cfg.kill_node(3, "for a test")
        assert cluster.model.partitions() == [(1, 2)]
        await cfg.kill_node(1, "itself")
        assert cluster.model.partitions() == [(2,)]


async def test_a_shutdown_without_answers_is_called_off_in_virtual_time(
    cluster: SimulatedCluster,
) -> None:
    async with (
        await Cfg.initialize(address=cluster.address(1)) as asking,
        await Cfg.initialize(address=cluster.address(1)) as tracking,
    ):
        await tracking.trackstart()
        for seconds, nodes in ((5.1, (1, 2, 3)), (4.9, (2, 3))):
            asking.connection.post(TRYSHUTDOWN.encode(flags=0), response_size=64)
            assert await tracking.next_event() == ShutdownNotification(0, timed_out=False)
            cluster.advance(seconds)
            with contextlib.suppress(Access):
                await tracking.replyto_shutdown(True)
            assert cluster.model.partitions() == [nodes]
