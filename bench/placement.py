"""Which CPUs the daemon and the sides run on: the scheduler's choice, all on one, or the daemon on another.

On one CPU nothing runs in parallel, so the time of a call is the work of both ends and the switches between
them: corosync has real-time priority and answers before the client's `send` returns. On two CPUs the time to
wake the other CPU is added. The scheduler chooses one or the other depending on load; the two fixed
placements show what each costs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from .rows import LeftOutError

Placement = Literal["free", "one CPU", "two CPUs"]

PLACEMENTS: Final[tuple[Placement, ...]] = ("free", "one CPU", "two CPUs")


@contextlib.contextmanager
def placed(placement: Placement, daemon: int, sides: Iterable[int]) -> Iterator[None]:
    """Place every thread of these processes within the block; restore the placement afterwards."""
    if placement == "free":
        yield
        return
    cpus = sorted(os.sched_getaffinity(0))
    if placement == "two CPUs" and len(cpus) == 1:
        raise LeftOutError("there is only one CPU")
    wanted = dict.fromkeys(_threads(daemon), cpus[-1])
    for side in sides:
        wanted |= dict.fromkeys(_threads(side), cpus[-1] if placement == "one CPU" else cpus[0])
    before = {thread: os.sched_getaffinity(thread) for thread in wanted}
    try:
        for thread, cpu in wanted.items():
            _place(thread, {cpu})
        yield
    finally:
        for thread, old in before.items():
            _place(thread, old)


def _place(thread: int, cpus: set[int]) -> None:
    # A thread may have ended meanwhile.
    with contextlib.suppress(ProcessLookupError):
        os.sched_setaffinity(thread, cpus)


def _threads(pid: int) -> list[int]:
    return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
