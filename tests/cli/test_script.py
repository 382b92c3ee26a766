"""The words of `serve` that are refused change nothing."""

from __future__ import annotations

import socket

import pytest
import trio

from votequorum_ipc import Busy
from votequorum_ipc.cli.script import Script, ScriptError
from votequorum_ipc.ipc.address import locate
from votequorum_ipc.testing import simulated_cluster


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
