"""When a device must decide, for which ring, and until when an answer counts: no I/O, no clock.

Strategy: corosync gives a device `timeout` from each poll to the next, and `sync_timeout` from a membership
change to the first poll with the new ring id. A device that is silent for longer loses its vote until it
polls again. So a decision must end some time before that. Otherwise it is late, and its answer is dropped:
the daemon withdraws the vote at its timeout. corosync does not wait for a device that it does not count as
alive. The decision of such a device may therefore take as long as one between two polls.

All times are seconds of one monotonic clock, given by the caller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from ..types import RingId

RESERVE: Final = 0.1
"""The part of a timeout that is kept for the poll itself, after the decision."""

POLLS_PER_TIMEOUT: Final = 3
"""Decisions begin at least this often within a timeout, whatever the interval."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long corosync lets a device be silent, in seconds; by default VOTEQUORUM_QDEVICE_DEFAULT_*."""

    timeout: float = 10.0
    """Between two polls (quorum.device.timeout)."""
    sync_timeout: float = 30.0
    """After a membership change (quorum.device.sync_timeout)."""


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer is about: a ring, and the answer's deadline."""

    ring_id: RingId
    deadline: float


class Schedule:
    """The state of one registration: the current ring, the last poll, and the deadlines that follow from
    them."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self.timeouts = timeouts or Timeouts()
        self.ring_id: RingId | None = None
        self.members: tuple[int, ...] = ()
        self._expires = -math.inf
        self._began = -math.inf

    def joined(self, ring_id: RingId, members: tuple[int, ...], now: float) -> None:
        """The daemon has reported its ring, which may be the known one."""
        if ring_id == self.ring_id:
            return
        self.ring_id = ring_id
        self.members = members
        self._began = -math.inf
        if self.is_alive(now):
            self._expires = now + self.timeouts.sync_timeout

    def is_alive(self, now: float) -> bool:
        """Whether the daemon still counts this device as alive."""
        return now < self._expires

    def due(self, interval: float) -> float:
        """When to decide again: at once in a new ring, else an interval after the last decision began."""
        return self._began + min(interval, self.timeouts.timeout / POLLS_PER_TIMEOUT)

    def ask(self, now: float) -> Question:
        """A decision about the current ring begins."""
        self._began = now
        return self.question(now)

    def question(self, now: float) -> Question:
        """The question for an answer given from now on."""
        assert self.ring_id is not None, "the daemon has not said which ring it is in"
        shorter = min(self.timeouts.timeout, self.timeouts.sync_timeout)
        deadline = self._expires - RESERVE * shorter
        if deadline <= now:
            # The daemon counts this device as dead, or soon will: a complete new decision costs nothing.
            deadline = now + (1 - RESERVE) * self.timeouts.timeout
        return Question(self.ring_id, deadline)

    def is_current(self, question: Question) -> bool:
        """Whether a question is about the current ring."""
        return question.ring_id == self.ring_id

    def polled(self, sent: float) -> None:
        """The daemon accepted a poll. It counts from a moment after `sent`."""
        self._expires = sent + self.timeouts.timeout
