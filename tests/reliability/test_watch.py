"""`watch_quorum` outlives daemons, tells "not quorate" from "unknown", and shows each change exactly once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import pytest
import trio
import trio.testing

from tests.client.support import holdings, nothing_left
from tests.conftest import StartDaemon
from tests.real.cluster import Cluster
from tests.real.config import Config, Node
from tests.real.cref import CS_OK, CQuorum, CVotequorum
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE, eventually, eventually_async
from votequorum_ipc import (
    BadHandle,
    InvalidParam,
    Library,
    NodeState,
    QueueFull,
    QuorumState,
    QuorumView,
    QuorumWatcher,
    Timeout,
    watch,
    watch_quorum,
)
from votequorum_ipc.changes import ExpectedVotesChanged, MembershipChanged, QuorumChanged
from votequorum_ipc.testing import simulated_cluster
from votequorum_ipc.watch import Connected, Lost

QUORATE, NOT_QUORATE, UNKNOWN = QuorumState.QUORATE, QuorumState.NOT_QUORATE, QuorumState.UNKNOWN

FIVE_VOTES = (Node(1, votes=5),)
"""A node that stays quorate with up to 9 expected votes."""


async def until(watcher: QuorumWatcher, wanted: Callable[[QuorumView], bool]) -> list[QuorumView]:
    """Take views until one is as wanted."""
    views: list[QuorumView] = []
    with trio.fail_after(DEADLINE):
        async for view in watcher:
            views.append(view)
            if wanted(view):
                return views
    raise AssertionError("unreachable")


def is_connected(view: QuorumView) -> bool:
    return isinstance(view.why, Connected)


def is_unknown(view: QuorumView) -> bool:
    return view.state is UNKNOWN


def has_members(*members: int) -> Callable[[QuorumView], bool]:
    return lambda view: tuple(sorted(member.node_id for member in view.members)) == members


def test_only_quorate_is_true() -> None:
    assert [bool(state) for state in QuorumState] == [True, False, False]


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_a_daemon_killed_and_started_again_is_unknown_in_between_and_tracked_again(
    start_daemon: StartDaemon, transport: Literal["shm", "socket"]
) -> None:
    daemon = start_daemon(Config(nodes=FIVE_VOTES, transport=transport))
    with nothing_left(), daemon.namespace():
        async with watch_quorum() as watcher:
            [first] = await until(watcher, is_connected)
            assert (first.state, first.expected_votes) == (QUORATE, 5)
            assert [(member.node_id, member.name) for member in first.members] == [(1, "node1")]
            assert first.members[0].info
            assert (first.members[0].info.node_votes, first.members[0].info.node_state) == (
                5,
                NodeState.MEMBER,
            )
            for _ in range(2):
                daemon.kill()
                [lost] = await until(watcher, is_unknown)
                assert (lost.state, lost.ring_id, lost.members, lost.info) == (UNKNOWN, None, (), None)
                assert isinstance(lost.why, Lost)
                assert isinstance(lost.why.error, Library)
                assert first.since < lost.since <= trio.current_time()
                daemon.start()
                # corosync lets clients in before it has formed a membership of its own.
                *_, again = await until(watcher, lambda view: bool(view.state))
                assert again.since > lost.since
                await daemon.until_ready()
                with CVotequorum() as votequorum:
                    assert votequorum.setexpected(6) == CS_OK
                *_, changed = await until(watcher, lambda view: isinstance(view.why, ExpectedVotesChanged))
                assert (changed.why, changed.state) == (ExpectedVotesChanged(6), QUORATE)
                assert changed.expected_votes == 6


async def test_what_a_daemon_reported_before_it_died_is_shown_before_the_loss(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config(nodes=FIVE_VOTES))
    with daemon.namespace():
        async with watch_quorum() as watcher:
            await until(watcher, is_connected)
            with CVotequorum() as votequorum:
                assert votequorum.trackstart() == CS_OK
                # The watcher does not run meanwhile.
                for votes in (6, 7, 8):
                    assert votequorum.setexpected(votes) == CS_OK
                    wanted = ("expectedvotes", 0, votes)
                    eventually(lambda: votequorum.dispatch() == CS_OK and wanted in votequorum.events)  # noqa: B023
                daemon.kill()
            views = await until(watcher, is_unknown)
    assert [view.why for view in views[:-1]] == [ExpectedVotesChanged(votes) for votes in (6, 7, 8)]


async def test_each_change_that_the_daemon_reports_is_one_view_in_its_order(cluster3: Cluster) -> None:
    node = cluster3[3]
    with node.namespace(), CQuorum() as reference:
        async with watch_quorum() as watcher:
            [first] = await until(watcher, is_connected)
            assert has_members(1, 2, 3)(first)
            reference.events.clear()
            assert reference.trackstart(4) == CS_OK  # changes only
            views: list[QuorumView] = []
            for _ in range(2):
                cluster3.isolate(3)
                views += await until(watcher, lambda view: view.state is NOT_QUORATE)
                cluster3.heal()
                views += await until(watcher, lambda view: bool(view.state))
            await cluster3.until_agreed()
            views += await until(watcher, lambda view: view.info is not None and view.info.total_votes == 3)
            assert has_members(1, 2, 3)(views[-1])
            assert reference.dispatch() == CS_OK
    memberships = [
        ("nodelist", tuple(why.ring_id), why.members, why.joined, why.left)
        for why in (view.why for view in views)
        if isinstance(why, MembershipChanged)
    ]
    assert [as_tuple(event) for event in reference.events if event[0] == "nodelist"] == memberships
    quorate = [bool(event[2]) for event in reference.events if event[0] == "quorum"]
    turns = [now for before, now in zip([True, *quorate], quorate, strict=False) if now != before]
    assert [view.why.quorate for view in views if isinstance(view.why, QuorumChanged)] == turns
    for earlier, later in pairwise(views):
        assert (later.since == earlier.since) == (later.state is earlier.state)


def as_tuple(event: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(tuple(part) if isinstance(part, list | tuple) else part for part in event)


async def test_where_no_daemon_runs_it_is_unknown_at_once_and_found_when_it_comes(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config())
    daemon.kill()
    with nothing_left(), daemon.namespace():
        async with watch_quorum() as watcher:
            [view] = await until(watcher, is_unknown)
            assert isinstance(view.why, Lost)
            assert "not running here" in str(view.why.error)
            # That it is still not there is no news.
            with trio.move_on_after(0.5):
                pytest.fail(f"{await anext(watcher)}")
            daemon.start()
            await until(watcher, lambda view: bool(view.state))


async def test_with_patience_a_daemon_that_hangs_becomes_unknown(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config())
    with daemon.namespace():
        async with watch_quorum(patience=0.3) as watcher:
            await until(watcher, is_connected)
            daemon.signal(signal.SIGSTOP)
            [lost] = await until(watcher, is_unknown)
            assert isinstance(lost.why, Lost)
            assert isinstance(lost.why.error, Timeout)
            daemon.signal(signal.SIGCONT)
            assert [view.state for view in await until(watcher, is_connected)] == [QUORATE]


async def test_nothing_of_it_is_left_after_the_block(daemon: Daemon) -> None:
    with nothing_left():
        for _ in range(3):
            async with watch_quorum() as watcher:
                await anext(watcher)
                assert watcher.latest
            with pytest.raises(BadHandle):
                await anext(watcher)
        with trio.move_on_after(0.001):
            async with watch_quorum() as watcher:
                await trio.sleep_forever()
    await eventually_async(lambda: not holdings().files)


async def test_what_the_block_raises_comes_out_as_it_is(daemon: Daemon) -> None:
    async def fail(error: Exception) -> None:
        async with watch_quorum() as watcher:
            async for _ in watcher:
                raise error

    with pytest.raises(LookupError, match="of the program"):
        await fail(LookupError("of the program"))
    with pytest.raises(ExceptionGroup, match="of the program too"):
        await fail(ExceptionGroup("of the program too", [ValueError()]))


async def test_an_address_that_is_none_ends_it() -> None:
    async with watch_quorum("") as watcher:
        for _ in range(2):
            with pytest.raises(InvalidParam):
                await anext(watcher)


# --- with the embedded daemon ---


async def test_who_does_not_take_views_is_told_after_those_that_were_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "VIEW_LIMIT", 5)
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        await until(watcher, is_connected)
        for _ in range(10):
            cluster.reform(1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len([await anext(watcher) for _ in range(5)]) == 5
        with pytest.raises(QueueFull, match="5 views were not taken"):
            await anext(watcher)


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_partitions_and_restarts_of_the_embedded_daemon(transport: Literal["shm", "socket"]) -> None:
    async with (
        simulated_cluster(3, transport=transport) as cluster,
        watch_quorum(cluster.address(1)) as watcher,
    ):
        await until(watcher, is_connected)
        for _ in range(3):
            cluster.partition({1}, {2, 3})
            *_, cut = await until(watcher, lambda view: view.state is NOT_QUORATE)
            assert has_members(1)(cut)
            cluster.kill(1)
            *_, lost = await until(watcher, is_unknown)
            cluster.heal()
            cluster.up(1)
            views = await until(watcher, lambda view: bool(view.state))
            assert has_members(1, 2, 3)(views[-1])
            assert lost.since > cut.since
