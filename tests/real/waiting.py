"""Waiting for conditions: check repeatedly, and fail when a deadline passes.

Tests never sleep to let something happen; they name the condition and the longest acceptable time. The
deadlines are generous, since a busy machine is not a defect, and they cost nothing if all is well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from votequorum_ipc.ipc.backend import sleep

T = TypeVar("T")

DEADLINE = 30.0
"""Seconds that a condition may take by default."""

_SHORTEST, _LONGEST = 0.005, 0.1


class DeadlineError(AssertionError):
    """A condition was not met in time."""


def eventually(
    condition: Callable[[], T], *, within: float = DEADLINE, otherwise: str | Callable[[], str] = ""
) -> T:
    """Call `condition` until it returns a true value, and return that value.

    After `within` seconds raise `DeadlineError` with `otherwise`, which says what was expected. It may be a
    function, to describe the state at that moment. Blocks the calling thread.
    """
    for pause, value in _attempts(condition, within, otherwise):
        if value:
            return value
        time.sleep(pause)
    raise AssertionError("unreachable")


async def eventually_async(
    condition: Callable[[], T], *, within: float = DEADLINE, otherwise: str | Callable[[], str] = ""
) -> T:
    """`eventually` for a coroutine: other tasks run between two checks."""
    for pause, value in _attempts(condition, within, otherwise):
        if value:
            return value
        await sleep(pause)
    raise AssertionError("unreachable")


def _attempts(
    condition: Callable[[], T], within: float, otherwise: str | Callable[[], str]
) -> Iterator[tuple[float, T]]:
    """Yield each value with the pause to make after it; the last check is made after the deadline."""
    deadline = time.monotonic() + within
    pause = _SHORTEST
    while True:
        # Read the clock before checking: a process that was not scheduled for long still gets a fair last
        # try.
        late = time.monotonic() > deadline
        yield pause, condition()
        if late:
            reason = otherwise() if callable(otherwise) else otherwise
            raise DeadlineError(f"not met within {within:g} s: {reason or condition}")
        pause = min(pause * 1.5, _LONGEST)
