"""The same calls under trio, under asyncio and without an event loop, each compared with C."""

from __future__ import annotations

import functools
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..measure import of_rounds, ratio
from ..placement import Placement, placed
from ..registry import benchmark
from ..rows import LeftOutError, Result, Row, at_least, at_most
from ..stage import Stage
from .events import complete_rounds, latencies

_SIDES: Final = {"trio": "ours", "asyncio": "asyncio", "blocking": "blocking"}
"""Each way to wait, and the name of its side."""

_PLACEMENTS: Final[tuple[Placement, ...]] = ("one CPU", "two CPUs")
_EVENTS: Final = 20


@benchmark(
    Row("ways.getinfo.one CPU.trio", "getinfo, one CPU: trio", "x", at_most(2.1)),
    Row("ways.getinfo.one CPU.asyncio", "the same: asyncio", "x", at_most(2.0)),
    Row("ways.getinfo.one CPU.blocking", "the same: blocking", "x", at_most(1.6)),
    Row("ways.getinfo.two CPUs.trio", "getinfo, daemon on a CPU of its own: trio", "x", at_most(0.7)),
    Row("ways.getinfo.two CPUs.asyncio", "the same: asyncio", "x", at_most(0.7)),
    Row("ways.getinfo.two CPUs.blocking", "the same: blocking", "x", at_most(0.7)),
    Row("ways.trackstart.trio", "trackstart to the first event, one CPU: trio", "x", at_most(2.3)),
    Row("ways.trackstart.asyncio", "the same: asyncio", "x"),
    Row("ways.trackstart.blocking", "the same: blocking", "x", at_most(1.8)),
    Row("ways.tasks.trio", "32 tasks, one CPU, calls/s, C one after another: trio", "x", at_least(1.0)),
    Row("ways.tasks.asyncio", "the same: asyncio", "x", at_least(1.0)),
)
def ways(stage: Stage) -> Iterator[Result]:
    """getinfo, trackstart and 32 tasks, each way to wait."""
    site, calls, starts = stage.corosync, stage.scale.calls, stage.scale.part(10)
    with stage.sides(site, *_SIDES.values(), "C") as sides:

        def rounds(command: str, count: int, placement: Placement) -> dict[str, list[list[int]]]:
            asks = {name: functools.partial(side.ask, command, count) for name, side in sides.items()}
            with placed(placement, site.pid, [side.pid for side in sides.values()]):
                return stage.alternate(asks)

        for placement in _PLACEMENTS:
            given = rounds("getinfo", calls, placement)
            yield from _ratios(f"ways.getinfo.{placement}", of_rounds(given, statistics.median))
        given = rounds("trackstart", starts, "one CPU")
        yield from _ratios("ways.trackstart", of_rounds(given, statistics.median))
        asks = {name: functools.partial(sides[name].ask, "tasks:32", calls) for name in ("ours", "asyncio")}
        asks["C"] = functools.partial(sides["C"].ask, "total", calls)
        with placed("one CPU", site.pid, [side.pid for side in sides.values()]):
            given = stage.alternate(asks)
        rates = of_rounds(given, lambda times: calls / times[0], scale=1e9)
        yield from _ratios("ways.tasks", rates, "calls/s")


@benchmark(
    Row("ways.event.trio", "event, from notification to consumer: trio", "x", at_most(4.5)),
    Row("ways.event.asyncio", "the same: asyncio", "x"),
    Row("ways.event.blocking", "the same: blocking", "x", at_most(3.0)),
)
def ways_event(stage: Stage) -> Iterator[Result]:
    """The time until an event reaches the consumer of `events()`, each way to wait."""
    if len(os.sched_getaffinity(0)) == 1:
        raise LeftOutError("with only one CPU, the instant of a notification cannot be measured")
    count = max(_EVENTS, stage.scale.part(20))
    with (
        stage.sides(stage.corosync, *_SIDES.values(), "C") as sides,
        stage.sides(stage.corosync, "C") as others,
    ):
        others["C"].ask("prepare")
        given = complete_rounds(
            stage.alternate(
                {name: functools.partial(latencies, side, others["C"], count) for name, side in sides.items()}
            )
        )
    figures = {name: [[pair[0] for pair in one] for one in each] for name, each in given.items()}
    yield from _ratios("ways.event", of_rounds(figures, statistics.median))


def _ratios(key: str, rounds: Mapping[str, Sequence[float]], unit: str = "us") -> Iterator[Result]:
    """One row for each way to wait that these rounds measured."""
    for way, side in _SIDES.items():
        if side in rounds:
            yield ratio(f"{key}.{way}", {"ours": rounds[side], "C": rounds["C"]}, unit)
