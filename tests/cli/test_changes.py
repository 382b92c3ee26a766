"""What the order of `monitor`'s lines rests on, with the races forced that a test from outside may miss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import trio

from tests.conftest import StartDaemon
from tests.real.cluster import Cluster
from tests.real.config import Config, Node
from tests.real.cref import CS_OK, CVotequorum
from tests.real.waiting import eventually, eventually_async
from votequorum_ipc import TryAgain
from votequorum_ipc import status as status_module
from votequorum_ipc.changes import (
    Change,
    ExpectedVotesChanged,
    Follower,
    MembershipChanged,
    QuorumChanged,
    VotesChanged,
)
from votequorum_ipc.status import ClusterStatus, StatusReader

FIVE_VOTES = Config(nodes=(Node(1, votes=5),))
"""A node that stays quorate with up to 9 expected votes."""


def set_expected(votequorum: CVotequorum, votes: int) -> None:
    """Change expected votes, and block until corosync has announced it."""
    assert votequorum.setexpected(votes) == CS_OK
    wanted = ("expectedvotes", 0, votes)
    eventually(lambda: votequorum.dispatch() == CS_OK and wanted in votequorum.events)


def after_each_read(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], None]) -> None:
    """Let statuses be out of date when they arrive: each is held back until the next of `steps` was done."""
    read, remaining = StatusReader.read, list(steps)

    async def overtaken(reader: StatusReader) -> ClusterStatus:
        status = await read(reader)
        if remaining:
            remaining.pop(0)()
        return status

    monkeypatch.setattr(StatusReader, "read", overtaken)


async def follow_until(follower: Follower, condition: Callable[[], bool], changes: list[Change]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.follow)
        await eventually_async(condition, otherwise=lambda: f"other changes than {changes}")
        nursery.cancel_scope.cancel()


async def test_a_status_that_an_announcement_overtook_is_read_again_before_it_counts(
    start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[Change] = []
    with start_daemon(FIVE_VOTES).namespace(), CVotequorum() as votequorum:
        assert votequorum.trackstart() == CS_OK
        async with Follower.connect(None, changes.append) as follower:
            await follower.start()
            after_each_read(monkeypatch, *(partial(set_expected, votequorum, votes) for votes in (7, 8)))
            set_expected(votequorum, 6)
            await follow_until(follower, lambda: any(isinstance(c, VotesChanged) for c in changes), changes)
    *announced, last = changes
    assert announced == [ExpectedVotesChanged(6), ExpectedVotesChanged(7), ExpectedVotesChanged(8)]
    assert isinstance(last, VotesChanged)
    assert last.info.node_expected_votes == 8


async def test_what_is_announced_while_the_first_status_is_read_is_in_it_and_is_no_change(
    start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[Change] = []
    with start_daemon(FIVE_VOTES).namespace(), CVotequorum() as votequorum:
        assert votequorum.trackstart() == CS_OK
        after_each_read(monkeypatch, partial(set_expected, votequorum, 6))
        async with Follower.connect(None, changes.append) as follower:
            status = await follower.start()
    assert status.info
    assert (status.info.node_expected_votes, changes) == (6, [])


async def test_a_daemon_too_busy_to_answer_is_asked_again(
    start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy() -> None:
        raise TryAgain

    changes: list[Change] = []
    with start_daemon(FIVE_VOTES).namespace():
        after_each_read(monkeypatch, busy, busy)
        async with Follower.connect(None, changes.append) as follower:
            assert (await follower.start()).quorate


async def test_with_votequorum_alone_who_joined_and_left_is_told_by_the_members_before(
    cluster3: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "_addresses", lambda address: {"votequorum": address})
    changes: list[Change] = []

    def memberships() -> list[MembershipChanged]:
        return [change for change in changes if isinstance(change, MembershipChanged)]

    with cluster3[3].namespace():
        async with Follower.connect(None, changes.append) as follower:
            before = await follower.start()
            assert (before.provider, [member.name for member in before.members]) == (None, ["", "", ""])
            cluster3.isolate(3)
            await follow_until(follower, lambda: QuorumChanged(False) in changes, changes)
            cluster3.heal()
            await follow_until(follower, lambda: len(memberships()[-1].members) == 3, changes)
            members = {member.node_id for member in before.members}
            for change in memberships():
                # Each list follows from the one before it, however many memberships there were.
                members = members - {*change.left} | {*change.joined}
                assert {*change.members} == members
            assert memberships()[0].left == (1, 2)
            await follow_until(follower, lambda: QuorumChanged(True) in changes, changes)
