"""A quorum device in an asyncio program: trio runs in a thread, and the vote says that asyncio is alive.

    python examples/qdevice/in_asyncio.py

Strategy: `run_qdevice` needs trio, because only trio's cancellation lets it withdraw the vote in every case.
So it runs in a thread that this program starts and joins. The decision does not wait for asyncio: it checks
when the loop last ran. A stuck loop costs the vote, but never delays the withdrawal.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable

import trio

from votequorum_ipc.qdevice import View, Vote, run_qdevice

NAME = "asyncio-alive"
BEAT_SECONDS = 1.0


class Heartbeat:
    """Votes while `beat` has been called within the last `longest` seconds."""

    def __init__(self, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        """The program is alive. May be called in any thread."""
        self._last = self._clock()

    async def vote(self, _: View) -> bool:
        """Whether the last beat is recent."""
        await trio.lowlevel.checkpoint()
        return self._clock() - self._last < self._longest


@contextlib.asynccontextmanager
async def quorum_device(
    name: str, vote: Vote, *, interval: float = 2.0, address: str | None = None
) -> AsyncIterator[None]:
    """Run this node's quorum device within the block; the vote is withdrawn before the block ends.

    `vote` is an async function under trio. An exception from `run_qdevice` cancels the block, and is raised
    in an exception group.
    """
    loop = asyncio.get_running_loop()
    started: asyncio.Future[Callable[[], None]] = loop.create_future()
    registered: asyncio.Future[None] = loop.create_future()

    async def device() -> None:
        with trio.CancelScope() as scope:
            token = trio.lowlevel.current_trio_token()
            stop = functools.partial(token.run_sync_soon, scope.cancel)
            loop.call_soon_threadsafe(started.set_result, stop)
            async with trio.open_nursery() as nursery:
                await nursery.start(functools.partial(run_qdevice, name, vote, interval, address=address))
                loop.call_soon_threadsafe(registered.set_result, None)

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(trio.run, device))
        try:
            await registered
            yield
        finally:
            # This runs even if the task is cancelled before the thread has started.
            started.add_done_callback(_stop)


def _stop(started: asyncio.Future[Callable[[], None]]) -> None:
    with contextlib.suppress(trio.RunFinishedError):
        started.result()()


async def main() -> None:
    heartbeat = Heartbeat(longest=3 * BEAT_SECONDS)
    async with quorum_device(NAME, heartbeat.vote):
        while True:
            heartbeat.beat()
            await asyncio.sleep(BEAT_SECONDS)


if __name__ == "__main__":
    asyncio.run(main())
