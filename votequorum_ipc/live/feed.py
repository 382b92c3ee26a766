"""Where the screen's data comes from: one task follows quorum, another asks for links and statistics.

Strategy: quorum comes first and waits for nothing else, so it has its own task and its own connections. After
an announcement, corosync is asked at once. Otherwise it is asked for its state at each tick, because it does
not announce everything, and because an old answer must not stay on the screen. Each view comes with the time
at which the question began, so a view is never taken for newer than it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ..overview import Observer, Overview
from ..types import QuorumView
from ..watch import QuorumWatcher, watch_quorum

TICK: Final = 1.0
"""Seconds without an announcement until corosync is asked for its state."""

_LINKS_PAUSE: Final = 2.0
"""Seconds between two questions about links."""


def elapsed() -> float:
    """Seconds on a clock that also runs while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Told:
    """A view of quorum, and when it was asked for, on `elapsed`'s clock."""

    view: QuorumView
    asked_at: float


class Screen(Protocol):
    """Receives the news."""

    def take_view(self, told: Told) -> None:
        """A new view of quorum."""

    def take_overview(self, overview: Overview) -> None:
        """Links and statistics; its view is the last one passed to `take_view`."""


class Source(Protocol):
    """Passes news to a screen until cancelled."""

    async def run(self, screen: Screen) -> None:
        """Ask corosync and pass on its answers, until cancelled."""


class Feed:
    """Follows the corosync at an address."""

    def __init__(
        self,
        address: str | None = None,
        *,
        patience: float,
        tick: float = TICK,
        links_pause: float = _LINKS_PAUSE,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        """`patience`: seconds that corosync may take for an answer before quorum is unknown."""
        self._address = address
        self._patience = patience
        self._tick = tick
        self._links_pause = links_pause
        self._clock = clock
        self._last: QuorumView | None = None
        self._answered = asyncio.Event()

    async def run(self, screen: Screen) -> None:
        """Pass news to the screen until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_quorum(screen))
            tasks.create_task(self._follow_links(screen))

    async def _follow_quorum(self, screen: Screen) -> None:
        async with watch_quorum(self._address, patience=self._patience) as watcher:
            async for told in self._views(watcher):
                self._last = told.view
                self._answered.set()
                screen.take_view(told)

    async def _views(self, watcher: QuorumWatcher) -> AsyncIterator[Told]:
        while True:
            asked_at = self._clock()
            try:
                async with asyncio.timeout(self._tick):
                    view = await anext(watcher)
            except TimeoutError:
                asked_at = self._clock()
                view = await watcher.current()
            yield Told(view, asked_at)

    async def _follow_links(self, screen: Screen) -> None:
        await self._answered.wait()
        async with Observer(self._address, seconds=self._patience) as observer:
            while True:
                assert self._last is not None
                screen.take_overview(await observer.read(self._last))
                await asyncio.sleep(self._links_pause)
