"""Everything that one corosync process knows about votes, and the changes that others can see.

`VotequorumState` is data. The rules that read and write it are in `votes` (arithmetic and quorum),
`multicasts` (what other nodes say), `library` (what clients ask) and `node` (membership changes, timers,
start and end). Values that corosync publishes in cmap change only through a method here, so that `runtime`
never lags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..types import (
    ExpectedVotesNotification,
    NodelistNotification,
    QuorumNotification,
    RingId,
    TieBreaker,
)
from .config import Rules
from .database import NodeDatabase
from .effects import Effects, Trackers
from .messages import Conn, NodeFlags, QdeviceRegister
from .vsf_quorum import NO_RING

SetQuorum = Callable[[tuple[int, ...], bool, RingId], None]
"""Called when votequorum informs the quorum service: members, quorate, ring id."""


@dataclass(slots=True)
class Disk:
    """What a node keeps across restarts: files in corosync's state directory.

    `ring_seq` is the sequence of its last ring, `tracked_expected_votes` the most votes it ever expected
    (kept with expected_votes_tracking only; setting it to 0 is deleting the file).
    """

    ring_seq: int = 0
    tracked_expected_votes: int = 0


@dataclass(slots=True)
class VotequorumState:
    """One node's votequorum. The options are the `Rules`' and may be switched off while it runs."""

    rules: Rules
    db: NodeDatabase
    effects: Effects
    disk: Disk
    set_quorum: SetQuorum
    last_man_standing: bool
    quorum: int = 0
    quorate: bool = False
    wait_for_all_status: bool = False
    ev_barrier: int = 0
    lowest_node_id: int = -1
    highest_node_id: int = -1
    members: tuple[int, ...] = ()
    previous_members: tuple[int, ...] = ()
    ring_id: RingId = NO_RING
    qdevice_name: str = ""
    qdevice_master_wins: bool = False
    registering: tuple[Conn, QdeviceRegister] | None = None
    sync_in_progress: bool = False
    waiting_for_poll: bool = False
    trackers: Trackers = field(default_factory=Trackers)

    def has_flags(self, flags: NodeFlags) -> bool:
        """Whether this node itself has all these flags."""
        return flags in self.db.us.flags

    def set_flags(self, flags: NodeFlags, on: bool = True) -> None:
        """Set or clear flags of this node itself."""
        us = self.db.us
        us.flags = us.flags | flags if on else us.flags & ~flags

    def set_wait_for_all_status(self, waiting: bool) -> None:
        """Whether this node still waits to see all nodes at once."""
        self.wait_for_all_status = waiting
        self.set_flags(NodeFlags.WFASTATUS, waiting)
        self.effects.publish8("wait_for_all_status", waiting)

    def set_ev_barrier(self, expected_votes: int) -> None:
        """How far allow_downscale may lower the expected votes."""
        self.ev_barrier = expected_votes
        self.effects.publish32("ev_barrier", expected_votes)

    def track_expected_votes(self, expected_votes: int) -> None:
        """Keep the highest expected votes on disk."""
        self.disk.tracked_expected_votes = expected_votes
        self.effects.publish32("ev_tracking_barrier", expected_votes)

    def set_master_wins(self, allow: bool) -> None:
        """Whether the device's partition may be quorate without a majority."""
        self.qdevice_master_wins = allow
        self.effects.publish8("qdevice_master_wins", allow)

    def note_tie_breakers(self) -> None:
        """Remember the lowest and highest member of a quorate partition, for the next tie."""
        self.lowest_node_id, self.highest_node_id = self.db.lowest_and_highest()
        self.effects.publish32("lowest_node_id", self.lowest_node_id)
        self.effects.publish32("highest_node_id", self.highest_node_id)

    @property
    def has_tie_breaker(self) -> bool:
        """Whether a half may stay quorate."""
        return self.rules.tie_breaker is not TieBreaker.NONE

    def quorum_event(self, context: int) -> QuorumNotification:
        """The current state, as a tracker gets it."""
        return QuorumNotification(context, self.quorate, self.db.states())

    def nodelist_event(self, context: int) -> NodelistNotification:
        """The current membership, as a tracker gets it."""
        return NodelistNotification(context, self.ring_id, self.members)

    def notify_quorum(self) -> None:
        """Tell the quorum service and its trackers, then our own."""
        self.set_quorum(self.members, self.quorate, self.ring_id)
        self.trackers.notify(self.effects, lambda _, context: self.quorum_event(context))

    def notify_nodelist(self) -> None:
        """Tell our trackers which nodes are here."""
        self.trackers.notify(self.effects, lambda _, context: self.nodelist_event(context))

    def notify_expected_votes(self) -> None:
        """Tell our trackers how many votes this node expects."""
        expected_votes = self.db.us.expected_votes
        self.trackers.notify(
            self.effects, lambda _, context: ExpectedVotesNotification(context, expected_votes)
        )
