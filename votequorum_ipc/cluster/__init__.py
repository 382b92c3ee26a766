"""votequorum's rules for a cluster of nodes, as a pure model: no I/O, no clock, no randomness except from a
seed.

    cluster = Cluster(ClusterConfig.of(3))
    cluster.up(1, 2, 3)
    conn = cluster.connect(1, ServiceKind.VOTEQUORUM)
    cluster.request(conn, TrackStart(TrackFlags.CHANGES, context=7))
    cluster.partition({1}, {2, 3})  # -> [(conn, NodelistNotification(...)), (conn, QuorumNotification(...))]

`config` reads the options, `cluster` joins nodes into rings, `under_way` carries their messages, `node` is
one process, and `votes` decides. `multicasts`, `library` and `vsf_quorum` handle what other nodes and clients
send. The reference is corosync 3.1.7.

These look wrong, but corosync does them, and so does the model:

- a node whose id exceeds all known ones is listed before the last one, not after it;
- a quorum device is listed with state 0, and outlives the connection that registered it;
- a device's votes are expected from the start, registered or not;
- with expected_votes_tracking, the configured expected_votes are ignored;
- last_man_standing asks for the lowest node even where another breaks ties;
- the quorum service's trackstop is OK without a trackstart;
- master_wins stays on for a node after its device is unregistered.

Defects of corosync 3.1.7 that the model does not imitate:

- the quorum is kept in 8 bits, so that more than 510 votes wrap around, and sums of votes wrap at 32 bits,
  so that setexpected accepts 4294967295;
- expected_votes_tracking writes to a descriptor that it has closed: nothing is stored, or another file is
  overwritten (here `Disk` keeps the value, as votequorum(5) says);
- a device name of 255 bytes without a NUL makes corosync abort, or read on (here INVALID_PARAM);
- news of a device from a node that was never heard of makes it abort (here ignored), and so would
  wait_for_all in a node that is quorate;
- the fields of an answer that reports an error are whatever was on the stack (here None).

docs/embedded-daemon.md lists what else differs, under "Where it differs from corosync".
"""

from __future__ import annotations

from ..types import TieBreaker, parse_tie_breaker
from .cluster import RING_SEQ_STEP, Cluster, Outputs
from .config import (
    ClusterConfig,
    ConfigurationError,
    DeviceConfig,
    NodeConfig,
    Rules,
    configuration,
    effective_rules,
)
from .effects import RuntimeValue
from .messages import (
    Conn,
    ConnectionClosed,
    GetInfo,
    GetQuorate,
    GetType,
    ModelGetType,
    Output,
    QdeviceGetExtraInfo,
    QdeviceMasterWins,
    QdevicePoll,
    QdeviceRegister,
    QdeviceSetExtraInfo,
    QdeviceUnregister,
    QdeviceUpdate,
    Request,
    Response,
    ServiceKind,
    SetExpected,
    SetVotes,
    TrackStart,
    TrackStop,
    UnknownRequest,
)
from .node import NodeModel
from .state import Disk
from .under_way import Latency

__all__ = [
    "RING_SEQ_STEP",
    "Cluster",
    "ClusterConfig",
    "ConfigurationError",
    "Conn",
    "ConnectionClosed",
    "DeviceConfig",
    "Disk",
    "GetInfo",
    "GetQuorate",
    "GetType",
    "Latency",
    "ModelGetType",
    "NodeConfig",
    "NodeModel",
    "Output",
    "Outputs",
    "QdeviceGetExtraInfo",
    "QdeviceMasterWins",
    "QdevicePoll",
    "QdeviceRegister",
    "QdeviceSetExtraInfo",
    "QdeviceUnregister",
    "QdeviceUpdate",
    "Request",
    "Response",
    "Rules",
    "RuntimeValue",
    "ServiceKind",
    "SetExpected",
    "SetVotes",
    "TieBreaker",
    "TrackStart",
    "TrackStop",
    "UnknownRequest",
    "configuration",
    "effective_rules",
    "parse_tie_breaker",
]
