"""The time that a run has, and the time that one case has.

Strategy: a run looks at its deadline between two cases, which ends it softly. What does not come back to
look, such as a daemon that hangs, a long search for a shorter case or a step of a state machine, is
interrupted by an alarm `GRACE` seconds later. The same alarm ends a single case that takes longer than
`HANGING`.
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
"""Seconds behind the deadline after which the alarm rings."""

HANGING: Final = 60.0
"""Seconds after which a case counts as failed because it does not end."""


class Hangs(AssertionError):
    """A case did not end."""


class OutOfTime(BaseException):
    """The run's time is over. It is no `Exception`: nothing on the way up may take it for a failure."""


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
        """Raise `OutOfTime` in this block where it does not end in time by itself."""
        before = signal.signal(signal.SIGALRM, self._ring)
        self._arm()
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    @contextlib.contextmanager
    def case(self, seconds: float) -> Iterator[None]:
        """Raise `Hangs` where this block takes longer. Only inside of `enforced`."""
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
        # 0 would switch the alarm off, and so does what never comes.
        seconds = max(next_ - time.monotonic(), 1e-6) if next_ < math.inf else 0
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() < self._case_until:
            self.rang = True
            # Code that takes it for something else, such as a finalizer, is interrupted once more.
            signal.setitimer(signal.ITIMER_REAL, HANGING)
            raise OutOfTime
        self._case_until = math.inf
        self._arm()
        raise Hangs(f"not done after {self._case_seconds} seconds")
