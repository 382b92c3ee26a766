"""The event loop's side of a connection: who waits, who of them drives, and how long it pays to look.

Strategy: only one task may wait on a descriptor, so one of those that wait drives and the others are parked:
taken out of the loop until what they wait for is here, or the driver has gone and it is their turn.
"""

from __future__ import annotations

import os
import select
import time
from typing import Final

import trio

from .exchange import Exchange, Waiter

SPIN_LIMIT: Final = 50e-6
"""Seconds for which a task may look for its response without giving way to others: a round trip to a daemon
on another CPU takes 20 to 45 us. It is halved each time that looking was in vain."""

SPIN_AGAIN_AFTER: Final = 100
"""Calls after which looking is tried again in full when it was given up."""


class Waiting:
    """Who waits on a connection, and who of them drives."""

    def __init__(self, epoll: select.epoll) -> None:
        self.parked: dict[Waiter, None] = {}
        """Those who leave the driving to another, in the order they came."""
        self.driver: Waiter | None = None
        self.driver_waits = False
        self._epoll = epoll

    async def park(self, waiter: Waiter) -> None:
        """Wait until what this waiter waits for is here, or it is its turn to drive."""

        def abort(_: object) -> trio.lowlevel.Abort:
            del self.parked[waiter]
            return trio.lowlevel.Abort.SUCCEEDED

        waiter.task = trio.lowlevel.current_task()
        self.parked[waiter] = None
        await trio.lowlevel.wait_task_rescheduled(abort)

    def wake(self, waiter: Waiter) -> None:
        """Let a waiter go on."""
        if waiter in self.parked:
            del self.parked[waiter]
            trio.lowlevel.reschedule(waiter.task)
        elif waiter is self.driver:
            # Another task took the edge that the driver waits for, and what came with it.
            self.have_driver_look()

    def resign(self) -> None:
        """Drive no more, and let another do it."""
        self.driver = None
        self.pass_on()

    def pass_on(self) -> None:
        """Where nobody drives, let one of those that are parked do it."""
        if self.driver is None and self.parked:
            self.wake(next(iter(self.parked)))

    def have_driver_look(self) -> None:
        """Let the driver look again, though there is no edge."""
        if self.driver_waits:
            trio.lowlevel.notify_closing(self._epoll)

    async def wait_for_edge(self, delay: float | None) -> None:
        """As the driver, wait for an edge, or at most for `delay` seconds."""
        self.driver_waits = True
        try:
            if delay is None:
                await trio.lowlevel.wait_readable(self._epoll)
            else:
                with trio.move_on_after(delay):
                    await trio.lowlevel.wait_readable(self._epoll)
        except trio.ClosedResourceError:
            pass  # woken by `wake`: what this task waits for is here, or will not come
        finally:
            self.driver_waits = False


class Spin:
    """Looks for a response for a moment without waiting, as long as that pays off.

    On one CPU it never does: the daemon cannot run meanwhile.
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
