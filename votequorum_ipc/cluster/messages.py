"""What goes into a node and comes out of it: library requests and responses, and the nodes' own multicasts.

All are frozen values without bytes. The events that come out as well are the dataclasses of
`votequorum_ipc.types`. Names follow corosync's ipc_votequorum.h and ipc_quorum.h for the library's side, and
the `req_exec_quorum_*` messages for what the nodes tell each other.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ..errors import CsErrorCode
from ..types import NodeInfo, QuorumEvent, QuorumType, RingId, TrackFlags, VotequorumEvent


class ServiceKind(enum.StrEnum):
    """Which of a node's services a connection talks to."""

    VOTEQUORUM = "votequorum"
    QUORUM = "quorum"


@dataclass(frozen=True, slots=True)
class GetInfo:
    """votequorum 0. Node id 0 asks for the node itself. Answered with a `NodeInfo`, or NOT_EXIST."""

    nodeid: int = 0


@dataclass(frozen=True, slots=True)
class SetExpected:
    """votequorum 1. INVALID_PARAM below the votes present, or where it would cost the cluster its quorum."""

    expected_votes: int


@dataclass(frozen=True, slots=True)
class SetVotes:
    """votequorum 2. NAME_NOT_FOUND for a node never seen, INVALID_PARAM if quorum would be out of reach."""

    nodeid: int
    votes: int


@dataclass(frozen=True, slots=True)
class TrackStart:
    """Both services' 3 and 1. EXIST when tracking already; quorum has no context and ignores it."""

    flags: TrackFlags = TrackFlags.CHANGES
    context: int = 0


@dataclass(frozen=True, slots=True)
class TrackStop:
    """Both services' 4 and 2. votequorum says NOT_EXIST when not tracking, quorum says OK."""


@dataclass(frozen=True, slots=True)
class QdeviceRegister:
    """votequorum 5. EXIST when a device of another name is registered anywhere in the partition."""

    name: str


@dataclass(frozen=True, slots=True)
class QdeviceUnregister:
    """votequorum 6. NOT_EXIST when none is registered here, INVALID_PARAM for another name."""

    name: str


@dataclass(frozen=True, slots=True)
class QdeviceUpdate:
    """votequorum 7: a new name. Errors as `QdeviceUnregister`."""

    oldname: str
    newname: str


@dataclass(frozen=True, slots=True)
class QdevicePoll:
    """votequorum 8: the device is alive, and how it votes. MESSAGE_ERROR for any ring but the last one."""

    name: str
    cast_vote: bool
    ring_id: RingId


@dataclass(frozen=True, slots=True)
class QdeviceMasterWins:
    """votequorum 9: whether the partition that the device votes for is quorate whatever its votes."""

    name: str
    allow: bool


@dataclass(frozen=True, slots=True)
class QdeviceSetExtraInfo:
    """votequorum 10, newer than 3.1.10: INVALID_PARAM, like every message that 3.1.7 does not know."""

    data: bytes


@dataclass(frozen=True, slots=True)
class QdeviceGetExtraInfo:
    """votequorum 11, newer than 3.1.10: INVALID_PARAM, like every message that 3.1.7 does not know."""

    nodeid: int


@dataclass(frozen=True, slots=True)
class GetQuorate:
    """quorum 0. Answered with a bool."""


@dataclass(frozen=True, slots=True)
class GetType:
    """quorum 3. Answered with a `QuorumType`."""


@dataclass(frozen=True, slots=True)
class ModelGetType:
    """quorum 4: which events the connection wants, 0 or 1. INVALID_PARAM for another model."""

    model: int


@dataclass(frozen=True, slots=True)
class UnknownRequest:
    """A message id that the service does not have. INVALID_PARAM."""

    id: int


Request = (
    GetInfo
    | SetExpected
    | SetVotes
    | TrackStart
    | TrackStop
    | QdeviceRegister
    | QdeviceUnregister
    | QdeviceUpdate
    | QdevicePoll
    | QdeviceMasterWins
    | QdeviceSetExtraInfo
    | QdeviceGetExtraInfo
    | GetQuorate
    | GetType
    | ModelGetType
    | UnknownRequest
)


@dataclass(frozen=True, slots=True)
class Response:
    """The one answer to a request. `value` is None where the answer is a status only."""

    request: Request
    error: CsErrorCode = CsErrorCode.OK
    value: NodeInfo | bool | QuorumType | None = None


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The node went away, and the connection with it. The last that a connection gets."""


@dataclass(frozen=True, slots=True)
class Conn:
    """A handle for one connection. `number` is unique in a `Cluster`."""

    nodeid: int
    service: ServiceKind
    number: int


Output = Response | VotequorumEvent | QuorumEvent | ConnectionClosed
"""What a connection gets."""


class NodeFlags(enum.IntFlag):
    """What a node tells about itself in `NodeInfoMessage` (votequorum's NODE_FLAGS_*)."""

    QUORATE = 1
    LEAVING = 2
    WFASTATUS = 4
    FIRST = 8
    QDEVICE_REGISTERED = 16
    QDEVICE_ALIVE = 32
    QDEVICE_CAST_VOTE = 64
    QDEVICE_MASTER_WINS = 128


@dataclass(frozen=True, slots=True)
class NodeInfoMessage:
    """What the sender knows of a node: itself, or with id 0 its quorum device."""

    nodeid: int
    votes: int
    expected_votes: int
    flags: NodeFlags


class ReconfigureParam(enum.IntEnum):
    """What a `ReconfigureMessage` changes."""

    EXPECTED_VOTES = 1
    NODE_VOTES = 2
    CANCEL_WAIT_FOR_ALL = 3


@dataclass(frozen=True, slots=True)
class ReconfigureMessage:
    """An operator's change, for every node of the partition to take over."""

    param: ReconfigureParam
    nodeid: int
    value: int


@dataclass(frozen=True, slots=True)
class QdeviceRegMessage:
    """A quorum device comes or goes."""

    register: bool
    name: str


@dataclass(frozen=True, slots=True)
class QdeviceReconfigureMessage:
    """A quorum device is renamed."""

    oldname: str
    newname: str


Multicast = NodeInfoMessage | ReconfigureMessage | QdeviceRegMessage | QdeviceReconfigureMessage
"""What nodes of one partition send to each other, in one order for all."""
