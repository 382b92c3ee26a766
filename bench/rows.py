"""What a table of benchmarks is made of: rows, their goals, and what was measured for them.

Strategy: values only. A row is declared beside the benchmark that fills it rather than returned by it, so a
row that could not be measured is still in the table, with its goal and the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


class LeftOutError(Exception):
    """Why a benchmark cannot run here: what is missing, in words for the table."""


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


def at_most(limit: float) -> Goal:
    """The goal of a value that should be small."""
    return Goal(limit)


def at_least(limit: float) -> Goal:
    """The goal of a value that should be large."""
    return Goal(limit, "at least")
