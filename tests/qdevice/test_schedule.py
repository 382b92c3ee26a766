"""The schedule of a device's decisions, against a model of corosync's timers."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import cannot
from votequorum_ipc import RingId
from votequorum_ipc.qdevice import QuorumDevice, run_qdevice
from votequorum_ipc.qdevice.schedule import Schedule, Timeouts

FIRST, SECOND = RingId(1, 4), RingId(1, 8)


def schedule(timeout: float = 10.0, sync_timeout: float = 30.0) -> Schedule:
    made = Schedule(Timeouts(timeout, sync_timeout))
    made.joined(FIRST, (1, 2), now=100.0)
    return made


def test_the_first_decision_is_due_at_once_and_has_most_of_the_timeout() -> None:
    made = schedule()
    assert made.due(2.0) < 100.0
    question = made.ask(100.0)
    assert question.ring_id == FIRST
    assert question.deadline == pytest.approx(109.0)


def test_at_the_end_of_its_timeout_the_device_counts_as_dead() -> None:
    made = schedule(timeout=10.0)
    made.polled(101.0)
    assert made.is_alive(110.99)
    assert not made.is_alive(111.0)


def test_the_next_decision_is_due_an_interval_after_the_last_began() -> None:
    made = schedule()
    made.ask(100.0)
    made.polled(101.0)
    assert made.due(2.0) == pytest.approx(102.0)


def test_at_least_three_decisions_begin_in_a_timeout() -> None:
    made = schedule(timeout=3.0)
    made.ask(100.0)
    assert made.due(60.0) == pytest.approx(101.0)


def test_an_answer_counts_until_shortly_before_the_daemon_gives_up() -> None:
    made = schedule()
    made.ask(100.0)
    made.polled(101.0)
    assert made.ask(103.0).deadline == pytest.approx(110.0)


def test_after_a_membership_change_a_decision_is_due_at_once_and_has_the_sync_timeout() -> None:
    made = schedule()
    made.ask(100.0)
    made.polled(100.5)
    made.joined(SECOND, (1,), now=101.0)
    assert made.due(2.0) < 101.0
    assert made.ask(101.0).deadline == pytest.approx(130.0)
    assert made.members == (1,)


def test_a_device_that_counts_as_dead_is_not_waited_for_during_synchronisation() -> None:
    made = schedule()
    made.ask(100.0)
    made.polled(100.5)
    made.joined(SECOND, (1,), now=110.6)
    assert made.ask(110.6).deadline == pytest.approx(119.6)


def test_a_ring_that_is_reported_again_changes_nothing() -> None:
    made = schedule()
    made.ask(100.0)
    made.polled(100.5)
    made.joined(FIRST, (1, 2), now=101.0)
    assert made.due(2.0) == pytest.approx(102.0)
    assert made.ask(102.0).deadline == pytest.approx(109.5)


def test_a_decision_about_the_previous_ring_is_not_current() -> None:
    made = schedule()
    question = made.ask(100.0)
    assert made.is_current(question)
    made.joined(SECOND, (1,), now=101.0)
    assert not made.is_current(question)


durations = st.floats(0.01, 20.0)


@given(
    timeouts=st.builds(Timeouts, st.floats(0.1, 60.0), st.floats(0.1, 60.0)),
    interval=durations,
    steps=st.lists(st.tuples(st.sampled_from(["poll", "late", "ring"]), durations), max_size=30),
)
def test_an_answer_that_counts_is_never_later_than_the_daemons_own_timeout(
    timeouts: Timeouts, interval: float, steps: list[tuple[str, float]]
) -> None:
    """The daemon's timer as votequorum sets it: on each poll, and on a membership change while it runs."""
    made = Schedule(timeouts)
    now, seq, expires = 100.0, 4, float("-inf")
    made.joined(RingId(1, seq), (1,), now)
    for step, duration in steps:
        now = max(now, made.due(interval))
        alive = now < expires
        question = made.ask(now)
        assert question.deadline > now
        if alive and question.deadline > expires:
            # A whole new decision begins only when the daemon's time is almost over.
            assert expires - now <= 0.1 * min(timeouts.timeout, timeouts.sync_timeout) + 1e-6
        match step:
            case "poll":
                now = min(now + duration, question.deadline)
                made.polled(now)
                expires = now + timeouts.timeout
            case "late":
                now = question.deadline
            case "ring":
                seq += 4
                now += min(duration, question.deadline - now)
                made.joined(RingId(1, seq), (1,), now)
                if now < expires:
                    expires = now + timeouts.sync_timeout
                assert made.due(interval) <= now


# --- the defaults ---

HEADER = Path("/usr/include/corosync/votequorum.h")


@pytest.mark.parametrize(
    ("constant", "seconds"),
    [
        ("VOTEQUORUM_QDEVICE_DEFAULT_TIMEOUT", Timeouts().timeout),
        ("VOTEQUORUM_QDEVICE_DEFAULT_SYNC_TIMEOUT", Timeouts().sync_timeout),
    ],
)
def test_the_default_timeouts_are_those_of_the_c_header(constant: str, seconds: float) -> None:
    if not HEADER.exists():
        cannot(f"{HEADER} is not installed (Debian's package libvotequorum-dev)")
    found = re.search(rf"#define\s+{constant}\s+(\d+)", HEADER.read_text())
    assert found
    assert int(found[1]) == seconds * 1000


@pytest.mark.parametrize("function", [run_qdevice, QuorumDevice.next_view])
def test_the_default_interval_polls_several_times_in_the_default_timeout(
    function: Any,
) -> None:
    """One poll may be lost to a membership change without losing the vote."""
    interval = inspect.signature(function).parameters["interval"].default
    assert 0 < 2 * interval < Timeouts().timeout / 2
