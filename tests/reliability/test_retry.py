"""`retry` repeats a call while the daemon says so, with growing pauses, until a deadline, and only on
request.
"""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.ipc.test_connection import set_flow_control
from tests.real.daemon import Daemon
from votequorum_ipc import NotExist, TryAgain, Votequorum, retry
from votequorum_ipc.retry import FIRST_PAUSE, LONGEST_PAUSE


class Busy:
    """A call that raises `TryAgain` this many times, and the times when it was made."""

    def __init__(self, times: int, then: Exception | None = None) -> None:
        self.times, self.then = times, then
        self.calls: list[float] = []

    async def __call__(self, answer: str) -> str:
        self.calls.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if len(self.calls) <= self.times:
            raise TryAgain(f"refused {len(self.calls)}")
        if self.then:
            raise self.then
        return answer

    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.calls, self.calls[1:], strict=False)]


async def test_pauses_double_up_to_a_limit_and_all_differ(
    autojump_clock: trio.testing.MockClock,
) -> None:
    runs = []
    for _ in range(20):
        busy = Busy(12)
        assert await retry(busy, "answer", deadline=trio.current_time() + 1000) == "answer"
        runs.append(busy.pauses())
    for pauses in runs:
        for number, pause in enumerate(pauses):
            full = min(FIRST_PAUSE * 2**number, LONGEST_PAUSE)
            assert full / 2 - 1e-9 <= pause <= full + 1e-9
    assert len({round(pauses[-1], 6) for pauses in runs}) > 10


async def test_at_the_deadline_the_last_refusal_is_raised(autojump_clock: trio.testing.MockClock) -> None:
    busy = Busy(10**6)
    start = trio.current_time()
    with pytest.raises(TryAgain) as refused:
        await retry(busy, "", deadline=start + 30)
    assert str(refused.value) == f"refused {len(busy.calls)}"
    assert start + 30 - LONGEST_PAUSE <= trio.current_time() <= start + 30


async def test_one_attempt_is_made_even_after_the_deadline() -> None:
    assert await retry(Busy(0), "answer", deadline=-1) == "answer"
    with pytest.raises(TryAgain, match="refused 1"):
        await retry(Busy(1), "", deadline=-1)


async def test_other_errors_are_raised_at_once(autojump_clock: trio.testing.MockClock) -> None:
    busy = Busy(2, NotExist("no"))
    with pytest.raises(NotExist):
        await retry(busy, "", deadline=trio.current_time() + 30)
    assert len(busy.calls) == 3


async def test_a_cancelled_retry_ends_in_its_pause(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(5) as scope:
        await retry(Busy(10**6), "", deadline=float("inf"))
    assert scope.cancelled_caught


async def test_a_call_to_a_busy_daemon_is_repeated_only_on_request(daemon: Daemon) -> None:
    async with await Votequorum.initialize() as handle:
        set_flow_control(daemon, 1)
        with pytest.raises(TryAgain):
            await handle.getinfo()
        async with trio.open_nursery() as nursery:

            async def free() -> None:
                with pytest.raises(TryAgain):
                    await retry(handle.getinfo, deadline=trio.current_time() + 0.05)
                set_flow_control(daemon, 0)

            nursery.start_soon(free)
            assert (await retry(handle.getinfo, 1, deadline=trio.current_time() + 30)).node_id == 1
