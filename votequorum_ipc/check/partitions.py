"""What becomes of a partition: the model's rules, asked once for each question and remembered.

Strategy: a membership's outcome depends on nothing but the states of its members. So a cluster's state is a
set of partitions, each partition gets a number, and "these nodes, in these states, form a ring" is a
question with an answer to look up. A search asks it millions of times and the model answers thousands.
Every answer comes from `cluster`; there is no second copy of the rules here.

A partition's number stands for its members and their snapshots. Timers are apart (see `Timers`), because
their order goes across partitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ..cluster import ClusterConfig, Conn, QdevicePoll, QdeviceRegister, ServiceKind, SetExpected
from ..cluster.messages import NodeFlags
from ..cluster.snapshot import NO_TIMER, NodeSnapshot, Placed, Workbench

DEVICE_NAME = "device"

Timers = tuple[int, ...]
"""For each member of a partition in turn the rank of its timer, or `NO_TIMER`; () if none is running."""


@dataclass(frozen=True)
class Partition:
    """Nodes of one ring that have settled. `pieces` are the numbers of its nodes' states."""

    number: int
    members: tuple[int, ...]
    nodes: tuple[NodeSnapshot, ...]
    pieces: tuple[int, ...]

    @cached_property
    def quorate(self) -> tuple[int, ...]:
        """The members that are quorate."""
        pairs = zip(self.members, self.nodes, strict=True)
        return tuple(nodeid for nodeid, snapshot in pairs if snapshot.quorate)

    @cached_property
    def voted_for(self) -> tuple[int, ...]:
        """The members that a quorum device votes for."""
        place = range(len(self.members))
        flags = (self.nodes[at].row[at].flags for at in place)
        return tuple(
            nodeid
            for nodeid, flag in zip(self.members, flags, strict=True)
            if NodeFlags.QDEVICE_CAST_VOTE in flag
        )

    @cached_property
    def waiting_for_all(self) -> tuple[int, ...]:
        """The members that still wait to see all nodes at once."""
        pairs = zip(self.members, self.nodes, strict=True)
        return tuple(nodeid for nodeid, snapshot in pairs if snapshot.wait_for_all_status)


_Question = tuple[tuple[int, ...], frozenset[int] | None]
"""The states of the nodes that form a ring, and for which of them a device votes."""

_Formed = tuple[int, Timers | None]
"""A partition's number, and what its forming does to each timer."""


class TimedPartition(NamedTuple):
    """A partition, and its timers: ranks as given, and one more than the highest given for new ones."""

    partition: Partition
    timers: Timers


class Partitions:
    """All partitions seen so far, by number, and what becomes of them.

    `reduced` False keeps in a state what the rules never look at again.
    """

    def __init__(self, config: ClusterConfig, *, reduced: bool = True) -> None:
        self.config = config
        self.rules = (bench := Workbench(config, reduced=reduced)).rules
        self.all: list[Partition] = []
        self.asked = 0
        """How many questions the model has answered."""
        self._bench = bench
        self._numbers: dict[tuple[tuple[int, ...], tuple[NodeSnapshot, ...]], int] = {}
        self._places: list[tuple[int, tuple[int, ...], NodeSnapshot]] = []
        self._pieces: dict[tuple[int, tuple[int, ...], NodeSnapshot], int] = {}
        self._formed: dict[_Question, tuple[_Formed, ...]] = {}
        self._rings: dict[tuple[object, ...], TimedPartition] = {}
        self._started: dict[int, int] = {}

    def rings(
        self, pieces: tuple[int, ...], timers: Timers = (), votes: frozenset[int] | None = None
    ) -> list[TimedPartition]:
        """Nodes in these states form a ring; a device then votes for the nodes in `votes`.

        There are several outcomes where it matters which member speaks first. `votes` None: no device is
        there. `pieces` go by node id.
        """
        key = (pieces, votes)
        formed = self._formed.get(key)
        if formed is None:
            formed = self._formed[key] = tuple(dict.fromkeys(self._form(pieces, votes)))
        return [
            TimedPartition(self.all[number], _timers_after(fates, timers, len(pieces)))
            for number, fates in formed
        ]

    def _form(self, pieces: tuple[int, ...], votes: frozenset[int] | None) -> Iterator[_Formed]:
        """A ring for each member that may speak first, and what it does to each node's timer.

        0 keeps a timer, 1 starts it anew, `NO_TIMER` stops it; None: all are kept. The rules start and stop
        timers without asking whether they run. So all run here, and one answer is good for all.
        """
        for first in range(len(pieces)):
            self._place(pieces, (0,) * len(pieces))
            self._bench.speaks_first = {tuple(self._bench.nodes): first}
            self._bench.partition()
            partition, fates = self._settle((0,) * len(pieces), votes)
            self._bench.speaks_first = {}
            yield partition.number, fates if any(fates) or not fates else None

    def fire(self, partition: Partition, timers: Timers) -> TimedPartition:
        """The timers that are due first go off."""
        key = ("fire", partition.number, timers)
        if key not in self._rings:
            self._place(partition.pieces, timers)
            self._bench.fire_first()
            self._rings[key] = self._outcome(timers)
        return self._rings[key]

    def vote(self, partition: Partition, timers: Timers, votes: frozenset[int]) -> TimedPartition:
        """The device changes its mind: it now votes for the nodes in `votes`."""
        key = ("vote", partition.number, timers, votes)
        if key not in self._rings:
            self._place(partition.pieces, timers)
            self._rings[key] = self._settle(timers, votes)
        return self._rings[key]

    def leave(
        self, partition: Partition, timers: Timers, nodeid: int, votes: frozenset[int] | None
    ) -> TimedPartition:
        """A member shuts down cleanly; what becomes of the others. The last one cannot be asked for."""
        key = ("leave", partition.number, timers, nodeid, votes)
        if key not in self._rings:
            self._place(partition.pieces, timers)
            self._bench.leave(nodeid)
            at = partition.members.index(nodeid)
            self._rings[key] = self._settle(timers[:at] + timers[at + 1 :], votes, ranks=_ranks(timers))
        return self._rings[key]

    def cancel_wait_for_all(self, partition: Partition, timers: Timers) -> TimedPartition:
        """The operator tells a partition to wait no longer."""
        key = ("cancel", partition.number, timers)
        if key not in self._rings:
            self._place(partition.pieces, timers)
            self._bench.cancel_wait_for_all(partition.members[0])
            self._rings[key] = self._outcome(timers)
        return self._rings[key]

    def set_expected(self, partition: Partition, timers: Timers, expected_votes: int) -> TimedPartition:
        """The operator sets a partition's expected votes; votequorum may refuse, and nothing changes."""
        key = ("expected", partition.number, timers, expected_votes)
        if key not in self._rings:
            self._place(partition.pieces, timers)
            conn = self._connect(partition.members[0])
            self._bench.request(conn, SetExpected(expected_votes))
            self._rings[key] = self._outcome(timers)
        return self._rings[key]

    def started(self, nodeid: int) -> int:
        """A node that has just started, alone in its first ring: the number of its state.

        corosync 3.1.7 loses the expected votes that it tracks, so a node starts with none.
        """
        if nodeid not in self._started:
            self.asked += 1
            self._bench.place(())
            self._bench.disks[nodeid].tracked_expected_votes = 0
            self._bench.up(nodeid)
            self._started[nodeid] = self._piece(nodeid, (nodeid,), self._bench.read(nodeid))
        return self._started[nodeid]

    def known(self, members: Sequence[int], nodes: Sequence[NodeSnapshot]) -> Partition:
        """The partition of these members in these states, which the symmetry of another one gives."""
        return self._intern(tuple(members), tuple(nodes))

    def _place(self, pieces: Iterable[int], timers: Timers) -> None:
        self.asked += 1
        places = [self._places[piece] for piece in pieces]
        due = timers or (NO_TIMER,) * len(places)
        self._bench.place(tuple(Placed(*place, timer) for place, timer in zip(places, due, strict=True)))

    def _settle(
        self, timers: Timers, votes: frozenset[int] | None, ranks: int | None = None
    ) -> TimedPartition:
        if votes is not None:
            for nodeid in self._bench.nodes:
                self._poll(nodeid, nodeid in votes)
        return self._outcome(timers, ranks)

    def _poll(self, nodeid: int, vote: bool) -> None:
        """A node's device registers if it has not, then polls for the ring that it is in."""
        conn, node = self._connect(nodeid), self._bench.node(nodeid)
        if not node.votequorum.has_flags(NodeFlags.QDEVICE_REGISTERED):
            self._bench.request(conn, QdeviceRegister(DEVICE_NAME))
        self._bench.request(conn, QdevicePoll(DEVICE_NAME, vote, node.ring_id))

    def _connect(self, nodeid: int) -> Conn:
        return self._bench.connect(nodeid, ServiceKind.VOTEQUORUM)

    def _outcome(self, timers: Timers, ranks: int | None = None) -> TimedPartition:
        members = tuple(self._bench.nodes)
        given = _ranks(timers) if ranks is None else ranks
        partition = self._intern(members, tuple(map(self._bench.read, members)))
        after = tuple(self._bench.timer(nodeid, given) for nodeid in members)
        return TimedPartition(partition, after if max(after) > NO_TIMER else ())

    def _intern(self, members: tuple[int, ...], nodes: tuple[NodeSnapshot, ...]) -> Partition:
        number = self._numbers.setdefault((members, nodes), len(self.all))
        if number == len(self.all):
            pieces = tuple(
                self._piece(nodeid, members, at) for nodeid, at in zip(members, nodes, strict=True)
            )
            self.all.append(Partition(number, members, nodes, pieces))
        return self.all[number]

    def _piece(self, nodeid: int, members: tuple[int, ...], snapshot: NodeSnapshot) -> int:
        place = (nodeid, members, snapshot)
        number = self._pieces.setdefault(place, len(self._places))
        if number == len(self._places):
            self._places.append(place)
        return number


def _ranks(timers: Timers) -> int:
    return 1 + max(timers, default=NO_TIMER)


def _timers_after(fates: Timers | None, timers: Timers, nodes: int) -> Timers:
    due = timers or (NO_TIMER,) * nodes
    if fates is None:
        return timers
    if not fates:
        return ()
    new = _ranks(timers)
    after = tuple((rank, new, NO_TIMER)[fate] for rank, fate in zip(due, fates, strict=True))
    return after if max(after) > NO_TIMER else ()
