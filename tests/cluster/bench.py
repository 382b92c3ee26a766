"""Helpers for tests of the model: start a cluster, ask a node, list the quorate nodes."""

from __future__ import annotations

from typing import Any

from votequorum_ipc.cluster import (
    Cluster,
    ClusterConfig,
    Conn,
    GetInfo,
    Output,
    Outputs,
    QdeviceMasterWins,
    QdevicePoll,
    QdeviceRegister,
    Request,
    Response,
    ServiceKind,
    TrackStart,
)
from votequorum_ipc.errors import CsErrorCode
from votequorum_ipc.types import NodeInfo, TrackFlags

DEVICE = "net"


def started(config: ClusterConfig) -> Cluster:
    """A cluster with all its nodes up."""
    cluster = Cluster(config)
    cluster.up(*config.nodeids)
    return cluster


def cluster_of(nodes: int, **options: Any) -> Cluster:
    """A cluster of this many nodes with one vote each, all up."""
    return started(ClusterConfig.of(nodes, **options))


def quorate(cluster: Cluster) -> set[int]:
    """The nodes that are quorate."""
    return {nodeid for nodeid, node in cluster.nodes.items() if node.quorate}


def ask(cluster: Cluster, nodeid: int, request: Request) -> Response:
    """The answer to a new votequorum client of a node."""
    conn = cluster.connect(nodeid, ServiceKind.VOTEQUORUM)
    response = answer(cluster.request(conn, request), conn)
    cluster.disconnect(conn)
    return response


def answer(outputs: Outputs, conn: Conn) -> Response:
    """The one response to a connection."""
    (response,) = [output for output in sent_to(conn, outputs) if isinstance(output, Response)]
    return response


def error(cluster: Cluster, nodeid: int, request: Request) -> CsErrorCode:
    """The error code for a new votequorum client of a node."""
    return ask(cluster, nodeid, request).error


def info(cluster: Cluster, nodeid: int, of: int = 0) -> NodeInfo:
    """A node's answer to getinfo."""
    value = ask(cluster, nodeid, GetInfo(of)).value
    assert isinstance(value, NodeInfo)
    return value


def tracker(
    cluster: Cluster,
    nodeid: int,
    service: ServiceKind = ServiceKind.VOTEQUORUM,
    *,
    context: int = 0,
    flags: TrackFlags = TrackFlags.CHANGES_ONLY,
) -> Conn:
    """A client that follows a node's changes from now on."""
    conn = cluster.connect(nodeid, service)
    cluster.request(conn, TrackStart(flags, context))
    return conn


def sent_to(conn: Conn, outputs: Outputs) -> list[Output]:
    """The outputs for one connection, in order."""
    return [output for to, output in outputs if to == conn]


def register(cluster: Cluster, nodeid: int, name: str = DEVICE) -> Conn:
    """A device on a node, registered but not polled yet."""
    conn = cluster.connect(nodeid, ServiceKind.VOTEQUORUM)
    cluster.request(conn, QdeviceRegister(name))
    return conn


def poll(cluster: Cluster, conn: Conn, *, vote: bool = True) -> Outputs:
    """Poll a node's device with the current ring."""
    return cluster.request(conn, QdevicePoll(DEVICE, vote, cluster.node(conn.nodeid).ring_id))


def live_device(cluster: Cluster, nodeid: int) -> Conn:
    """A device on a node, which votes for it."""
    conn = register(cluster, nodeid)
    poll(cluster, conn)
    return conn


def master_wins(cluster: Cluster, conn: Conn, *, allow: bool = True) -> Outputs:
    """Let a device's partition win, or not."""
    return cluster.request(conn, QdeviceMasterWins(DEVICE, allow))
