"""What each way to wait provides: deadlines, shields, threads, and waiting for several connections."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest
import trio

from tests.ipc.served import AT_ONCE, Elsewhere, number_in, request, served_elsewhere
from tests.real.waiting import DEADLINE, eventually
from tests.ways import RUNNERS, TASKS, every_way, settled, task_group
from votequorum_ipc import BadHandle, CsError, Library, Votequorum
from votequorum_ipc.ipc import Connection, backend, blocking_backend, connect, wait_for_any
from votequorum_ipc.ipc.backend import INFINITY, current_time, in_thread, move_on_after, sleep

FOREVER = 10**6


@every_way(uvloop=True)
async def test_a_scope_ends_its_block_and_no_other() -> None:
    start = current_time()
    with move_on_after(FOREVER) as outer, move_on_after(0.01) as inner:
        await sleep(FOREVER)
    assert (outer.cancelled_caught, inner.cancelled_caught) == (False, True)
    # The time is not 0: a loop's clock may be coarse, uvloop's by a millisecond.
    assert current_time() - start > 0.005
    with move_on_after(0.01) as outer:
        with move_on_after(FOREVER) as inner:
            await sleep(FOREVER)
        pytest.fail("the outer scope has ended both")
    assert (outer.cancelled_caught, inner.cancelled_caught) == (True, False)
    with move_on_after(FOREVER) as scope:
        await backend.checkpoint()
    assert not scope.cancelled_caught
    await sleep(0.001)


@every_way(uvloop=True)
async def test_scopes_that_expire_together_both_end() -> None:
    for _ in range(20):
        with move_on_after(0.001) as outer:
            with move_on_after(0.001):
                await sleep(FOREVER)
            await sleep(FOREVER)
        assert outer.cancelled_caught
    await sleep(0.001)


@every_way(uvloop=True)
async def test_a_timeout_of_zero_ends_the_block_at_its_first_wait() -> None:
    reached = []
    with move_on_after(0) as scope:
        reached.append("the block")
        await sleep(FOREVER)
    assert scope.cancelled_caught
    assert reached == ["the block"]


@every_way(uvloop=True)
async def test_a_shield_delays_an_outer_deadline_but_not_its_own() -> None:
    done = []
    with move_on_after(0.01) as outer:
        with move_on_after(FOREVER, shield=True):
            await sleep(0.05)
            done.append("shielded")
            with move_on_after(0.001) as inside:
                await sleep(FOREVER)
            assert inside.cancelled_caught
            with move_on_after(0.001, shield=True) as own:
                await sleep(FOREVER)
            assert own.cancelled_caught
            await backend.checkpoint()
            done.append("to its end")
        await sleep(FOREVER)
    assert outer.cancelled_caught
    assert done == ["shielded", "to its end"]
    await sleep(0.001)


@pytest.mark.parametrize("way", ["asyncio", "uvloop"])
def test_a_cancellation_from_outside_is_never_swallowed(way: str) -> None:
    passed = []

    async def wait(shield: bool, seconds: float) -> None:
        with move_on_after(seconds, shield=shield):
            with move_on_after(FOREVER):
                await sleep(FOREVER if not shield else 0.01)
            passed.append("inside")
        passed.append("after")

    async def shielded_too_long() -> None:
        async with asyncio.timeout(0.01):
            with move_on_after(FOREVER, shield=True):
                await sleep(0.05)

    async def main() -> None:
        for shield in (False, True):
            task = asyncio.create_task(wait(shield, FOREVER))
            await settled()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
        assert passed == ["inside"]
        # Cancelled and expired in the same turn of the loop.
        task = asyncio.create_task(wait(False, 0.1))
        await settled()
        time.sleep(0.12)  # noqa: ASYNC251 - the loop must find both
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            await shielded_too_long()
        await asyncio.sleep(0)

    RUNNERS[way](main)


@every_way(uvloop=True)
async def test_a_blocking_function_runs_in_a_thread_unless_there_is_no_loop() -> None:
    thread = await in_thread(threading.get_ident)
    assert (thread == threading.get_ident()) == (backend.current().name == "blocking")
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)


@pytest.fixture(params=["shm", "socket"])
def elsewhere(request: pytest.FixtureRequest) -> Any:
    """A service in another thread, over each transport in turn."""
    with served_elsewhere(request.param) as elsewhere:
        yield elsewhere


@every_way(uvloop=True)
async def test_waiting_for_any_of_several_connections_takes_no_event(elsewhere: Elsewhere) -> None:
    connections = [await connect("held", address=elsewhere.address) for _ in range(3)]
    first, second, third = connections
    assert not await wait_for_any(connections, 0.01)
    elsewhere.soon(lambda: elsewhere.service.clients[1].notify(bytes(24)))
    assert await wait_for_any(connections, DEADLINE)
    assert [each.queued_events() for each in connections] == [0, 1, 0]
    assert await wait_for_any(connections)
    assert await second.next_event() == bytes(24)
    assert not await wait_for_any(connections, 0)
    elsewhere.soon(lambda: elsewhere.service.clients[2].close())
    assert await wait_for_any(connections, DEADLINE)
    with pytest.raises(Library):
        await third.next_event()
    assert await wait_for_any(connections, 0.1)
    for each in connections:
        await each.aclose()
    assert await wait_for_any([first])


@every_way(without={"blocking": TASKS}, uvloop=True)
async def test_waiting_for_any_disturbs_no_call_and_no_other_waiter(elsewhere: Elsewhere) -> None:
    events: list[int] = []
    async with (
        await connect("held", address=elsewhere.address) as first,
        await connect("held", address=elsewhere.address) as second,
    ):

        async def watch() -> None:
            while len(events) < 60:
                await wait_for_any([first, second])
                for each in (first, second):
                    while (event := each.next_event_nowait()) is not None:
                        events.append(number_in(event))

        async def ask(connection: Connection) -> None:
            for number in range(100):
                answer = await connection.request(request(AT_ONCE, number), response_size=32)
                assert number_in(answer) == number

        async with task_group() as group:
            group.start(watch)
            for connection in (first, second):
                for _ in range(3):
                    group.start(ask, connection)
            for _ in range(30):
                elsewhere.soon(elsewhere.service.announce)
                await settled()
    assert events == [0] * 60


@every_way(without={"blocking": TASKS}, uvloop=True)
async def test_waiting_for_any_can_be_cancelled_and_leaves_nothing_behind(elsewhere: Elsewhere) -> None:
    async with (
        await connect("held", address=elsewhere.address) as first,
        await connect("held", address=elsewhere.address) as second,
    ):
        for _ in range(20):
            async with task_group() as group:
                group.start(wait_for_any, [first, second])
                await settled()
                group.cancel()
        assert not first._exchange.news_waiters
        assert first._waiting.driver is None
        elsewhere.do(elsewhere.service.announce)
        assert await wait_for_any([second], DEADLINE)


# --- wrong use ---


def by_hand(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine as far as possible without any loop."""
    try:
        coroutine.send(None)
    finally:
        coroutine.close()


def test_without_a_loop_the_error_names_the_three_ways_to_wait() -> None:
    with pytest.raises(RuntimeError, match=r"trio\.run or asyncio\.run.*votequorum_ipc\.blocking"):
        by_hand(Votequorum.initialize(address="@nobody"))


THREE = ["trio", "asyncio", "blocking"]


@pytest.mark.parametrize(
    ("made", "used"), [(made, used) for made in THREE for used in [*THREE, "nothing"] if made != used]
)
def test_using_a_connection_in_another_way_to_wait_is_an_error(
    elsewhere: Elsewhere, made: str, used: str
) -> None:
    connections: list[Connection] = []

    async def make() -> None:
        connections.append(await connect("held", address=elsewhere.address))

    async def use() -> None:
        with pytest.raises(BadHandle, match=f"was made under {made}"):
            await connections[0].request(request(AT_ONCE))
        with pytest.raises(BadHandle, match=f"was made under {made}"):
            await connections[0].next_event()

    RUNNERS[made](make)
    by_hand_or = RUNNERS.get(used)
    if by_hand_or is None:
        with pytest.raises((BadHandle, StopIteration)):
            by_hand(use())
    else:
        by_hand_or(use)

    async def close() -> None:
        await connections[0].request(request(AT_ONCE))
        await connections[0].aclose()

    RUNNERS[made](close)


@pytest.mark.parametrize("way", ["trio", "asyncio", "uvloop", "blocking"])
def test_a_connection_outlives_its_loop_and_works_in_the_next(elsewhere: Elsewhere, way: str) -> None:
    connections: list[Connection] = []

    async def make() -> None:
        connections.append(await connect("held", address=elsewhere.address))
        with move_on_after(0.001):
            await connections[0].next_event()

    async def go_on() -> None:
        elsewhere.do(elsewhere.service.announce)
        assert number_in(await connections[0].next_event()) == 0

    RUNNERS[way](make)
    for _ in range(3):
        RUNNERS[way](go_on)

    async def close() -> None:
        await connections[0].aclose()

    RUNNERS[way](close)


def test_trio_as_a_guest_of_asyncio_counts_as_trio(elsewhere: Elsewhere) -> None:
    names: list[str] = []

    async def guest() -> None:
        names.append(backend.current().name)
        async with await connect("held", address=elsewhere.address) as connection:
            await connection.request(request(AT_ONCE))
            with trio.move_on_after(0.01):
                await connection.next_event()

    async def host() -> None:
        done = asyncio.get_running_loop().create_future()
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            done_callback=done.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        (await done).unwrap()
        names.append(backend.current().name)

    asyncio.run(host())
    assert names == ["trio", "asyncio"]


def test_a_blocking_call_in_a_running_loop_blocks(elsewhere: Elsewhere) -> None:
    async def inner() -> str:
        async with await connect("held", address=elsewhere.address) as connection:
            await connection.request(request(AT_ONCE))
        return backend.current().name

    async def outer() -> None:
        assert blocking_backend.run_blocking(inner()) == "blocking"
        assert backend.current().name == "asyncio"

    asyncio.run(outer())


def test_the_blocking_runner_refuses_what_only_a_loop_can_provide() -> None:
    async def wrong() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="only an event loop can provide"):
        blocking_backend.run_blocking(wrong())


def test_a_deadline_ends_a_blocking_call_between_its_steps(elsewhere: Elsewhere) -> None:
    async def main() -> None:
        async with await connect("held", address=elsewhere.address) as connection:
            with move_on_after(0.02) as scope:
                while True:
                    await connection.request(request(AT_ONCE))
            assert scope.cancelled_caught
            assert (await connection.request(request(AT_ONCE, 5)))[-8:-4] == b"\5\0\0\0"

    blocking_backend.run_blocking(main())
    assert INFINITY > FOREVER
    eventually(lambda: elsewhere.do(lambda: elsewhere.service.clients) == [])
    assert issubclass(Library, CsError)
