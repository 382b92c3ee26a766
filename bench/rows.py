"""The parts of a table of benchmarks: rows, their goals, and their results.

Strategy: values only. A row is declared beside the benchmark that fills it in, not returned by it. So a row
that could not be measured still appears in the table, with its goal and the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


class LeftOutError(Exception):
    """A benchmark cannot run here; the text says what is missing."""


@dataclass(frozen=True)
class Goal:
    """A limit for a row's value; a row without a goal is there for comparison."""

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
    """Unit of the value: "x" for a ratio, "us", "KiB", ..."""
    goal: Goal | None = None
    against: str = "C"
    """The side that ours is compared with in a ratio, or shown beside in an absolute value."""


@dataclass(frozen=True)
class Result:
    """The result for a row."""

    key: str
    value: float
    low: float
    """The first quartile of the rounds."""
    high: float
    """The third quartile."""
    unit: str
    """Unit of the numbers in `sides` and `rounds`."""
    sides: Mapping[str, float]
    """Each side's median over all rounds; ours is called "ours"."""
    rounds: Mapping[str, list[float]] = field(default_factory=dict)
    """Each side's number in each round."""


def at_most(limit: float) -> Goal:
    """The goal of a value that should be small."""
    return Goal(limit)


def at_least(limit: float) -> Goal:
    """The goal of a value that should be large."""
    return Goal(limit, "at least")
