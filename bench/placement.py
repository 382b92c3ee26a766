"""On which CPUs the sides and the daemon run: where the scheduler likes, or all on one.

On one CPU nothing runs beside anything else, so the time of a call is the work of both ends and the switches
between them. Where the scheduler places them, it is also the time to wake another CPU.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

Placement = Literal["free", "one CPU"]

PLACEMENTS: Final[tuple[Placement, ...]] = ("free", "one CPU")


@contextlib.contextmanager
def placed(placement: Placement, pids: Iterable[int]) -> Iterator[None]:
    """Within the block every thread of these processes is placed so; afterwards as it was."""
    if placement == "free":
        yield
        return
    before = {thread: os.sched_getaffinity(thread) for pid in pids for thread in _threads(pid)}
    cpu = max(os.sched_getaffinity(0))
    try:
        for thread in before:
            _place(thread, {cpu})
        yield
    finally:
        for thread, cpus in before.items():
            _place(thread, cpus)


def _place(thread: int, cpus: set[int]) -> None:
    # A thread may have ended meanwhile.
    with contextlib.suppress(ProcessLookupError):
        os.sched_setaffinity(thread, cpus)


def _threads(pid: int) -> list[int]:
    return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
