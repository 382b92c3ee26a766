"""The values that calls take and give: enumerations, flags and frozen dataclasses, with the C API's names.

Nothing here knows bytes or sockets. An enumeration keeps a number that it has no name for, because a newer
daemon may send one (and corosync 3.1.7 does send a node state of 0 for a quorum device).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class NodeState(enum.IntEnum):
    """What votequorum knows of a node (VOTEQUORUM_NODESTATE_* in votequorum.h)."""

    MEMBER = 1
    DEAD = 2
    LEAVING = 3

    @classmethod
    def _missing_(cls, value: object) -> NodeState | None:
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value}"
        member._value_ = value
        return member

    def __reduce_ex__(self, protocol: object) -> tuple[type[NodeState], tuple[int]]:
        # By value: some releases of Python 3.11 look a member up by its name, which only known states have.
        return NodeState, (int(self),)


class OpenFlag(enum.IntFlag):
    """Flags that keep bits without a name, and do not remember them.

    `enum` keeps every combination that it has seen for ever. That is bounded for known bits. The others are
    the other end's choice, 4 billion of them, and would be 400 bytes each.
    """

    @classmethod
    def _missing_(cls, value: object) -> object:
        member = super()._missing_(value)
        known = sum(int(flag) for flag in cls.__members__.values())
        if isinstance(member, cls) and member._value_ & ~known:
            cls._value2member_map_.pop(member._value_, None)
        return member


class InfoFlags(OpenFlag):
    """`NodeInfo.flags` (VOTEQUORUM_INFO_* in votequorum.h)."""

    TWONODE = 1
    QUORATE = 2
    WAIT_FOR_ALL = 4
    LAST_MAN_STANDING = 8
    AUTO_TIE_BREAKER = 16
    ALLOW_DOWNSCALE = 32
    QDEVICE_REGISTERED = 64
    QDEVICE_ALIVE = 128
    QDEVICE_CAST_VOTE = 256
    QDEVICE_MASTER_WINS = 512
    QDEVICE_HAS_EXTRA_INFO = 1024
    """Newer than corosync 3.1.10."""


class TrackFlags(OpenFlag):
    """What `trackstart` asks for (CS_TRACK_* in corotypes.h)."""

    CURRENT = 1
    """The state of now, once."""
    CHANGES = 2
    """The state of now, then each change."""
    CHANGES_ONLY = 4
    """Each change from now on."""


class DispatchFlags(enum.IntEnum):
    """How `dispatch` waits (CS_DISPATCH_* in corotypes.h)."""

    ONE = 1
    """One event; waits for it."""
    ALL = 2
    """All events that are here now; waits for none."""
    BLOCKING = 3
    """Every event, until the handle is finalized or the daemon goes."""
    ONE_NONBLOCKING = 4
    """One event, or `TryAgain` when none is here."""


class QuorumType(enum.IntEnum):
    """Whether a quorum provider is configured (QUORUM_FREE and QUORUM_SET in quorum.h)."""

    FREE = 0
    SET = 1


class ShutdownFlags(enum.IntEnum):
    """How `Cfg.try_shutdown` asks (COROSYNC_CFG_SHUTDOWN_FLAG_* in cfg.h)."""

    REQUEST = 0
    """Those who track are asked; any of them can refuse."""
    REGARDLESS = 1
    """Those who track are asked, and may take their time, but cannot refuse."""
    IMMEDIATE = 2
    """Nobody is asked."""


class ValueType(enum.IntEnum):
    """The type of a value in cmap (CMAP_VALUETYPE_* in cmap.h)."""

    INT8 = 1
    UINT8 = 2
    INT16 = 3
    UINT16 = 4
    INT32 = 5
    UINT32 = 6
    INT64 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    STRING = 11
    BINARY = 12


class RingId(NamedTuple):
    """One membership of the cluster: the node that leads it, and a sequence that grows with each one.

    `nodeid` is a uint32, `seq` a uint64. As text it reads as corosync prints it, both in hexadecimal: "1.a4".
    """

    nodeid: int
    seq: int

    def __str__(self) -> str:
        return f"{self.nodeid:x}.{self.seq:x}"


class Node(NamedTuple):
    """A node in a `QuorumNotification`. Node id 0 is the quorum device."""

    nodeid: int
    state: NodeState


QDEVICE_NODEID = 0
"""The node id under which a quorum device appears (VOTEQUORUM_QDEVICE_NODEID)."""

QDEVICE_MAX_NAME_LEN = 255
"""Bytes of a device's name with its NUL, so that a name has 1 to 254 (VOTEQUORUM_QDEVICE_MAX_NAME_LEN)."""

QDEVICE_EXTRA_INFO_MAXSIZE = 4096
"""Bytes of extra info at most (VOTEQUORUM_QDEVICE_EXTRA_NODEINFO_MAXSIZE, newer than corosync 3.1.10)."""


class NodeInfo(NamedTuple):
    """What `Votequorum.getinfo` knows of a node, and of the cluster (`struct votequorum_info`)."""

    node_id: int
    node_state: NodeState
    node_votes: int
    node_expected_votes: int
    highest_expected: int
    total_votes: int
    quorum: int
    flags: InfoFlags
    qdevice_votes: int
    qdevice_name: str


class LinkStatus(NamedTuple):
    """One of a node's links as this node sees it (`struct corosync_knet_link_status_v1`)."""

    enabled: bool
    """It is configured."""
    connected: bool
    """Data goes over it."""
    dynconnected: bool
    """It was activated by the other side's dynamic address."""
    mtu: int
    """Bytes that a packet may have, as found out by knet; 0 where that is not known."""
    src_ipaddr: str
    dst_ipaddr: str


class NodeStatus(NamedTuple):
    """What this node sees of another one, or of itself (`struct corosync_cfg_node_status_v1`)."""

    version: int
    nodeid: int
    reachable: bool
    """Some link to it is connected."""
    remote: bool
    external: bool
    onwire_min: int
    onwire_max: int
    onwire_ver: int
    link_status: tuple[LinkStatus, ...]
    """Eight of them; the index is the link's number. Those that are not configured are not `enabled`."""


class RingStatus(NamedTuple):
    """One of this node's links in words (`corosync_cfg_ring_status_get`)."""

    interface_name: str
    """Such as "LINK ID 0 udp\\n\\taddr\\t= 192.0.2.1"."""
    status: str
    """"OK"; with knet, a digit or letter for each node."""


@dataclass(frozen=True, slots=True)
class ShutdownNotification:
    """cfg: somebody asks to shut this node down; answer with `Cfg.replyto_shutdown` (message 10)."""

    flags: int
    """Which of `ShutdownFlags` was asked with."""
    timed_out: bool
    """The shutdown is called off, since not everybody answered in time: there is nothing to answer. corosync
    says so only to those who have asked for a shutdown themselves before."""


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

    The one that `trackstart` sends for the state of now has empty `joined` and `left`.
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
