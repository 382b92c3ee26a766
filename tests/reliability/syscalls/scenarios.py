"""What a subject does while its system calls fail: each scenario uses one part of the library once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio

from votequorum_ipc import Cmap, QuorumState, Votequorum, cluster_status, watch_quorum
from votequorum_ipc.qdevice import Ballot, View, run_qdevice

Scenario = Callable[[str | None], Awaitable[None]]
"""An async function that takes the address."""


async def calls(address: str | None) -> None:
    """Connect, call, track, take the two events, get a descriptor to poll, stop, finalize."""
    async with await Votequorum.initialize(address=address) as handle:
        await handle.getinfo()
        await handle.trackstart()
        await handle.next_event()
        handle.fileno()
        await handle.next_event()
        await handle.trackstop()


async def keys(address: str | None) -> None:
    """Read the keys of cmap, one of which may need a larger buffer."""
    async with await Cmap.initialize(address=address) as handle:
        for key in await handle.keys("nodelist."):
            await handle.get(key)


async def status(address: str | None) -> None:
    """Make every request of `cluster_status`."""
    await cluster_status(address)


async def watch(address: str | None) -> None:
    """Watch until quorum is known. A watcher reports UNKNOWN and retries; it does not fail."""
    async with watch_quorum(address) as watcher:
        async for view in watcher:
            if view.state is not QuorumState.UNKNOWN:
                return


async def device(address: str | None) -> None:
    """Run a quorum device until its first vote has been cast."""
    voted = trio.Event()

    async def yes(_: View) -> bool:
        return True

    def report(ballot: Ballot) -> None:
        if ballot.vote:
            voted.set()

    async def run() -> None:
        await run_qdevice("subject", yes, 0.1, address=address, report=report)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await voted.wait()
        nursery.cancel_scope.cancel()


SCENARIOS: Final[Mapping[str, Scenario]] = {
    each.__name__: each for each in (calls, keys, status, watch, device)
}
