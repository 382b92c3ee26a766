"""Answers that take minutes, in each way to wait, on a simulated clock.

A service may answer a request long after it came, as votequorum does while the cluster synchronises. Such an
answer comes without an edge, so the client polls for it. The service is in another thread and does nothing by
itself; the client's clock jumps to the next deadline whenever the client has to wait.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import selectors
import struct
from collections.abc import Callable, Coroutine, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from tests.ipc.served import AT_ONCE, EVENT, LATER, Elsewhere, number_in, request, served_elsewhere
from tests.real.waiting import eventually
from tests.ways import task_group
from votequorum_ipc.ipc import Connection, blocking_backend, connect
from votequorum_ipc.ipc.backend import checkpoint, current, current_time, move_on_after, sleep
from votequorum_ipc.wire import message_id

MINUTES = 180.0
"""In seconds; corosync takes as long if the network flaps."""

Main = Callable[[], Coroutine[Any, Any, None]]


class Clock:
    """A time that jumps, and an action for when it has passed a moment."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.alarm: tuple[float, Callable[[], object]] | None = None

    def jump(self, seconds: float) -> None:
        self.now += seconds
        if self.alarm is not None and self.now >= self.alarm[0]:
            _, ring = self.alarm
            self.alarm = None
            ring()


class JumpingSelector(selectors.DefaultSelector):
    """Never waits for a deadline: its clock jumps there instead."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout:
            self._clock.jump(timeout)
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on a clock that jumps."""

    def __init__(self) -> None:
        self._jumping = Clock()
        super().__init__(JumpingSelector(self._jumping))

    def time(self) -> float:
        return self._jumping.now


class JumpingPoll:
    """`select.poll` on a clock that jumps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._poll = select.poll()
        self.register = self._poll.register

    def poll(self, milliseconds: float | None) -> list[tuple[int, int]]:
        ready = self._poll.poll(None if milliseconds is None else 0)
        if not ready and milliseconds:
            self._clock.jump(milliseconds / 1000)
        return ready


def run_trio(main: Main, _: pytest.MonkeyPatch, __: Clock) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def run_asyncio(main: Main, _: pytest.MonkeyPatch, __: Clock) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())


def run_blocking(main: Main, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(blocking_backend, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(blocking_backend.BlockingBackend, "current_time", staticmethod(lambda: clock.now))
    poll = SimpleNamespace(poll=lambda: JumpingPoll(clock), POLLIN=select.POLLIN, POLLOUT=select.POLLOUT)
    monkeypatch.setattr(blocking_backend, "select", poll)
    blocking_backend.run_blocking(main())


WAYS = {"trio": run_trio, "asyncio": run_asyncio, "blocking": run_blocking}


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """The service. Only over shared memory: over sockets an answer has an edge."""
    with served_elsewhere("shm") as elsewhere:
        yield elsewhere


def answer(elsewhere: Elsewhere) -> None:
    eventually(lambda: elsewhere.service.held != [])
    elsewhere.do(elsewhere.service.answer)


def answered_after_minutes(
    elsewhere: Elsewhere, way: str, monkeypatch: pytest.MonkeyPatch, byte_was_seen_read: Callable[[], bool]
) -> None:
    """A call whose answer takes minutes, counted from when the client knows that its byte was read."""
    clock = Clock()

    async def ask(connection: Connection) -> None:
        before = current_time()
        assert number_in(await connection.request(request(LATER, 1), deferred=True)) == 1
        assert MINUTES <= current_time() - before < MINUTES + 1

    async def answer_later() -> None:
        while not byte_was_seen_read():
            await checkpoint()  # lets no time pass
        await sleep(MINUTES)
        answer(elsewhere)

    async def main() -> None:
        async with await connect("held", address=elsewhere.address) as connection:
            if current().name == "blocking":
                clock.alarm = (clock.now + MINUTES, lambda: answer(elsewhere))
                await ask(connection)
            else:
                async with task_group() as group:
                    group.start(ask, connection)
                    group.start(answer_later)
            assert number_in(await connection.request(request(AT_ONCE, 2))) == 2

    WAYS[way](main, monkeypatch, clock)


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_that_takes_minutes_arrives(
    elsewhere: Elsewhere, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered_after_minutes(elsewhere, way, monkeypatch, lambda: True)


@pytest.mark.parametrize("way", WAYS)
def test_it_arrives_even_if_the_kernel_was_still_freeing_the_byte_that_the_service_had_read(
    elsewhere: Elsewhere, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def freeing(*args: Any) -> bytes:
        counts.extend(struct.unpack("=i", fcntl.ioctl(*args)))
        return struct.pack("=i", max(counts[-1], 1))

    monkeypatch.setattr("votequorum_ipc.ipc.shm.fcntl", SimpleNamespace(ioctl=freeing))
    answered_after_minutes(elsewhere, way, monkeypatch, lambda: 0 in counts)


@pytest.mark.parametrize("way", WAYS)
def test_a_call_abandoned_after_minutes_leaves_the_connection_usable(
    elsewhere: Elsewhere, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with await connect("held", address=elsewhere.address) as connection:
            with move_on_after(MINUTES) as scope:
                await connection.request(request(LATER, 1), deferred=True)
            assert scope.cancelled_caught
            answer(elsewhere)
            assert number_in(await connection.request(request(AT_ONCE, 2))) == 2

    WAYS[way](main, monkeypatch, Clock())


@pytest.mark.parametrize("way", ["trio", "asyncio"])
def test_calls_of_other_tasks_wait_behind_it_and_events_do_not(
    elsewhere: Elsewhere, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    async def defer(connection: Connection) -> None:
        await connection.request(request(LATER, 1), deferred=True)
        order.append("deferred")

    async def ask(connection: Connection, number: int) -> None:
        await sleep(number)
        assert number_in(await connection.request(request(AT_ONCE, number))) == number
        order.append("call")

    async def take_event(connection: Connection) -> None:
        assert message_id(await connection.next_event()) == EVENT
        order.append("event")

    async def announce_then_answer() -> None:
        await sleep(MINUTES / 2)
        elsewhere.do(elsewhere.service.announce)
        await sleep(MINUTES / 2)
        eventually(lambda: elsewhere.service.held != [])
        # Afterwards the event loop decides which task runs first.
        assert (elsewhere.service.came, order) == ([(LATER, 1)], ["event"])
        answer(elsewhere)

    async def main() -> None:
        async with await connect("held", address=elsewhere.address) as connection, task_group() as group:
            group.start(defer, connection)
            group.start(take_event, connection)
            group.start(announce_then_answer)
            for number in range(1, 9):
                group.start(ask, connection, number)

    WAYS[way](main, monkeypatch, Clock())
    assert sorted(order) == ["call"] * 8 + ["deferred", "event"]
    assert elsewhere.service.came == [(LATER, 1), *((AT_ONCE, number) for number in range(1, 9))]
    assert [id_ for id_, _ in elsewhere.service.came] == [LATER] + [AT_ONCE] * 8
