"""The history in bounded memory: the lines of the timeline, and the state at each moment.

Strategy: a line is made when a change is noticed, with its cause, and never changes afterwards. The oldest
lines are dropped, and counted, when there are too many. Periods record when quorum was known to be present,
known to be missing, or unknown. A time without an answer is a separate period, which begins at the last
answered question, so a gap is never filled with the earlier state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from ..cli.change_json import change_json, link_change_json
from ..cli.change_text import link_change_text
from ..cli.common import printable
from ..cli.json_values import error_json, votes_json
from ..explain import why_not_quorate
from ..links import link_changes
from ..overview import Overview
from ..types import ClusterStatus, Connected, Link, LinkChanged, Lost, QuorumChanged, QuorumState, QuorumView
from .causes import Gravity, cause_of, gravity_of, text_of, votes_text

LINE_LIMIT: Final = 1_000
"""How many lines and how many periods are kept."""


@dataclass(frozen=True, slots=True)
class TimelineLine:
    """A line of the timeline."""

    at: float
    """When it was noticed, in seconds since the Epoch."""
    gravity: Gravity
    text: str
    cause: str = ""
    """The cause; empty if unknown."""
    shapes: tuple[Mapping[str, Any], ...] = ()
    """The change as in `monitor --json`; links to one node that change together share a line."""


@dataclass(frozen=True, slots=True)
class Period:
    """The beginning of a period in one state."""

    since: float
    """In seconds since the Epoch."""
    state: QuorumState


class Timeline:
    """The last lines and periods."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self.lines: deque[TimelineLine] = deque(maxlen=limit)
        """The oldest first."""
        self.periods: deque[Period] = deque(maxlen=limit)
        """The oldest first. The time before the first was not watched, or is no longer remembered."""
        self.dropped = 0
        """How many older lines were dropped."""
        self._names: dict[int, str] = {}
        """Names of nodes, including those that have left."""
        self._links: tuple[Link, ...] = ()
        self._token_losses: int | None = None
        self._missed_at: int | None = None

    @property
    def state(self) -> QuorumState | None:
        """The last state that was noted; None at the start."""
        return self.periods[-1].state if self.periods else None

    # --- quorum ---

    def note_view(self, view: QuorumView, at: float) -> None:
        """Add what a view reports."""
        if view.status is not None:
            self._learn_names(view.status)
        if view.dropped:
            text = f"{view.dropped} changes came too fast to be kept"
            shape = {"event": "dropped", "changes": view.dropped}
            self._add(TimelineLine(at, Gravity.UNKNOWN, text, shapes=(shape,)))
        for position, change in enumerate(view.changes):
            if isinstance(change, Connected):
                continue
            cause = cause_of(position, view, self._names)
            text = text_of(change, self._names)
            self._add(TimelineLine(at, gravity_of(change), text, cause, (change_json(change),)))
        if self._is_news(view):
            self._add(_state_line(view, at))
        # A state that was over before anyone looked leaves its mark, unless it was good.
        for change in view.changes:
            if isinstance(change, Lost):
                self._enter(QuorumState.UNKNOWN, at)
            elif isinstance(change, QuorumChanged) and not change.quorate:
                self._enter(QuorumState.NOT_QUORATE, at)
        self._enter(view.state, at)

    def note_silence(self, since: float, why: str) -> None:
        """There has been no answer since then, so quorum is unknown from then on."""
        if self.state is not QuorumState.UNKNOWN:
            shape = {"event": "unknown", "error": None}
            self._add(TimelineLine(since, Gravity.UNKNOWN, f"quorum unknown: {why}", shapes=(shape,)))
            # The last answer may have come later than it was asked for.
            self._enter(QuorumState.UNKNOWN, max(since, self.periods[-1].since if self.periods else since))

    def _is_news(self, view: QuorumView) -> bool:
        """Whether the view's state needs its own line, because none of its changes shows it."""
        last = view.changes[-1] if view.changes else None
        if view.state is QuorumState.UNKNOWN:
            return self.state is not QuorumState.UNKNOWN and not isinstance(last, Lost)
        was_lost = any(isinstance(change, Lost | Connected) for change in view.changes)
        told = any(isinstance(change, QuorumChanged) for change in view.changes)
        return (
            was_lost or self.state in (None, QuorumState.UNKNOWN) or (view.state != self.state and not told)
        )

    def _enter(self, state: QuorumState, at: float) -> None:
        if state is not self.state:
            self.periods.append(Period(at, state))

    def _learn_names(self, status: ClusterStatus) -> None:
        self._names |= {node.node_id: node.name for node in status.configured if node.name}
        self._names |= {each.node_id: each.name or each.address for each in status.members}

    # --- links and statistics ---

    def note_overview(self, overview: Overview, at: float) -> None:
        """Add changes of links, and corosync's statistics."""
        if overview.links is not None:
            changes = link_changes(self._links, overview.links)
            for _, alike in groupby(changes, lambda each: (each.node_id, each.connected, each.times_down)):
                self._add(self._links_line(list(alike), at))
            self._links = overview.links
        statistics = overview.statistics
        if statistics is None:
            return
        if statistics.totem is not None:
            self._note_token(statistics.totem.token_losses, at)
        newest = statistics.scheduling_misses[0] if statistics.scheduling_misses else None
        timestamp = newest.timestamp if newest else 0
        if newest and self._missed_at is not None and timestamp > self._missed_at:
            text = f"corosync was not scheduled for {newest.delay / 1000:.1f} s"
            shape = {"event": "scheduling_miss", "delay": newest.delay}
            self._add(TimelineLine(at, Gravity.BAD, text, shapes=(shape,)))
        self._missed_at = timestamp

    def _links_line(self, changes: Sequence[LinkChanged], at: float) -> TimelineLine:
        """Links to one node that changed alike."""
        first = changes[0]
        text = link_change_text(first, self._names).plain
        if len(changes) > 1:
            numbers = ", ".join(str(change.number) for change in changes)
            text = text.replace(f"link {first.number} to", f"each of links {numbers} to", 1)
        gravity = Gravity.GOOD if first.connected and not first.times_down else Gravity.BAD
        shapes = tuple(link_change_json(change, self._names) for change in changes)
        return TimelineLine(at, gravity, text, shapes=shapes)

    def _note_token(self, losses: int, at: float) -> None:
        before, self._token_losses = self._token_losses, losses
        if before is not None and losses > before:
            count = losses - before
            text = "the token was lost" + (f" {count} times" if count > 1 else "")
            shape = {"event": "token_lost", "times": count}
            self._add(TimelineLine(at, Gravity.BAD, text, shapes=(shape,)))

    def _add(self, line: TimelineLine) -> None:
        self.dropped += len(self.lines) == self.lines.maxlen
        self.lines.append(line)

    # --- the last hours ---

    def cells(self, start: float, end: float, count: int) -> Iterator[QuorumState | None]:
        """The time from `start` to `end` in equal parts: the worst state of each, or None if not watched.

        Missing quorum is worse than unknown, and unknown is worse than quorate.
        """
        width = (end - start) / count
        ends = [*(period.since for period in self.periods), float("inf")][1:]
        for number in range(count):
            first, last = start + number * width, start + (number + 1) * width
            states = {
                period.state
                for period, until in zip(self.periods, ends, strict=True)
                if period.since < last and until > first
            }
            yield next((state for state in _WORST_FIRST if state in states), None)


_WORST_FIRST: Final = (QuorumState.NOT_QUORATE, QuorumState.UNKNOWN, QuorumState.QUORATE)


def _state_line(view: QuorumView, at: float) -> TimelineLine:
    """A line for a state that no change shows."""
    status = view.status
    if status is None:
        why = printable(str(view.error))
        error = view.error and error_json(view.error)
        shape: dict[str, Any] = {"event": "unknown", "error": error}
        return TimelineLine(at, Gravity.UNKNOWN, f"quorum unknown: {why}", shapes=(shape,))
    votes = status.info and votes_json(status.info)
    shape = {"event": "status", "quorate": status.quorate, "votequorum": votes}
    if status.quorate:
        return TimelineLine(at, Gravity.GOOD, f"quorate: {votes_text(status)}", shapes=(shape,))
    return TimelineLine(at, Gravity.BAD, "not quorate", printable(why_not_quorate(status)), (shape,))
