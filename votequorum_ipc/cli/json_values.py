"""JSON output for programs: values of the library as JSON. docs/cli.md documents the keys.

Strategy: numbers stay numbers, names are those of the C headers, and unknown values are null. The state of
the cluster changes values, but never which keys there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import CsError
from ..explain import connectivity_remarks, why_not_quorate
from ..types import (
    ClusterStatus,
    Device,
    InfoFlags,
    Link,
    Margin,
    Member,
    NodeInfo,
    RingId,
    TotemStatistics,
)

if TYPE_CHECKING:
    from ..overview import Moment


def status_json(status: ClusterStatus) -> dict[str, Any]:
    """The whole of `status`."""
    return {
        "provider": status.provider,
        "quorum_type": status.quorum_type.name,
        "nodes": len(status.members),
        "node_id": status.node_id,
        "ring_id": ring_json(status.ring_id),
        "quorate": status.quorate,
        "reason": why_not_quorate(status) or None,
        "votequorum": status.info and votes_json(status.info),
        "members": [_member_json(member) for member in status.members],
        "qdevice": status.device and _device_json(status.device),
        "margin": status.margin and _margin_json(status.margin),
    }


def moment_json(moment: Moment) -> dict[str, Any]:
    """`status`, with links and statistics; null if they are unknown."""
    status, links, statistics = moment.status, moment.links, moment.statistics
    misses = None if statistics is None else [miss._asdict() for miss in statistics.scheduling_misses]
    return {
        **status_json(status),
        "links": None if links is None else [link_json(link, status) for link in links],
        "remarks": connectivity_remarks(status, links or ()),
        "totem": statistics and statistics.totem and _totem_json(statistics.totem),
        "scheduling_misses": misses,
    }


def _totem_json(totem: TotemStatistics) -> dict[str, Any]:
    return {
        "token_losses": totem.token_losses,
        "retransmits": totem.mcast_retx,
        "consensus_timeouts": totem.consensus_timeouts,
        "mtt_rx_token": totem.mtt_rx_token,
    }


def ring_json(ring_id: RingId) -> dict[str, Any]:
    """A ring id: as corosync prints it, both parts in hexadecimal, and as numbers."""
    return {"text": str(ring_id), "nodeid": ring_id.nodeid, "seq": ring_id.seq}


def votes_json(info: NodeInfo) -> dict[str, Any]:
    """The cluster's figures as one node sees them."""
    return {
        "expected_votes": info.node_expected_votes,
        "highest_expected": info.highest_expected,
        "total_votes": info.total_votes,
        "quorum": info.quorum,
        "flags": flag_names(info.flags),
    }


def node_json(info: NodeInfo | None) -> dict[str, Any]:
    """What votequorum knows about one node."""
    return {
        "votes": info and info.node_votes,
        "state": info and info.node_state.name,
        "flags": info and flag_names(info.flags),
    }


def error_json(error: CsError) -> dict[str, Any]:
    """An error: corosync's name and number for it, and a text."""
    return {"code": error.code.name, "number": int(error.code), "message": str(error)}


def flag_names(flags: InfoFlags) -> list[str]:
    """The names of all flags that are set; a flag without a name in votequorum.h is a hexadecimal number."""
    single = [InfoFlags(1 << bit) for bit in range(int(flags).bit_length()) if flags >> bit & 1]
    return [flag.name or hex(flag) for flag in single]


def _member_json(member: Member) -> dict[str, Any]:
    return {
        "node_id": member.node_id,
        "name": member.name or None,
        "address": member.address or None,
        "local": member.local,
        **node_json(member.info),
    }


def _device_json(device: Device) -> dict[str, Any]:
    return {"name": device.name, "votes": device.votes, "casts_vote": device.casts_vote}


def _margin_json(margin: Margin) -> dict[str, Any]:
    return {
        "text": str(margin),
        "nodes": margin.nodes,
        "fatal": list(margin.fatal),
        "alone": list(margin.alone),
        "device": margin.device,
    }


def link_json(link: Link, status: ClusterStatus) -> dict[str, Any]:
    """One link of this node. Times are in microseconds; the statistics are null if they are unknown."""
    names = {node.node_id: node.name for node in status.configured}
    statistics = link.statistics
    return {
        "node_id": link.node_id,
        "name": names.get(link.node_id) or None,
        "member": any(member.node_id == link.node_id for member in status.members),
        "link": link.number,
        "connected": link.status.connected,
        "mtu": link.status.mtu or None,
        "local": link.status.src_ipaddr,
        "remote": link.status.dst_ipaddr,
        "latency_ave": (statistics and statistics.latency_ave) or None,
        "latency_max": (statistics and statistics.latency_max) or None,
        "down_count": statistics and statistics.down_count,
        "lost_pings": statistics and statistics.lost_pings,
        "tx_total_errors": statistics and statistics.tx_total_errors,
    }
