#!/usr/bin/env python3
"""Draw docs/live.svg, the picture of `monitor --live`: make live-picture.

The program and the demo's cluster are the real ones. Only the clock is set by hand, so that the picture shows
some hours of a day.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from votequorum_ipc.live.app import LiveApp, ScreenClock
from votequorum_ipc.live.demo import DemoCluster, demo_cluster
from votequorum_ipc.live.feed import Screen, Told
from votequorum_ipc.live.saving import without_remote_fonts
from votequorum_ipc.overview import Observer
from votequorum_ipc.watch import watch_quorum

SIZE = (88, 32)
MORNING = 1_795_161_600.0
"""2026-11-20 08:00:00 UTC."""

DAY = (40, 45, 5, 11, 8, 30)
"""Minutes before the next scene of the demo."""

_PATIENCE = 1200.0


class _Nothing:
    async def run(self, screen: Screen) -> None:
        await asyncio.Event().wait()


async def picture(demo: DemoCluster) -> str:
    """The screen after part of the day."""
    seconds = 0.0
    clock = ScreenClock(lambda: MORNING + seconds, lambda: seconds)
    app = LiveApp(_Nothing(), patience=_PATIENCE, clock=clock)

    async def pass_time(span: float) -> None:
        nonlocal seconds
        until = seconds + span
        while seconds < until:
            seconds = min(seconds + _PATIENCE, until)
            view = await watcher.current()
            app.take_view(Told(view, seconds))
        app.take_overview(await observer.read(view))

    async with (
        app.run_test(size=SIZE) as pilot,
        watch_quorum(demo.address, patience=30) as watcher,
        Observer(demo.address, seconds=30) as observer,
    ):
        await pass_time(1)
        for minutes in DAY:
            await pass_time(minutes * 60)
            demo.step()
            await asyncio.sleep(1.5)  # the demo's device decides every second
            await pass_time(2)
        await pass_time(60)
        await pilot.press("t", "down")
        await pilot.pause()
        return without_remote_fonts(app.export_screenshot(title="votequorum-ipc monitor --live"))


def main(argv: list[str]) -> None:
    """Write the picture."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    with demo_cluster() as demo:
        Path(argv[1] if argv[1:] else "docs/live.svg").write_text(
            asyncio.run(picture(demo)), encoding="utf-8"
        )


if __name__ == "__main__":
    main(sys.argv)
