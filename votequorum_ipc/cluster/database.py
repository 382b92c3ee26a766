"""What one node knows about the others: votequorum's node database.

A node enters when its first message arrives and is never forgotten, only marked dead. The device has its
own entry, under id 0, that is in none of the lists. Entries are not sorted by id: a node whose id
is higher than all known ones is put before the last, as in votequorum, and notifications show that order.

Votes are needed for every message that every node gets, so the sums over the members are maintained, not
computed each time: their sources change only through `NodeDatabase.change`.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..types import QDEVICE_NODEID, Node, NodeState
from .messages import NodeFlags

NO_FLAGS = NodeFlags(0)

UNSET_STATE = NodeState(0)
"""The state of a quorum device's entry: votequorum never gives it one."""


@dataclass(slots=True)
class ClusterNode:
    """One entry (votequorum's struct cluster_node). Once it is in a database, write no field except
    `flags`."""

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
    _by_id: dict[int, ClusterNode] = field(init=False, repr=False, compare=False)
    _member_ids: list[int] = field(default_factory=list, init=False, repr=False, compare=False)
    """Sorted."""
    _member_votes: int = field(default=0, init=False, repr=False, compare=False)
    _expected: Counter[int] = field(default_factory=Counter, init=False, repr=False, compare=False)
    """Expected votes: how many members expect each number."""

    def __post_init__(self) -> None:
        self.nodes = [self.us]
        self._by_id = {QDEVICE_NODEID: self.qdevice, self.us.nodeid: self.us}
        self._enter(self.us)

    @classmethod
    def of_members(cls, nodeid: int, members: Sequence[ClusterNode]) -> NodeDatabase:
        """The database of node `nodeid` with these entries, all members, its own among them."""
        db = cls(next(node for node in members if node.nodeid == nodeid))
        for node in members:
            if node is not db.us:
                db._by_id[node.nodeid] = node
                db._enter(node)
        db.nodes = list(members)
        return db

    def find(self, nodeid: int) -> ClusterNode | None:
        """The entry of a node, or of the device for id 0."""
        return self._by_id.get(nodeid)

    def add(self, nodeid: int) -> ClusterNode:
        """A new entry, for a node that was not known."""
        new = self._by_id[nodeid] = ClusterNode(nodeid)
        higher = (at for at, node in enumerate(self.nodes) if nodeid < node.nodeid)
        self.nodes.insert(next(higher, len(self.nodes) - 1), new)
        return new

    def change(
        self,
        node: ClusterNode,
        *,
        state: NodeState | None = None,
        votes: int | None = None,
        expected_votes: int | None = None,
    ) -> None:
        """Write fields of an entry; None leaves one as it is."""
        new = (
            node.state if state is None else state,
            node.votes if votes is None else votes,
            node.expected_votes if expected_votes is None else expected_votes,
        )
        if new != (node.state, node.votes, node.expected_votes):
            self._leave(node)
            node.state, node.votes, node.expected_votes = new
            self._enter(node)

    def _enter(self, node: ClusterNode) -> None:
        if node.is_member:
            bisect.insort(self._member_ids, node.nodeid)
            self._member_votes += node.votes
            self._expected[node.expected_votes] += 1

    def _leave(self, node: ClusterNode) -> None:
        if node.is_member:
            del self._member_ids[bisect.bisect_left(self._member_ids, node.nodeid)]
            self._member_votes -= node.votes
            self._expected[node.expected_votes] -= 1
            if not self._expected[node.expected_votes]:
                del self._expected[node.expected_votes]

    def members(self) -> Iterator[ClusterNode]:
        """The nodes whose votes count."""
        return (node for node in self.nodes if node.is_member)

    def member_count(self) -> int:
        """How many nodes' votes count."""
        return len(self._member_ids)

    def member_votes(self) -> int:
        """The members' votes, without the device's."""
        return self._member_votes

    def highest_expected(self) -> int:
        """The most votes that a member expects."""
        return max(self._expected, default=0)

    def lowest_and_highest(self) -> tuple[int, int]:
        """Of the ids of the members and of this node."""
        nodeids = [*self._member_ids[:1], *self._member_ids[-1:], self.us.nodeid]
        return min(nodeids), max(nodeids)

    def has_member(self, nodeid: int) -> bool:
        """Whether this node's votes count."""
        node = self.find(nodeid)
        return node is not None and node.is_member

    def set_expected_votes(self, expected_votes: int) -> None:
        """Write the members' expected votes; 0 changes nothing."""
        if expected_votes:
            for node in self.members():
                self.change(node, expected_votes=expected_votes)

    def states(self) -> tuple[Node, ...]:
        """All nodes ever seen, and the device while one is registered here, as a notification lists them."""
        nodes = [Node(node.nodeid, node.state) for node in self.nodes]
        if NodeFlags.QDEVICE_REGISTERED in self.us.flags:
            nodes.append(Node(QDEVICE_NODEID, self.qdevice.state))
        return tuple(nodes)
