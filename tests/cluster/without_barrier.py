"""The model's nodes on vqsim's schedule, which has no barrier between hearing the others and deciding.

It separates differences between the model and corosync from differences between corosync and its simulator:
only the order of events differs from the model's; the code that handles an event is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from votequorum_ipc.cluster import Cluster, ClusterConfig, Outputs
from votequorum_ipc.cluster.cluster import Membership
from votequorum_ipc.cluster.under_way import UnderWay
from votequorum_ipc.types import RingId

_TELLING = (
    "db",
    "quorum",
    "quorate",
    "wait_for_all_status",
    "previous_members",
    "last_man_standing",
    "lowest_node_id",
    "highest_node_id",
    "ev_barrier",
)
"""The parts of a node's state that decide about its future."""


class WithoutBarrier(Cluster):
    """The model's nodes in an order in which vqsim may run them.

    Nodes decide in groups: those of a group at once, before they hear each other, and after they have heard
    the groups before. `order` chooses the groups. A node that starts learns of its partition before it has
    finished with its own ring, so it decides a second time.
    """

    def __init__(self, config: ClusterConfig) -> None:
        super().__init__(config)
        self.order: Callable[[list[int]], list[list[int]]] = lambda nodeids: [nodeids]
        self._undecided: set[int] = set()
        self._starting: int | None = None
        self._turns: list[int] = []

    def up(self, *nodeids: int) -> Outputs:
        (nodeid,) = nodeids
        self._start(nodeid)
        self._nodes[nodeid].sync_init(frozenset({nodeid}), (nodeid,), RingId(nodeid, 1))
        self._membership[nodeid] = Membership(RingId(nodeid, 1), (nodeid,), UnderWay((nodeid,)))
        self._starting = nodeid
        segment = self._segment[nodeid]
        self._form_ring(tuple(other for other in self.nodes if self._segment[other] == segment))
        self._starting = None
        return self._take()

    def _synchronise(self, membership: Membership) -> None:
        self._sync_init(membership)
        self._undecided.update(membership.members)
        turns = list(membership.members)
        if self._starting is not None:
            turns.append(self._starting)
            self._deliver(membership)
        told: set[int] = set()
        for group in self.order(turns):
            self._turns = group
            for nodeid in group:
                if nodeid not in told:
                    self._nodes[nodeid].sync_process()
                told.add(nodeid)
            self._decide(membership, group)
            self._deliver(membership)

    def _collect(self, membership: Membership, nodeids: Collection[int]) -> None:
        """A group's messages follow each other in the group's order."""
        others = [nodeid for nodeid in nodeids if nodeid not in self._turns]
        here = [nodeid for nodeid in self._turns if nodeid in nodeids]
        super()._collect(membership, (*here, *others))

    def _settle(self, membership: Membership) -> None:
        self._deliver(membership)
        self._decide(membership, [nodeid for nodeid in membership.members if nodeid in self._undecided])
        self._deliver(membership)

    def _decide(self, membership: Membership, nodeids: list[int]) -> None:
        for nodeid in nodeids:
            node = self._nodes[nodeid]
            if not node.waits_for_device:
                self._undecided.discard(nodeid)
                node.activate_votequorum()
        membership.synchronising = not self._undecided.isdisjoint(membership.members)

    def fingerprint(self) -> str:
        """Everything that distinguishes one state from another."""
        return repr(
            [
                (node.effects.deadlines, [getattr(node.votequorum, name) for name in _TELLING])
                for node in self.nodes.values()
            ]
        )
