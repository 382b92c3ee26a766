"""Waiting under asyncio, and under compatible loops such as uvloop.

Strategy: a parked task waits for a future. The task that drives a connection waits for the connection's epoll
descriptor, which stays registered with the loop from one wait to the next. An edge while no task waits
removes the registration. asyncio cancels by throwing CancelledError once, even into a task that was woken and
has not run yet. So nothing here assumes that a satisfied wait also returns.

In a shielded scope, a cancelled wait is repeated, and CancelledError is raised when the scope ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import types
import weakref
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from ..exception_groups import collapse_exception_group
from .backend import INFINITY, HasDescriptor, Watched

T = TypeVar("T")


class _Scope:
    """A deadline; counts `Task.cancel` and `Task.uncancel` as `asyncio.timeout` does."""

    def __init__(self, seconds: float, shield: bool) -> None:
        self.cancelled_caught = False
        self.shield = shield
        self.expired = False
        self.put_off: asyncio.CancelledError | None = None
        """With `shield`: the cancellation to raise when the scope ends."""
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError(
                "asyncio can only cancel tasks, and this runs outside of one: await it in a task"
            )
        self._task = task
        self.cancelling = task.cancelling()
        """Cancellations of the task that are not this scope's."""
        self.outer = _scopes.get(task)
        _scopes[task] = self
        if self._seconds < INFINITY:
            self._timer = asyncio.get_running_loop().call_later(max(0, self._seconds), self._expire)
        return self

    def cancelling_now(self) -> int:
        """How many cancellations have been requested of its task and not taken back."""
        return self._task.cancelling()

    def _expire(self) -> None:
        self.expired = True
        self._task.cancel()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._timer is not None:
            self._timer.cancel()
        if self.outer is None:
            del _scopes[self._task]
        else:
            _scopes[self._task] = self.outer
        if self.expired and self._task.uncancel() <= self.cancelling:
            self.cancelled_caught = exc_type is asyncio.CancelledError
        if self.put_off is not None and (self.cancelled_caught or exc_type is not asyncio.CancelledError):
            raise self.put_off
        return self.cancelled_caught


_scopes: weakref.WeakKeyDictionary[asyncio.Task[Any], _Scope] = weakref.WeakKeyDictionary()
"""The innermost scope of each task."""


def _put_off(error: asyncio.CancelledError) -> bool:
    """Whether a shield holds this cancellation back, to be raised at the end of the shield."""
    task = asyncio.current_task()
    scope = None if task is None else _scopes.get(task)
    inside = []
    while scope is not None and not scope.expired:
        inside.append(scope)
        if scope.shield:
            scope.put_off = error
            for each in inside:
                each.cancelling = scope.cancelling_now()
            return True
        scope = scope.outer
    return False


async def _wait(future: asyncio.Future[None], again: Callable[[], asyncio.Future[None]]) -> None:
    """Wait for a future; if a shield holds a cancellation back, wait for another one from `again`."""
    while True:
        try:
            await future
        except asyncio.CancelledError as error:
            if not _put_off(error):
                raise
        else:
            return
        future = again()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Edges:
    """See `Edges`."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where the descriptor is registered."""
        self._edge: asyncio.Future[None] | None = None

    async def wait(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._leave()
            loop.add_reader(self._epoll.fileno(), self._on_edge)
            self._loop = loop
        edge = self._edge = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self.interrupt)
        try:
            await edge
        except asyncio.CancelledError as error:
            if not _put_off(error):
                raise
        finally:
            self._edge = None
            if timer is not None:
                timer.cancel()

    def _on_edge(self) -> None:
        if self._edge is None:
            # An epoll descriptor stays readable until someone looks, which the next driver does.
            self._leave()
        else:
            _set(self._edge)

    def interrupt(self) -> None:
        if self._edge is not None:
            _set(self._edge)

    def close(self) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._epoll.fileno())
        self._loop = None


class AsyncioBackend:
    """See `Backend`."""

    name: Final = "asyncio"
    cancelled: Final = asyncio.CancelledError
    edges: Final = _Edges

    def current_time(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds

        def future() -> asyncio.Future[None]:
            future = loop.create_future()
            timer = loop.call_at(end, _set, future)
            future.add_done_callback(lambda _: timer.cancel())
            return future

        if seconds <= 0:
            await self.give_way()
        else:
            await _wait(future(), future)

    async def checkpoint(self) -> None:
        await self.give_way()

    @types.coroutine
    def give_way(self) -> Generator[None, None, None]:
        try:
            yield  # what asyncio.sleep(0) amounts to
        except asyncio.CancelledError as error:
            if not _put_off(error):
                raise

    async def checkpoint_if_cancelled(self) -> None:
        # asyncio delivers a cancellation at the next wait, not before.
        asyncio.get_running_loop()

    def move_on_after(self, seconds: float, *, shield: bool = False) -> _Scope:
        return _Scope(seconds, shield)

    async def wait_readable(self, sock: HasDescriptor) -> None:
        loop = asyncio.get_running_loop()
        await self._wait_for(sock, loop.add_reader, loop.remove_reader)

    async def wait_writable(self, sock: HasDescriptor) -> None:
        loop = asyncio.get_running_loop()
        await self._wait_for(sock, loop.add_writer, loop.remove_writer)

    async def _wait_for(
        self, sock: HasDescriptor, add: Callable[..., Any], remove: Callable[[int], Any]
    ) -> None:
        descriptor = sock.fileno()
        create = asyncio.get_running_loop().create_future
        future = create()

        def again() -> asyncio.Future[None]:
            nonlocal future
            future = create()
            return future

        add(descriptor, lambda: _set(future))
        try:
            await _wait(future, again)
        finally:
            remove(descriptor)

    async def park(self, parking: dict[Any, None], waiter: Any) -> None:
        def again() -> asyncio.Future[None]:
            future = waiter.task = asyncio.get_running_loop().create_future()
            if waiter not in parking:
                # It was woken and cancelled at the same moment.
                _set(future)
            return future

        try:
            await _wait(again(), again)
        finally:
            parking.pop(waiter, None)

    def unpark(self, waiter: Any) -> None:
        _set(waiter.task)

    async def wait_for_any(self, connections: Sequence[Watched]) -> None:
        tasks: list[asyncio.Task[None]] = []

        async def wait(connection: Watched) -> None:
            await connection.wait_for_news()
            for task in tasks:
                if task is not asyncio.current_task():
                    task.cancel()

        with collapse_exception_group():
            async with asyncio.TaskGroup() as group:
                tasks += [group.create_task(wait(connection)) for connection in connections]
                if any(task.done() for task in tasks):
                    # An eager task finished before the others existed.
                    for task in tasks:
                        task.cancel()

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, function, *args)

    def closing(self, descriptor: Any) -> None:
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(descriptor)


BACKEND: Final = AsyncioBackend()
