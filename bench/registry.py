"""What a benchmark is: a function that measures, and the rows of the table that it fills in.

Rows are declared beside the function rather than returned by it, so that one that could not be measured is
still in the table, with its goal and the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from .stage import Stage


class LeftOutError(Exception):
    """Why a benchmark cannot be run here: what is missing, in words for the table."""


@dataclass(frozen=True)
class Goal:
    """A limit for a row's value; without one the row is there for comparison."""

    limit: float
    kind: Literal["at most", "at least"] = "at most"

    def holds(self, value: float) -> bool:
        return value <= self.limit if self.kind == "at most" else value >= self.limit


@dataclass(frozen=True)
class Row:
    """A line of the table, before anything is measured."""

    key: str
    """Names the row in the JSON: "getinfo.median"."""
    what: str
    unit: str
    """Of the value: "x" for a ratio, "us", "KiB", ..."""
    goal: Goal | None = None
    against: str = "C"
    """The side that a ratio compares ours with, or that is shown beside an absolute value."""


@dataclass(frozen=True)
class Result:
    """What was measured for a row."""

    key: str
    value: float
    low: float
    """The first quartile of the rounds."""
    high: float
    """The third."""
    unit: str
    """Of the numbers in `sides` and `rounds`."""
    sides: Mapping[str, float]
    """Each side's median over all rounds; ours is called "ours"."""
    rounds: Mapping[str, list[float]] = field(default_factory=dict)
    """Each side's number in each round."""


Measure = Callable[["Stage"], Iterator[Result]]


@dataclass(frozen=True)
class Benchmark:
    """A registered benchmark."""

    name: str
    rows: tuple[Row, ...]
    measure: Measure

    @property
    def summary(self) -> str:
        return (self.measure.__doc__ or "").strip().split("\n")[0]


BENCHMARKS: Final[dict[str, Benchmark]] = {}
"""All of them by name, in the order of the table."""


def benchmark(*rows: Row) -> Callable[[Measure], Measure]:
    """Register a function as the benchmark of its own name, which fills in these rows."""

    def register(measure: Measure) -> Measure:
        BENCHMARKS[measure.__name__] = Benchmark(measure.__name__, rows, measure)
        return measure

    return register


def at_most(limit: float) -> Goal:
    return Goal(limit)


def at_least(limit: float) -> Goal:
    return Goal(limit, "at least")
