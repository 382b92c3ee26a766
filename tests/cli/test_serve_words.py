"""Commands that `serve` refuses change nothing."""

from __future__ import annotations

import socket

import pytest
import trio

from votequorum_ipc import Busy
from votequorum_ipc.cli.serve_words import Script, ScriptError
from votequorum_ipc.sockets import locate
from votequorum_ipc.testing import configuration, simulated_cluster


async def test_nodes_whose_address_is_in_use_are_neither_started_nor_moved() -> None:
    async with simulated_cluster(4) as cluster, trio.open_nursery() as nursery:
        cluster.kill(3, 4)
        script = Script(cluster, nursery, pytest.fail)
        await script.run("split 1:2")

        def view() -> object:
            return (dict(script.partitions), cluster.model.partitions(), cluster.model.node(1).ring_id)

        before = view()
        target, _ = locate("cmap", cluster.address(4))
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(target)
            with pytest.raises(Busy):
                await script.run("up 1:1,3,4")
        assert view() == before
        with pytest.raises(ScriptError):
            await script.run("up 1:1 2:5")
        assert view() == before

        await script.run("up 1:1,3,4")
        assert script.partitions == {1: 1, 2: 1, 3: 1, 4: 1}
        assert cluster.model.partitions() == [(1, 2, 3, 4)]


async def test_nodes_leave_and_all_partitions_are_healed() -> None:
    async with simulated_cluster(4, allow_downscale=True) as cluster, trio.open_nursery() as nursery:
        script = Script(cluster, nursery, pytest.fail)
        await script.run("leave 3,4")
        assert cluster.model.partitions() == [(1, 2)]
        assert cluster.model.node(1).votequorum.db.us.expected_votes == 2  # a crash would leave 4
        await script.run("split 1:1 2:2")
        await script.run("up 4:3")
        await script.run("heal")
        assert cluster.model.partitions() == [(1, 2, 3)]
        assert script.partitions == dict.fromkeys((1, 2, 3, 4), 0)
        for wrong in ("leave", "heal 1"):
            with pytest.raises(ScriptError):
                await script.run(wrong)


async def test_a_changed_configuration_is_reloaded() -> None:
    configs = [configuration(3), configuration(2), configuration(3, {"expected_votes": 5})]
    async with simulated_cluster(2) as cluster, trio.open_nursery() as nursery:
        script = Script(cluster, nursery, pytest.fail, lambda: configs.pop(0))
        await script.run("reload")
        await script.run("up 3")
        assert cluster.model.partitions() == [(1, 2, 3)]
        with pytest.raises(ScriptError, match="up and not in the new configuration"):
            await script.run("reload")
        await script.run("reload")
        assert cluster.model.node(1).votequorum.db.us.expected_votes == 5


async def test_a_node_that_a_client_of_cfg_has_loaded_is_known() -> None:
    async with simulated_cluster(2) as cluster, trio.open_nursery() as nursery:
        script = Script(cluster, nursery, pytest.fail)
        await script.run("split 1:2")
        cluster.reload(configuration(3))
        assert script.partitions == {1: 0, 2: 1, 3: 0}
        await script.run("up 3")
        assert cluster.model.partitions() == [(1, 3), (2,)]


async def test_without_a_file_there_is_nothing_to_reload() -> None:
    async with simulated_cluster(2) as cluster, trio.open_nursery() as nursery:
        with pytest.raises(ScriptError, match="--config"):
            await Script(cluster, nursery, pytest.fail).run("reload")
