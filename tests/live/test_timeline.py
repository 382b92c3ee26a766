"""The timeline keeps each change with its cause, in limited memory, and no state that was not known."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from votequorum_ipc import InfoFlags, Library, QuorumState, QuorumType, QuorumView, RingId
from votequorum_ipc.live import saving
from votequorum_ipc.live.causes import Gravity, cause_of, gravity_of
from votequorum_ipc.live.saving import save
from votequorum_ipc.live.timeline import Timeline
from votequorum_ipc.types import (
    Change,
    ClusterStatus,
    ConfiguredNode,
    Connected,
    DeviceChanged,
    ExpectedVotesChanged,
    Lost,
    Member,
    MembershipChanged,
    NodeInfo,
    NodeState,
    QuorumChanged,
)

from .stage import NOON, rows_of

NAMES = {1: "alpha", 2: "beta", 3: "gamma"}
LEFT = MembershipChanged(RingId(1, 9), (1,), (), (2, 3))
JOINED = MembershipChanged(RingId(1, 13), (1, 2, 3), (2, 3), ())
CASTS = InfoFlags.QDEVICE_REGISTERED | InfoFlags.QDEVICE_ALIVE | InfoFlags.QDEVICE_CAST_VOTE


def view(*changes: Change, members: tuple[int, ...] = (1, 2, 3), dropped: int = 0) -> QuorumView:
    """A view of a cluster of three in which these nodes are members."""
    quorate = len(members) >= 2
    flags = InfoFlags.QUORATE if quorate else InfoFlags(0)
    infos = {
        node: NodeInfo(node, NodeState.MEMBER, 1, 3, 3, len(members), 2, flags, 0, "") for node in members
    }
    status = ClusterStatus(
        QuorumType.SET,
        "corosync_votequorum",
        1,
        RingId(1, 5),
        quorate,
        tuple(Member(node, NAMES[node], node == 1, info) for node, info in infos.items()),
        infos[1],
        tuple(ConfiguredNode(node, name, "") for node, name in NAMES.items()),
    )
    state = QuorumState.QUORATE if quorate else QuorumState.NOT_QUORATE
    return QuorumView(state, 0.0, status, changes, dropped, None)


def unknown(*changes: Change) -> QuorumView:
    """A view without an answer."""
    return QuorumView(QuorumState.UNKNOWN, 0.0, None, changes, 0, Library("it is gone"))


# --- causes ---


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (
            view(LEFT, QuorumChanged(False), members=(1,)),
            "1 of 3 votes is present; 2 are needed; beta, gamma are missing",
        ),
        (view(JOINED, QuorumChanged(True)), "beta, gamma joined"),
        (view(QuorumChanged(True), DeviceChanged(1, "dev", CASTS)), "quorum device dev of alpha: votes"),
        (view(ExpectedVotesChanged(1), QuorumChanged(True), LEFT), "expected votes: 1"),
        (
            view(ExpectedVotesChanged(5), QuorumChanged(False), members=(1,)),
            "expected votes: 5; 1 of 3 votes is present; 2 are needed; beta, gamma are missing",
        ),
        (view(QuorumChanged(True)), ""),
    ],
    ids=[
        "members left",
        "members joined",
        "device",
        "before, not after",
        "votes and members",
        "nothing told",
    ],
)
def test_the_cause_of_a_change_of_quorum_is_the_change_that_led_to_it(told: QuorumView, cause: str) -> None:
    position = next(at for at, change in enumerate(told.changes) if isinstance(change, QuorumChanged))
    assert cause_of(position, told, NAMES) == cause


def test_each_of_two_changes_of_quorum_has_its_own_cause() -> None:
    told = view(LEFT, QuorumChanged(False), JOINED, QuorumChanged(True))
    assert [cause_of(at, told, NAMES) for at in (1, 3)] == ["beta, gamma left", "beta, gamma joined"]


@pytest.mark.parametrize(
    ("change", "gravity"),
    [
        (Lost(Library("gone")), Gravity.UNKNOWN),
        (QuorumChanged(True), Gravity.GOOD),
        (QuorumChanged(False), Gravity.BAD),
        (LEFT, Gravity.BAD),
        (JOINED, Gravity.GOOD),
        (DeviceChanged(1, "dev", CASTS), Gravity.GOOD),
        (DeviceChanged(1, "dev", InfoFlags(0)), Gravity.BAD),
        (ExpectedVotesChanged(3), Gravity.NOTE),
    ],
)
def test_good_news_and_bad_news_have_different_signs(change: Change, gravity: Gravity) -> None:
    assert gravity_of(change) is gravity


# --- what is kept ---


def test_the_oldest_lines_are_dropped_and_counted() -> None:
    timeline = Timeline(limit=10)
    for number in range(25):
        timeline.note_view(view(ExpectedVotesChanged(number)), NOON + number)
    # One line more than changes: the first shows the state.
    assert (len(timeline.lines), timeline.dropped) == (10, 16)
    assert [line.text for line in timeline.lines] == [f"expected votes: {number}" for number in range(15, 25)]


def test_periods_are_limited_too() -> None:
    timeline = Timeline(limit=10)
    for number in range(50):
        timeline.note_view(view(members=(1, 2, 3) if number % 2 else (1,)), NOON + number)
    assert [period.since - NOON for period in timeline.periods] == [*range(40, 50)]
    assert [*timeline.cells(NOON + 38, NOON + 42, 4)] == [
        None,
        None,
        QuorumState.NOT_QUORATE,
        QuorumState.QUORATE,
    ]


def test_changes_that_the_watcher_dropped_are_reported() -> None:
    timeline = Timeline()
    timeline.note_view(view(dropped=7), NOON)
    assert timeline.lines[0].text == "7 changes came too fast to be kept"


def test_a_restart_between_two_queries_is_a_loss_and_a_new_state() -> None:
    timeline = Timeline()
    timeline.note_view(view(Connected()), NOON)
    timeline.note_view(view(Lost(Library("gone")), Connected()), NOON + 1)
    assert [line.text for line in timeline.lines] == [
        "quorate: 3 of 3 votes, 2 needed",
        "quorum unknown: gone",
        "quorate: 3 of 3 votes, 2 needed",
    ]


def test_a_daemon_that_stays_down_is_reported_once() -> None:
    timeline = Timeline()
    timeline.note_view(unknown(Lost(Library("gone"))), NOON)
    timeline.note_view(unknown(), NOON + 1)
    timeline.note_silence(NOON + 2, "silence")
    assert [line.text for line in timeline.lines] == ["quorum unknown: gone"]


def test_a_cell_shows_the_worst_state_of_its_time() -> None:
    timeline = Timeline()
    timeline.note_view(view(), NOON)
    timeline.note_view(unknown(), NOON + 15)
    timeline.note_view(view(), NOON + 16)
    timeline.note_view(view(members=(1,)), NOON + 25)
    timeline.note_view(unknown(), NOON + 26)
    timeline.note_view(view(), NOON + 27)
    assert [*timeline.cells(NOON - 10, NOON + 40, 5)] == [
        None,
        QuorumState.QUORATE,
        QuorumState.UNKNOWN,
        QuorumState.NOT_QUORATE,
        QuorumState.QUORATE,
    ]


def test_a_loss_of_quorum_that_is_over_before_a_query_is_on_the_strip() -> None:
    timeline = Timeline()
    timeline.note_view(view(), NOON)
    timeline.note_view(view(LEFT, QuorumChanged(False), JOINED, QuorumChanged(True)), NOON + 15)
    timeline.note_view(view(Lost(Library("gone")), Connected()), NOON + 25)
    assert [*timeline.cells(NOON, NOON + 40, 4)] == [
        QuorumState.QUORATE,
        QuorumState.NOT_QUORATE,
        QuorumState.UNKNOWN,
        QuorumState.QUORATE,
    ]


def test_a_period_never_begins_before_the_one_that_it_follows() -> None:
    timeline = Timeline()
    timeline.note_view(view(), NOON + 3)
    timeline.note_silence(NOON, "no answer from then on")
    assert [period.since - NOON for period in timeline.periods] == [3, 3]
    assert [*timeline.cells(NOON, NOON + 6, 2)] == [None, QuorumState.UNKNOWN]


# --- what is saved ---


def hostile() -> Timeline:
    """A timeline with names and errors that contain markup and control characters."""
    timeline = Timeline()
    timeline.note_view(unknown(Lost(Library("\x1b[2J<b>&\x00\udcff"))), NOON)
    timeline.note_view(view(DeviceChanged(1, "\x1b]0;x\x07<script>", CASTS)), NOON + 1)
    return timeline


def test_the_picture_is_xml_and_loads_nothing_from_the_network(tmp_path: Path) -> None:
    files = save(hostile(), tmp_path, NOON, 3600)
    text = files.svg.read_text()
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert [where for where in ("url(http", 'url("http', "@import", "href") if where in text] == []
    assert "<script>" not in text
    assert any("quorum unknown" in row for row in rows_of(text))


def test_the_json_has_every_change_as_monitor_prints_it(tmp_path: Path) -> None:
    timeline = hostile()
    timeline.note_view(view(LEFT, QuorumChanged(False), members=(1,)), NOON + 2)
    saved: dict[str, Any] = json.loads(save(timeline, tmp_path, NOON + 2.5, 3600).json.read_text())
    assert saved["time"] == "2026-11-20T12:00:02.500Z"
    assert [change["event"] for change in saved["changes"]] == [
        "lost",
        "qdevice",
        "status",
        "membership",
        "quorum",
    ]
    assert saved["changes"][-1] == {
        "time": "2026-11-20T12:00:02.000Z",
        "event": "quorum",
        "quorate": False,
        "text": "quorum lost, activity blocked",
        "cause": "1 of 3 votes is present; 2 are needed; beta, gamma are missing",
    }
    assert [period["state"] for period in saved["periods"]] == ["UNKNOWN", "QUORATE", "NOT_QUORATE"]


def test_nothing_is_overwritten_not_even_through_a_link(tmp_path: Path) -> None:
    name = "votequorum-timeline-20261120-120000"
    target = tmp_path / "precious"
    (tmp_path / f"{name}.svg").symlink_to(target)
    (tmp_path / f"{name}-2.json").write_text("mine")
    files = save(hostile(), tmp_path, NOON, 3600)
    assert files.svg.name == f"{name}-3.svg"
    assert not target.exists()
    assert (tmp_path / f"{name}-2.json").read_text() == "mine"
    assert not (tmp_path / f"{name}.json").exists()


def test_a_full_disk_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        save(hostile(), tmp_path, NOON, 3600)
    assert list(tmp_path.iterdir()) == []
