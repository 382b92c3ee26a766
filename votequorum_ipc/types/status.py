"""A node's partition of the cluster at one moment, as `cluster_status` gives it."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

from .enumerations import InfoFlags, QuorumType
from .nodes import NodeInfo, RingId


class TieBreaker(enum.IntEnum):
    """How a half of the cluster may stay quorate; the numbers are those of `runtime.votequorum.atb_type`."""

    NONE = 0
    LOWEST = 1
    HIGHEST = 2
    LIST = 3


_LEADING_NUMBERS: Final = re.compile(r"\s*(?:[0-9]+\s+)*(?:[0-9]+)?")


def parse_tie_breaker(enabled: bool, node: str | None) -> TieBreaker | tuple[int, ...]:
    """What `auto_tie_breaker` and `auto_tie_breaker_node` of corosync.conf mean together.

    A list ends at the first word that is not a positive number. A text without any such number turns the tie
    breaker off, as in votequorum.
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


@dataclass(frozen=True, slots=True)
class Member:
    """A member of this node's partition."""

    node_id: int
    name: str
    """From the node list in cmap; empty if that has none."""
    local: bool
    """Whether this is the node that was asked."""
    info: NodeInfo | None
    """What votequorum knows about it; None without votequorum, or if votequorum does not know the node."""
    address: str = ""
    """The first address in the node list, as configured; empty if that has none."""


@dataclass(frozen=True, slots=True)
class Device:
    """The quorum device that some member has registered."""

    name: str
    votes: int
    """The votes that it can cast."""
    casts_vote: bool
    """Whether its votes count on this node now."""


@dataclass(frozen=True, slots=True)
class ConfiguredNode:
    """A node of the node list in cmap, whether or not it is a member."""

    node_id: int
    name: str
    """Empty if the node list has none."""
    address: str
    """The first address; empty if the node list has none."""


@dataclass(frozen=True, slots=True)
class Margin:
    """Which further failures a partition survives, if they happen at the same moment.

    Its text is, for example, "survives the loss of any one node; not of 1 and 2 together". For a partition
    without quorum, `quorate` is False and the other fields have their defaults.
    """

    quorate: bool
    nodes: int = 0
    """The partition stays quorate when any set of this many nodes fails."""
    fatal: tuple[int, ...] = ()
    """One of the smallest sets of nodes whose failure ends quorum."""
    alone: tuple[int, ...] = ()
    """The failure of any one of these nodes ends quorum."""
    device: bool | None = None
    """Whether quorum survives the loss of the quorum device; None if no device votes here."""

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
    """What one node knows about its partition of the cluster, all at one moment."""

    quorum_type: QuorumType
    """FREE for a daemon without a quorum provider, which always calls itself quorate."""
    provider: str | None
    """Its name, such as "corosync_votequorum"; None without a provider, or if cmap cannot be reached."""
    node_id: int
    """The node that was asked; 0 if neither votequorum nor cmap could say."""
    ring_id: RingId
    quorate: bool
    """The daemon's answer. All sources agree: the quorum service, votequorum and its QUORATE flag."""
    members: tuple[Member, ...]
    """In corosync's order."""
    info: NodeInfo | None
    """votequorum's figures as this node has them; None without votequorum."""
    configured: tuple[ConfiguredNode, ...] = ()
    """The node list of this node's configuration, by node id; empty if cmap cannot be reached."""
    margin: Margin | None = None
    """Which further failures this partition survives; None if unknown."""

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
