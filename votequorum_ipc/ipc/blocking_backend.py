"""Waiting in the calling thread, without an event loop.

Strategy: a coroutine that waits through this backend never yields: it blocks in `poll` instead. So one `send`
runs it to its end. A deadline bounds each `poll`. When a deadline has passed, `DeadlinePassed` propagates
through the coroutine to its scope, as a cancellation does under trio. A signal handler or a callback may make
a call in the middle of another call; each call has its own deadlines.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from ..errors import Busy
from .backend import BLOCKING, INFINITY, NO_LOOP, HasDescriptor, Watched

T = TypeVar("T")


class DeadlinePassed(BaseException):
    """A scope's deadline has passed. Only that scope catches it."""


class _Scope:
    """A deadline; within a shield, outer deadlines do not count."""

    def __init__(self, seconds: float, shield: bool) -> None:
        self.cancelled_caught = False
        self._seconds = seconds
        self._shield = shield

    def __enter__(self) -> Self:
        self.deadline = self._own = time.monotonic() + self._seconds
        self._outer: _Scope | None = BLOCKING.scope
        if self._outer is not None and not self._shield:
            self.deadline = min(self._own, self._outer.deadline)
        BLOCKING.scope = self
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        BLOCKING.scope = self._outer
        self.cancelled_caught = exc_type is DeadlinePassed and time.monotonic() >= self._own
        return self.cancelled_caught


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits through this backend to its end, in the calling thread.

    Raises what the coroutine raises, and `RuntimeError` if it waits for anything else. If this call
    interrupts another one, the other's deadlines do not apply: they would end this call with a
    `DeadlinePassed` that it does not catch.
    """
    outer = BLOCKING.runs, BLOCKING.scope
    BLOCKING.runs, BLOCKING.scope = True, None
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        # The scope too: if a signal handler raised, a scope of the coroutine may not have been left.
        BLOCKING.runs, BLOCKING.scope = outer
    coroutine.close()
    raise RuntimeError("a blocking call waited for something that only an event loop can provide")


def _block(poll: Callable[..., Any], seconds: float = INFINITY) -> None:
    """Call `poll` for at most `seconds`, and not beyond the deadline."""
    scope: _Scope | None = BLOCKING.scope
    left = INFINITY if scope is None else scope.deadline - time.monotonic()
    if left <= 0:
        raise DeadlinePassed
    wait = min(left, seconds)
    if not poll(None if wait == INFINITY else wait * 1000) and left <= seconds:
        raise DeadlinePassed


class _Edges:
    """See `Edges`."""

    def __init__(self, epoll: select.epoll) -> None:
        # Not `epoll.poll`: the connection takes the edges itself.
        poller = select.poll()
        poller.register(epoll.fileno(), select.POLLIN)
        self._poll = poller.poll

    async def wait(self, seconds: float | None) -> None:
        _block(self._poll, INFINITY if seconds is None else seconds)

    def interrupt(self) -> None:
        """Nothing to do: no other task runs in this thread while it waits."""

    def close(self) -> None:
        """Nothing to do: nothing is registered."""


class BlockingBackend:
    """See `Backend`."""

    name: Final = "blocking"
    cancelled: Final = DeadlinePassed
    edges: Final = _Edges
    current_time = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            _block(select.poll().poll, seconds)

    async def checkpoint(self) -> None:
        await self.checkpoint_if_cancelled()

    async def checkpoint_if_cancelled(self) -> None:
        if not BLOCKING.runs:
            raise RuntimeError(NO_LOOP)
        scope: _Scope | None = BLOCKING.scope
        if scope is not None and time.monotonic() >= scope.deadline:
            raise DeadlinePassed

    async def give_way(self) -> None:
        """Nothing to do: there is no other task."""

    def move_on_after(self, seconds: float, *, shield: bool = False) -> _Scope:
        return _Scope(seconds, shield)

    async def wait_readable(self, sock: HasDescriptor) -> None:
        _wait_for(sock, select.POLLIN)

    async def wait_writable(self, sock: HasDescriptor) -> None:
        _wait_for(sock, select.POLLOUT)

    async def park(self, parking: dict[Any, None], waiter: Any) -> None:
        del parking[waiter]
        raise Busy("a signal handler has interrupted a call on this handle: it takes one call at a time")

    def unpark(self, waiter: Any) -> None:
        """Nothing to do: no task is ever parked."""

    async def wait_for_any(self, connections: Sequence[Watched]) -> None:
        poller = select.poll()
        for connection in connections:
            poller.register(connection.epoll.fileno(), select.POLLIN)
        while not any(connection.has_news() for connection in connections):
            _block(poller.poll)

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args)

    def closing(self, descriptor: Any) -> None:
        """Nothing to do: no task waits."""


def _wait_for(sock: HasDescriptor, events: int) -> None:
    poller = select.poll()
    poller.register(sock, events)
    _block(poller.poll)


BACKEND: Final = BlockingBackend()
