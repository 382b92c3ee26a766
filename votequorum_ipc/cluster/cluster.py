"""The cluster: nodes, the network between them, virtual time, and the clients' connections.

An input runs to its end before it returns: rings form, multicasts are delivered in one order to all nodes of
a partition, and the return value is everything that clients got, in order. Two things may be left open. A
membership change may wait for a quorum device; a poll, or `advance` past its sync timeout, completes it. With
a `Latency` multicasts take time, as they do in corosync; `advance` and `settle` deliver them.

A ring's id is its lowest node id, and four more than the highest sequence that any of its nodes has seen. A
node that starts counts on from what it has stored, and is alone in its first ring, as with knet, whose links
come up after the node. Source: exec/totemsrp.c and exec/sync.c of corosync 3.1.7.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ..errors import Library
from ..types import RingId
from .config import ClusterConfig, check_ranges, effective_rules
from .effects import NANOSECONDS, Clock, Timer
from .messages import Conn, ConnectionClosed, Output, Request, ServiceKind
from .node import NodeModel
from .state import Disk
from .under_way import Delivery, Latency, UnderWay

RING_SEQ_STEP = 4
"""How much a ring's sequence exceeds the highest one that its nodes have seen."""

_SERVICES_BEFORE = 3
"""Services that synchronise before votequorum: cmap, cpg and quorum."""

_LEAVING_LEGS = 10
"""How long a node takes to shut down, in legs of a multicast: the others have heard of it by then."""

Outputs = list[tuple[Conn, Output]]
"""The clients' outputs, in order."""


def usually_speaks_first(members: tuple[int, ...]) -> int:
    """The place of the member whose messages come first in a new ring of corosyncs; the others follow by id.

    Members speak in the order of their ids, as the token goes round. With each service that synchronises, the
    turn to begin moves to the member before. Real rings of up to 6 nodes did so, larger ones most times
    (`tests/cluster/test_on_real.py`).
    """
    return -_SERVICES_BEFORE % len(members)


@dataclass(slots=True)
class Membership:
    """One ring, shared by its nodes until they get another.

    `synchronising` until its nodes have heard each other and no device holds it back.
    """

    ring_id: RingId
    members: tuple[int, ...]
    under_way: UnderWay
    synchronising: bool = True


class Cluster:
    """N nodes that all start down, on one network, at time 0.

    `disks` is what each node has stored, by node id: it outlives the node's processes, and a test may
    change it while the node is down. Without a `latency` multicasts arrive at once, which is kinder than
    corosync. Raises `ConfigurationError` where corosync would not start.
    """

    def __init__(self, config: ClusterConfig, latency: Latency | None = None) -> None:
        self.rules = effective_rules(config)
        self.config = config
        self.latency = latency
        self.disks = {nodeid: Disk() for nodeid in config.nodeids}
        self._nodes: dict[int, NodeModel] = {}
        self._segment = dict.fromkeys(config.nodeids, 0)
        self.speaks_first: dict[tuple[int, ...], int] = {}
        """By the members of a ring, the place of the one that speaks first, where it is not
        `usually_speaks_first`. With a latency the order is up to the latency."""
        self._membership: dict[int, Membership] = {}
        self._clock = Clock()
        self._leaving: dict[int, int] = {}
        """The nodes that shut down, and when each is gone."""
        self._multicasts = 0
        self._connects = 0
        self._outputs: Outputs = []

    @property
    def now(self) -> float:
        """Virtual seconds since the cluster was made."""
        return self._clock.now / NANOSECONDS

    @property
    def nodes(self) -> dict[int, NodeModel]:
        """The nodes that are up, by id, sorted, without those that shut down. For reading."""
        return {nodeid: node for nodeid, node in sorted(self._nodes.items()) if nodeid not in self._leaving}

    def node(self, nodeid: int) -> NodeModel:
        """A node that is up, for reading; `Library` if it is down."""
        self._check_ids([nodeid])
        if nodeid not in self._nodes or nodeid in self._leaving:
            raise Library(f"node {nodeid} is down")
        return self._nodes[nodeid]

    def is_synchronising(self, nodeid: int) -> bool:
        """Whether a membership change of this node still waits for a quorum device or for multicasts."""
        self.node(nodeid)
        return self._membership[nodeid].synchronising

    def partitions(self) -> list[tuple[int, ...]]:
        """The nodes that are up, or shut down, grouped by partition, sorted."""
        return [membership.members for membership in self._memberships()]

    # -- nodes and network ---------------------------------------------------------------------------

    def up(self, *nodeids: int) -> Outputs:
        """Start nodes; those that are up already stay as they are."""
        self._check_ids(nodeids)
        for nodeid in sorted(set(nodeids) & self._leaving.keys()):
            self._stop(nodeid)
        for nodeid in sorted(set(nodeids) - self._nodes.keys()):
            self._start(nodeid)
            self._form_ring((nodeid,))
        self._reshape()
        return self._take()

    def kill(self, *nodeids: int) -> Outputs:
        """Crash nodes; those that are down already stay down."""
        self._check_ids(nodeids)
        for nodeid in sorted(set(nodeids) & self._nodes.keys()):
            self._stop(nodeid)
        self._reshape()
        return self._take()

    def leave(self, *nodeids: int) -> Outputs:
        """Shut nodes down in order; those that are down already stay down.

        With a latency they are gone a moment after the others have heard of it.
        """
        self._check_ids(nodeids)
        leaving = sorted((set(nodeids) & self._nodes.keys()) - self._leaving.keys())
        for nodeid in leaving:
            self._close_connections(nodeid)
            self._nodes[nodeid].announce_leaving()
            self._settle(self._membership[nodeid])
        for nodeid in leaving:
            if self.latency is None:
                self._stop(nodeid)
            else:
                self._leaving[nodeid] = self._clock.now + _LEAVING_LEGS * self.latency.leg(nodeid)
        self._reshape()
        return self._take()

    def partition(self, *groups: Collection[int]) -> Outputs:
        """Cut the network: nodes hear those of their own group only. Nodes in no group form one more.

        Nodes that are down belong to groups too; it matters when they start.
        """
        self.check_groups(*groups)
        self._segment = dict.fromkeys(self.config.nodeids, len(groups))
        for number, group in enumerate(groups):
            self._segment.update(dict.fromkeys(group, number))
        self._reshape()
        return self._take()

    def check_groups(self, *groups: Collection[int]) -> None:
        """Raise `ValueError` for groups that `partition` does not take."""
        named = [nodeid for group in groups for nodeid in group]
        self._check_ids(named)
        if len(set(named)) != len(named):
            raise ValueError("a node is in two groups")

    def heal(self) -> Outputs:
        """Repair the network: every node hears every other."""
        return self.partition()

    def reform(self, *nodeids: int) -> Outputs:
        """The partitions of these nodes lose their token and form new rings of the same members."""
        for members in sorted({self._membership[self.node(nodeid).nodeid].members for nodeid in nodeids}):
            self._form_ring(members)
        return self._take()

    def resynchronise(self) -> Outputs:
        """Every partition synchronises its services once more on its current ring.

        corosync never does this, but its simulator corosync-vqsim does.
        """
        for membership in self._memberships():
            self._synchronise(membership)
        return self._take()

    def reload(self, config: ClusterConfig) -> Outputs:
        """Every node that is up reads a changed configuration (`corosync-cfgtool -R`).

        New nodes start with `up`. Raises `ValueError` if a node that is up is missing, or if the provider
        changes, which takes a restart, and `ConfigurationError` for numbers that corosync cannot hold.
        """
        if missing := self._nodes.keys() - set(config.nodeids):
            raise ValueError(f"these nodes are up and not in the new configuration: {sorted(missing)}")
        if config.provider != self.config.provider:
            raise ValueError("a reload does not change the quorum provider")
        check_ranges(config)
        self.config = config
        for nodeid in config.nodeids:
            self.disks.setdefault(nodeid, Disk())
            self._segment.setdefault(nodeid, 0)
        for node in self._nodes.values():
            node.reload(config)
        for membership in self._memberships():
            self._settle(membership)
        return self._take()

    def reconfigure(self, nodeid: int, config: ClusterConfig) -> Outputs:
        """One running node reads its own configuration, as after a write to its cmap.

        Raises `ConfigurationError` for numbers that corosync cannot hold. The next `reload` ends it.
        """
        node = self.node(nodeid)
        check_ranges(config)
        node.reload(config)
        return self._finish(nodeid)

    def cancel_wait_for_all(self, nodeid: int) -> Outputs:
        """The operator ends wait_for_all's waiting in a node's partition (cmap's cancel_wait_for_all)."""
        self.node(nodeid).cancel_wait_for_all()
        return self._finish(nodeid)

    # -- time ----------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When the next event happens by itself, in virtual seconds; None if none will.

        A timer goes off, a multicast arrives, or a node that shuts down is gone.
        """
        instant = self._next_instant()
        return None if instant is None else instant / NANOSECONDS

    def advance(self, seconds: float) -> Outputs:
        """Let time pass; everything that falls due happens at its own instant."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        end = self._clock.now + round(seconds * NANOSECONDS)
        while (instant := self._next_instant()) is not None and instant <= end:
            self._happen_at(instant)
        self._clock.now = end
        return self._take()

    @property
    def is_settled(self) -> bool:
        """Whether no multicast is under way and no node is shutting down. Timers may still run."""
        return not self._leaving and not any(membership.under_way for membership in self._memberships())

    def settle(self) -> Outputs:
        """Let time pass until the cluster `is_settled`: at once without a latency, else some milliseconds."""
        while not self.is_settled:
            instant = self._next_instant()
            assert instant is not None
            self._happen_at(instant)
        return self._take()

    def _next_instant(self) -> int | None:
        arrivals = (membership.under_way.next_due() for membership in self._memberships())
        due = [instant for instant in arrivals if instant is not None]
        instants = [*due, *self._leaving.values(), *(timer[0] for timer in self._timers())]
        return max(min(instants), self._clock.now) if instants else None

    def _happen_at(self, instant: int) -> None:
        """One instant's happenings: multicasts arrive, or else a node is gone, or else one timer goes off."""
        self._clock.now = instant
        arriving = [each for each in self._memberships() if _is_due(each, instant)]
        gone = [nodeid for nodeid, end in sorted(self._leaving.items()) if end <= instant]
        for membership in arriving:
            self._settle(membership)
        if gone and not arriving:
            for nodeid in gone:
                self._stop(nodeid)
            self._reshape()
        elif not arriving:
            _, nodeid, timer = min(self._timers())
            self._nodes[nodeid].fire(timer)
            self._settle(self._membership[nodeid])

    def _timers(self) -> list[tuple[int, int, Timer]]:
        return [
            (deadline, nodeid, timer)
            for nodeid, node in self._nodes.items()
            for timer, deadline in node.effects.deadlines.items()
        ]

    # -- clients -------------------------------------------------------------------------------------

    def connect(self, nodeid: int, service: ServiceKind) -> Conn:
        """Connect a client to a node's service; `Library` if the node is down or does not have the
        service."""
        node = self.node(nodeid)
        if service == ServiceKind.VOTEQUORUM and not self.config.provider:
            raise Library("there is no votequorum: no quorum provider is configured")
        self._connects += 1
        conn = Conn(nodeid, ServiceKind(service), self._connects)
        node.conns[conn] = None
        return conn

    def disconnect(self, conn: Conn) -> None:
        """Disconnect a client; it gets nothing more. Does nothing if its node has gone first."""
        node = self._nodes.get(conn.nodeid)
        if node is not None and conn in node.conns:
            node.disconnect(conn)

    def request(self, conn: Conn, request: Request) -> Outputs:
        """Handle a client's request; `Library` if its connection is closed.

        The response may come from a later input: while the membership synchronises, the quorum service's
        clients wait.
        """
        node = self.node(conn.nodeid)
        if conn not in node.conns:
            raise Library("the connection is closed")
        node.request(conn, request)
        return self._finish(conn.nodeid)

    # -- inside --------------------------------------------------------------------------------------

    def _check_ids(self, nodeids: Iterable[int]) -> None:
        unknown = set(nodeids) - set(self.config.nodeids)
        if unknown:
            raise ValueError(f"no such node: {', '.join(map(str, sorted(unknown)))}")

    def _memberships(self) -> list[Membership]:
        distinct = {membership.members: membership for membership in self._membership.values()}
        return [membership for _, membership in sorted(distinct.items())]

    def _start(self, nodeid: int) -> None:
        self.disks[nodeid].ring_seq += 1
        self._nodes[nodeid] = NodeModel(nodeid, self.config, self.disks[nodeid], self._clock)

    def _stop(self, nodeid: int) -> None:
        self._close_connections(nodeid)
        self._leaving.pop(nodeid, None)
        self._membership[nodeid].under_way.forget(nodeid)
        del self._nodes[nodeid], self._membership[nodeid]

    def _close_connections(self, nodeid: int) -> None:
        node = self._nodes[nodeid]
        for conn in list(node.conns):
            node.disconnect(conn)
            self._outputs.append((conn, ConnectionClosed()))

    def _reshape(self) -> None:
        """Form the rings that the network allows and that do not exist yet."""
        wanted: dict[int, list[int]] = {}
        for nodeid in sorted(self._nodes):
            wanted.setdefault(self._segment[nodeid], []).append(nodeid)
        for members in sorted(tuple(nodeids) for nodeids in wanted.values()):
            if any(self._membership[nodeid].members != members for nodeid in members):
                self._form_ring(members)

    def _form_ring(self, members: tuple[int, ...]) -> None:
        disks = [self.disks[nodeid] for nodeid in members]
        ring_id = RingId(members[0], max(disk.ring_seq for disk in disks) + RING_SEQ_STEP)
        for disk in disks:
            disk.ring_seq = ring_id.seq
        self._recover(members)
        membership = Membership(ring_id, members, UnderWay(members, self.latency))
        for nodeid in members:
            self._membership[nodeid] = membership
        self._synchronise(membership)

    def _recover(self, members: tuple[int, ...]) -> None:
        """Nodes that come from the same ring first deliver its remaining messages, before the new ring."""
        together: dict[RingId, list[int]] = {}
        for nodeid in members:
            if nodeid in self._membership:
                together.setdefault(self._membership[nodeid].ring_id, []).append(nodeid)
        for nodeids in together.values():
            for delivery in self._membership[nodeids[0]].under_way.recover(nodeids):
                self._hand_over(delivery)

    def _synchronise(self, membership: Membership) -> None:
        self._sync_init(membership)
        for nodeid in membership.members:
            self._nodes[nodeid].sync_process()
        self._settle(membership)

    def _sync_init(self, membership: Membership) -> None:
        """Up to the point where votequorum's turn comes: the quorum service has nothing to tell others."""
        membership.synchronising = True
        members = membership.members
        rings = {nodeid: self._nodes[nodeid].ring_id for nodeid in members}
        for nodeid in members:
            came_along = frozenset(other for other in members if rings[other] == rings[nodeid])
            self._nodes[nodeid].sync_init(came_along, members, membership.ring_id)
        for nodeid in members:
            self._nodes[nodeid].activate_quorum()

    def _settle(self, membership: Membership) -> None:
        """Deliver what is due. Complete the membership change if that is all and no device holds it."""
        self._deliver(membership)
        if not membership.synchronising or membership.under_way:
            return
        nodes = [self._nodes[nodeid] for nodeid in membership.members]
        if not any(node.waits_for_device for node in nodes):
            membership.synchronising = False
            for node in nodes:
                node.activate_votequorum()
            self._deliver(membership)

    def _deliver(self, membership: Membership) -> None:
        members = membership.members
        first = self.speaks_first.get(members, usually_speaks_first(members))
        self._collect(membership, (*members[first:], *members[:first]))
        while (delivery := membership.under_way.take(self._clock.now)) is not None:
            self._hand_over(delivery)
            self._collect(membership, delivery.nodeids)

    def _hand_over(self, delivery: Delivery) -> None:
        for nodeid in delivery.nodeids:
            self._nodes[nodeid].deliver(delivery.message, delivery.sender)

    def _collect(self, membership: Membership, nodeids: Collection[int]) -> None:
        """Take what nodes have left in their effects."""
        for nodeid in nodeids:
            node = self._nodes[nodeid]
            for message in node.effects.multicasts:
                self._multicasts += 1
                membership.under_way.send(self._clock.now, self._multicasts, nodeid, message)
            self._outputs.extend(output for output in node.effects.outputs if output[0] in node.conns)
            node.effects.multicasts.clear()
            node.effects.outputs.clear()

    def _finish(self, nodeid: int) -> Outputs:
        self._settle(self._membership[nodeid])
        return self._take()

    def _take(self) -> Outputs:
        outputs, self._outputs = self._outputs, []
        return outputs


def _is_due(membership: Membership, instant: int) -> bool:
    due = membership.under_way.next_due()
    return due is not None and due <= instant
