"""The words for a change in the timeline, and its cause.

Strategy: corosync reports what changed, not why. The cause of a gain or loss of quorum is the change of
members, votes or device that was reported with it: the nearest one before it, or else after it. A loss is
also explained by the state that follows. If neither explains the change, no cause is shown: nothing is
guessed.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final

from ..cli.change_text import Names, change_text
from ..cli.common import printable
from ..explain import node_label, why_not_quorate
from ..types import (
    Change,
    ClusterStatus,
    Connected,
    DeviceChanged,
    ExpectedVotesChanged,
    InfoFlags,
    Lost,
    MembershipChanged,
    NodeVotesChanged,
    QuorumChanged,
    QuorumView,
)


class Gravity(enum.Enum):
    """The kind of a line in the timeline; the value is the sign in front of it."""

    GOOD = "+"
    BAD = "!"
    UNKNOWN = "?"
    NOTE = "-"


_TRIGGERS: Final = (MembershipChanged, DeviceChanged, ExpectedVotesChanged, NodeVotesChanged)
"""What can change quorum."""


def gravity_of(change: Change) -> Gravity:
    """Whether a change is good news or bad."""
    match change:
        case Lost():
            return Gravity.UNKNOWN
        case QuorumChanged(quorate):
            return Gravity.GOOD if quorate else Gravity.BAD
        case MembershipChanged():
            return Gravity.BAD if change.left else Gravity.GOOD
        case DeviceChanged():
            return Gravity.GOOD if InfoFlags.QDEVICE_CAST_VOTE in change.flags else Gravity.BAD
        case _:
            return Gravity.NOTE


def text_of(change: Change, names: Names) -> str:
    """A change in words."""
    match change:
        case Connected():
            return "corosync answers"
        case DeviceChanged():
            device = f"quorum device {printable(change.name)}".rstrip()
            return f"{device} of {_name(change.node_id, names)}: {device_state(change.flags)}"
        case _:
            return change_text(change, names).plain


def cause_of(position: int, view: QuorumView, names: Names) -> str:
    """The cause of the change at this position of the view's changes; empty if unknown."""
    change = view.changes[position]
    if not isinstance(change, QuorumChanged):
        return ""
    trigger = _trigger(position, view.changes)
    words = trigger and _trigger_text(trigger, names)
    if change.quorate or view.status is None or view.status.quorate:
        return words or ""
    why = printable(why_not_quorate(view.status))
    # This already says who is missing, and what the device does.
    return f"{words}; {why}" if isinstance(trigger, ExpectedVotesChanged | NodeVotesChanged) else why


def device_state(flags: InfoFlags) -> str:
    """A node's quorum device in words."""
    if InfoFlags.QDEVICE_REGISTERED not in flags:
        return "not running"
    if InfoFlags.QDEVICE_CAST_VOTE in flags:
        return "votes"
    return "votes no" if InfoFlags.QDEVICE_ALIVE in flags else "no answer"


def votes_text(status: ClusterStatus) -> str:
    """The votes of a partition: "2 of 3 votes, 2 needed"."""
    info = status.info
    if info is None:
        return "votes unknown"
    return f"{info.total_votes} of {info.node_expected_votes} votes, {info.quorum} needed"


def _trigger(position: int, changes: Sequence[Change]) -> Change | None:
    def until_next_change_of_quorum(others: Sequence[Change]) -> Iterator[Change]:
        return takewhile(lambda other: not isinstance(other, QuorumChanged | Lost), others)

    before = until_next_change_of_quorum(changes[:position][::-1])
    after = until_next_change_of_quorum(changes[position + 1 :])
    return next((change for change in (*before, *after) if isinstance(change, _TRIGGERS)), None)


def _trigger_text(change: Change, names: Names) -> str:
    if not isinstance(change, MembershipChanged):
        return text_of(change, names)
    moves = (("left", change.left), ("joined", change.joined))
    return ", ".join(
        f"{', '.join(_name(node, names) for node in nodes)} {verb}" for verb, nodes in moves if nodes
    )


def _name(node_id: int, names: Names) -> str:
    return printable(node_label(node_id, names.get(node_id, "")))
