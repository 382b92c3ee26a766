"""However the network is cut, devices with an exclusive decision never let two parts continue.

Strategy: an embedded cluster and real devices under one clock that the test moves. Between random cuts it
lets random times pass, cuts devices off from their witness, and stops decisions halfway. After each step, all
nodes with a complete and quorate membership must be in one part.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import pytest
import trio
import trio.testing

from votequorum_ipc.cluster import DeviceConfig
from votequorum_ipc.qdevice import Timeouts, View, Vote, run_qdevice
from votequorum_ipc.testing import SimulatedCluster, simulated_cluster

from .support import yes

pytestmark = pytest.mark.usefixtures("without_logging")

VOTE_LIFE = Timeouts().timeout + Timeouts().sync_timeout
"""How long a vote may outlive its decision: the daemon's timeout between polls and, if the membership changes
at its end, the daemon's timeout for the next answer."""

LONG, SHORT = VOTE_LIFE + 20, 5.0
"""Seconds that a lease lasts without renewal. Votes may outlive the short one."""

STEP = 3.0
"""Seconds that may pass at once and still leave devices time for their polls."""

WAITS: tuple[Callable[[random.Random], list[float]], ...] = (
    lambda _: [0.0],
    lambda chance: [chance.uniform(0, STEP)],
    lambda chance: [STEP, chance.uniform(0, STEP)],
    lambda _: [STEP] * 3,
    # Long enough for leases to expire.
    lambda _: [STEP] * (int(LONG / STEP) + 4),
)
"""Times between two cuts."""


@pytest.fixture
def without_logging(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of decisions fail here on purpose, so they are not logged."""
    caplog.set_level(logging.CRITICAL, "votequorum_ipc.qdevice.run")


class Lease:
    """The exclusive decision: one node holds the lease, and its part may continue."""

    def __init__(self, lasts: float = LONG) -> None:
        self._lasts = lasts
        self._shortest = min(VOTE_LIFE, lasts)
        self._expires = float("-inf")
        self.holders: list[int] = []
        self.unreachable: set[int] = set()
        self.hanging: set[int] = set()

    async def vote(self, node: int, view: View) -> bool:
        if node in self.hanging:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        if node in self.unreachable:
            raise OSError("unreachable")
        now = trio.current_time()
        if now > self._expires:
            self.holders.append(node)
        if self.holders[-1] == node:
            self._expires = now + self._lasts
        return self.holders[-1] in view.members and self._expires - now >= self._shortest


class Walk:
    """A cluster, its devices, and a source of randomness."""

    def __init__(
        self,
        cluster: SimulatedCluster,
        clock: trio.testing.MockClock,
        lease: Lease,
    ) -> None:
        self.cluster = cluster
        self.nodes = cluster.config.nodeids
        self._clock = clock
        self._lease = lease
        self._random = random.Random(7)
        self.decided = 0
        """How often exactly one part was quorate only because of the device."""

    async def go(self, partitions: int, *, long: float) -> list[Sequence[tuple[int, ...]]]:
        """Cut the network this many times; `long` is the share of long times between cuts.

        Returns the violations: parts that were quorate at the same time.
        """
        rest = (1 - long) / (len(WAITS) - 1)
        weights = [rest] * (len(WAITS) - 1) + [long]
        found: list[Sequence[tuple[int, ...]]] = []
        for _ in range(partitions):
            self._cut()
            self._trouble()
            [wait] = self._random.choices(WAITS, weights)
            for seconds in wait(self._random):
                await self._pass_time(seconds)
                quorate = self._quorate_parts()
                if len(quorate) > 1:
                    found.append(quorate)
                self.decided += len(quorate) == 1 and 2 * len(quorate[0]) <= len(self.nodes)
                if self._random.random() < 0.1:
                    self._trouble()
        return found

    def _cut(self) -> None:
        groups: list[set[int]] = [set(), set()]
        for node in self.nodes:
            self._random.choice(groups).add(node)
        self.cluster.partition(*(group for group in groups if group))

    def _trouble(self) -> None:
        for troubled in (self._lease.unreachable, self._lease.hanging):
            troubled.clear()
            troubled.update(node for node in self.nodes if self._random.random() < 0.15)

    async def _pass_time(self, seconds: float) -> None:
        self._clock.jump(seconds)
        self.cluster.advance(seconds)
        await trio.testing.wait_all_tasks_blocked(0.001)

    def _quorate_parts(self) -> list[tuple[int, ...]]:
        model = self.cluster.model

        def goes_on(node: int) -> bool:
            return model.node(node).quorate and not model.is_synchronising(node)

        return [part for part in model.partitions() if any(map(goes_on, part))]


@contextlib.asynccontextmanager
async def walk(nodes: int, votes: int, lease: Lease, vote: Callable[[int], Vote]) -> AsyncIterator[Walk]:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.rate = 1
    async with (
        simulated_cluster(nodes=nodes, device=DeviceConfig(votes=votes)) as cluster,
        trio.open_nursery() as nursery,
    ):
        for node in cluster.config.nodeids:
            run = partial(run_qdevice, "device", vote(node), address=cluster.address(node))
            await nursery.start(run)
        clock.rate = 0
        yield Walk(cluster, clock, lease)
        clock.rate = 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("nodes", "votes", "partitions", "long"), [(2, 1, 500, 0.05), (4, 1, 40, 0.3), (4, 3, 40, 0.3)]
)
async def test_with_an_exclusive_decision_two_parts_never_both_continue(
    mock_clock: trio.testing.MockClock, nodes: int, votes: int, partitions: int, long: float
) -> None:
    lease = Lease()
    async with walk(nodes, votes, lease, lambda node: partial(lease.vote, node)) as whole:
        assert await whole.go(partitions, long=long) == []
    # Devices have decided, and not always for the same node.
    assert whole.decided > 20
    assert len(set(lease.holders)) > 1


async def test_with_a_decision_that_both_can_make_two_parts_both_continue(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with walk(2, 1, Lease(), lambda _: yes) as whole:
        assert [(1,), (2,)] in await whole.go(20, long=0)


async def test_with_leases_that_votes_outlive_two_parts_both_continue(
    mock_clock: trio.testing.MockClock,
) -> None:
    lease = Lease(SHORT)
    async with walk(2, 1, lease, lambda node: partial(lease.vote, node)) as whole:
        assert await whole.go(100, long=0.3) != []
