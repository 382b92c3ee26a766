"""Puts nodes of a model into a state, and reads the state back: what a search over many states needs.

Strategy: a snapshot holds only what can decide a node's future. Ring ids, clients and the absolute time are
not in it, and `reduced` also drops what the rules in force never look at again. `Workbench` is a cluster that
holds the nodes of one new ring at a time, so one state costs a few microseconds to set up and no copying.
Until they decide, the nodes of a new ring do not wait for each other: each says what it knows
(`says`), and each hears one after another and decides (`begins`, `hears`, `decides`). So a search can ask
about one node and one speaker at a time. With a device they hear, and then go on together (`gather`).

A snapshot describes a settled node: its membership is complete, all multicasts are delivered, and its
database has exactly its ring's members. Nodes of other rings are in it as dead or not at all, and the rules
make no difference between those two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ..types import NodeState, RingId, TieBreaker
from .cluster import Cluster, Membership
from .config import ClusterConfig, Rules
from .database import ClusterNode, NodeDatabase
from .effects import Timer
from .messages import Multicast, NodeFlags
from .node import NodeModel
from .state import VotequorumState
from .under_way import UnderWay

NO_TIMER: Final = -1
"""In place of a timer's rank: it is not running."""


class Entry(NamedTuple):
    """What a node knows of one member."""

    votes: int
    expected_votes: int
    flags: NodeFlags


class NodeSnapshot(NamedTuple):
    """All that decides a settled node's future, except for its timers.

    `row` has an entry for each member in the order of their ids, itself included. The other names are those
    of `VotequorumState`.
    """

    row: tuple[Entry, ...]
    quorum: int
    quorate: bool
    last_man_standing: bool
    wait_for_all_status: bool
    ev_barrier: int
    lowest_node_id: int
    highest_node_id: int
    previous_members: tuple[int, ...]
    tracked_expected_votes: int
    device_votes: int
    qdevice_name: str
    qdevice_master_wins: bool


class Placed(NamedTuple):
    """A node in a state: its id, its ring's members, its snapshot, and when its timer is due.

    `timer` is the rank of its last_man_standing timer among those that are running (0 is due first), or
    `NO_TIMER`.
    """

    nodeid: int
    members: tuple[int, ...]
    snapshot: NodeSnapshot
    timer: int = NO_TIMER


class Listening(NamedTuple):
    """A node while it forms a ring with `members`.

    `head` is its snapshot without a row, `known` what it knows of the nodes whose votes it counts, itself
    included. `fate` says what became of a timer that ran: 0 it still runs, 1 it was started anew, `NO_TIMER`.
    `waits` says whether it waits for its quorum device before it decides.
    """

    nodeid: int
    members: tuple[int, ...]
    head: NodeSnapshot
    known: tuple[tuple[int, Entry], ...]
    fate: int
    waits: bool


class Workbench(Cluster):
    """A cluster whose nodes are put into any state, then driven like any other cluster.

    `reduced` False keeps everything in snapshots, for proving that the reduction loses nothing.
    """

    def __init__(self, config: ClusterConfig, *, reduced: bool = True) -> None:
        super().__init__(config)
        self._reduced = reduced
        self._prototypes: dict[int, NodeModel] = {}

    def place(self, nodes: tuple[Placed, ...]) -> None:
        """Make these the only nodes that are up; all timers that run are overdue by their rank."""
        self._clock.now = 0
        self._nodes = {}
        self._membership = {}
        self._outputs = []
        ranks = 1 + max((placed.timer for placed in nodes), default=0)
        for placed in nodes:
            node = self._prototype(placed.nodeid)
            _write(node, _database(placed), placed.members, placed.snapshot)
            node.effects.deadlines.clear()
            if placed.timer != NO_TIMER:
                node.effects.deadlines[Timer.LAST_MAN_STANDING] = placed.timer - ranks
            self._nodes[placed.nodeid] = node
            under_way = UnderWay(placed.members, self.latency)
            self._membership[placed.nodeid] = Membership(
                _A_RING, placed.members, under_way, synchronising=False
            )
            self.disks[placed.nodeid].ring_seq = _A_RING.seq

    def fire_first(self) -> None:
        """Let the timers of the lowest rank go off, and no other."""
        self._clock.now = min(deadline for deadline, _, _ in self._timers())
        self.advance(0)
        self._clock.now = 0

    def read(self, nodeid: int) -> NodeSnapshot:
        """A node's snapshot."""
        node = self._nodes[nodeid]
        return _read(node.votequorum, self.rules if self._reduced else None)

    def timer(self, nodeid: int, ranks: int) -> int:
        """The rank of a node's timer; `ranks` for one that was started since `place`."""
        deadline = self._nodes[nodeid].effects.deadlines.get(Timer.LAST_MAN_STANDING)
        if deadline is None:
            return NO_TIMER
        return deadline + ranks if deadline < 0 else ranks

    def says(self, placed: Placed, members: tuple[int, ...]) -> tuple[Multicast, ...]:
        """What a node tells the others when it forms a ring with these members."""
        return tuple(self._begin(placed, members).effects.multicasts)

    def begins(self, placed: Placed, members: tuple[int, ...]) -> Listening:
        """A node that forms a ring with these members, before it has heard any. Its timer runs."""
        return self._listening(self._begin(placed, members), members, 0)

    def hears(self, listening: Listening, speaker: int, said: Iterable[Multicast]) -> Listening:
        """It hears a member."""
        node = self._resume(listening)
        for message in said:
            node.deliver(message, speaker)
        return self._listening(node, listening.members, listening.fate)

    def gather(self, listening: Iterable[Listening]) -> None:
        """Make these the only nodes that are up: the members of one ring, who have heard each other."""
        nodes = {one.nodeid: self._resume(one) for one in listening}
        members = tuple(nodes)
        self._nodes = nodes
        self._membership = dict.fromkeys(
            members, Membership(_A_RING, members, UnderWay(members, self.latency), synchronising=True)
        )

    def decides(self, listening: Listening) -> Listening:
        """It has heard all members. The snapshot is that of a node that has settled."""
        node = self._resume(listening)
        node.activate_votequorum()
        decided = self._listening(node, listening.members, listening.fate)
        head = _read(node.votequorum, self.rules if self._reduced else None)._replace(row=())
        return decided._replace(head=head)

    def _begin(self, placed: Placed, members: tuple[int, ...]) -> NodeModel:
        self.place((placed,))
        node = self._nodes[placed.nodeid]
        # which nodes came along matters to the quorum service's clients only
        node.sync_init(frozenset(), members, _NEXT_RING)
        node.activate_quorum()
        node.sync_process()
        return node

    def _resume(self, listening: Listening) -> NodeModel:
        self.place(())
        node = self._prototype(listening.nodeid)
        entries = [ClusterNode(nodeid, NodeState.MEMBER, *entry) for nodeid, entry in listening.known]
        db = NodeDatabase.of_members(listening.nodeid, entries)
        _write(node, db, listening.members, listening.head)
        node.votequorum.sync_in_progress = True
        node.votequorum.waiting_for_poll = listening.waits
        node.effects.deadlines.clear()
        if listening.fate != NO_TIMER:
            node.effects.deadlines[Timer.LAST_MAN_STANDING] = -1
        return node

    def _listening(self, node: NodeModel, members: tuple[int, ...], fate: int) -> Listening:
        vq = node.votequorum
        # until the ring is complete a tie breaker may look at anything
        rules = self.rules if self._reduced and self.rules.tie_breaker is TieBreaker.NONE else None
        deadline = node.effects.deadlines.get(Timer.LAST_MAN_STANDING)
        return Listening(
            node.nodeid,
            members,
            _read(vq, rules)._replace(row=()),
            tuple(
                (one.nodeid, Entry(one.votes, one.expected_votes, one.flags))
                for one in vq.db.nodes
                if one.is_member
            ),
            NO_TIMER if deadline is None else fate if deadline < 0 else 1,
            vq.waiting_for_poll,
        )

    def _prototype(self, nodeid: int) -> NodeModel:
        if nodeid not in self._prototypes:
            self._prototypes[nodeid] = NodeModel(nodeid, self.config, self.disks[nodeid], self._clock)
        node = self._prototypes[nodeid]
        node.conns.clear()
        node.effects.multicasts.clear()
        node.effects.outputs.clear()
        return node


_A_RING: Final = RingId(1, 4)
_NEXT_RING: Final = RingId(1, 8)


def _write(node: NodeModel, db: NodeDatabase, members: tuple[int, ...], snapshot: NodeSnapshot) -> None:
    vq = node.votequorum
    vq.db = db
    db.qdevice.votes = snapshot.device_votes
    vq.quorum = snapshot.quorum
    vq.quorate = node.quorum.quorate = snapshot.quorate
    vq.last_man_standing = snapshot.last_man_standing
    vq.wait_for_all_status = snapshot.wait_for_all_status
    vq.ev_barrier = snapshot.ev_barrier
    vq.lowest_node_id = snapshot.lowest_node_id
    vq.highest_node_id = snapshot.highest_node_id
    vq.members = members
    vq.previous_members = snapshot.previous_members
    vq.ring_id = _A_RING
    vq.qdevice_name = snapshot.qdevice_name
    vq.qdevice_master_wins = snapshot.qdevice_master_wins
    vq.registering = None
    vq.sync_in_progress = False
    vq.waiting_for_poll = False
    vq.disk.tracked_expected_votes = snapshot.tracked_expected_votes


def _database(placed: Placed) -> NodeDatabase:
    entries = [
        ClusterNode(nodeid, NodeState.MEMBER, *entry)
        for nodeid, entry in zip(placed.members, placed.snapshot.row, strict=True)
    ]
    return NodeDatabase.of_members(placed.nodeid, entries)


def _read(vq: VotequorumState, rules: Rules | None) -> NodeSnapshot:
    """`rules` None keeps what they may ignore."""
    entries = [vq.db.find(nodeid) for nodeid in vq.members]
    every = rules is None
    breaker = None if rules is None else rules.tie_breaker
    return NodeSnapshot(
        row=tuple(Entry(node.votes, node.expected_votes, node.flags) for node in entries if node is not None),
        quorum=vq.quorum,
        quorate=vq.quorate,
        last_man_standing=vq.last_man_standing,
        wait_for_all_status=vq.wait_for_all_status,
        ev_barrier=vq.ev_barrier if rules is None or rules.allow_downscale else 0,
        lowest_node_id=vq.lowest_node_id if rules is None or _needs_lowest(rules) else -1,
        highest_node_id=vq.highest_node_id if every or breaker is TieBreaker.HIGHEST else -1,
        previous_members=vq.previous_members if rules is None else _previous(vq, rules),
        tracked_expected_votes=vq.disk.tracked_expected_votes,
        device_votes=vq.db.qdevice.votes,
        qdevice_name=vq.qdevice_name,
        qdevice_master_wins=vq.qdevice_master_wins,
    )


def _needs_lowest(rules: Rules) -> bool:
    """last_man_standing asks for the lowest node whatever breaks ties."""
    if rules.last_man_standing:
        return rules.tie_breaker is not TieBreaker.NONE
    return rules.tie_breaker is TieBreaker.LOWEST


def _previous(vq: VotequorumState, rules: Rules) -> tuple[int, ...]:
    """Only a tie breaker looks at the members before: at how many they were, and at those in its list.

    A new ring replaces them first. So they count only where quorum is worked out between two rings: when a
    timer goes off, or a node leaves.
    """
    between = rules.last_man_standing or rules.allow_downscale
    if rules.tie_breaker is TieBreaker.NONE or not between:
        return ()
    listed = [nodeid for nodeid in rules.tie_breaker_nodes if nodeid in vq.previous_members]
    return (*sorted(listed), *[0] * (len(vq.previous_members) - len(listed)))
