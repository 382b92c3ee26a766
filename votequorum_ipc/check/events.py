"""The events that can happen to a cluster, each in an administrator's words.

`faults` is an event's weight in a search that is bounded by faults: a crashed node is one fault, a broken
network is one, a failed device is one. Repairs, restarts and the passing of time are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Group = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Crash:
    """Nodes of one partition stop at the same moment."""

    nodeids: Group
    faults: int

    def __str__(self) -> str:
        if len(self.nodeids) == 1:
            return f"{_nodes(self.nodeids)} crashes"
        return f"{_nodes(self.nodeids)} crash at the same moment"


@dataclass(frozen=True, slots=True)
class PowerCut:
    """All nodes stop."""

    faults: int = 1

    def __str__(self) -> str:
        return "the power fails: all nodes stop"


@dataclass(frozen=True, slots=True)
class Leave:
    """A node shuts corosync down cleanly."""

    nodeid: int
    faults: int = 0

    def __str__(self) -> str:
        return f"node {self.nodeid} is shut down cleanly"


@dataclass(frozen=True, slots=True)
class Start:
    """A node starts and finds the nodes `others`."""

    nodeid: int
    others: Group
    faults: int = 0

    def __str__(self) -> str:
        found = f"and joins {_nodes(self.others)}" if self.others else "and reaches no other node"
        return f"node {self.nodeid} starts {found}"


@dataclass(frozen=True, slots=True)
class Network:
    """The network changes: from now on the nodes of each group see each other. `heals`: nothing was cut."""

    groups: tuple[Group, ...]
    heals: bool

    @property
    def faults(self) -> int:
        """A network that breaks is one fault, however it breaks."""
        return 0 if self.heals else 1

    def __str__(self) -> str:
        sides = " | ".join(" ".join(map(str, group)) for group in self.groups)
        if len(self.groups) == 1:
            return "the network heals: all running nodes see each other"
        verb = "heals in part" if self.heals else "splits"
        return f"the network {verb}: {sides}"


@dataclass(frozen=True, slots=True)
class Window:
    """Time passes, and the last_man_standing windows that are due next end."""

    nodeids: Group
    faults: int = 0

    def __str__(self) -> str:
        return f"the last_man_standing window of {_nodes(self.nodeids)} passes"


@dataclass(frozen=True, slots=True)
class Votes:
    """The quorum device changes its mind: it votes for these nodes now, and for no others."""

    nodeids: Group
    faults: int = 0

    def __str__(self) -> str:
        return (
            f"the device now votes for {_nodes(self.nodeids)}"
            if self.nodeids
            else "the device votes for no node"
        )


@dataclass(frozen=True, slots=True)
class DeviceFails:
    """The device no longer answers."""

    faults: int = 1

    def __str__(self) -> str:
        return "the quorum device fails"


@dataclass(frozen=True, slots=True)
class DeviceReturns:
    """The device is back, and votes for these nodes."""

    nodeids: Group
    faults: int = 0

    def __str__(self) -> str:
        return f"the quorum device is back{f', and votes for {_nodes(self.nodeids)}' if self.nodeids else ''}"


@dataclass(frozen=True, slots=True)
class CancelWaitForAll:
    """The operator sets cmap's quorum.cancel_wait_for_all on a node of this partition."""

    nodeids: Group
    faults: int = 0

    def __str__(self) -> str:
        return f"the operator cancels wait_for_all on {_nodes(self.nodeids)}"


@dataclass(frozen=True, slots=True)
class ExpectedVotes:
    """The operator sets expected votes on a node, which tells the others of its partition."""

    nodeid: int
    expected_votes: int
    faults: int = 0

    def __str__(self) -> str:
        return f"the operator sets expected votes {self.expected_votes} on node {self.nodeid}"


Event = (
    Crash
    | PowerCut
    | Leave
    | Start
    | Network
    | Window
    | Votes
    | DeviceFails
    | DeviceReturns
    | CancelWaitForAll
    | ExpectedVotes
)


def _nodes(nodeids: Iterable[int]) -> str:
    *most, last = [str(nodeid) for nodeid in nodeids]
    return f"nodes {', '.join(most)} and {last}" if most else f"node {last}"
