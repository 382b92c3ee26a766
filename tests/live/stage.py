"""A screen under test: its text, its clock, and news given by the test.

The text is taken from textual's own export, so it is what a terminal would show. News comes from a simulated
cluster through the same calls as in real use. But it comes when the test asks for it, at a time that the test
sets.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import html
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tests.real.waiting import DEADLINE
from votequorum_ipc import NodelistNotification, blocking
from votequorum_ipc.live.app import LiveApp, ScreenClock
from votequorum_ipc.live.feed import Screen, Told
from votequorum_ipc.overview import Observer
from votequorum_ipc.watch import QuorumWatcher, watch_quorum

NOON = 1_795_176_000.0
"""2026-11-20 12:00:00 UTC."""

_TEXT = re.compile(r'<text class="[^"]*" x="([\d.]+)"[^>]*clip-path="url\(#[^"]*-line-(\d+)\)">(.*?)</text>')
_CELL_WIDTH = 12.2


def in_asyncio(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test under asyncio, which textual uses."""

    @functools.wraps(test)
    def run(*args: Any, **options: Any) -> None:
        asyncio.run(test(*args, **options))

    return run


class TestClock(ScreenClock):
    """A clock that stands still until `pass_time`."""

    __test__ = False

    def __init__(self) -> None:
        self.seconds = 0.0
        super().__init__(lambda: NOON + self.seconds, lambda: self.seconds)

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds


class NoNews:
    """A source without news: the test provides it."""

    async def run(self, screen: Screen) -> None:
        """Wait until cancelled."""
        await asyncio.Event().wait()


class Stage:
    """A screen, and the cluster that a test shows on it."""

    def __init__(self, app: LiveApp, pilot: Pilot[None], clock: TestClock) -> None:
        self.app = app
        self.pilot = pilot
        self.clock = clock
        self._watcher: QuorumWatcher
        self._observer: Observer
        self._resources = contextlib.AsyncExitStack()

    async def watch(self, address: str) -> None:
        """From now on, query the node at this address."""
        self._watcher = await self._resources.enter_async_context(watch_quorum(address, patience=20))
        self._observer = await self._resources.enter_async_context(Observer(address, seconds=20))

    async def ask(self) -> None:
        """Query quorum and links, and show the answers."""
        view = await self._watcher.current()
        self.app.take_view(Told(view, self.clock.seconds))
        self.app.take_overview(await self._observer.read(view))
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and let the screen read the clock as it does every second."""
        self.clock.pass_time(seconds)
        self.app.look()
        await self.pilot.pause()

    def rows(self) -> list[str]:
        """The screen's text."""
        return rows_of(self.app.export_screenshot())

    def text(self) -> str:
        """The screen's text, in one piece."""
        return "\n".join(self.rows()) + "\n"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._resources.aclose()


@contextlib.asynccontextmanager
async def staged(
    address: str | None = None,
    *,
    size: tuple[int, int] = (80, 24),
    directory: Path | None = None,
    patience: float = 1000,
) -> AsyncIterator[Stage]:
    """A screen of this size that has queried the node at this address once."""
    clock = TestClock()
    app = LiveApp(NoNews(), patience=patience, clock=clock, directory=directory)
    async with app.run_test(size=size) as pilot:
        stage = Stage(app, pilot, clock)
        try:
            if address is not None:
                await stage.watch(address)
                await stage.ask()
            yield stage
        finally:
            await stage.aclose()


def rows_of(svg: str) -> list[str]:
    """The text of a picture made by rich or textual, row by row."""
    rows: dict[int, str] = {}
    for x, number, text in _TEXT.findall(svg):
        column = round(float(x) / _CELL_WIDTH)
        rows[int(number)] = rows.get(int(number), "").ljust(column) + html.unescape(text).replace("\xa0", " ")
    return [rows.get(number, "").rstrip() for number in range(max(rows, default=-1) + 1)]


class TestDevice:
    """The quorum device of a node of the cluster: it votes when the test says so."""

    __test__ = False

    def __init__(self, address: str) -> None:
        self._handle = blocking.Votequorum.initialize(address=address)
        self._handle.qdevice_register("witness")
        self._handle.trackstart()
        self._ring_id = blocking.cluster_status(address).ring_id

    def votes(self, yes: bool) -> None:
        """Cast a vote for the known membership."""
        self._handle.qdevice_poll("witness", yes, self._ring_id)

    def votes_on_change(self, yes: bool) -> None:
        """Wait for a new membership, and cast a vote for it."""
        for event in self._handle.events(timeout=DEADLINE):
            if isinstance(event, NodelistNotification) and event.ring_id != self._ring_id:
                self._ring_id = event.ring_id
                break
        self.votes(yes)

    def close(self) -> None:
        """Close the connection."""
        self._handle.finalize()
