"""The values that calls take and give: enumerations, flags and frozen dataclasses, with the C API's names.

First the values of single calls and events, then those that follow quorum as a whole: a status, the kinds of
change, a view. Nothing here knows bytes or sockets. An enumeration keeps a number that it has no name for,
because a newer daemon may send one (and corosync 3.1.7 does send a node state of 0 for a quorum device).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from .errors import CsError


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

    `enum` keeps every combination that it has ever seen. Known bits bound their number. Unknown bits do not:
    the other end chooses among 4 billion combinations, and each would take 400 bytes.
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


DEVICE_FLAGS: Final = (
    InfoFlags.QDEVICE_REGISTERED
    | InfoFlags.QDEVICE_ALIVE
    | InfoFlags.QDEVICE_CAST_VOTE
    | InfoFlags.QDEVICE_MASTER_WINS
)
"""The flags that describe one node's device. All others describe the cluster."""


class TieBreaker(enum.IntEnum):
    """How a half of the cluster may stay quorate; the numbers are those of `runtime.votequorum.atb_type`."""

    NONE = 0
    LOWEST = 1
    HIGHEST = 2
    LIST = 3


_LEADING_NUMBERS: Final = re.compile(r"\s*(?:[0-9]+\s+)*(?:[0-9]+)?")


def parse_tie_breaker(enabled: bool, node: str | None) -> TieBreaker | tuple[int, ...]:
    """What `auto_tie_breaker` and `auto_tie_breaker_node` of corosync.conf mean together.

    A list ends at the first word that is not a positive number. A text without any turns the tie breaker off,
    as in votequorum.
    """
    if not enabled:
        return TieBreaker.NONE
    if node is None:
        return TieBreaker.LOWEST
    named = {"lowest": TieBreaker.LOWEST, "highest": TieBreaker.HIGHEST}.get(node)
    if named is not None:
        return named
    numbers = _LEADING_NUMBERS.match(node)
    nodeids = [int(number) for number in numbers[0].split()] if numbers else []
    if 0 in nodeids:
        del nodeids[nodeids.index(0) :]
    return tuple(nodeids) or TieBreaker.NONE


class TrackFlags(OpenFlag):
    """What `trackstart` asks for (CS_TRACK_* in corotypes.h)."""

    CURRENT = 1
    """The current state, once."""
    CHANGES = 2
    """The current state, then each change."""
    CHANGES_ONLY = 4
    """Each change from now on."""


class DispatchFlags(enum.IntEnum):
    """How `dispatch` waits (CS_DISPATCH_* in corotypes.h)."""

    ONE = 1
    """One event; waits for it."""
    ALL = 2
    """All events that have arrived; does not wait."""
    BLOCKING = 3
    """Every event, until the handle is finalized or the daemon goes."""
    ONE_NONBLOCKING = 4
    """One event, or `TryAgain` if none has arrived."""


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


Value = int | float | str | bytes
"""What a key holds."""

MapName = Literal["cmap", "stats"]
"""The configuration and runtime keys, or corosync's statistics."""


class TrackType(OpenFlag):
    """What `track_add` follows (CMAP_TRACK_* in cmap.h)."""

    DELETE = 1
    MODIFY = 2
    ADD = 4
    PREFIX = 8
    """All keys that begin with the name, not the one key."""


ALL_TRACK_TYPES: Final = TrackType.DELETE | TrackType.MODIFY | TrackType.ADD | TrackType.PREFIX
"""Every change of every key with a prefix."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key was added, modified or deleted; `old` or `new` is None where there was or is no value."""

    track: int
    """The number that `track_add` gave."""
    key: str
    change: TrackType
    old: Value | None
    new: Value | None
    type: ValueType | None = field(default=None, compare=False)
    """The type of `new`, or of `old` where the key was deleted."""


class TypedValue(NamedTuple):
    """A key's value and its type."""

    type: ValueType
    value: Value


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


TransportName = Literal["shm", "socket"]
"""The ways to move messages, as `system.qb_ipc_type` in corosync.conf calls them."""

PROCESSOR_COUNT_MAX = 384
"""Nodes of a cluster at most (coroapi.h)."""

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

    @property
    def quorate(self) -> bool:
        """Whether the partition of the node that was asked is quorate: `InfoFlags.QUORATE`."""
        return InfoFlags.QUORATE in self.flags


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
    """cfg: a client asks to shut this node down; answer with `Cfg.replyto_shutdown` (message 10)."""

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


# --- Following quorum as a whole: what `cluster_status` and `watch_quorum` give ---


@dataclass(frozen=True, slots=True)
class Member:
    """A member of this node's partition."""

    node_id: int
    name: str
    """From the node list in cmap; empty where that has none."""
    local: bool
    """Whether this is the node that was asked."""
    info: NodeInfo | None
    """What votequorum knows of it; None without votequorum, or where it knows nothing of the node."""
    address: str = ""
    """The first address in the node list, as the configuration has it; empty where that has none."""


@dataclass(frozen=True, slots=True)
class Device:
    """The quorum device that some member has registered."""

    name: str
    votes: int
    """What it may contribute."""
    casts_vote: bool
    """Whether its votes count on this node now."""


@dataclass(frozen=True, slots=True)
class ConfiguredNode:
    """A node of the node list in cmap, whether it is a member or not."""

    node_id: int
    name: str
    """Empty where the node list has none."""
    address: str
    """The first address; empty where the node list has none."""


@dataclass(frozen=True, slots=True)
class Margin:
    """Which further failures a partition survives, if they happen at the same moment.

    As text it reads "survives the loss of any one node; not of 1 and 2 together". A partition without quorum
    has nothing to lose: `quorate` is False and the other fields have their defaults.
    """

    quorate: bool
    nodes: int = 0
    """The partition stays quorate when this many nodes fail, whichever nodes they are."""
    fatal: tuple[int, ...] = ()
    """A smallest set of nodes whose failure ends quorum."""
    alone: tuple[int, ...] = ()
    """Each of these nodes ends quorum if it fails, even if nothing else does."""
    device: bool | None = None
    """Whether quorum survives the loss of the quorum device; None where no device votes here."""

    def __str__(self) -> str:
        if not self.quorate:
            return "not quorate"
        words = [_nodes_survived(self)]
        if self.device is not None:
            words.append(f"{'survives' if self.device else 'does not survive'} the loss of the quorum device")
        return "; ".join(words)


def _nodes_survived(margin: Margin) -> str:
    if not margin.nodes:
        return f"does not survive the loss of node {_listed(margin.alone, 'or')}"
    nodes = "one node" if margin.nodes == 1 else f"{margin.nodes} nodes"
    return f"survives the loss of any {nodes}; not of {_listed(margin.fatal, 'and')} together"


def _listed(nodeids: tuple[int, ...], word: str) -> str:
    *most, last = map(str, nodeids)
    return f"{', '.join(most)} {word} {last}" if most else last


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """What one node knows of its partition of the cluster, all of it at one moment."""

    quorum_type: QuorumType
    """FREE on a daemon without a quorum provider, which always calls itself quorate."""
    provider: str | None
    """Its name, such as "corosync_votequorum"; None without a provider, or where cmap cannot be reached."""
    node_id: int
    """The node that was asked; 0 where neither votequorum nor cmap could tell."""
    ring_id: RingId
    quorate: bool
    """What the daemon says. Every source agrees: the quorum service, votequorum and its QUORATE flag."""
    members: tuple[Member, ...]
    """In corosync's order."""
    info: NodeInfo | None
    """votequorum's figures as this node has them; None without votequorum."""
    configured: tuple[ConfiguredNode, ...] = ()
    """The node list of this node's configuration, by node id; empty where cmap cannot be reached."""
    margin: Margin | None = None
    """Which further failures this partition survives; None where that is not known."""

    @property
    def missing(self) -> tuple[ConfiguredNode, ...]:
        """The configured nodes that are not members."""
        members = {member.node_id for member in self.members}
        return tuple(node for node in self.configured if node.node_id not in members)

    @property
    def device(self) -> Device | None:
        """The quorum device, if a member has registered one."""
        infos = [member.info for member in self.members if member.info]
        if self.info is None or not any(InfoFlags.QDEVICE_REGISTERED in info.flags for info in infos):
            return None
        casts_vote = InfoFlags.QDEVICE_CAST_VOTE in self.info.flags
        return Device(self.info.qdevice_name, self.info.qdevice_votes, casts_vote)


@dataclass(frozen=True, slots=True)
class Connected:
    """The daemon was found and has told its state. What happened before is not known."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection to the daemon ended, or there was no daemon to connect to."""

    error: CsError
    """`Library` where it stopped, died or is not running, `Access` where this user may not ask, and so on."""


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
    """The votes present changed, or the number that quorum takes, or the cluster's flags."""

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
    """The node list in cmap gives a node another name, as after a reload of corosync.conf."""

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
"""What `QuorumView.changes` has."""


class QuorumState(enum.Enum):
    """Whether this node's partition has quorum. Only `QUORATE` is true.

    Fence other nodes, take over what they ran, and write to shared storage while `QUORATE`, and only then.
    Stop what needs quorum on `NOT_QUORATE`: the others may have quorum. On `UNKNOWN` fence no node, and do
    not go on for long: the other nodes miss this one as soon as its corosync is gone, and may be about to
    fence it. Wait for the daemon's restart no longer than they would need for that.
    """

    QUORATE = "quorate"
    NOT_QUORATE = "not quorate"
    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return self is QuorumState.QUORATE


@dataclass(frozen=True, slots=True)
class QuorumView:
    """Quorum as one node knew it at the moment when the view was returned, and what led there.

    A view does not change afterwards. To know the state later, ask for another view.
    """

    state: QuorumState
    since: float
    """When that state was first noticed, in seconds on the clock of the event loop (trio's, asyncio's, or
    `time.monotonic`)."""
    status: ClusterStatus | None
    """Everything known at that moment; None while the state is UNKNOWN."""
    changes: tuple[Change, ...]
    """Everything reported since the view before this one, in order."""
    dropped: int
    """How many changes came before those in `changes` and were dropped because too many had gathered."""
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


# --- Links and statistics: what `Observer` reads ---


class LinkStatistics(NamedTuple):
    """What corosync has counted on one link; the names are those of the keys stats.knet.nodeN.linkN.*.

    Times are in microseconds. Everything but `connected` and `mtu` counts from the daemon's start.
    """

    latency_ave: int
    """Round trip of knet's heartbeat, averaged; 0 before the first one."""
    latency_max: int
    down_count: int
    """How often it was down. A remote link begins down, so this is 1 for one that never failed."""
    up_count: int
    tx_ping_packets: int
    """Heartbeats sent."""
    rx_pong_packets: int
    """Heartbeats answered. Those sent and not answered are lost, or still under way."""
    tx_total_errors: int

    @property
    def lost_pings(self) -> int:
        """Heartbeats without an answer; the last one may still be under way."""
        return max(self.tx_ping_packets - self.rx_pong_packets, 0)


@dataclass(frozen=True, slots=True)
class Link:
    """One knet link from this node to another node, as this node sees it."""

    node_id: int
    """The other node."""
    number: int
    status: LinkStatus
    statistics: LinkStatistics | None
    """None where corosync's statistics cannot be read."""


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """A link to another node was connected or went down, as this node sees it."""

    node_id: int
    """The other node."""
    number: int
    connected: bool
    """Whether it is connected now."""
    times_down: int
    """How often it went down since the last look; 0 where it was down at the first one, or came up."""


class TotemStatistics(NamedTuple):
    """What totem has counted since the daemon's start; the names are those of the keys stats.srp.*."""

    operational_token_lost: int
    gather_token_lost: int
    commit_token_lost: int
    recovery_token_lost: int
    consensus_timeouts: int
    mcast_retx: int
    """Messages sent again."""
    rx_msg_dropped: int
    mtt_rx_token: int
    """Mean time between two tokens, in milliseconds."""
    continuous_gather: int
    """Attempts to form a membership since the last success."""
    firewall_enabled_or_nic_failure: int
    """1 when enough failed that corosync suspects the network."""

    @property
    def token_losses(self) -> int:
        """Losses of the token in every state."""
        return (
            self.operational_token_lost
            + self.gather_token_lost
            + self.commit_token_lost
            + self.recovery_token_lost
        )


class SchedulingMiss(NamedTuple):
    """corosync was not scheduled in time (stats.schedmiss.N.*, of which corosync keeps the last ten)."""

    timestamp: int
    """Milliseconds since the Epoch."""
    delay: float
    """For how many milliseconds it did not run."""
