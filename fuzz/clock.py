"""The time that a run has, and the time that one case has.

Strategy: a run checks its deadline between two cases. Something may take longer: a daemon that hangs, a
search for a shorter case, a step of a state machine. An alarm interrupts it `GRACE` seconds after the
deadline. The same alarm ends a single case that takes longer than `HANGING`.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

GRACE: Final = 1.0
"""Seconds between the deadline and the alarm."""

HANGING: Final = 60.0
"""Seconds after which a case counts as failed because it does not end."""


class Hangs(AssertionError):
    """A case did not end."""


class OutOfTime(BaseException):
    """The run's time is over. It is not an `Exception`, so nothing takes it for a failing case."""


class Deadline:
    """When a run ends."""

    def __init__(self, seconds: float = math.inf) -> None:
        """The time begins now."""
        self.until = time.monotonic() + seconds
        self.rang = False
        """Whether the alarm has interrupted the run."""
        self._case_until = math.inf
        self._case_seconds = 0.0

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.until

    @contextlib.contextmanager
    def enforced(self) -> Iterator[None]:
        """Raise `OutOfTime` in this block unless it ends in time."""
        before = signal.signal(signal.SIGALRM, self._ring)
        self._arm()
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    @contextlib.contextmanager
    def case(self, seconds: float) -> Iterator[None]:
        """Raise `Hangs` if this block takes longer. Use it inside `enforced`."""
        self._case_seconds = seconds
        self._case_until = time.monotonic() + seconds
        self._arm()
        try:
            yield
        finally:
            self._case_until = math.inf
            self._arm()

    def _arm(self) -> None:
        if self.rang:
            return
        next_ = min(self.until + GRACE, self._case_until)
        # 0 switches the alarm off.
        seconds = max(next_ - time.monotonic(), 1e-6) if next_ < math.inf else 0
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self.rang or time.monotonic() < self._case_until:
            self.rang = True
            # Code that takes it for something else, such as a finalizer, is interrupted again.
            signal.setitimer(signal.ITIMER_REAL, HANGING)
            raise OutOfTime
        self._case_until = math.inf
        self._arm()
        raise Hangs(f"not done after {self._case_seconds} seconds")
