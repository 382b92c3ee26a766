"""The statistics of the benchmarks, on made-up numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bench.measure import absolute, alternate, of_rounds, percentile, ratio
from bench.placement import placed
from bench.rows import at_least, at_most


def test_rounds_alternate_which_side_goes_first_and_drop_the_first_round() -> None:
    log: list[str] = []
    numbers = iter(range(100))

    def side(name: str) -> int:
        log.append(name)
        return next(numbers)

    given = alternate(2, {"ours": lambda: side("ours"), "C": lambda: side("C")})

    assert log == ["ours", "C", "ours", "C", "C", "ours"]
    assert given == {"ours": [2, 5], "C": [3, 4]}


def test_a_ratio_is_taken_within_each_round() -> None:
    result = ratio("key", {"ours": [2.0, 40.0, 3.0], "C": [1.0, 10.0, 1.0]}, "us")

    assert result.value == 3.0
    assert (result.low, result.high) == (2.5, 3.5)
    assert result.sides == {"ours": 3.0, "C": 1.0}


def test_an_absolute_value_is_our_sides() -> None:
    assert absolute("key", {"ours": [1.0, 2.0, 9.0], "C": [5.0, 5.0, 5.0]}, "us").value == 2.0


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 50), (99, 99), (100, 100)])
def test_a_percentile_is_a_number_that_was_measured(percent: int, expected: int) -> None:
    assert percentile(range(100, 0, -1), percent) == expected


def test_a_figure_is_computed_for_each_round_and_scaled() -> None:
    assert of_rounds({"ours": [[1000, 3000], [5000, 5000]]}, max) == {"ours": [3.0, 5.0]}


def test_goals_hold_at_their_limit() -> None:
    assert at_most(2.0).holds(2.0)
    assert not at_most(2.0).holds(2.1)
    assert at_least(2.0).holds(2.0)
    assert not at_least(2.0).holds(1.9)


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.communicate(b"\n")


def test_a_placement_ends_with_its_block(sleeper: int) -> None:
    before = os.sched_getaffinity(sleeper)
    with placed("one CPU", sleeper, [sleeper]):
        assert len(os.sched_getaffinity(sleeper)) == 1
    assert os.sched_getaffinity(sleeper) == before
