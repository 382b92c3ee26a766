"""What one node knows of the others: votequorum's node database.

A node enters when its first message arrives and is never forgotten, only marked dead. The device has an entry
of its own, under id 0, that is in none of the lists. Entries are not sorted by id: a node whose id
is higher than all known ones is put before the last, as in votequorum, and notifications show that order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from votequorum_ipc.cluster.messages import NodeFlags
from votequorum_ipc.types import QDEVICE_NODEID, Node, NodeState

NO_FLAGS = NodeFlags(0)

UNSET_STATE = NodeState(0)
"""The state of a quorum device's entry: votequorum never gives it one."""


@dataclass(slots=True)
class ClusterNode:
    """One entry (votequorum's struct cluster_node)."""

    nodeid: int
    state: NodeState = UNSET_STATE
    votes: int = 0
    expected_votes: int = 0
    flags: NodeFlags = NO_FLAGS

    @property
    def is_member(self) -> bool:
        """Whether its votes count."""
        return self.state == NodeState.MEMBER


@dataclass(slots=True)
class NodeDatabase:
    """`us` is the node that keeps the database, `qdevice` its quorum device's entry."""

    us: ClusterNode
    qdevice: ClusterNode = field(default_factory=lambda: ClusterNode(QDEVICE_NODEID))
    nodes: list[ClusterNode] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = [self.us]

    def find(self, nodeid: int) -> ClusterNode | None:
        """The entry of a node, or of the device for id 0."""
        if nodeid == QDEVICE_NODEID:
            return self.qdevice
        return next((node for node in self.nodes if node.nodeid == nodeid), None)

    def add(self, nodeid: int) -> ClusterNode:
        """A new entry, for a node that was not known."""
        new = ClusterNode(nodeid)
        higher = (at for at, node in enumerate(self.nodes) if nodeid < node.nodeid)
        self.nodes.insert(next(higher, len(self.nodes) - 1), new)
        return new

    def members(self) -> Iterator[ClusterNode]:
        """The nodes whose votes count."""
        return (node for node in self.nodes if node.is_member)

    def member_votes(self) -> int:
        """The members' votes, without the device's."""
        return sum(node.votes for node in self.members())

    def highest_expected(self) -> int:
        """The most votes that a member expects."""
        return max((node.expected_votes for node in self.members()), default=0)

    def has_member(self, nodeid: int) -> bool:
        """Whether this node is one whose votes count."""
        return any(node.nodeid == nodeid for node in self.members())

    def set_expected_votes(self, expected_votes: int) -> None:
        """Write the members' expected votes; 0 changes nothing."""
        if expected_votes:
            for node in self.members():
                node.expected_votes = expected_votes

    def states(self) -> tuple[Node, ...]:
        """All nodes ever seen, and the device while one is registered here, as a notification lists them."""
        nodes = [Node(node.nodeid, node.state) for node in self.nodes]
        if NodeFlags.QDEVICE_REGISTERED in self.us.flags:
            nodes.append(Node(QDEVICE_NODEID, self.qdevice.state))
        return tuple(nodes)
