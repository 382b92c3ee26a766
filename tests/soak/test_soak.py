"""A soak of half a minute in every run of the tests, and tests of its judgement.

`make soak` takes an hour. A quiet machine does five rounds a minute, each with about seven histories.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .chaos import soak
from .history import UNKNOWN, Logged, Run, gap
from .report import Report


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_short_soak_ends_without_violations(real_corosync: None, tmp_path: Path) -> None:
    report = Report(minutes=0.4, seed=random.randrange(1 << 32))
    soak(report, tmp_path)
    assert report.violations == [], report.text()
    assert report.rounds >= 1
    assert report.checked["histories"] > 5
    assert report.checked["watched histories"] > 2


LOG = [
    Logged(float(number), ["quorum", f"1.{number}", True, [1, 2]], certain=number != 3) for number in range(6)
]


def events(*numbers: int) -> list[list[object]]:
    return [LOG[number].event for number in numbers]


@pytest.mark.parametrize("numbers", [(0, 1, 2, 3, 4, 5), (2, 3, 4, 5), (2, 4, 5), (5,)])
def test_a_contiguous_piece_up_to_the_end_fits(numbers: tuple[int, ...]) -> None:
    assert gap(events(*numbers), LOG, until=6, lost=False) is None


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [
        ((1, 2, 4), False),  # the last one is missing
        ((1, 2, 3), True),  # two are missing, but a daemon that died may owe only one
        ((0, 2, 4, 5), False),  # one is missing inside
        ((2, 2, 4, 5), False),  # one came twice
        ((2, 4, 3, 5), False),  # two changed places
    ],
)
def test_missing_repeated_or_reordered_events_do_not_fit(numbers: tuple[int, ...], lost: bool) -> None:
    assert gap(events(*numbers), LOG, until=6, lost=lost)


def test_events_that_a_lost_daemon_may_owe_fit() -> None:
    assert gap(events(1, 2, 4), LOG, until=6, lost=True) is None
    # The daemon sent an event that it had no time to log.
    assert gap([*events(4, 5), ["quorum", "1.6", True, [1]]], LOG, until=6, lost=True) is None
    # Events logged after the end do not belong to the history.
    assert gap(events(1, 2), LOG, until=3.5, lost=False) is None


def test_a_history_may_begin_with_a_ring_that_is_announced_later() -> None:
    assert gap(events(2, 2, 4, 5), LOG, until=6, lost=False, told_early=True) is None
    assert gap(events(2, 2, 2, 4, 5), LOG, until=6, lost=False, told_early=True)
    assert gap(events(2, 1, 2, 4, 5), LOG, until=6, lost=False, told_early=True)
    assert gap(events(2, 4), LOG, until=6, lost=False, told_early=True)


def test_memberships_between_two_equal_lines_about_quorum_may_have_been_either() -> None:
    run = Run()
    primary, other = (
        "This node is within the primary component",
        "This node is within the non-primary component",
    )
    for text in (
        primary,
        "Members[2]: 1 2",
        "Members[1]: 1",
        primary,
        "Members[2]: 1 2",
        other,
        "Members[1]: 1",
    ):
        run.read(0.0, text)
    assert [logged.event[2] for logged in run.quorum] == [True, False, True, False]
    assert [logged.event[2] is UNKNOWN for logged in run.quorum] == [False, True, False, False]
