"""votequorum's rules for a cluster of nodes, as a pure model: no I/O, no clock, no chance.

cluster = Cluster(ClusterConfig.of(3))
cluster.up(1, 2, 3)
conn = cluster.connect(1, Service.VOTEQUORUM)
cluster.request(conn, TrackStart(TrackFlags.CHANGES, context=7))
cluster.partition({1}, {2, 3})  # -> [(conn, NodelistNotification(...)), (conn, QuorumNotification(...))]
"""

from __future__ import annotations

from votequorum_ipc.cluster.cluster import RING_SEQ_STEP, Cluster, Outputs
from votequorum_ipc.cluster.config import (
    ClusterConfig,
    ConfigurationError,
    DeviceConfig,
    NodeConfig,
    Rules,
    TieBreaker,
    effective_rules,
    parse_tie_breaker,
)
from votequorum_ipc.cluster.effects import IcmapType, RuntimeValue
from votequorum_ipc.cluster.messages import (
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
    Service,
    SetExpected,
    SetVotes,
    TrackStart,
    TrackStop,
    UnknownRequest,
)
from votequorum_ipc.cluster.node import Node
from votequorum_ipc.cluster.state import Disk

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
    "IcmapType",
    "ModelGetType",
    "Node",
    "NodeConfig",
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
    "Service",
    "SetExpected",
    "SetVotes",
    "TieBreaker",
    "TrackStart",
    "TrackStop",
    "UnknownRequest",
    "effective_rules",
    "parse_tie_breaker",
]
