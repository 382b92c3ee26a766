"""`cluster_status` and `watch_quorum` tell the margin, here of simulated clusters."""

from __future__ import annotations

import subprocess
import sys

import pytest

from votequorum_ipc import cluster_status, watch_quorum
from votequorum_ipc.cluster import TieBreaker
from votequorum_ipc.testing import simulated_cluster


@pytest.mark.parametrize(
    ("breaker", "alone"),
    [(TieBreaker.LOWEST, (1,)), (TieBreaker.HIGHEST, (4,)), ((3, 2), (3,))],
    ids=["lowest", "highest", "list"],
)
async def test_the_half_with_the_tie_breaker_loses_quorum_with_it(
    breaker: TieBreaker | tuple[int, ...], alone: tuple[int, ...]
) -> None:
    async with simulated_cluster(nodes=4, auto_tie_breaker=breaker) as cluster:
        cluster.kill(next(nodeid for nodeid in (1, 2, 3, 4) if nodeid not in alone))
        status = await cluster_status(cluster.address(alone[0]))
    assert status.margin is not None
    assert (status.margin.nodes, status.margin.alone) == (0, alone)


async def test_a_view_follows_the_margin() -> None:
    async with (
        simulated_cluster(nodes=3) as cluster,
        watch_quorum(cluster.address()) as watcher,
    ):
        before = await watcher.current()
        cluster.kill(3)
        after = await watcher.current()
    assert before.margin is not None
    assert after.margin is not None
    assert (before.margin.nodes, after.margin.nodes) == (1, 0)


def test_following_quorum_does_not_load_the_model() -> None:
    code = "import sys, votequorum_ipc.watch; print([name for name in sys.modules if 'ipc.cluster' in name])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
