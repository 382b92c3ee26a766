"""The benchmarks by name: functions that measure, each with the rows of the table that it fills."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from .rows import LeftOutError, Result, Row
from .stage import Stage

Measure = Callable[[Stage], Iterator[Result]]


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
"""All benchmarks by name, in the order of the table."""


def benchmark(*rows: Row) -> Callable[[Measure], Measure]:
    """Register a function as the benchmark of that name, which fills in these rows."""

    def register(measure: Measure) -> Measure:
        BENCHMARKS[measure.__name__] = Benchmark(measure.__name__, rows, measure)
        return measure

    return register


def measured(benchmark: Benchmark, stage: Stage) -> tuple[list[Result], str | None]:
    """The results of a benchmark, and the reason where some are missing."""
    results: list[Result] = []
    try:
        results.extend(benchmark.measure(stage))
    except LeftOutError as reason:
        return results, str(reason)
    return results, None
