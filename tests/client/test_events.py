"""Events reach programs through `events`, `dispatch` with callbacks, and a descriptor, as in the C API."""

from __future__ import annotations

import contextlib
import select
from collections.abc import AsyncIterator

import pytest

from tests.client.support import events_here, give_many_votes
from tests.real.config import MANY_VOTES
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE, eventually_async
from tests.ways import TASKS, Recipe, every_way, settled, task_group
from votequorum_ipc import (
    BadHandle,
    Cmap,
    DispatchFlags,
    ExpectedVotesNotification,
    InvalidParam,
    NodelistNotification,
    QuorumNotification,
    TrackFlags,
    TryAgain,
    Votequorum,
)
from votequorum_ipc.cmap import KeyChange, TrackType
from votequorum_ipc.ipc.backend import checkpoint, current, move_on_after, sleep


@pytest.fixture
def tracked(many_votes_daemon: Daemon) -> Recipe:
    """A handle that asked for changes only, and the arguments of its callbacks' calls."""
    return Recipe(_tracked)


@contextlib.asynccontextmanager
async def _tracked() -> AsyncIterator[tuple[Votequorum, list[object]]]:
    called: list[object] = []

    async def expected_votes(event: ExpectedVotesNotification) -> None:
        await checkpoint()
        called.append(event)

    handle = await Votequorum.initialize(
        quorum_notify=called.append,
        nodelist_notify=called.append,
        expectedvotes_notify=expected_votes,
    )
    async with handle:
        await handle.trackstart(5, TrackFlags.CHANGES_ONLY)
        yield handle, called


async def change(handle: Votequorum, *numbers: int) -> None:
    """Cause an event for each number, and wait until all have come; none is taken."""
    before = handle.connection.queued_events()
    for number in numbers:
        await handle.setexpected(MANY_VOTES + number)
    await events_here(handle, before + len(numbers))


def votes(*numbers: int) -> list[object]:
    return [ExpectedVotesNotification(5, MANY_VOTES + number) for number in numbers]


@every_way()
async def test_dispatch_all_delivers_what_has_come_and_does_not_wait(
    tracked: tuple[Votequorum, list[object]],
) -> None:
    handle, called = tracked
    await handle.dispatch(DispatchFlags.ALL)
    assert called == []
    await change(handle, 2, 3, 4)
    await handle.dispatch(DispatchFlags.ALL)
    assert called == votes(2, 3, 4)


@every_way(without={"blocking": TASKS})
async def test_dispatch_one_delivers_one_and_waits_for_it(tracked: tuple[Votequorum, list[object]]) -> None:
    handle, called = tracked
    async with task_group() as group:
        group.start(handle.dispatch, DispatchFlags.ONE)
        await settled()
        for number in (2, 3):
            await handle.setexpected(MANY_VOTES + number)
    assert called == votes(2)
    await handle.dispatch(DispatchFlags.ONE)
    assert called == votes(2, 3)


@every_way()
async def test_dispatch_one_nonblocking_raises_try_again_without_an_event(
    tracked: tuple[Votequorum, list[object]],
) -> None:
    handle, called = tracked
    with pytest.raises(TryAgain, match="no event is waiting"):
        await handle.dispatch(DispatchFlags.ONE_NONBLOCKING)
    await change(handle, 2, 3)
    await handle.dispatch(DispatchFlags.ONE_NONBLOCKING)
    assert called == votes(2)


@every_way(without={"blocking": TASKS})
async def test_dispatch_blocking_runs_until_the_handle_is_finalized(
    tracked: tuple[Votequorum, list[object]],
) -> None:
    handle, called = tracked
    async with task_group() as group:
        group.start(handle.dispatch, DispatchFlags.BLOCKING)
        for number in (2, 3, 4):
            await handle.setexpected(MANY_VOTES + number)
        await eventually_async(lambda: called == votes(2, 3, 4))
        await handle.finalize()


@every_way()
async def test_dispatch_takes_the_c_numbers_and_no_others(tracked: tuple[Votequorum, list[object]]) -> None:
    handle, _ = tracked
    await handle.dispatch(2)  # type: ignore[arg-type]
    with pytest.raises(InvalidParam, match="DispatchFlags"):
        await handle.dispatch(5)  # type: ignore[arg-type]


@every_way()
async def test_a_callback_that_finalizes_ends_dispatch_with_a_bad_handle(daemon: Daemon) -> None:
    async def finalize(_: NodelistNotification) -> None:
        await handle.finalize()

    handle = await Votequorum.initialize(nodelist_notify=finalize)
    async with handle:
        await handle.trackstart()
        with pytest.raises(BadHandle, match="by a callback"):
            await handle.dispatch(DispatchFlags.ALL)


@every_way()
async def test_an_exception_from_a_callback_reaches_the_dispatcher_and_costs_one_event(
    daemon: Daemon,
) -> None:
    def fail(_: NodelistNotification) -> None:
        raise LookupError("from the callback")

    async with await Votequorum.initialize(nodelist_notify=fail) as handle:
        await handle.trackstart()
        with pytest.raises(LookupError, match="from the callback"):
            await handle.dispatch(DispatchFlags.ALL)
        assert isinstance(await handle.next_event(), QuorumNotification)


@every_way()
async def test_an_event_without_a_callback_counts_and_is_dropped(daemon: Daemon) -> None:
    called: list[object] = []
    async with await Votequorum.initialize(quorum_notify=called.append) as handle:
        await handle.trackstart()
        await handle.dispatch(DispatchFlags.ONE)
        assert called == []
        await handle.dispatch(DispatchFlags.ONE)
        assert [type(event) for event in called] == [QuorumNotification]


@every_way(without={"blocking": TASKS})
async def test_events_yields_events_in_order(tracked: tuple[Votequorum, list[object]]) -> None:
    handle, _ = tracked
    received: list[object] = []
    async with task_group() as group:

        async def consume() -> None:
            async for event in handle.events():
                received.append(event)
                if len(received) == 20:
                    return

        group.start(consume)
        for number in range(2, 22):
            await handle.setexpected(MANY_VOTES + number)
    assert received == votes(*range(2, 22))


@every_way(without={"blocking": TASKS})
async def test_finalize_wakes_tasks_that_wait_for_events(tracked: tuple[Votequorum, list[object]]) -> None:
    handle, _ = tracked
    ended: list[str] = []

    async def consume() -> None:
        with pytest.raises(BadHandle):
            async for _ in handle.events():
                pass
        ended.append("consumer")

    async with task_group() as group:
        for _ in range(3):
            group.start(consume)
        await settled()
        await handle.finalize()
    assert ended == ["consumer"] * 3


@every_way(without={"blocking": TASKS})
async def test_each_event_goes_to_one_of_several_consumers(tracked: tuple[Votequorum, list[object]]) -> None:
    handle, _ = tracked
    received: list[object] = []

    async def consume() -> None:
        for _ in range(5):
            received.append(await handle.next_event())

    async with task_group() as group:
        for _ in range(4):
            group.start(consume)
        await settled()
        for number in range(2, 22):
            await handle.setexpected(MANY_VOTES + number)
    assert sorted(received, key=repr) == sorted(votes(*range(2, 22)), key=repr)


@every_way()
async def test_the_descriptor_is_readable_exactly_while_an_event_waits(
    tracked: tuple[Votequorum, list[object]],
) -> None:
    handle, called = tracked
    poller = select.poll()
    poller.register(handle.fileno(), select.POLLIN)
    assert poller.poll(0) == []
    await change(handle, 2, 3)
    for _ in range(2):
        assert poller.poll(0) == [(handle.fileno(), select.POLLIN)]
        await current().wait_readable(handle)
        await handle.dispatch(DispatchFlags.ONE_NONBLOCKING)
    assert called == votes(2, 3)
    with pytest.raises(TryAgain):
        await handle.dispatch(DispatchFlags.ONE_NONBLOCKING)
    assert poller.poll(0) == []


@every_way(without={"blocking": TASKS})
async def test_the_descriptor_wakes_on_an_event_that_comes_later(
    tracked: tuple[Votequorum, list[object]],
) -> None:
    handle, called = tracked
    async with task_group() as group:

        async def serve() -> None:
            await current().wait_readable(handle)
            await handle.dispatch(DispatchFlags.ALL)

        group.start(serve)
        await settled()
        async with await Votequorum.initialize() as other:
            await other.setexpected(MANY_VOTES + 2)
    assert called == votes(2)


@every_way()
async def test_the_context_is_the_one_that_the_program_gave(daemon: Daemon) -> None:
    async with await Votequorum.initialize() as handle:
        assert handle.context is None
        handle.context = marker = object()
        await handle.getinfo()
        assert handle.context is marker


@every_way()
async def test_cmap_changes_come_as_events(daemon: Daemon) -> None:
    async with await Cmap.initialize() as cmap, await Votequorum.initialize() as votequorum:
        every = TrackType.ADD | TrackType.MODIFY | TrackType.DELETE
        track = await cmap.track_add("runtime.votequorum.", every | TrackType.PREFIX)
        await give_many_votes(votequorum)
        await votequorum.setexpected(104)
        barrier = "runtime.votequorum.ev_barrier"
        assert await cmap.next_event() == KeyChange(track, barrier, TrackType.MODIFY, 1, 104)
        await cmap.track_delete(track)
        await votequorum.setexpected(105)
        with move_on_after(DEADLINE):
            while await cmap.get(barrier) != 105:
                await sleep(0.001)
        assert cmap.connection.queued_events() == 0
        with pytest.raises(InvalidParam, match="did not return the number"):
            await cmap.track_delete(track)
