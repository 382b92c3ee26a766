"""The events of votequorum and of the quorum service, as `events` yields them."""

from __future__ import annotations

from dataclasses import dataclass

from .nodes import Node, RingId


@dataclass(frozen=True, slots=True)
class QuorumNotification:
    """votequorum: the cluster gained or lost quorum, or a membership change ended (message 3).

    `context` is the one given to `trackstart`. `nodes` has every node ever seen, with its state, and this
    node's quorum device if one is registered.
    """

    context: int
    quorate: bool
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class NodelistNotification:
    """votequorum: a new membership; the cluster is still synchronising (message 5).

    `qdevice_poll` accepts only this `ring_id` from now on.
    """

    context: int
    ring_id: RingId
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ExpectedVotesNotification:
    """votequorum: the expected votes changed (message 4)."""

    context: int
    expected_votes: int


@dataclass(frozen=True, slots=True)
class QdeviceExtraInfoNotification:
    """votequorum newer than corosync 3.1.10: a node's quorum device changed its extra info (message 7)."""

    context: int
    nodeid: int
    extra_info: bytes


@dataclass(frozen=True, slots=True)
class QuorumV0Notification:
    """quorum, model 0: quorum or membership changed (message 3)."""

    quorate: bool
    ring_seq: int
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class QuorumV1Notification:
    """quorum, model 1: quorum or membership changed (message 6)."""

    ring_id: RingId
    quorate: bool
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class QuorumNodelistNotification:
    """quorum, model 1: a new membership, and the nodes that joined and left (message 7).

    In the event that `trackstart` sends for the current state, `joined` and `left` are empty.
    """

    ring_id: RingId
    members: tuple[int, ...]
    joined: tuple[int, ...]
    left: tuple[int, ...]


VotequorumEvent = (
    QuorumNotification | NodelistNotification | ExpectedVotesNotification | QdeviceExtraInfoNotification
)
"""What `Votequorum.events` yields."""

QuorumEvent = QuorumV0Notification | QuorumV1Notification | QuorumNodelistNotification
"""What `Quorum.events` yields: the first with model 0, the others with model 1."""
