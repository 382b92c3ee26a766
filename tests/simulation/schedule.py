"""trio.run, made repeatable: virtual time, and a task order decided by a seed.

Strategy: everything runs in one thread of one process, so sockets and shared memory behave the same in each
run if the tasks do. trio shuffles the tasks that are ready. Here it sorts them first, as it does for
Hypothesis, and its shuffle has a seed. The garbage collector runs only between histories. The library's own
randomness, the pauses of `Backoff`, comes from `random`, which gets a seed too. The library reads its
real-time clock in two places. One polls for a response without waiting, which is useless in one thread and is
disabled here. The other checks the lengths of files, which do not change here.
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
    """Run a program under trio; it gets its clock, which starts at 0."""
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
    """Cancels a scope when the task that created this has taken this many more steps."""

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
    """Cancel the block after this task has taken this many steps in it."""
    with trio.CancelScope() as scope:
        instrument = CancelAt(steps, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            yield scope
        finally:
            trio.lowlevel.remove_instrument(instrument)
