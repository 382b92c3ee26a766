"""A cancelled call leaves the connection usable and nothing behind."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from tests.client.support import holdings, nothing_left
from tests.real.daemon import Daemon
from tests.real.waiting import eventually_async
from votequorum_ipc import NotExist, Votequorum


async def cancel_after(steps: int, scope: trio.CancelScope) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def ask_until_cancelled(handle: Votequorum, steps: int) -> bool:
    """Make a call and cancel it after this many turns of the event loop, unless the answer comes first."""
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_after, steps, scope)
            assert (await handle.getinfo(1)).node_id == 1
        return scope.cancelled_caught


async def test_calls_cancelled_at_random_points_1000_times_leave_the_connection_usable(
    daemon: Daemon,
) -> None:
    chance = random.Random(20)
    cancelled = 0
    with nothing_left():
        async with await Votequorum.initialize() as handle:
            while cancelled < 1000:
                with daemon.frozen():  # so that no answer comes first
                    for _ in range(20):
                        cancelled += await ask_until_cancelled(handle, chance.randrange(4))
                for _ in range(20):
                    cancelled += await ask_until_cancelled(handle, chance.randrange(4))
                # A late response must not be taken as the answer to this call.
                with pytest.raises(NotExist, match="a node 99"):
                    await handle.getinfo(99)
            assert (await handle.getinfo(1)).node_id == 1
    await eventually_async(lambda: not holdings().files, otherwise="the daemon has removed its files")


async def test_cancelled_tasks_do_not_disturb_the_others(daemon: Daemon) -> None:
    chance = random.Random(21)
    answers = 0

    async def ask(handle: Votequorum, doomed: bool) -> None:
        nonlocal answers
        nodeid = 99 if doomed else 1
        for _ in range(100):
            with trio.move_on_after(chance.uniform(0, 0.002) if doomed else 60):
                try:
                    assert (await handle.getinfo(nodeid)).node_id == nodeid
                except NotExist:
                    assert doomed
                else:
                    assert not doomed
                    answers += 1

    async with await Votequorum.initialize() as handle, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(ask, handle, number % 2 == 0)
    assert answers == 1000


async def test_a_cancelled_wait_for_events_loses_none(daemon: Daemon) -> None:
    async with await Votequorum.initialize() as handle:
        for _ in range(50):
            with trio.move_on_after(0):
                await handle.next_event()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(handle.next_event)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await handle.trackstart()
        assert [type(await handle.next_event()).__name__ for _ in range(2)] == [
            "NodelistNotification",
            "QuorumNotification",
        ]


async def test_cancelled_initialize_and_finalize_leave_nothing(daemon: Daemon) -> None:
    chance = random.Random(22)
    with nothing_left():
        for _ in range(100):
            with trio.move_on_after(chance.uniform(0, 0.003)):
                handle = await Votequorum.initialize()
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await handle.finalize()
    await eventually_async(lambda: not holdings().files, otherwise="the daemon has removed its files")


async def test_each_call_is_a_checkpoint(daemon: Daemon) -> None:
    handle = await Votequorum.initialize()
    for call in (handle.getinfo, handle.trackstart, handle.next_event, handle.trackstop, handle.finalize):
        with trio.testing.assert_checkpoints():
            await call()
