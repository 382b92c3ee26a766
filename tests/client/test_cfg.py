"""cfg with a real corosync: links, reloading, shutting down and killing, compared with corosync-cfgtool.

Tests that start a daemon run only under trio: each takes a second, and a cfg call waits as calls of other
services do.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import trio

from tests.conftest import StartCluster, StartDaemon
from tests.real import installation
from tests.real.config import Config, Node
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE, eventually_async
from tests.ways import every_way
from votequorum_ipc import Access, Busy, CsError, Exist, FailedOperation, InvalidParam, NotExist, NotSupported
from votequorum_ipc.cfg import Cfg
from votequorum_ipc.types import ShutdownFlags, ShutdownNotification


async def connected(node: Daemon) -> Cfg:
    with node.namespace():
        return await Cfg.initialize()


# --- links ---


async def test_links_are_those_of_cfgtool_and_a_link_that_goes_down_is_reported(
    start_cluster: StartCluster,
) -> None:
    nodes = (Node(1, second_link=True), Node(2, second_link=True))
    pair = start_cluster(Config(nodes=nodes, totem={"token": 5000}))
    async with await connected(pair[1]) as cfg:

        async def connected_links() -> list[bool]:
            status = await cfg.node_status_get(2)
            return [link.connected for link in status.link_status if link.enabled]

        async def until(*expected: bool) -> None:
            with trio.fail_after(DEADLINE):
                while await connected_links() != list(expected):
                    await trio.sleep(0.02)

        await until(True, True)
        status = await cfg.node_status_get(2)
        assert (status.version, status.nodeid, status.reachable, len(status.link_status)) == (1, 2, True, 8)
        printed = pair[1].run(["corosync-cfgtool", "-n"], check=True).stdout
        theirs = re.findall(r"LINK: (\d) udp \((\S+?)->(\S+?)\) enabled connected mtu: (\d+)", printed)
        assert theirs == [
            (str(number), link.src_ipaddr, link.dst_ipaddr, str(link.mtu))
            for number, link in enumerate(status.link_status)
            if link.enabled
        ]
        gone = f"{status.link_status[1].dst_ipaddr}/24"
        pair[2].run(["ip", "address", "del", gone, "dev", "eth0"], check=True)
        await until(True, False)
        assert (await cfg.node_status_get(2)).reachable


@every_way()
async def test_the_text_for_a_nodes_own_links_is_that_of_cfgtool(shm_daemon: Daemon) -> None:
    printed = shm_daemon.run(["corosync-cfgtool", "-s"], check=True).stdout
    async with await Cfg.initialize() as cfg:
        [ring] = await cfg.ring_status_get()
        assert ring.interface_name.split()[1] in printed
        assert [str(address) for address in await cfg.get_node_addrs(0)] == ring.interface_name.split()[1:]
        with pytest.raises(FailedOperation, match="node 99 is not in"):
            await cfg.node_status_get(99)
        with pytest.raises(NotSupported, match="version 2"):
            await cfg.node_status_get(1, version=2)
        with pytest.raises(NotSupported, match="nothing to re-enable"):
            await cfg.ring_reenable()


# --- configuration ---


async def test_a_reload_reads_the_file_and_a_bad_file_is_refused(start_daemon: StartDaemon) -> None:
    config = Config(nodes=(Node(1),), quorum={"expected_votes": 1})
    node = start_daemon(config)
    file = node.directory / "corosync.conf"
    async with await connected(node) as cfg:
        file.write_text(replace(config, quorum={"expected_votes": 3}).render(node.directory / "state"))
        await cfg.reload_config()
        shown = node.run(["corosync-cmapctl", "quorum.expected_votes"], check=True).stdout
        assert shown == "quorum.expected_votes (u32) = 3\n"
        file.write_text("totem {\n")
        with pytest.raises(CsError) as refused:
            await cfg.reload_config()
        # corosync-cfgtool does the same. The one of 3.1.9 prints the error but exits with 0.
        assert "Could not reload configuration" in node.run(["corosync-cfgtool", "-R"]).stderr
        assert "the daemon rejects corosync.conf" in str(refused.value)
        await cfg.reopen_log_files()


# --- ends ---


async def test_tracking_clients_decide_on_a_shutdown(start_daemon: StartDaemon) -> None:
    node = start_daemon(Config())
    asked: list[ShutdownNotification] = []
    async with await connected(node) as asking, await connected(node) as tracking:
        await tracking.trackstart()
        with pytest.raises(Access, match="no shutdown is under way"):
            await tracking.replyto_shutdown(True)

        async def answer(agree: bool) -> None:
            asked.append(await tracking.next_event())
            await tracking.replyto_shutdown(agree)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, False)
            with pytest.raises(Busy, match="refused, or did not answer"):
                await asking.try_shutdown()
        assert node.alive
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, True)
            await asking.try_shutdown(ShutdownFlags.REGARDLESS)
        await eventually_async(lambda: not node.alive)
    assert asked == [
        ShutdownNotification(ShutdownFlags.REQUEST, timed_out=False),
        ShutdownNotification(ShutdownFlags.REGARDLESS, timed_out=False),
    ]


async def test_a_shutdown_without_an_answer_is_called_off_and_a_second_one_is_refused(
    start_daemon: StartDaemon,
) -> None:
    node = start_daemon(Config())
    node.run(["corosync-cmapctl", "-s", "cfg.shutdown_timeout", "u32", "300"], check=True)
    async with await connected(node) as one, await connected(node) as two, await connected(node) as tracking:
        await tracking.trackstart()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(Busy):
                    await one.try_shutdown()

            nursery.start_soon(ask)
            assert not (await tracking.next_event()).timed_out
            with pytest.raises(Exist, match="another shutdown"):
                await two.try_shutdown()
        with pytest.raises(Access, match="it was called off"):
            await tracking.replyto_shutdown(True)
    assert node.alive


async def test_after_trackstop_no_client_is_asked(start_daemon: StartDaemon) -> None:
    if installation.version() <= (3, 1, 2):
        pytest.skip("corosync 3.1.2 does not answer trackstop")
    node = start_daemon(Config())
    async with await connected(node) as cfg, await connected(node) as tracking:
        await tracking.trackstart()
        await tracking.trackstop()
        await cfg.try_shutdown()
        await eventually_async(lambda: not node.alive)


async def test_an_immediate_shutdown_does_not_ask(start_daemon: StartDaemon) -> None:
    node = start_daemon(Config())
    async with await connected(node) as cfg, await connected(node) as tracking:
        await tracking.trackstart()
        await cfg.try_shutdown(ShutdownFlags.IMMEDIATE)
        await eventually_async(lambda: not node.alive)


async def test_a_member_is_killed_and_its_log_has_the_reason(start_cluster: StartCluster) -> None:
    pair = start_cluster(Config(nodes=(Node(1), Node(2))))
    async with await connected(pair[1]) as cfg:
        with pytest.raises(NotExist, match="node 99 is not a member"):
            await cfg.kill_node(99, "nobody")
        with pytest.raises(InvalidParam, match="at most 255 bytes"):
            await cfg.kill_node(2, "x" * 256)
        await cfg.kill_node(2, "for a test, ä")
        await eventually_async(lambda: not pair[2].alive)
    assert "Killed by node 1 : for a test, ä" in pair[2].log.read_text()
    assert pair[1].alive
