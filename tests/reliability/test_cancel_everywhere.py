"""Each call, cancelled at each of its checkpoints in turn: nothing is lost; the connection stays usable."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

import votequorum_ipc.daemon.services.cmap
from tests.client.support import events_here, holdings, nothing_left
from tests.real.daemon import Daemon
from tests.real.waiting import eventually_async
from tests.reliability.cancelled import (
    CALLS,
    INITIALIZES,
    MOST_PAUSES,
    TAKES,
    Call,
    connecting_and_leaving_leave_nothing,
)
from votequorum_ipc import (
    Cmap,
    CsError,
    DispatchFlags,
    ExpectedVotesNotification,
    NotExist,
    TrackFlags,
    Votequorum,
)
from votequorum_ipc.daemon import TransportName
from votequorum_ipc.testing import simulated_cluster


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when one task has paused this many times; 0 is before it begins."""

    def __init__(self, pause: int, scope: trio.CancelScope) -> None:
        self._left = pause
        self._scope = scope
        self._task = trio.lowlevel.current_task()
        if not pause:
            scope.cancel()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancelled_at(pause: int, call: Call) -> bool:
    """Make a call and cancel it in that pause. Returns whether it was cancelled; drops a `CsError`."""
    with trio.CancelScope() as scope:
        instrument = CancelAt(pause, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            with contextlib.suppress(CsError):
                await call()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


async def at_every_pause(call: Call, after: Call) -> list[int]:
    """Cancel before the first step, at the first pause, at the second, and so on, until the call has fewer
    pauses; call `after` each time. Returns the pauses that ended cancelled: a pause is shielded if its
    outcome is already known."""
    effective = []
    for pause in itertools.count():
        if await cancelled_at(pause, call):
            effective.append(pause)
        elif pause > MOST_PAUSES:
            return effective
        await after()
    raise AssertionError("unreachable")


@pytest.fixture
async def handle(daemon: Daemon) -> AsyncIterator[Votequorum]:
    with nothing_left():
        async with await Votequorum.initialize() as handle:
            yield handle
    await eventually_async(lambda: not holdings().files, otherwise="the daemon has removed its files")


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_cancelled_at_each_checkpoint_leaves_the_connection_usable(
    handle: Votequorum, name: str
) -> None:
    async def good() -> None:
        assert (await handle.getinfo(1)).node_id == 1
        with pytest.raises(NotExist, match="a node 99"):
            await handle.getinfo(99)

    assert 0 in await at_every_pause(lambda: CALLS[name](handle), good)


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_that_hangs_is_cancelled_at_each_checkpoint(
    handle: Votequorum, daemon: Daemon, name: str
) -> None:
    for pause in range(5):
        with daemon.frozen():
            async with trio.open_nursery() as nursery:

                async def call(pause: int = pause) -> None:
                    if not await cancelled_at(pause, lambda: CALLS[name](handle)):
                        pytest.fail("it cannot have ended")

                nursery.start_soon(call)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert (await handle.getinfo(1)).node_id == 1


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_keys_cancelled_at_each_checkpoint_frees_its_iterator(
    transport: TransportName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(votequorum_ipc.daemon.services.cmap, "MAX_HANDLES", 1)
    async with (
        simulated_cluster(1, transport=transport) as cluster,
        await Cmap.initialize(address=cluster.address(1)) as cmap,
    ):
        prefix = "runtime.votequorum.two"

        async def nothing_left_over() -> None:
            assert await cmap.keys(prefix) == ["runtime.votequorum.two_node"]

        # Before the iteration starts, and before a read; a fast daemon answers before anything waits.
        assert len(await at_every_pause(lambda: cmap.keys(prefix), nothing_left_over)) >= 2


@pytest.mark.parametrize("initialize", INITIALIZES)
async def test_connecting_and_leaving_cancelled_at_each_checkpoint_leave_nothing(
    daemon: Daemon, initialize: Callable[[], Awaitable[Any]]
) -> None:
    assert {0, 1} <= {*await connecting_and_leaving_leave_nothing(initialize, at_every_pause)}


@pytest.mark.parametrize("name", TAKES)
@pytest.mark.parametrize("here", [0, 1, 3])
async def test_taking_events_cancelled_at_each_checkpoint_loses_none(name: str, here: int) -> None:
    """`here` events have come before it begins; the others come meanwhile."""
    taken: list[int] = []

    async def note(event: ExpectedVotesNotification) -> None:
        taken.append(event.expected_votes)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async with simulated_cluster(1, expected_votes=1) as cluster:
        handle = await cluster.connect(1, expectedvotes_notify=note)
        other = await cluster.connect(1)
        await other.setvotes(1, 100)
        await handle.trackstart(flags=TrackFlags.CHANGES_ONLY)
        sent: list[int] = []

        async def send(count: int) -> None:
            for _ in range(count):
                sent.append(102 + len(sent) % 50)
                await other.setexpected(sent[-1])

        async def take(pause: int) -> None:
            with trio.CancelScope() as scope:
                instrument = CancelAt(pause, scope)
                trio.lowlevel.add_instrument(instrument)
                try:
                    event = await TAKES[name](handle)()
                except CsError:
                    pass
                else:
                    if event is not None:
                        taken.append(event.expected_votes)
                finally:
                    trio.lowlevel.remove_instrument(instrument)

        for pause in range(8):
            await send(here)
            await events_here(handle, len(sent) - len(taken))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take, pause)
                await trio.testing.wait_all_tasks_blocked()
                await send(2)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        while len(taken) < len(sent):
            await handle.dispatch(DispatchFlags.ONE)
        assert taken == sent
        assert (await handle.getinfo()).node_id == 1
