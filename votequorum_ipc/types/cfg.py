"""What cfg reports about links, nodes and requested shutdowns."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class ShutdownFlags(enum.IntEnum):
    """How `Cfg.try_shutdown` asks (COROSYNC_CFG_SHUTDOWN_FLAG_* in cfg.h)."""

    REQUEST = 0
    """The clients that track shutdowns are asked; any of them can refuse."""
    REGARDLESS = 1
    """The clients that track shutdowns are asked and given time to answer, but cannot refuse."""
    IMMEDIATE = 2
    """No client is asked."""


class LinkStatus(NamedTuple):
    """One of a node's links as this node sees it (`struct corosync_knet_link_status_v1`)."""

    enabled: bool
    """It is configured."""
    connected: bool
    """It carries data."""
    dynconnected: bool
    """It was activated by the other side, whose address is dynamic."""
    mtu: int
    """The largest packet in bytes, as knet has measured it; 0 if unknown."""
    src_ipaddr: str
    dst_ipaddr: str


class NodeStatus(NamedTuple):
    """What this node sees of another one, or of itself (`struct corosync_cfg_node_status_v1`)."""

    version: int
    nodeid: int
    reachable: bool
    """At least one link to it is connected."""
    remote: bool
    external: bool
    onwire_min: int
    onwire_max: int
    onwire_ver: int
    link_status: tuple[LinkStatus, ...]
    """Always eight; the index is the link's number. Links that are not configured are not `enabled`."""


class RingStatus(NamedTuple):
    """One of this node's links as text (`corosync_cfg_ring_status_get`)."""

    interface_name: str
    """Such as "LINK ID 0 udp\\n\\taddr\\t= 192.0.2.1"."""
    status: str
    """"OK"; with knet, a digit or letter for each node."""


@dataclass(frozen=True, slots=True)
class ShutdownNotification:
    """cfg: a client asks to shut this node down; answer with `Cfg.replyto_shutdown` (message 10)."""

    flags: int
    """Which of `ShutdownFlags` the request had."""
    timed_out: bool
    """The shutdown was called off because not every client answered in time; no answer is needed. corosync
    tells this only to clients that have asked for a shutdown themselves."""
