"""The events of votequorum and of the quorum service, as `events` yields them."""

from __future__ import annotations

from dataclasses import dataclass

from .nodes import Node, RingId


@dataclass(frozen=True, slots=True)
class QuorumNotification:
    """votequorum: the cluster gained or lost quorum, or a membership change ended (message 3).

    `context` is what `trackstart` was given. `nodes` are all nodes ever seen, with their states, and the
    quorum device of this node if one is registered.
    """

    context: int
    quorate: bool
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class NodelistNotification:
    """votequorum: a new membership, while the cluster still synchronises (message 5).

    `ring_id` is the one that `qdevice_poll` accepts from now on.
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
    """quorum, model 1: a new membership, and who joined and left by it (message 7).

    The one that `trackstart` sends for the current state has empty `joined` and `left`.
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
