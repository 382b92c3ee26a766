"""What cfg tells of links and nodes, and of a shutdown that is asked for."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class ShutdownFlags(enum.IntEnum):
    """How `Cfg.try_shutdown` asks (COROSYNC_CFG_SHUTDOWN_FLAG_* in cfg.h)."""

    REQUEST = 0
    """Those who track are asked; any of them can refuse."""
    REGARDLESS = 1
    """Those who track are asked, and may take their time, but cannot refuse."""
    IMMEDIATE = 2
    """Nobody is asked."""


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
