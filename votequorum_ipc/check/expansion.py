"""The successors of one state in a search, and what is wrong with them.

Strategy: an expansion depends only on its state, the state's cost, and what has been found so far. So any
process can compute it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from .states import State
from .successors import Successors

FAULT: Final = 1 << 32
"""The cost of a fault; an event costs 1."""

LookAfter = Callable[[State], str | None]

LookAtChange = Callable[[State], LookAfter | None]
"""Looks at a state, and gives what looks at each that may follow; None where none can be wrong."""


@dataclass(slots=True)
class Expansion:
    """What follows a state. `reached` has each state with its cost, `found` a name, details, cost and state.

    `cut` says that the bound on faults kept something out, `is_end` that the search does not go on from here.
    """

    changes: int = 0
    cut: bool = False
    is_end: bool = False
    reached: list[tuple[State, int]] = field(default_factory=list)
    found: list[tuple[str, str, int, State]] = field(default_factory=list)


@dataclass(slots=True)
class Expander:
    """Computes expansions. `faults` is the bound on them; without a bound only events count."""

    successors: Successors
    faults: int | None
    change_looks: Mapping[str, LookAtChange]
    is_end: Callable[[State], bool]

    def expand(
        self, state: State, cost: int, nearest: Mapping[str, int], tick: Callable[[], None]
    ) -> Expansion:
        """What follows a state that took `cost` to reach. `tick` is called at each change: one may be slow.

        `nearest` says at which cost each finding of a change is known: only nearer ones are looked for.
        """
        expansion = Expansion()
        if self.is_end(state):
            expansion.is_end = True
            return expansion
        looks = [
            (name, look_after)
            for name, look in self.change_looks.items()
            if cost + 1 < nearest.get(name, cost + 2) and (look_after := look(state)) is not None
        ]
        for after, faults, _, _ in self.successors.of(state):
            if after == state:
                continue
            expansion.changes += 1
            tick()
            total = cost + 1 if self.faults is None else cost + 1 + faults * FAULT
            if self.faults is not None and total // FAULT > self.faults:
                expansion.cut = True
                continue
            expansion.reached.append((after, total))
            for name, look_after in looks:
                if total < nearest.get(name, total + 1) and (detail := look_after(after)):
                    expansion.found.append((name, detail, total, after))
        return expansion
