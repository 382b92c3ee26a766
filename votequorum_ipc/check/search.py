"""Breadth first through all states that a cluster can reach.

Strategy: what is found first is found by the fewest events, so each story is a shortest one. With a bound
on faults, a state counts again when it is reached with fewer faults than before. Every state remembers by
which state it was reached, and nothing else: a story is worked out when it is asked for, with the names of
real nodes.
"""

from __future__ import annotations

import enum
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from .events import Event
from .states import State
from .successors import Successors

_LOOK_UP: Final = 500
"""Changes between two looks at the clock."""

_REPORT_EVERY: Final = 0.2
"""Seconds between two reports of progress."""


class Stopped(enum.StrEnum):
    """Why a search ended."""

    COMPLETE = "all states were looked at"
    FAULTS = "all states within the bound on faults were looked at"
    STATES = "the bound on states was reached"
    TIME = "the time was up"
    FOUND = "everything that was looked for was found"
    INTERRUPTED = "it was interrupted"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a search goes; None: as far as there is anything. `seconds` is wall-clock time."""

    faults: int | None = None
    states: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a search is: states seen, how many of them wait to be looked at, and events from the start."""

    states: int
    waiting: int
    depth: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """Where something was seen: in state number `at`, or on the way from there by `event` to `after`."""

    at: int
    detail: str
    event: Event | None = None
    after: State | None = None


Look = Callable[[State], str | None]
"""Looks at a state; a text says what is wrong with it."""

LookAtChange = Callable[[State, Event, State], str | None]
"""Looks at a state, what happens in it, and what comes of it."""


@dataclass(slots=True)
class Search:
    """A search and what it has seen. `states` are in the order of their discovery."""

    successors: Successors
    bounds: Bounds = field(default_factory=Bounds)
    looks: dict[str, Look] = field(default_factory=dict)
    change_looks: dict[str, LookAtChange] = field(default_factory=dict)
    is_end: Callable[[State], bool] = lambda state: False
    """Where not to go on: what follows such a state is not looked at."""
    until_found: bool = False
    """End as soon as everything that is looked for was found."""
    earlier: Search | None = None
    """A search before this one, some of whose findings this one has taken over."""
    states: list[State] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    found: dict[str, Found] = field(default_factory=dict)
    stopped: Stopped = Stopped.COMPLETE
    changes: int = 0
    depth: int = 0
    expanded: int = 0
    ends: int = 0
    """States from which it did not go on, as they are an end."""
    seconds: float = 0.0
    _seen: dict[State, int] = field(default_factory=dict)
    _depths: list[int] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """How many states are known."""
        return len(self._seen)

    @property
    def is_settled(self) -> bool:
        """Whether everything within the bound on faults was looked at."""
        return self.stopped in (Stopped.COMPLETE, Stopped.FAULTS)

    def run(self, starts: Iterable[State], progress: Callable[[Progress], None] | None = None) -> Search:
        """Search from these states on. `KeyboardInterrupt` ends the search; what is known so far stays."""
        began = time.monotonic()
        for start in starts:
            self._reach(self.successors.symmetry.canonical(start), -1, 0, 0)
        try:
            self.stopped = self._search(began, progress)
        except KeyboardInterrupt:
            self.stopped = Stopped.INTERRUPTED
        self.seconds = time.monotonic() - began
        return self

    def knows(self, found: Found) -> bool:
        """Whether this search itself has found it, and can tell its story."""
        return self.earlier is None or found is not self.earlier.found.get(self._name(found))

    def _name(self, found: Found) -> str:
        return next(name for name, known in self.found.items() if known is found)

    def story(self, found: Found) -> list[tuple[Event | None, State]]:
        """The way from a start to what was found, with the names of real nodes."""
        chain = [found.at]
        while self.parents[chain[-1]] >= 0:
            chain.append(self.parents[chain[-1]])
        chain.reverse()
        story: list[tuple[Event | None, State]] = [(None, self.states[chain[0]])]
        for number in chain[1:]:
            story.append(self._step(story[-1][1], self.states[number]))
        if found.after is not None:
            story.append(self._last_step(story[-1][1], found))
        return story

    def _step(self, state: State, wanted: State) -> tuple[Event, State]:
        """The event with the fewest faults that leads from a state to one that is `wanted` but for names."""
        canonical = self.successors.symmetry.canonical
        ways = [(event, after) for event, after in self.successors.of(state) if canonical(after) == wanted]
        return min(ways, key=lambda way: way[0].faults)

    def _last_step(self, state: State, found: Found) -> tuple[Event, State]:
        canonical = self.successors.symmetry.canonical
        for event, after in self.successors.of(state):
            if type(event) is type(found.event) and canonical(after) == found.after:
                return event, after
        raise AssertionError("a change that was found cannot be found again")

    def _reach(self, state: State, parent: int, faults: int, depth: int) -> None:
        known = self._seen.get(state)
        if known is not None and self.faults[known] <= faults:
            return
        number = self._seen[state] = len(self.states)
        self.states.append(state)
        self.parents.append(parent)
        self.faults.append(faults)
        self._depths.append(depth)
        if known is None:
            for name, look in self.looks.items():
                if name not in self.found and (detail := look(state)):
                    self.found[name] = Found(number, detail)

    def _search(self, began: float, progress: Callable[[Progress], None] | None) -> Stopped:
        cut = False
        at = 0
        watch = _Watch(self, began, progress)
        while at < len(self.states):
            if self.bounds.states is not None and len(self._seen) > self.bounds.states:
                return Stopped.STATES
            try:
                cut |= self._expand(at, watch)
            except _TimeIsUpError:
                return Stopped.TIME
            at += 1
            self.expanded = at
            if self.until_found and len(self.found) == len(self.looks):
                return Stopped.FOUND
        return Stopped.FAULTS if cut else Stopped.COMPLETE

    def _expand(self, at: int, watch: _Watch) -> bool:
        """Go on from a state; whether the bound on faults kept something out."""
        state, faults, depth = self.states[at], self.faults[at], self._depths[at] + 1
        if self.faults[self._seen[state]] < faults:
            return False
        if self.is_end(state):
            self.ends += 1
            return False
        self.depth = depth
        canonical, most, cut = self.successors.symmetry.canonical, self.bounds.faults, False
        for event, after in self.successors.of(state):
            if after == state:
                continue
            self.changes += 1
            if self.changes % _LOOK_UP == 0:
                watch.look()
            total = faults + event.faults
            if most is not None and total > most:
                cut = True
                continue
            reached = canonical(after)
            for name, look in self.change_looks.items():
                if name not in self.found and (detail := look(state, event, after)):
                    self.found[name] = Found(at, detail, event, reached)
            self._reach(reached, at, total, depth)
        return cut


class _TimeIsUpError(Exception):
    """The bound on time is reached."""


class _Watch:
    """Looks at the clock for a search."""

    def __init__(self, search: Search, began: float, progress: Callable[[Progress], None] | None) -> None:
        self._search, self._began, self._progress = search, began, progress
        self._reported = began

    def look(self) -> None:
        """Report progress when it is time to, and end the search when its time is up."""
        search, now = self._search, time.monotonic()
        if search.bounds.seconds is not None and now - self._began > search.bounds.seconds:
            raise _TimeIsUpError
        if self._progress is not None and now - self._reported > _REPORT_EVERY:
            self._reported = now
            waiting = len(search.states) - search.expanded
            self._progress(Progress(search.seen, waiting, search.depth, now - self._began))


def memory() -> int:
    """The most memory that this process has used, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
