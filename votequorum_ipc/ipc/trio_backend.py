"""Waiting under trio.

Strategy: use trio's own operations directly where they exist.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import trio

from ..exception_groups import collapse_exception_group
from .backend import Watched

T = TypeVar("T")


class _Edges:
    """See `Edges`."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll

    async def wait(self, seconds: float | None) -> None:
        try:
            if seconds is None:
                await trio.lowlevel.wait_readable(self._epoll)
            else:
                with trio.move_on_after(seconds):
                    await trio.lowlevel.wait_readable(self._epoll)
        except trio.ClosedResourceError:
            pass  # interrupted

    def interrupt(self) -> None:
        trio.lowlevel.notify_closing(self._epoll)

    def close(self) -> None:
        """Nothing to do: nothing is registered between waits."""


class TrioBackend:
    """See `Backend`."""

    name: Final = "trio"
    cancelled: Final = trio.Cancelled
    edges: Final = _Edges
    current_time = staticmethod(trio.current_time)
    sleep = staticmethod(trio.sleep)
    checkpoint = staticmethod(trio.lowlevel.checkpoint)
    checkpoint_if_cancelled = staticmethod(trio.lowlevel.checkpoint_if_cancelled)
    give_way = staticmethod(trio.lowlevel.cancel_shielded_checkpoint)
    wait_readable = staticmethod(trio.lowlevel.wait_readable)
    wait_writable = staticmethod(trio.lowlevel.wait_writable)

    def move_on_after(self, seconds: float, *, shield: bool = False) -> trio.CancelScope:
        # trio.move_on_after takes `shield` from 0.27 on, and never a negative time.
        scope = trio.CancelScope(shield=shield)
        scope.deadline = trio.current_time() + seconds
        return scope

    async def park(self, parking: dict[Any, None], waiter: Any) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            del parking[waiter]
            return trio.lowlevel.Abort.SUCCEEDED

        waiter.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def unpark(self, waiter: Any) -> None:
        trio.lowlevel.reschedule(waiter.task)

    async def wait_for_any(self, connections: Sequence[Watched]) -> None:
        async def wait(connection: Watched) -> None:
            await connection.wait_for_news()
            nursery.cancel_scope.cancel()

        with collapse_exception_group():
            async with trio.open_nursery() as nursery:
                for connection in connections:
                    nursery.start_soon(wait, connection)

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True)

    def closing(self, descriptor: Any) -> None:
        with contextlib.suppress(RuntimeError):  # outside of a trio run no task waits
            trio.lowlevel.notify_closing(descriptor)


BACKEND: Final = TrioBackend()
