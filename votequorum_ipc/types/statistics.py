"""Links, and corosync's statistics since its start: what `Observer` reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .cfg import LinkStatus


class LinkStatistics(NamedTuple):
    """corosync's statistics of one link; the names are those of the keys stats.knet.nodeN.linkN.*.

    Times are in microseconds. Everything but `connected` and `mtu` counts from the daemon's start.
    """

    latency_ave: int
    """Average round-trip time of knet's heartbeat; 0 before the first one."""
    latency_max: int
    """The largest value that `latency_ave` has had; knet does not record single round trips."""
    down_count: int
    """How often it has been down. A link to another node begins down, so this is 1 if it has never failed."""
    up_count: int
    tx_ping_packets: int
    """Heartbeats sent."""
    rx_pong_packets: int
    """Heartbeats answered. Those sent and not answered are lost or still on their way."""
    tx_total_errors: int

    @property
    def lost_pings(self) -> int:
        """Heartbeats without an answer; the last one may still be on its way."""
        return max(self.tx_ping_packets - self.rx_pong_packets, 0)


@dataclass(frozen=True, slots=True)
class Link:
    """One knet link from this node to another node, as this node sees it."""

    node_id: int
    """The other node."""
    number: int
    status: LinkStatus
    statistics: LinkStatistics | None
    """None if corosync's statistics cannot be read."""


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """A link to another node was connected or went down, as this node sees it."""

    node_id: int
    """The other node."""
    number: int
    connected: bool
    """Whether it is connected now."""
    times_down: int
    """How often it went down since the last look; 0 if it was down at the first look, or came up."""


class TotemStatistics(NamedTuple):
    """totem's statistics since the daemon's start; the names are those of the keys stats.srp.*."""

    operational_token_lost: int
    gather_token_lost: int
    commit_token_lost: int
    recovery_token_lost: int
    consensus_timeouts: int
    mcast_retx: int
    """Messages that were retransmitted."""
    rx_msg_dropped: int
    mtt_rx_token: int
    """Mean time between two tokens, in milliseconds."""
    continuous_gather: int
    """Attempts to form a membership since the last success."""
    firewall_enabled_or_nic_failure: int
    """1 when so many have failed that corosync suspects the network."""

    @property
    def token_losses(self) -> int:
        """Losses of the token in every state."""
        return (
            self.operational_token_lost
            + self.gather_token_lost
            + self.commit_token_lost
            + self.recovery_token_lost
        )


class SchedulingMiss(NamedTuple):
    """corosync was not scheduled in time (stats.schedmiss.N.*; corosync keeps the last ten)."""

    timestamp: int
    """Milliseconds since the Epoch."""
    delay: float
    """How many milliseconds it did not run."""
