"""Events: how soon they reach the program, and what waiting for them costs.

The daemon does not say when it sends a notification. So a third side, the watcher, changes the expected votes
and polls for its own notification without pausing. It subscribes last, and the daemon notifies the last
subscriber first: the watcher's notification marks the instant from which the other side's time counts. The
watcher notices when it lost its CPU meanwhile; that event does not count. Only one of the compared sides is
subscribed at a time: otherwise the second would wait for a CPU until the first is done.
"""

from __future__ import annotations

import functools
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..measure import of_rounds, ratio
from ..registry import benchmark
from ..rows import LeftOutError, Result, Row, at_most
from ..side import Side
from ..stage import FLOOR, Stage

_EVENTS = 20
"""The fewest events in a round. Some of them do not count."""

_SETTLE = 0.2
"""Seconds until a side that was told to wait is waiting."""


@benchmark(
    Row("event.notification", "event: from the daemon's notification to the consumer", "x", at_most(1.5)),
    Row("event.change", "event: from the call that caused it to the consumer", "x"),
)
def event(stage: Stage) -> Iterator[Result]:
    """Time for an event to reach a consumer of `events()`, a C thread in dispatch, the least in Python."""
    if len(os.sched_getaffinity(0)) == 1:
        raise LeftOutError("with only one CPU, the instant of a notification cannot be measured")
    count = max(_EVENTS, stage.scale.part(20))
    compared = ("ours", "C", *FLOOR)
    with stage.sides(stage.corosync, *compared) as sides, stage.sides(stage.corosync, "C") as others:
        watcher = others["C"]
        watcher.ask("prepare")
        given = stage.alternate(
            {name: functools.partial(latencies, side, watcher, count) for name, side in sides.items()},
        )
    rounds = complete_rounds(given)
    for key, column in (("event.notification", 0), ("event.change", 1)):
        figures = {name: [[pair[column] for pair in one] for one in each] for name, each in rounds.items()}
        yield ratio(key, of_rounds(figures, statistics.median), "us")


def complete_rounds(given: dict[str, list[list[tuple[int, int]]]]) -> dict[str, list[list[tuple[int, int]]]]:
    """The rounds in which each side has figures. Raises `LeftOutError` if there are none."""
    complete = [each for each in zip(*given.values(), strict=True) if all(each)]
    if not complete:
        raise LeftOutError("no instant of a notification could be measured: the machine is too busy")
    return dict(zip(given, map(list, zip(*complete, strict=True)), strict=True))


def latencies(side: Side, watcher: Side, count: int) -> list[tuple[int, int]]:
    """Nanoseconds from the notification to the side, and from its cause; only events whose instant is
    certain.
    """
    side.ask("subscribe")
    watcher.ask("subscribe")
    side.tell("events", count)
    instants = watcher.ask("cause", count)
    delivered = side.hear()
    watcher.ask("unsubscribe")
    side.ask("unsubscribe")
    caused, notified = instants[::2], instants[1::2]
    return [(d - n, d - c) for d, n, c in zip(delivered, notified, caused, strict=True) if 0 < n < d]


@benchmark(
    Row("idle.threads", "waiting for events for 10 s: threads besides the program's", "", at_most(0)),
    Row("idle.wakeups", "the same: wake-ups", "", at_most(1)),
    Row("idle.ticks", "the same: CPU ticks", "", at_most(0)),
)
def idle(stage: Stage) -> Iterator[Result]:
    """The cost of waiting: a task in `events()` and a C thread in dispatch, at the same time."""
    with stage.sides(stage.corosync, "ours", "C") as sides, stage.sides(stage.corosync, "C") as others:
        others["C"].ask("prepare")
        for side in sides.values():
            side.ask("subscribe")
            side.tell("events", 1)
        time.sleep(_SETTLE)
        before = {name: _Activity.of(side.pid) for name, side in sides.items()}
        time.sleep(stage.scale.seconds)
        after = {name: _Activity.of(side.pid) for name, side in sides.items()}
        others["C"].ask("subscribe")
        others["C"].ask("cause", 1)
        for side in sides.values():
            side.hear()
    yield _count("idle.threads", {name: activity.threads - 1 for name, activity in after.items()})
    yield _count("idle.wakeups", {name: after[name].wakeups - before[name].wakeups for name in after})
    yield _count("idle.ticks", {name: after[name].ticks - before[name].ticks for name in after})


def _count(key: str, sides: dict[str, int]) -> Result:
    ours = sides["ours"]
    return Result(key, ours, ours, ours, "", sides)


@dataclass(frozen=True)
class _Activity:
    """What a process has done so far, as proc(5) counts it."""

    threads: int
    wakeups: int
    """Voluntary context switches: each begins a wait."""
    ticks: int
    """User and system time, in clock ticks."""

    @classmethod
    def of(cls, pid: int) -> _Activity:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        wakeups = sum(int(_field(task / "status", "voluntary_ctxt_switches")) for task in tasks)
        # The command, in brackets, may contain spaces: count fields after the last bracket.
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return cls(len(tasks), wakeups, int(numbers[11]) + int(numbers[12]))


def _field(file: Path, name: str) -> str:
    lines = file.read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))
