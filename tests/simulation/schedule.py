"""trio.run, but the same program always does the same: virtual time, and an order of tasks from a seed.

Strategy: everything runs in one thread of one process, so sockets and shared memory behave the same in each
run if the tasks do. trio shuffles tasks that are ready; here the shuffle has a seed, and sorts them first, as
it does for Hypothesis. The garbage collector runs between histories only. The library's own chance, the
pauses of `Backoff`, comes from `random`, which has a seed as well. Its real-time clock is read in two places:
to look for a response without waiting, which is of no use in one thread and is left out, and to check
lengths of files, which nobody changes here.
"""

from __future__ import annotations

import contextlib
import gc
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import trio
from trio._core import _run
from trio.testing import MockClock

from votequorum_ipc.ipc import waiting

T = TypeVar("T")


def run(program: Callable[[MockClock], Awaitable[T]], seed: int) -> T:
    """Run a program under trio; it is given its clock, which starts at 0."""
    clock = MockClock(autojump_threshold=0)
    with _one_order(seed):
        return trio.run(program, clock, clock=clock)


@contextlib.contextmanager
def _one_order(seed: int) -> Iterator[None]:
    chance, shuffled, sorts = random.getstate(), _run._r.getstate(), _run._ALLOW_DETERMINISTIC_SCHEDULING
    spin_limit = waiting.SPIN_LIMIT
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    random.seed(seed)
    _run._r.seed(seed)
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    waiting.SPIN_LIMIT = 0.0  # type: ignore[misc]
    try:
        yield
    finally:
        waiting.SPIN_LIMIT = spin_limit  # type: ignore[misc]
        _run._ALLOW_DETERMINISTIC_SCHEDULING = sorts  # type: ignore[misc]
        _run._r.setstate(shuffled)
        random.setstate(chance)
        if collects:
            gc.enable()


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when the task that made this has taken so many more steps."""

    def __init__(self, steps: int, scope: trio.CancelScope) -> None:
        self._left = steps
        self._scope = scope
        self._task = trio.lowlevel.current_task()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


@contextlib.contextmanager
def cancelled_after(steps: int) -> Iterator[trio.CancelScope]:
    """Cancel the block after this task has taken so many steps in it."""
    with trio.CancelScope() as scope:
        instrument = CancelAt(steps, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            yield scope
        finally:
            trio.lowlevel.remove_instrument(instrument)
