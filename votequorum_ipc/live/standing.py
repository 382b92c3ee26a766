"""What may be shown as known now.

Strategy: the last view is shown with its age, and only while it is fresh enough. A view older than the limit
says nothing about the present: the state is then UNKNOWN, and nothing in the view is shown as true. So it
does not matter why no newer view came: a frozen daemon, a hanging follower, or a suspended screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..cli.common import printable
from ..explain import why_not_quorate
from ..overview import Overview
from ..types import ClusterStatus, ConfiguredNode, Link, QuorumState
from .feed import TICK, Told

_LATE_SECONDS: Final = 2 * TICK + 0.5
"""From this age on, the age is shown."""


def age_limit(patience: float) -> float:
    """How old a view may be in seconds: corosync has `patience` seconds to answer, and is asked at each
    tick."""
    return patience + 2 * TICK


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known now."""

    state: QuorumState
    status: ClusterStatus | None
    """None while unknown."""
    reason: str
    """Why there is no quorum, or why quorum is unknown; empty while quorate."""
    late: str = ""
    """A note that the last answer is some seconds old; empty while it is fresh."""


NOT_ASKED: Final = Standing(QuorumState.UNKNOWN, None, "asking corosync")
"""Before the first answer."""


def standing(told: Told | None, now: float, limit: float) -> Standing:
    """What is known at the time `now`, on the clock of `Told`, if views may be `limit` seconds old."""
    if told is None:
        return NOT_ASKED
    age, view = now - told.asked_at, told.view
    if view.status is None:
        return Standing(QuorumState.UNKNOWN, None, f"{printable(str(view.error))}; asking again")
    if age > limit:
        why = f"no answer for {age:.0f} s; it was {view.state.value} then; asking again"
        return Standing(QuorumState.UNKNOWN, None, why)
    late = f"no answer for {age:.0f} s" if age > _LATE_SECONDS else ""
    return Standing(view.state, view.status, printable(why_not_quorate(view.status)), late)


@dataclass(frozen=True, slots=True)
class LinkStanding:
    """The known links from this node to another node."""

    connected: int
    count: int
    latency: float | None
    """The latency of the slowest connected link in milliseconds; None if unknown."""


def links_to(node_id: int, overview: Overview | None) -> LinkStanding | None:
    """The links to a node; None if they are unknown or there are none."""
    links = [link for link in (overview.links if overview else None) or () if link.node_id == node_id]
    if not links:
        return None
    connected = [link for link in links if link.status.connected]
    return LinkStanding(len(connected), len(links), _slowest(connected))


def known_nodes(status: ClusterStatus) -> tuple[ConfiguredNode, ...]:
    """The configured nodes and the members, by node id."""
    nodes = {
        member.node_id: ConfiguredNode(member.node_id, member.name, member.address)
        for member in status.members
    }
    nodes |= {node.node_id: node for node in status.configured}
    return tuple(nodes[node_id] for node_id in sorted(nodes))


def _slowest(links: list[Link]) -> float | None:
    averages = [
        link.statistics.latency_ave for link in links if link.statistics and link.statistics.latency_ave
    ]
    return max(averages) / 1000 if averages else None
