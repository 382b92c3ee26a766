"""The tasks that wait on a connection. One of them drives it: it does the I/O for all of them.

A waiter is in one of these states. `Waiting` holds the first three, `Waiter.ready` is the last.

| state | where | what it may do | how it ends |
|---|---|---|---|
| parked | in `parked` | nothing | woken: what it waits for is here, or it is its turn to drive |
| woken | nowhere: its task is scheduled | nothing yet | it runs: ready, or drives, or parks again |
| driving | `driver` | send, receive, wait for an edge | it stops, and wakes the next one in `parked` |
| ready | its result is in the waiter | return to its caller | |

Two rules keep every waiter served. A waiter that stops driving wakes the next one. And a waiter that was
woken but does not drive, because it is ready or was cancelled, wakes the next one if no other waiter drives.
"""

from __future__ import annotations

import os
import select
import time
from typing import Final

from ..errors import error_from_errno
from .backend import Backend
from .exchange import Exchange, Waiter

SPIN_LIMIT: Final = 50e-6
"""Seconds for which a task may look for its response without letting others run: a round trip to a daemon on
another CPU takes 20 to 45 us. It is halved each time the look finds nothing."""

SPIN_AGAIN_AFTER: Final = 100
"""After giving up looking, the full time is tried again after this many calls."""


class Waiting:
    """A connection's parked waiters, and the waiter that drives."""

    def __init__(self, backend: Backend, epoll: select.epoll) -> None:
        self.parked: dict[Waiter, None] = {}
        """In the order of their arrival."""
        self.driver: Waiter | None = None
        self.driver_waits = False
        """Whether the driver waits for an edge."""
        self._backend = backend
        self._edges = backend.edges(epoll)

    async def park(self, waiter: Waiter) -> None:
        """Wait until this waiter is ready, or it is its turn to drive."""
        self.parked[waiter] = None
        try:
            await self._backend.park(self.parked, waiter)
        except BaseException:
            # asyncio may cancel a task even after it was woken, perhaps in order to drive.
            self.wake_next_driver()
            raise

    def wake(self, waiter: Waiter) -> None:
        """Let a waiter run. Does nothing if it is neither parked nor waiting for an edge."""
        if waiter is self.driver:
            if self.driver_waits:
                # Another task took the edge that the driver waits for, and whatever came with it.
                self._edges.interrupt()
        elif waiter in self.parked:
            del self.parked[waiter]
            self._backend.unpark(waiter)

    def wake_next_driver(self) -> None:
        """Wake a parked waiter, unless one already drives."""
        if self.driver is None and self.parked:
            self.wake(next(iter(self.parked)))

    def have_driver_look(self) -> None:
        """Make the driver look again without an edge."""
        if self.driver_waits:
            self._edges.interrupt()

    async def wait_for_edge(self, delay: float | None) -> None:
        """As the driver, wait for an edge, for at most `delay` seconds.

        Raises `NoMemory` or `NoSpace` if the kernel cannot register another descriptor.
        """
        self.driver_waits = True
        try:
            await self._edges.wait(delay)
        except OSError as error:
            # The event loop could not register the descriptor. Nothing is lost: the next waiter may succeed.
            reason = error.strerror or str(error)
            raise error_from_errno(error.errno or 0, f"cannot wait for the daemon: {reason}") from error
        finally:
            self.driver_waits = False

    def close(self) -> None:
        """The epoll descriptor is about to be closed."""
        self._edges.close()


class Spin:
    """Looks for a response for a moment without waiting, as long as that pays off.

    With only one CPU it never does, because the daemon cannot run meanwhile.
    """

    def __init__(self) -> None:
        self._full = SPIN_LIMIT if len(os.sched_getaffinity(0)) > 1 else 0.0
        self._limit = self._full
        self._calls = 0

    def until_ready(self, waiter: Waiter, exchange: Exchange) -> None:
        """Look for at most `SPIN_LIMIT` seconds."""
        self._calls += 1
        if self._calls >= SPIN_AGAIN_AFTER:
            self._calls = 0
            self._limit = self._full
        if not self._limit:
            return
        deadline = time.perf_counter() + self._limit
        while time.perf_counter() < deadline:
            exchange.receive()
            if waiter.ready:
                self._limit = self._full
                return
        self._limit = self._limit / 2 if self._limit > self._full / 8 else 0.0
