"""What becomes of a partition: the model's rules, asked once for each question and remembered.

Strategy: a membership's outcome depends only on the states of its members. So a cluster's state is a set of
partitions, each partition gets a number, and "these nodes, in these states, form a ring" is a question with
an answer to look up. A search asks it millions of times and the model answers thousands. Every answer comes
from `cluster`; there is no second copy of the rules here.

A `Partition` has members and what each knows. A `TimedPartition` also has its timers, by rank, because their
order spans partitions: the timer of rank 0 is due first. A search handles only numbers: those of timed
partitions, and those of their nodes' states (`TimedPartition.held`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from ..cluster import (
    ClusterConfig,
    Conn,
    QdevicePoll,
    QdeviceRegister,
    ServiceKind,
    SetExpected,
    TieBreaker,
)
from ..cluster.messages import NodeFlags
from ..cluster.snapshot import NO_TIMER, NodeSnapshot, Placed, Workbench
from .nodes import Heard, MemberState, Nodes, Numbering, RingOutcome

DEVICE_NAME: Final = "device"

_NAMED_NODES: Final = 6
"""The most nodes for which asking about one node at a time pays off if node ids matter."""

Timers = tuple[int, ...]
"""For each member of a partition in turn the rank of its timer, or `NO_TIMER`; () if none is running."""

VotedFor = frozenset[int] | None
"""The nodes for which a quorum device votes; None: there is no device."""


@dataclass(frozen=True)
class Partition:
    """Nodes of one ring that have settled. `knows` and `pieces` are numbers: of a node's state without and
    with its id and ring."""

    number: int
    members: tuple[int, ...]
    knows: tuple[int, ...]
    pieces: tuple[int, ...]
    nodes: tuple[NodeSnapshot, ...]

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


@dataclass(frozen=True, slots=True)
class TimedPartition:
    """A partition with its timers. `ranks` has bit n set where a timer of rank n runs.

    `held` is each member's piece and timer in one number, for `Partitions.rings`.
    """

    number: int
    partition: Partition
    timers: Timers
    held: tuple[int, ...]
    ranks: int
    voted_for: frozenset[int]


class PartitionDescription(NamedTuple):
    """A timed partition without numbers: what another process needs to know which one is meant."""

    members: tuple[int, ...]
    nodes: tuple[NodeSnapshot, ...]
    timers: Timers


_Formed = tuple[int, tuple[int, ...] | None]
"""A partition's number, and what forming it does to each timer; None keeps all timers."""


class Partitions:
    """All partitions seen so far, by number, and what becomes of them.

    With `reduced` False a state keeps parts that the rules never look at again.
    """

    def __init__(self, config: ClusterConfig, *, reduced: bool = True) -> None:
        self.config = config
        self.rules = (bench := Workbench(config, reduced=reduced)).rules
        self.all: list[Partition] = []
        self.timed: list[TimedPartition] = []
        self._ranks: list[int] = []
        """The `ranks` of `timed`."""
        by_order = self.rules.tie_breaker is not TieBreaker.NONE
        ids_matter = not reduced or by_order
        self.nodes = Nodes(bench, ids_matter=ids_matter)
        self._bench = bench
        self._has_timers = self.rules.last_man_standing
        self._one_by_one = not ids_matter or len(config.nodes) <= _NAMED_NODES
        self._outcomes: dict[tuple[object, ...], tuple[RingOutcome, ...]] = {}
        self._with_votes: dict[tuple[tuple[Heard, ...], tuple[bool, ...]], RingOutcome] = {}
        self._new = len(config.nodes)
        """The rank of a timer that has just been started: higher than any other."""
        self._asked = 0
        self._numbers: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        self._timed: dict[tuple[int, Timers], int] = {}
        self._places: Numbering[MemberState] = Numbering()
        self._formed: dict[tuple[tuple[int, ...], VotedFor], tuple[_Formed, ...]] = {}
        self._rings: dict[tuple[tuple[int, ...], VotedFor], tuple[int, ...]] = {}
        self._other: dict[tuple[object, ...], int] = {}
        self._ranked: dict[tuple[int, int], int] = {}
        self._started: dict[int, int] = {}

    @property
    def asked(self) -> int:
        """How many questions the model has answered."""
        return self._asked + self.nodes.asked

    def of(self, parts: Iterable[int]) -> list[Partition]:
        """The partitions of these numbers of timed ones."""
        return [self.timed[number].partition for number in parts]

    def place(self, piece: int) -> MemberState:
        """The node that a piece is, and its state."""
        return self._places.values[piece]

    def description(self, number: int) -> PartitionDescription:
        """A timed partition without numbers."""
        timed = self.timed[number]
        return PartitionDescription(timed.partition.members, timed.partition.nodes, timed.timers)

    def described(self, description: PartitionDescription) -> int:
        """The number of the timed partition that a description is of."""
        knows = tuple(map(self.nodes.number, description.nodes))
        return self.with_timers(self._intern(description.members, knows), description.timers)

    # -- what may become of nodes and partitions -----------------------------------------------------------

    def rings(self, held: tuple[int, ...], votes: VotedFor) -> tuple[int, ...]:
        """Nodes in these states form a ring; a device then votes for the nodes in `votes`.

        There are several outcomes where it matters which member speaks first. `held` goes by node id. New
        timers get a rank above all others: see `ranked`.
        """
        key = (held, votes)
        found = self._rings.get(key)
        if found is None:
            found = self._rings[key] = tuple(dict.fromkeys(self._ring(held, votes)))
        return found

    def _ring(self, held: tuple[int, ...], votes: VotedFor) -> Iterator[int]:
        stride = self._new + 2
        pieces = tuple([one // stride for one in held])
        due = [one % stride + NO_TIMER for one in held]
        formed = self._formed.get((pieces, votes))
        if formed is None:
            formed = self._formed[pieces, votes] = tuple(dict.fromkeys(self._form(pieces, votes)))
        for number, fates in formed:
            after = due
            if fates is not None:
                pairs = zip(due, fates, strict=True)
                after = [(rank, self._new, NO_TIMER)[fate] for rank, fate in pairs]
            yield self.with_timers(number, tuple(after))

    def _form(self, pieces: tuple[int, ...], votes: VotedFor) -> Iterator[_Formed]:
        """A ring for each member that may speak first, and what it does to each node's timer.

        The rules start and stop timers without checking whether they run. So all run here, and one answer
        covers all cases.
        """
        places = [self._places.values[piece] for piece in pieces]
        members = tuple([place.nodeid for place in places])
        for outcome in self._ring_outcomes(places, members, votes):
            number = self._intern(members, outcome.knows)
            yield number, outcome.fates if any(outcome.fates) else None

    def _ring_outcomes(
        self, places: list[MemberState], members: tuple[int, ...], votes: VotedFor
    ) -> Iterable[RingOutcome]:
        """The outcome for each member that may speak first; the same one once."""
        if not self._one_by_one:
            return self.whole_rings(places, votes)
        nodes = self.nodes.reduced_to(places)
        key = (nodes, None if votes is None else tuple([nodeid in votes for nodeid in members]))
        found = self._outcomes.get(key)
        if found is None:
            outcomes = self.rings_one_by_one(places, votes)
            found = self._outcomes[key] = tuple(dict.fromkeys(outcomes))
        return found

    def rings_one_by_one(self, places: list[MemberState], votes: VotedFor) -> Iterator[RingOutcome]:
        """The same as `whole_rings`, with a question for each node instead of one for the whole ring."""
        heard = self.nodes.heard(self.nodes.reduced_to(places))
        if votes is None:
            return map(self.nodes.decided, heard)
        members = tuple([place.nodeid for place in places])
        return (self._with_votes_of(one, members, votes) for one in heard)

    def _with_votes_of(
        self, heard: tuple[Heard, ...], members: tuple[int, ...], votes: frozenset[int]
    ) -> RingOutcome:
        key = (heard, tuple([nodeid in votes for nodeid in members]))
        if key not in self._with_votes:
            listening = self.nodes.gathered(heard, members)
            if any(one.waits for one in listening):
                self._asked += 1
                self._bench.gather(listening)
            else:
                pairs = zip(members, self.nodes.decided(heard).knows, strict=True)
                self._place([MemberState(nodeid, members, knows) for nodeid, knows in pairs], ())
            self._poll(votes)
            self._with_votes[key] = self._outcome(members, 1)
        return self._with_votes[key]

    def whole_rings(self, places: list[MemberState], votes: VotedFor) -> Iterator[RingOutcome]:
        """What becomes of nodes in a new ring, for each that may speak first. One cluster has all of them."""
        bench = self._bench
        members = tuple(place.nodeid for place in places)
        for first in range(len(places)):
            self._place(places, (0,) * len(places))
            bench.speaks_first = {members: first}
            bench.partition()
            self._poll(votes)
            bench.speaks_first = {}
            yield self._outcome(members, 1)

    def fired(self, number: int) -> int:
        """The timers of rank 0 go off."""
        return self._changed(("fire", number), number, self._bench.fire_first)

    def voted(self, number: int, votes: frozenset[int]) -> int:
        """The device changes its mind: it now votes for the nodes in `votes`."""
        return self._changed(("vote", number, votes), number, lambda: self._poll(votes))

    def left(self, number: int, nodeid: int) -> int:
        """A member shuts down cleanly; what becomes of the others. The last one cannot be asked for."""
        return self._changed(("leave", number, nodeid), number, lambda: self._bench.leave(nodeid))

    def wait_for_all_cancelled(self, number: int) -> int:
        """The operator ends wait_for_all's waiting in a partition."""
        first = self.timed[number].partition.members[0]
        return self._changed(("cancel", number), number, lambda: self._bench.cancel_wait_for_all(first))

    def expecting(self, number: int, nodeid: int, expected_votes: int) -> int:
        """The operator sets expected votes on a member; votequorum may refuse, and nothing changes."""
        return self._changed(
            ("expected", number, nodeid, expected_votes),
            number,
            lambda: self._bench.request(self._connect(nodeid), SetExpected(expected_votes)),
        )

    def started(self, nodeid: int) -> int:
        """A node that has just started, alone in its first ring, as `held`.

        corosync 3.1.7 loses the expected votes that it tracks, so a node starts with none.
        """
        if nodeid not in self._started:
            self._asked += 1
            self._bench.place(())
            self._bench.disks[nodeid].tracked_expected_votes = 0
            self._bench.up(nodeid)
            knows = self.nodes.number(self._bench.read(nodeid))
            piece = self._places.of(MemberState(nodeid, (nodeid,), knows))
            self._started[nodeid] = self._held(piece, NO_TIMER)
        return self._started[nodeid]

    # -- timers ------------------------------------------------------------------------------------------

    def ranked(self, parts: tuple[int, ...], *, in_order: bool) -> tuple[int, ...]:
        """The same partitions with ranks from 0 on, without gaps.

        Without `in_order` it only matters which timers run: all get rank 0.
        """
        if not self._has_timers:
            return parts
        ranks = 0
        for number in parts:
            ranks |= self._ranks[number]
        wanted = ranks & (ranks + 1) if in_order else ranks & ~1
        if not wanted:
            return parts
        return tuple(self._rerank(number, ranks, in_order) for number in parts)

    def _rerank(self, number: int, ranks: int, in_order: bool) -> int:
        if not self._ranks[number]:
            return number
        key = (number, ranks if in_order else 0)
        found = self._ranked.get(key)
        if found is None:
            timed = self.timed[number]
            after = tuple(
                rank if rank == NO_TIMER else (ranks & ((1 << rank) - 1)).bit_count() * in_order
                for rank in timed.timers
            )
            found = self._ranked[key] = self.with_timers(timed.partition.number, after)
        return found

    def with_timers(self, number: int, timers: Timers) -> int:
        """The number of a partition with these timers."""
        key = (number, timers if timers and max(timers) > NO_TIMER else ())
        found = self._timed.get(key)
        if found is None:
            found = self._timed[key] = len(self.timed)
            self.timed.append(self._time(found, *key))
            self._ranks.append(self.timed[found].ranks)
        return found

    def _time(self, found: int, number: int, timers: Timers) -> TimedPartition:
        partition = self.all[number]
        due = timers or (NO_TIMER,) * len(partition.members)
        ranks = sum({1 << rank for rank in timers if rank != NO_TIMER})
        held = tuple(map(self._held, partition.pieces, due))
        return TimedPartition(found, partition, timers, held, ranks, frozenset(partition.voted_for))

    def _held(self, piece: int, rank: int) -> int:
        return piece * (self._new + 2) + rank - NO_TIMER

    # -- asking the model ----------------------------------------------------------------------------------

    def _changed(self, key: tuple[object, ...], number: int, change: Callable[[], object]) -> int:
        """What becomes of a partition that stays one; asked once for each key."""
        if key not in self._other:
            timed = self.timed[number]
            self._place([self._places.values[piece] for piece in timed.partition.pieces], timed.timers)
            change()
            ranks = 1 + max(timed.timers, default=NO_TIMER)
            members = tuple(self._bench.nodes)
            outcome = self._outcome(members, ranks)
            timers = tuple(self._new if rank == ranks else rank for rank in outcome.fates)
            self._other[key] = self.with_timers(self._intern(members, outcome.knows), timers)
        return self._other[key]

    def _place(self, places: list[MemberState], timers: Timers) -> None:
        self._asked += 1
        due = timers or (NO_TIMER,) * len(places)
        self._bench.place(
            tuple(
                Placed(place.nodeid, place.members, self.nodes.snapshot(place.knows), timer)
                for place, timer in zip(places, due, strict=True)
            )
        )

    def _poll(self, votes: VotedFor) -> None:
        """Each node's device registers if it has not, then polls for the ring that its node is in."""
        if votes is None:
            return
        for nodeid, node in self._bench.nodes.items():
            conn = self._connect(nodeid)
            if not node.votequorum.has_flags(NodeFlags.QDEVICE_REGISTERED):
                self._bench.request(conn, QdeviceRegister(DEVICE_NAME))
            self._bench.request(conn, QdevicePoll(DEVICE_NAME, nodeid in votes, node.ring_id))

    def _connect(self, nodeid: int) -> Conn:
        return self._bench.connect(nodeid, ServiceKind.VOTEQUORUM)

    def _outcome(self, members: tuple[int, ...], ranks: int) -> RingOutcome:
        return RingOutcome(
            tuple(self.nodes.number(self._bench.read(nodeid)) for nodeid in members),
            tuple(self._bench.timer(nodeid, ranks) for nodeid in members),
        )

    def _intern(self, members: tuple[int, ...], knows: tuple[int, ...]) -> int:
        key = (members, knows)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.all)
            pieces = tuple(
                self._places.of(MemberState(nodeid, members, known))
                for nodeid, known in zip(members, knows, strict=True)
            )
            nodes = tuple(map(self.nodes.snapshot, knows))
            self.all.append(Partition(number, members, knows, pieces, nodes))
        return number
