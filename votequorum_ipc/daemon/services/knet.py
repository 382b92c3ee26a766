"""One node's statistics of its links to other nodes, as in knet: state, latencies, packets.

Strategy: nothing is counted while time passes. A link end knows since when its state has lasted, and computes
its counters when the state changes or a client asks. Counters begin at 0 when the node starts. Data packets
are not counted: a simulated cluster sends none. Sources: `struct knet_link_status` in libknet.h,
`cs_knet_stats` in exec/stats.c of corosync 3.1.7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ... import cluster
from ...cluster.config import MAX_UINT32
from ..network import LinkQuality, SimulatedNetwork, link_count

LOOPBACK_MTU: Final = 65535
"""knet's description of a node's link to itself."""

_PING_INTERVAL: Final = 0.75
"""Seconds between two pings with corosync's defaults: a token timeout of 3000 ms, over 4."""

_PING_BYTES: Final = 26
_PONG_BYTES: Final = 26


@dataclass
class LinkEnd:
    """One node's end of a link."""

    connected: bool = False
    up_count: int = 0
    down_count: int = 0
    latency: int = 0
    """Microseconds, like the next two."""
    latency_min: int = MAX_UINT32
    latency_max: int = 0
    _pings: float = 0.0
    _pongs: float = 0.0
    _loss: float = 0.0
    _since: float = 0.0

    def observe(self, now: float, connected: bool, quality: LinkQuality) -> None:
        """Record the link's state from now on."""
        self._settle(now)
        if connected != self.connected:
            self.up_count += connected
            self.down_count += not connected
        self.connected, self._loss = connected, quality.loss
        if connected:
            self.latency = round(quality.latency * 1e6)
            self.latency_min = min(self.latency_min, self.latency)
            self.latency_max = max(self.latency_max, self.latency)

    def counters(self, now: float) -> dict[str, int]:
        """The current values, by the names of the statistics."""
        self._settle(now)
        pings, pongs = int(self._pings), int(self._pongs)
        sent, received = pings + pongs, 2 * pongs
        return {
            "connected": int(self.connected),
            "up_count": self.up_count,
            "down_count": self.down_count,
            "latency_ave": self.latency,
            "latency_min": self.latency_min,
            "latency_max": self.latency_max,
            "latency_samples": pongs,
            "tx_ping_packets": pings,
            "tx_ping_bytes": pings * _PING_BYTES,
            "rx_ping_packets": pongs,
            "rx_ping_bytes": pongs * _PING_BYTES,
            "tx_pong_packets": pongs,
            "tx_pong_bytes": pongs * _PONG_BYTES,
            "rx_pong_packets": pongs,
            "rx_pong_bytes": pongs * _PONG_BYTES,
            "tx_total_packets": sent,
            "tx_total_bytes": pings * _PING_BYTES + pongs * _PONG_BYTES,
            "rx_total_packets": received,
            "rx_total_bytes": pongs * (_PING_BYTES + _PONG_BYTES),
        }

    def _settle(self, now: float) -> None:
        if self.connected:
            pings = (now - self._since) / _PING_INTERVAL
            self._pings += pings
            self._pongs += pings * (1 - self._loss)
        self._since = now


class Links:
    """All link ends of one node."""

    def __init__(self, nodeid: int, network: SimulatedNetwork) -> None:
        self._nodeid = nodeid
        self._network = network
        self._ends: dict[tuple[int, int], LinkEnd] = {}
        self._present: frozenset[int] = frozenset()
        self._nodes: dict[int, cluster.NodeConfig] = {}

    def read(self, now: float, config: cluster.ClusterConfig) -> None:
        """Record a configuration, the first or a changed one, which may have more links."""
        self._nodes = {node.nodeid: node for node in config.nodes}
        for peer in self._present & self._nodes.keys():
            self.look(now, peer)

    def numbers(self, peer: int) -> range:
        """The numbers of the links to a node. As in knet, a node has one link to itself."""
        if peer == self._nodeid:
            return range(1)
        return range(link_count(self._nodes[self._nodeid], self._nodes[peer]))

    def update(self, now: float, present: frozenset[int]) -> None:
        """Record which nodes are up and in the same partition."""
        for peer in (present ^ self._present) & self._nodes.keys():
            for number in self.numbers(peer):
                self._observe(now, peer, number, peer in present)
        self._present = present

    def look(self, now: float, peer: int) -> None:
        """The quality of the links to a node has changed."""
        for number in self.numbers(peer):
            if peer in self._present or (peer, number) in self._ends:
                self._observe(now, peer, number, peer in self._present)

    def clear(self, now: float) -> None:
        """Count from 0 again, on all links."""
        for (peer, number), end in self._ends.items():
            self._ends[peer, number] = fresh = LinkEnd(end.connected, _since=now)
            fresh.observe(now, end.connected, self.quality(peer, number))

    def connected(self, peer: int, number: int) -> bool:
        """Whether a link carries data now."""
        return self._end(peer, number).connected

    def reachable(self, peer: int) -> bool:
        """Whether any link to a node carries data now."""
        return any(self.connected(peer, number) for number in self.numbers(peer))

    def quality(self, peer: int, number: int) -> LinkQuality:
        """The link's quality as this node measures it."""
        if peer == self._nodeid:
            return _TO_ONESELF
        return self._network.quality(self._nodeid, peer, number)

    def counters(self, now: float, peer: int, number: int) -> dict[str, int]:
        """The values of one link, by the names of the statistics; missing ones are 0."""
        values = {"enabled": 1, "mtu": self.quality(peer, number).mtu}
        if peer != self._nodeid:
            return values | self._end(peer, number).counters(now)
        return values | {"connected": 1, "up_count": 1, "latency_min": MAX_UINT32}

    def _observe(self, now: float, peer: int, number: int, present: bool) -> None:
        quality = self.quality(peer, number)
        # knet counts it as going down that a remote link is not up at first.
        first = LinkEnd(down_count=int(peer != self._nodeid), _since=now)
        end = self._ends.setdefault((peer, number), first)
        end.observe(now, present and quality.connected, quality)

    def _end(self, peer: int, number: int) -> LinkEnd:
        return self._ends.get((peer, number), _NEVER_UP)


_TO_ONESELF: Final = LinkQuality(latency=0.0, mtu=LOOPBACK_MTU)
_NEVER_UP: Final = LinkEnd(down_count=1)
