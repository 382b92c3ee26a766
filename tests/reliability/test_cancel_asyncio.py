"""Under asyncio: each call, cancelled at each of its awaits, and just after it was woken there.

asyncio throws a cancellation once, into whatever the task awaits. It does so even if the task was already
woken, which trio never does. Either way the connection stays usable, and no other task waits in vain.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from functools import partial
from typing import Any

import pytest

from tests.client.support import holdings, nothing_left
from tests.ipc.served import AT_ONCE, LATER, Elsewhere, number_in, request, served_elsewhere
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE, eventually, eventually_async
from tests.reliability.cancelled import (
    CALLS,
    INITIALIZES,
    MOST_PAUSES,
    TAKES,
    Call,
    connecting_and_leaving_leave_nothing,
)
from tests.ways import Recipe, every_way, settled
from votequorum_ipc import (
    CsError,
    DispatchFlags,
    ExpectedVotesNotification,
    NotExist,
    TrackFlags,
    Votequorum,
)
from votequorum_ipc.ipc import Connection, connect

ASYNCIO_ONLY = {
    "trio": "tests/reliability/test_cancel_everywhere.py does it",
    "blocking": "only a timeout can cancel a call, which tests/client/test_blocking.py does",
}


class CancelAt:
    """Awaits a call and cancels the current task at this pause; 0 is before the call begins."""

    def __init__(self, pause: int, call: Call, *, woken: bool) -> None:
        self._left = pause
        self._call = call
        self._woken = woken
        """Cancel not before the pause, but when it is over and the task has not run yet."""

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        if not self._left:
            task.cancel()
        steps = self._call().__await__()
        try:
            future = next(steps)
            while True:
                self._left -= 1
                if self._left == 0:
                    self._cancel_in(task, future)
                try:
                    given = yield future
                except BaseException as error:
                    future = steps.throw(error)
                else:
                    future = steps.send(given)
        except StopIteration as end:
            return end.value

    def _cancel_in(self, task: asyncio.Task[Any], future: asyncio.Future[Any] | None) -> None:
        if not self._woken:
            task.cancel()
        elif future is None:
            asyncio.get_running_loop().call_soon(task.cancel)
        else:
            # This runs before the task's own callback, which schedules it.
            future.add_done_callback(lambda _: task.cancel())


async def cancelled_at(pause: int, call: Call, *, woken: bool) -> bool:
    """Make a call and cancel it in that pause. Returns whether it was cancelled; drops a `CsError`."""

    async def main() -> None:
        with contextlib.suppress(CsError):
            await CancelAt(pause, call, woken=woken)
        # A cancellation that came too late for the call is raised here.
        task = asyncio.current_task()
        assert task is not None
        if task.cancelling():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)

    task = asyncio.create_task(main())
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return task.cancelled()


async def at_every_pause(call: Call, after: Call, *, woken: bool) -> list[int]:
    """Cancel before the first step, at the first pause, and so on; return the pauses that ended cancelled."""
    effective = []
    for pause in range(1 if woken else 0, MOST_PAUSES + 4):
        if await cancelled_at(pause, call, woken=woken):
            effective.append(pause)
        await after()
    return effective


@pytest.fixture
def handle(daemon: Daemon) -> Recipe:
    """A handle that leaves nothing behind."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Votequorum]:
        with nothing_left():
            async with await Votequorum.initialize() as handle:
                yield handle
        await eventually_async(lambda: not holdings().files, otherwise="the daemon has removed its files")

    return Recipe(opened)


@pytest.mark.parametrize("woken", [False, True])
@pytest.mark.parametrize("name", CALLS)
@every_way(without=ASYNCIO_ONLY)
async def test_a_call_cancelled_at_each_await_leaves_the_connection_usable(
    handle: Votequorum, name: str, woken: bool
) -> None:
    async def good() -> None:
        assert (await handle.getinfo(1)).node_id == 1
        with pytest.raises(NotExist, match="a node 99"):
            await handle.getinfo(99)

    assert await at_every_pause(lambda: CALLS[name](handle), good, woken=woken)


@pytest.mark.parametrize("name", CALLS)
@every_way(without=ASYNCIO_ONLY)
async def test_a_call_that_hangs_is_cancelled_at_each_await(
    handle: Votequorum, daemon: Daemon, name: str
) -> None:
    for pause in range(5):
        with daemon.frozen():
            task = asyncio.create_task(cancelled_at(pause, lambda: CALLS[name](handle), woken=False))
            await settled()
            task.cancel()
            await asyncio.wait([task])
        assert (await handle.getinfo(1)).node_id == 1


@pytest.mark.parametrize("woken", [False, True])
@pytest.mark.parametrize("initialize", INITIALIZES)
@every_way(without=ASYNCIO_ONLY)
async def test_connecting_and_leaving_cancelled_at_each_await_leave_nothing(
    daemon: Daemon, initialize: Callable[[], Awaitable[Any]], woken: bool
) -> None:
    assert await connecting_and_leaving_leave_nothing(initialize, partial(at_every_pause, woken=woken))


@pytest.mark.parametrize("woken", [False, True])
@pytest.mark.parametrize("name", TAKES)
@pytest.mark.parametrize("here", [0, 2])
@every_way(without=ASYNCIO_ONLY)
async def test_taking_events_cancelled_at_each_await_loses_none(
    shm_daemon: Daemon, name: str, here: int, woken: bool
) -> None:
    """`here` events have come before it begins; the others come meanwhile."""
    taken: list[int] = []
    sent: list[int] = []

    def note(event: ExpectedVotesNotification) -> None:
        taken.append(event.expected_votes)

    async with (
        await Votequorum.initialize(expectedvotes_notify=note) as handle,
        await Votequorum.initialize() as other,
    ):
        await other.setvotes(1, 100)
        async with asyncio.timeout(DEADLINE):
            while (await other.getinfo()).node_expected_votes != 100:
                pass  # its announcement must not come after trackstart
        await handle.trackstart(flags=TrackFlags.CHANGES_ONLY)

        async def send(count: int) -> None:
            for _ in range(count):
                sent.append(102 + len(sent) % 50)
                await other.setexpected(sent[-1])

        async def take() -> None:
            event = await TAKES[name](handle)()
            if event is not None:
                taken.append(event.expected_votes)

        for pause in range(6):
            await send(here)
            task = asyncio.create_task(cancelled_at(pause, take, woken=woken))
            await settled()
            await send(2)
            await settled()
            task.cancel()
            await asyncio.wait([task])
        async with asyncio.timeout(DEADLINE):
            while len(taken) < len(sent):
                await handle.dispatch(DispatchFlags.ONE)
        assert taken == sent
        assert (await handle.getinfo()).node_id == 1


# --- tasks that wait beside a cancelled task ---


@pytest.fixture(params=["shm", "socket"])
def elsewhere(request: pytest.FixtureRequest) -> Iterator[Elsewhere]:
    """A service in another thread, over each transport in turn."""
    with served_elsewhere(request.param) as elsewhere:
        yield elsewhere


async def held(elsewhere: Elsewhere, connection: Connection, number: int) -> asyncio.Task[bytes]:
    """A task that waits for an answer that the service holds back."""
    task = asyncio.create_task(connection.request(request(LATER, number), response_size=32))
    await settled()
    eventually(lambda: any(each[1] == number for each in elsewhere.service.held))
    return task


@every_way(without=ASYNCIO_ONLY, uvloop=True)
async def test_if_the_task_chosen_to_drive_is_cancelled_before_it_runs_the_next_one_wakes(
    elsewhere: Elsewhere,
) -> None:
    async with await connect("held", address=elsewhere.address) as connection:
        first = await held(elsewhere, connection, 1)
        chosen = await held(elsewhere, connection, 2)
        event = asyncio.create_task(connection.next_event())
        await settled()
        # The first task stops driving and wakes the second, which is cancelled before it runs.
        first.add_done_callback(lambda _: chosen.cancel())
        elsewhere.do(elsewhere.service.answer)
        assert number_in(await first) == 1
        await settled()
        assert chosen.cancelled()
        elsewhere.do(elsewhere.service.announce)
        async with asyncio.timeout(DEADLINE):
            assert number_in(await event) == 0
        elsewhere.do(elsewhere.service.answer)
        assert number_in(await connection.request(request(AT_ONCE, 3))) == 3


class Crowd:
    """Tasks on one connection: some are cancelled all the time, and the others must not notice."""

    def __init__(self, connection: Connection) -> None:
        self.answers = self.events = self.cancelled = 0
        self.wrong: list[object] = []
        self.over = False
        self._connection = connection
        self._chance = random.Random(23)

    def _request(self, number: int) -> Awaitable[bytes]:
        return self._connection.request(request(AT_ONCE, number), response_size=32)

    async def ask(self, first: int) -> None:
        """Make 60 requests, each with its own number."""
        for number in range(first, first + 60):
            answer = number_in(await self._request(number))
            if answer != number:
                self.wrong.append((number, answer))
            self.answers += 1

    async def be_cancelled(self) -> None:
        """Make requests and wait for events, each cancelled after a few turns of the loop."""
        while not self.over:
            wants_event = self._chance.random() < 0.3
            task = asyncio.ensure_future(self._connection.next_event() if wants_event else self._request(-1))
            for _ in range(self._chance.randrange(6)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            self.cancelled += task.cancelled()
            self.events += wants_event and not task.cancelled()

    async def give_up(self) -> None:
        """Make requests with timeouts that are too short."""
        while not self.over:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0, 0.002)):
                    while True:
                        await self._request(-2)
            self.cancelled += 1


@every_way(without=ASYNCIO_ONLY, uvloop=True)
async def test_random_cancellations_among_many_tasks_disturb_no_other_task(elsewhere: Elsewhere) -> None:
    async with await connect("held", address=elsewhere.address) as connection:
        crowd = Crowd(connection)
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as others:
            for _ in range(5):
                others.create_task(crowd.be_cancelled())
                others.create_task(crowd.give_up())
            async with asyncio.TaskGroup() as group:
                for first in range(0, 600, 60):
                    group.create_task(crowd.ask(first))
                for _ in range(20):
                    elsewhere.soon(elsewhere.service.announce)
                    await asyncio.sleep(0.001)
            crowd.over = True
        async with asyncio.timeout(DEADLINE):
            while crowd.events < 20:
                await connection.next_event()
                crowd.events += 1
        assert (crowd.answers, crowd.events, crowd.wrong) == (600, 20, [])
        assert crowd.cancelled > 100
        assert number_in(await connection.request(request(AT_ONCE, 7))) == 7
        assert connection._waiting.driver is None
        assert not connection._waiting.parked


@every_way(without=ASYNCIO_ONLY, uvloop=True)
async def test_a_failing_task_group_leaves_the_connection_usable(elsewhere: Elsewhere) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError

    async def group_that_fails(connection: Connection) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(connection.request(request(AT_ONCE, -1)))
                group.create_task(connection.next_event())
            group.create_task(fail())

    async with await connect("held", address=elsewhere.address) as connection:
        for number in range(20):
            with pytest.raises(ExceptionGroup) as caught:
                await group_that_fails(connection)
            assert [type(error) for error in caught.value.exceptions] == [LookupError]
            assert number_in(await connection.request(request(AT_ONCE, number))) == number


@every_way(without=ASYNCIO_ONLY)
async def test_a_call_cancelled_just_after_its_answer_is_undone_while_another_task_waits(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await connect("held", address=elsewhere.address) as connection:
        drives = asyncio.create_task(connection.next_event())
        await settled()
        made = asyncio.create_task(connection.request(request(LATER), undo=lambda _: request(AT_ONCE, 77)))
        await settled()
        wake = connection._exchange._wake

        def wake_and_cancel(waiter: Any) -> None:
            wake(waiter)
            if waiter is not connection._waiting.driver:
                made.cancel()

        monkeypatch.setattr(connection._exchange, "_wake", wake_and_cancel)
        await eventually_async(lambda: elsewhere.service.held != [])
        elsewhere.do(elsewhere.service.answer)
        await asyncio.wait([made])
        assert made.cancelled()
        await eventually_async(lambda: (AT_ONCE, 77) in elsewhere.service.came)
        drives.cancel()
