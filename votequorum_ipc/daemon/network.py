"""The network of a simulated cluster: the quality of each link, and which nodes hear each other.

Strategy: a test sets the quality of links and cuts partitions. Two nodes hear each other when they are in the
same partition and at least one link between them carries data in both directions. corosync needs a ring in
which each node hears every other, so a partition in which two nodes do not is divided further. Links are
numbered as in corosync.conf. `services.knet` has each node's statistics of its links.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from ..cluster import ClusterConfig, NodeConfig
from ..wire.cfg import MAX_LINKS

USUAL_LATENCY: Final = 0.0002
"""A typical latency in seconds between two machines on one switch, as knet measures it."""

USUAL_MTU: Final = 1397
"""The MTU in bytes that knet measures on an Ethernet link."""


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """What one node measures on one of its links to another."""

    connected: bool = True
    """Whether the link itself carries data."""
    latency: float = USUAL_LATENCY
    """Seconds between a ping and its answer."""
    loss: float = 0.0
    """The fraction of pings without an answer: 0.0 to 1.0."""
    mtu: int = USUAL_MTU
    """Bytes of the largest packet."""

    def __post_init__(self) -> None:
        if not 0 <= self.latency < 4294:
            raise ValueError(f"a latency is given in seconds, 0 to 4293, not {self.latency}")
        if not 0 <= self.loss <= 1:
            raise ValueError(f"a loss is 0.0 (none) to 1.0 (everything), not {self.loss}")
        if not 0 <= self.mtu <= 0xFFFF:
            raise ValueError(f"an MTU has 0 to 65535 bytes, not {self.mtu}")


def link_count(one: NodeConfig, other: NodeConfig) -> int:
    """How many links two nodes share: links on which both have an address. Nodes without addresses have
    one."""
    return min(len(one.addresses) or 1, len(other.addresses) or 1, MAX_LINKS)


class SimulatedNetwork:
    """The state of all links, and the partitions."""

    def __init__(self) -> None:
        self._partition: tuple[frozenset[int], ...] = ()
        self._qualities: dict[tuple[int, int, int], LinkQuality] = {}

    def quality(self, nodeid: int, peer: int, number: int) -> LinkQuality:
        """The quality of the link with this number from `nodeid` to `peer`."""
        return self._qualities.get((nodeid, peer, number), _USUAL)

    def change(self, ends: Iterable[tuple[int, int, int]], **changes: object) -> None:
        """Give links another quality. Raises `ValueError`, and changes nothing, for values out of range."""
        changed = {end: replace(self.quality(*end), **changes) for end in ends}  # type: ignore[arg-type]
        self._qualities |= changed

    def partition(self, groups: Collection[Collection[int]]) -> None:
        """Nodes hear those of their own group only. Nodes in no group form one more."""
        self._partition = tuple(frozenset(group) for group in groups)

    def heal(self) -> None:
        """End all partitions and connect every link; latency and loss stay."""
        self._partition = ()
        self._qualities = {end: replace(each, connected=True) for end, each in self._qualities.items()}

    def groups(self, config: ClusterConfig) -> list[set[int]]:
        """The nodes that hear each other, grouped; nodes in no group form one more.

        If a partition has to be divided, the nodes with the lowest ids stay together. A real cluster also
        settles on such a division, but not always on this one.
        """
        apart = set(self._pairs_apart(config))
        if not apart:
            return [set(group) for group in self._partition]
        rest = frozenset(config.nodeids).difference(*self._partition)
        divided: list[set[int]] = []
        for group in (*self._partition, rest):
            divided += _divided(sorted(group), apart)
        return divided

    def _pairs_apart(self, config: ClusterConfig) -> Iterator[frozenset[int]]:
        known = {node.nodeid: node for node in config.nodes}
        broken = {frozenset(end[:2]) for end, each in self._qualities.items() if not each.connected}
        for pair in broken:
            one, other = sorted(pair)
            if {one, other} <= known.keys() and not self._joined(known[one], known[other]):
                yield pair

    def _joined(self, one: NodeConfig, other: NodeConfig) -> bool:
        return any(
            self.quality(one.nodeid, other.nodeid, number).connected
            and self.quality(other.nodeid, one.nodeid, number).connected
            for number in range(link_count(one, other))
        )


def _divided(nodeids: Iterable[int], apart: Collection[frozenset[int]]) -> list[set[int]]:
    """Groups in which no two nodes are apart."""
    groups: list[set[int]] = []
    for nodeid in nodeids:
        for group in groups:
            if all(frozenset((nodeid, other)) not in apart for other in group):
                group.add(nodeid)
                break
        else:
            groups.append({nodeid})
    return groups


_USUAL: Final = LinkQuality()
