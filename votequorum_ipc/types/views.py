"""The kinds of change, and the views that `watch_quorum` yields."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ..errors import CsError
from .enumerations import InfoFlags
from .nodes import NodeInfo, RingId
from .status import ClusterStatus, Margin, Member


@dataclass(frozen=True, slots=True)
class Connected:
    """The daemon was found and has reported its state. What happened before is unknown."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection to the daemon ended, or there was no daemon to connect to."""

    error: CsError
    """`Library` if it stopped, died or is not running, `Access` if this user may not connect, and so on."""


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """Nodes joined or left. A node that restarted does both at once."""

    ring_id: RingId
    members: tuple[int, ...]
    joined: tuple[int, ...]
    left: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class QuorumChanged:
    """This node's partition gained or lost quorum."""

    quorate: bool


@dataclass(frozen=True, slots=True)
class ExpectedVotesChanged:
    """The votes that this node expects changed."""

    expected_votes: int


@dataclass(frozen=True, slots=True)
class VotesChanged:
    """The votes present, the votes needed for quorum, or the cluster's flags changed."""

    info: NodeInfo
    """All figures after the change, as this node has them."""


@dataclass(frozen=True, slots=True)
class NodeVotesChanged:
    """A node's votes changed, or a node was seen for the first time."""

    node_id: int
    votes: int


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """The state of a node's quorum device changed."""

    node_id: int
    name: str
    flags: InfoFlags
    """Those of `DEVICE_FLAGS` that are set."""


@dataclass(frozen=True, slots=True)
class NameChanged:
    """A node has another name in cmap's node list, as after a reload of corosync.conf."""

    node_id: int
    name: str


Change = (
    Connected
    | Lost
    | MembershipChanged
    | QuorumChanged
    | ExpectedVotesChanged
    | VotesChanged
    | NodeVotesChanged
    | DeviceChanged
    | NameChanged
)
"""An item of `QuorumView.changes`."""


class QuorumState(enum.Enum):
    """Whether this node's partition has quorum. Only `QUORATE` is true.

    Fence other nodes, take over what they ran, and write to shared storage while `QUORATE`, and only then. On
    `NOT_QUORATE`, stop whatever needs quorum: the other nodes may have quorum. On `UNKNOWN`, fence no node,
    and do not go on for long: the other nodes notice as soon as this node's corosync is gone, and may be
    about to fence this node. Do not wait longer for the daemon's restart than they need for that.
    """

    QUORATE = "quorate"
    NOT_QUORATE = "not quorate"
    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return self is QuorumState.QUORATE


@dataclass(frozen=True, slots=True)
class QuorumView:
    """Quorum as one node knew it when the view was returned, and the changes that led there.

    A view never changes. To know the state later, ask for another view.
    """

    state: QuorumState
    since: float
    """When this state was first noticed, in seconds on the event loop's clock (trio's, asyncio's, or
    `time.monotonic`)."""
    status: ClusterStatus | None
    """Everything known at that moment; None while the state is UNKNOWN."""
    changes: tuple[Change, ...]
    """Everything reported since the previous view, in order."""
    dropped: int
    """How many changes before those in `changes` were dropped because too many had gathered."""
    error: CsError | None
    """Why the state is UNKNOWN; else None."""

    @property
    def ring_id(self) -> RingId | None:
        """The membership; None while unknown."""
        return self.status.ring_id if self.status else None

    @property
    def members(self) -> tuple[Member, ...]:
        """This node's partition; empty while unknown."""
        return self.status.members if self.status else ()

    @property
    def info(self) -> NodeInfo | None:
        """votequorum's figures as this node has them; None while unknown."""
        return self.status.info if self.status else None

    @property
    def expected_votes(self) -> int:
        """As this node has them; 0 while unknown."""
        return self.info.node_expected_votes if self.info else 0

    @property
    def margin(self) -> Margin | None:
        """Which further failures this partition survives; None while unknown."""
        return self.status.margin if self.status else None
