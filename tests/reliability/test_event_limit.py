"""Events that are not taken: kept in order up to a limit. Beyond it the connection ends, after the kept
events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest

from tests.client.support import code_of, nothing_left
from tests.real.config import MANY_VOTES
from tests.real.daemon import Daemon
from tests.real.waiting import eventually_async
from votequorum_ipc import (
    CsErrorCode,
    ExpectedVotesNotification,
    NodelistNotification,
    QueueFull,
    QuorumNotification,
    TrackFlags,
    Votequorum,
)
from votequorum_ipc.ipc import exchange
from votequorum_ipc.testing import simulated_cluster

CHANGES = 3000


def changes() -> Iterator[int]:
    """Expected votes, each different from the one before."""
    return (MANY_VOTES + 2 + number % 50 for number in range(CHANGES))


async def test_thousands_of_events_that_are_not_taken_are_all_kept_in_order(
    many_votes_daemon: Daemon,
) -> None:
    async with await Votequorum.initialize() as handle:
        await handle.trackstart(7, TrackFlags.CHANGES_ONLY)
        for votes in changes():
            await handle.setexpected(votes)  # waiting fetches the events
        for votes in changes():
            assert await handle.next_event() == ExpectedVotesNotification(7, votes)


async def test_events_of_a_handle_without_a_waiting_task_are_kept_by_the_daemon_and_none_is_lost(
    many_votes_daemon: Daemon,
) -> None:
    async with await Votequorum.initialize() as quiet, await Votequorum.initialize() as busy:
        await quiet.trackstart(7, TrackFlags.CHANGES_ONLY)
        for votes in changes():
            await busy.setexpected(votes)
        for votes in changes():
            assert await quiet.next_event() == ExpectedVotesNotification(7, votes)


async def test_beyond_the_limit_the_connection_ends_with_queue_full_after_the_kept_events(
    many_votes_daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_UNREAD_EVENT_BYTES", 50 * (40 + exchange._EVENT_OVERHEAD))
    with nothing_left():
        async with await Votequorum.initialize() as handle, await Votequorum.initialize() as busy:
            await handle.trackstart(7, TrackFlags.CHANGES_ONLY)
            for votes in range(MANY_VOTES + 2, MANY_VOTES + 62):
                await busy.setexpected(votes)
            # The daemon releases a client that has given up, and stops trying to send.
            await eventually_async(lambda: full(handle), otherwise="the queue is full")
            await eventually_async(
                lambda: len(many_votes_daemon.connections()) == 1,
                otherwise="the daemon releases the connection",
            )
            kept = [await handle.next_event() for _ in range(51)]
            assert kept == [
                ExpectedVotesNotification(7, votes) for votes in range(MANY_VOTES + 2, MANY_VOTES + 53)
            ]
            for call in (handle.next_event, handle.getinfo):
                with pytest.raises(QueueFull, match="track again"):
                    await call()
            assert (await busy.getinfo()).node_id == 1


def full(handle: Votequorum) -> bool:
    handle.connection.queued_events()
    return "lost" in repr(handle.connection)


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_membership_changes_by_the_thousand_keep_their_order_up_to_the_limit(
    transport: Literal["shm", "socket"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_UNREAD_EVENT_BYTES", 1 << 20)
    async with simulated_cluster(3, transport=transport) as cluster:
        handle = await cluster.connect(1)
        await handle.trackstart()
        while not full(handle):
            cluster.reform(1)
        kept = handle.connection.queued_events()
        assert kept > 8000  # two per change
        rings = []
        for number in range(kept):
            event = await handle.next_event()
            assert isinstance(event, QuorumNotification if number % 2 else NodelistNotification)
            if isinstance(event, NodelistNotification):
                rings.append(event.ring_id.seq)
        assert rings == sorted(set(rings))
        assert await code_of(handle.next_event()) == CsErrorCode.QUEUE_FULL
