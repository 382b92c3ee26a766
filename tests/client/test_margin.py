"""`cluster_status` and `watch_quorum` report the margin, here for simulated clusters.

Only under trio: the margin is computed, without waiting, from what the follower reads, and
`tests/reliability/test_watch_ways.py` follows quorum in each way to wait.
"""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from votequorum_ipc import Cmap, cluster_status, watch_quorum
from votequorum_ipc.cluster import TieBreaker
from votequorum_ipc.follow import _tie_breaker
from votequorum_ipc.ipc import sibling
from votequorum_ipc.testing import simulated_cluster
from votequorum_ipc.types import Value, ValueType


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


async def test_an_invalid_tie_breaker_costs_only_the_margin() -> None:
    async with simulated_cluster(nodes=4, auto_tie_breaker=TieBreaker.LOWEST) as cluster:
        async with await Cmap.initialize(address=sibling(cluster.address(), "cmap")) as cmap:
            await cmap.set("runtime.votequorum.atb_type", math.inf, ValueType.DOUBLE)
        status = await cluster_status(cluster.address())
    assert (status.quorate, status.margin) == (True, None)


def test_a_node_list_with_too_long_a_number_has_no_tie_breaker() -> None:
    found: dict[str, Value] = {"runtime.votequorum.atb_type": 3, "quorum.auto_tie_breaker_node": "9" * 5000}
    assert _tie_breaker(found) is None


def test_following_quorum_does_not_load_the_model() -> None:
    code = "import sys, votequorum_ipc.watch; print([name for name in sys.modules if 'ipc.cluster' in name])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
