"""The calls that are cancelled at each pause, under trio and asyncio, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from tests.client.support import holdings
from tests.real.waiting import eventually_async
from votequorum_ipc import Cmap, DispatchFlags, Quorum, Votequorum

Call = Callable[[], Awaitable[Any]]

MOST_PAUSES = 8
"""No call here has more pauses than this, apart from shielded ones."""

CALLS: dict[str, Callable[[Votequorum], Awaitable[Any]]] = {
    "getinfo": lambda handle: handle.getinfo(),
    "setexpected": lambda handle: handle.setexpected(1),
    "setvotes": lambda handle: handle.setvotes(1, 1),
    "trackstart": lambda handle: handle.trackstart(),
    "trackstop": lambda handle: handle.trackstop(),
    "qdevice_register": lambda handle: handle.qdevice_register("device"),
    "qdevice_unregister": lambda handle: handle.qdevice_unregister("device"),
}

TAKES: dict[str, Callable[[Votequorum], Call]] = {
    "next_event": lambda handle: handle.next_event,
    "events": lambda handle: handle.events().__anext__,
    **{flags.name: lambda handle, flags=flags: lambda: handle.dispatch(flags) for flags in DispatchFlags},  # type: ignore[misc]
}
"""Each way to take an event."""

INITIALIZES: list[Callable[[], Awaitable[Any]]] = [
    Votequorum.initialize,
    Quorum.initialize,
    Cmap.initialize,
]


class AtEveryPause(Protocol):
    """Cancels a call at each of its pauses in turn; returns the pauses at which the call ended cancelled."""

    async def __call__(self, call: Call, after: Call) -> list[int]: ...


async def connecting_and_leaving_leave_nothing(
    initialize: Callable[[], Awaitable[Any]], at_every_pause: AtEveryPause
) -> list[int]:
    """Connect and leave, cancelled at every pause; returns the result of `at_every_pause`."""

    async def connect() -> None:
        async with await initialize():
            pass

    async def nothing() -> None:
        after = holdings()
        assert (after.descriptors, after.mappings) == (before.descriptors, before.mappings)

    before = holdings()
    effective = await at_every_pause(connect, nothing)
    await eventually_async(lambda: not holdings().files, otherwise="the daemon has removed its files")
    return effective
