"""Visits all states that a cluster can reach, nearest first.

Strategy: states wait in a heap, ordered by the cost of reaching them. Without a bound on faults that is the
number of events, so the search is breadth first and each story is a shortest one. With a bound, fewer faults
come first, and among equals fewer events. So each state is examined once. When the time is up, everything
with fewer faults than the search has reached is settled.

States with the same cost form a level. Their successors (`expansion`) do not depend on their order, so other
processes can compute them (`workers`). The results are taken in a fixed order, so the answer is the same for
any number of processes.

Every state remembers only from which state it was reached: the events of a story are reconstructed on
request.
"""

from __future__ import annotations

import enum
import heapq
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from .events import Event
from .expansion import FAULT, Expander, Expansion, LookAtChange
from .states import Identity, State
from .successors import Successors
from .workers import Workers

_REPORT_EVERY: Final = 0.2
"""Seconds between two reports of progress."""

_WORTH_SHARING: Final = 200
"""With this many states in a level, other processes are asked to help."""


class Stopped(enum.StrEnum):
    """Why a search ended."""

    COMPLETE = "all states were looked at"
    FAULTS = "all states within the bound on faults were looked at"
    STATES = "the bound on states was reached"
    TIME = "the time was up"
    INTERRUPTED = "it was interrupted"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a search goes; None means without a bound. `seconds` is wall-clock time."""

    faults: int | None = None
    states: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a search: states seen, states waiting to be examined, and events from the start."""

    states: int
    waiting: int
    depth: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """Where something was seen: in state number `at`, or on the way from there to `after`.

    `cost` says how far it is from the start.
    """

    at: int
    detail: str
    cost: int
    after: State | None = None


Look = Callable[[State], str | None]
"""Examines a state; returns a text if something is wrong with it."""


@dataclass(slots=True)
class Search:
    """A search and what it has seen. `states` are in the order of their discovery."""

    successors: Successors
    bounds: Bounds = field(default_factory=Bounds)
    processes: int = 1
    looks: dict[str, Look] = field(default_factory=dict)
    change_looks: dict[str, LookAtChange] = field(default_factory=dict)
    is_end: Callable[[State], bool] = lambda state: False
    """States to stop at: their successors are not examined."""
    earlier: Search | None = None
    """A search before this one, some of whose findings this one has taken over."""
    states: list[State] = field(default_factory=list)
    found: dict[str, Found] = field(default_factory=dict)
    stopped: Stopped = Stopped.COMPLETE
    changes: int = 0
    depth: int = 0
    expanded: int = 0
    ends: int = 0
    """States after which it did not continue."""
    faults: int = 0
    """The faults that the states looked at last have taken."""
    seconds: float = 0.0
    _parents: array[int] = field(default_factory=lambda: array("l"))
    _costs: array[int] = field(default_factory=lambda: array("q"))
    _seen: dict[Identity, int] = field(default_factory=dict)
    _waiting: list[tuple[int, int]] = field(default_factory=list)
    """A heap of costs and numbers of states. May have outdated entries besides."""

    @property
    def seen(self) -> int:
        """How many states are known."""
        return len(self.states)

    @property
    def is_settled(self) -> bool:
        """Whether everything within the bound on faults was looked at."""
        return self.stopped in (Stopped.COMPLETE, Stopped.FAULTS)

    @property
    def settled_faults(self) -> int | None:
        """The faults within which everything was examined; None without a bound, or if there is no such
        number."""
        if self.bounds.faults is None or self.stopped is Stopped.COMPLETE:
            return None
        settled = self.bounds.faults if self.is_settled else self.faults - 1
        return settled if settled > 0 else None

    def run(self, starts: Iterable[State], progress: Callable[[Progress], None] | None = None) -> Search:
        """Search from these states on. `KeyboardInterrupt` ends the search; what is known so far stays."""
        began = time.monotonic()
        for start in starts:
            self._reach(start, -1, 0)
        expander = Expander(self.successors, self.bounds.faults, self.change_looks, self.is_end)
        try:
            with Workers(expander, self.processes) as workers:
                self.stopped = self._search(expander, workers, _Watch(self, began, progress))
        except KeyboardInterrupt:
            self.stopped = Stopped.INTERRUPTED
        self.seconds = time.monotonic() - began
        return self

    def knows(self, found: Found) -> bool:
        """Whether this search itself has found it, and can tell its story."""
        return self.earlier is None or all(found is not known for known in self.earlier.found.values())

    def story(self, found: Found) -> list[tuple[Event | None, State]]:
        """The way from a start to what was found."""
        chain = [found.at]
        while self._parents[chain[-1]] >= 0:
            chain.append(self._parents[chain[-1]])
        way = [self.states[number] for number in reversed(chain)]
        if found.after is not None:
            way.append(found.after)
        return [(None, way[0]), *((self._event(*pair), pair[1]) for pair in pairwise(way))]

    def _event(self, state: State, wanted: State) -> Event:
        """The event with the fewest faults that leads from a state to another."""
        moves = [move for move in self.successors.of(state) if move.after == wanted]
        return min(moves, key=lambda move: move.faults).event

    def _reach(self, state: State, parent: int, cost: int) -> None:
        identity = self.successors.symmetry.identity(state)
        number = self._seen.setdefault(identity, len(self.states))
        if number == len(self.states):
            self.states.append(state)
            self._parents.append(parent)
            self._costs.append(cost)
        elif cost < self._costs[number]:
            self.states[number] = state
            self._parents[number] = parent
            self._costs[number] = cost
        else:
            return
        heapq.heappush(self._waiting, (cost, number))
        for name, look in self.looks.items():
            if self._is_nearer(name, cost) and (detail := look(state)):
                self.found[name] = Found(number, detail, cost)

    def _is_nearer(self, name: str, cost: int) -> bool:
        known = self.found.get(name)
        return known is None or cost < known.cost

    def _search(self, expander: Expander, workers: Workers, watch: _Watch) -> Stopped:
        cut = False
        try:
            while self._waiting:
                level = self._level()
                for number, expansion in self._expanded(level, expander, workers, watch):
                    if self.bounds.states is not None and len(self.states) > self.bounds.states:
                        return Stopped.STATES
                    self._take(number, expansion)
                    cut |= expansion.cut
        except _TimeIsUpError:
            return Stopped.TIME
        return Stopped.FAULTS if cut else Stopped.COMPLETE

    def _level(self) -> list[int]:
        """All waiting states with the lowest cost."""
        least = self._waiting[0][0]
        self.faults, self.depth = least // FAULT, least % FAULT
        level = []
        while self._waiting and self._waiting[0][0] == least:
            cost, number = heapq.heappop(self._waiting)
            if cost == self._costs[number]:
                level.append(number)
        return level

    def _expanded(
        self, level: list[int], expander: Expander, workers: Workers, watch: _Watch
    ) -> Iterator[tuple[int, Expansion]]:
        """The successors of each state of a level, in the level's order."""
        if not level:
            return
        cost = self._costs[level[0]]
        if self.processes > 1 and len(level) >= _WORTH_SHARING:
            states = [self.states[number] for number in level]
            yield from zip(level, workers.expand(states, cost, self._nearest(), watch.look), strict=True)
            return
        for number in level:
            yield number, expander.expand(self.states[number], cost, self._nearest(), watch.look)

    def _nearest(self) -> dict[str, int]:
        return {name: found.cost for name, found in self.found.items()}

    def _take(self, number: int, expansion: Expansion) -> None:
        """Record the successors of a state."""
        self.expanded += 1
        self.changes += expansion.changes
        self.ends += expansion.is_end
        for name, detail, cost, after in expansion.found:
            if self._is_nearer(name, cost):
                self.found[name] = Found(number, detail, cost, after)
        for after, cost in expansion.reached:
            self._reach(after, number, cost)


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
            waiting = search.seen - search.expanded
            self._progress(Progress(search.seen, waiting, search.depth, now - self._began))
