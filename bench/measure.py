"""Alternating rounds, and their statistics.

A round runs every side once, one right after the other; which goes first changes with every round. The value
of a comparison is the median over rounds of the two sides' ratio in the same round, its spread the quartiles.
A disturbance longer than a round affects both sides; a shorter one spoils a round, not the result.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from .rows import Result

T = TypeVar("T")
K = TypeVar("K")


def alternate(
    rounds: int, sides: Mapping[K, Callable[[], T]], done: Callable[[], None] = lambda: None
) -> dict[K, list[T]]:
    """Each side's result in each round. One more round runs first and is dropped; `done` is called after
    each.
    """
    for run in sides.values():
        run()
    given: dict[K, list[T]] = {name: [] for name in sides}
    order = list(sides)
    for _ in range(rounds):
        for name in order:
            given[name].append(sides[name]())
        order.reverse()
        done()
    return given


def percentile(numbers: Sequence[float], percent: int) -> float:
    """The smallest number that at least `percent` of them do not exceed."""
    ordered = sorted(numbers)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def quartiles(numbers: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile."""
    if len(numbers) == 1:
        return numbers[0], numbers[0], numbers[0]
    first, median, third = statistics.quantiles(numbers, n=4, method="inclusive")
    return first, median, third


def ratio(key: str, rounds: Mapping[str, Sequence[float]], unit: str, against: str = "C") -> Result:
    """Ours divided by the other, round by round."""
    return _result(key, [a / b for a, b in zip(rounds["ours"], rounds[against], strict=True)], rounds, unit)


def absolute(key: str, rounds: Mapping[str, Sequence[float]], unit: str) -> Result:
    """Our own number, with the other sides' beside it."""
    return _result(key, rounds["ours"], rounds, unit)


def _result(key: str, values: Sequence[float], rounds: Mapping[str, Sequence[float]], unit: str) -> Result:
    low, value, high = quartiles(values)
    sides = {name: statistics.median(numbers) for name, numbers in rounds.items()}
    return Result(key, value, low, high, unit, sides, {name: list(given) for name, given in rounds.items()})


def of_rounds(
    rounds: Mapping[K, Iterable[Sequence[float]]],
    figure: Callable[[Sequence[float]], float],
    scale: float = 1e-3,
) -> dict[K, list[float]]:
    """One figure, such as the median, for each side's round; nanoseconds become microseconds by default."""
    return {name: [figure(given) * scale for given in each] for name, each in rounds.items()}
