"""How single nodes react to a new ring: the model's rules, applied to one step of one node and remembered.

Strategy: the nodes of a new ring first say what they know, all at once, and then each hears all of it in one
order and decides by itself. So a node that listens is a small machine: what it has heard so far is its state,
and the next speaker takes it to another one. The model answers once for each state and speaker. If no rule
depends on node ids, it has no names: a speaker is described by what was known about it and what it says now,
and for the nodes already heard only what they said matters. So the machine is small even for sixteen nodes,
and every member can be tried as the one that speaks first.

Most of what a node knew concerns nodes that are not in the new ring. So a ring's outcome is remembered by the
part of its members' states that matters in it (`reduced_to`), which many different histories share.

With a quorum device nodes wait for it after they have heard all. So there `Partitions` takes them from that
point (`heard`) and asks about the rest of the ring as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Generic, NamedTuple, TypeVar

from ..cluster.messages import Multicast, NodeFlags, NodeInfoMessage
from ..cluster.snapshot import Entry, Listening, NodeSnapshot, Placed, Workbench
from ..types import QDEVICE_NODEID

Value = TypeVar("Value")

_UNKNOWN: Final = -1
"""In place of an entry's number: the speaker was not in the node's last ring."""

_ITSELF: Final = -1
"""In place of a name: the node itself."""

_NO_FLAGS: Final = NodeFlags(0)

_NAMELESS: Final = 0
"""In place of a name: another node, if no rule depends on which."""


class Numbering(Generic[Value]):
    """Numbers values in the order in which they come; equal values have the same number."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._numbers: dict[Value, int] = {}

    def of(self, value: Value) -> int:
        """A value's number."""
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class MemberState(NamedTuple):
    """A node in a state: its id, its ring's members, and the number of what it knows."""

    nodeid: int
    members: tuple[int, ...]
    knows: int


class RingOutcome(NamedTuple):
    """What becomes of the nodes of a ring: what each knows, and what happens to each timer.

    A fate of 0 keeps a timer, 1 restarts it, `NO_TIMER` stops it.
    """

    knows: tuple[int, ...]
    fates: tuple[int, ...]


class _Ring(NamedTuple):
    """A ring, to a listener: how many members it has, and where ids matter who it is and who they are."""

    size: int
    nodeid: int = _ITSELF
    members: tuple[int, ...] = ()


class _Ear(NamedTuple):
    """A node that listens. `others` are pairs of a name and an entry's number, sorted.

    The flags of those that it has heard are left out: nothing looks at them before the next ring.
    """

    ring: _Ring
    head: int
    itself: int
    others: tuple[tuple[int, int], ...]
    fate: int
    waits: bool


class Heard(NamedTuple):
    """A node that has heard all members: what it has become, and its row but for itself, at place `at`."""

    ear: int
    row: tuple[int, ...]
    at: int


class _InRing(NamedTuple):
    """A member of a new ring that has heard none yet: its ear, what it says, and the entries that it has."""

    ear: int
    at: int
    says: int
    known: tuple[int, ...]


class _Speaker(NamedTuple):
    """A speaker, to a listener: its name, the number of the entry it had, and the number of what it says."""

    name: int
    known: int
    says: int


class Nodes:
    """What nodes know, by number, and how they react to new rings.

    `ids_matter` says that a node's future may depend on who the others are.
    """

    def __init__(self, bench: Workbench, *, ids_matter: bool) -> None:
        self._bench = bench
        self._ids_matter = ids_matter
        self._anybody = min(bench.config.nodeids)
        self._heads: Numbering[NodeSnapshot] = Numbering()
        self._entries: Numbering[Entry] = Numbering()
        self._known: Numbering[tuple[int, tuple[int, ...]]] = Numbering()
        self._snapshots: list[NodeSnapshot] = []
        self._speeches: Numbering[tuple[Multicast, ...]] = Numbering()
        self._ears: Numbering[_Ear] = Numbering()
        self._speakers: Numbering[_Speaker] = Numbering()
        self._says: dict[tuple[int, int, int], int] = {}
        self._begins: dict[tuple[object, ...], int] = {}
        self._in_rings: Numbering[_InRing] = Numbering()
        self._reduced: dict[tuple[MemberState, tuple[int, ...]], int] = {}
        self._hears: dict[tuple[int, int], tuple[int, int]] = {}
        self._decides: dict[int, tuple[int, int, int]] = {}
        self.asked = 0
        """How many questions the model has answered."""

    # -- what a node knows -----------------------------------------------------------------------------------

    def number(self, snapshot: NodeSnapshot) -> int:
        """The number of what a node knows."""
        row = tuple(map(self._entries.of, snapshot.row))
        return self._known.of((self._heads.of(snapshot._replace(row=())), row))

    def head(self, knows: int) -> int:
        """The number of all that a node knows except for the members of its ring."""
        return self._known.values[knows][0]

    def row(self, knows: int) -> tuple[int, ...]:
        """What a node knows of each member, as numbers, in the order of their ids."""
        return self._known.values[knows][1]

    def snapshot(self, knows: int) -> NodeSnapshot:
        """The value of a number."""
        while len(self._snapshots) <= knows:
            head, row = self._known.values[len(self._snapshots)]
            entries = tuple(self._entries.values[entry] for entry in row)
            self._snapshots.append(self._heads.values[head]._replace(row=entries))
        return self._snapshots[knows]

    # -- a new ring ------------------------------------------------------------------------------------------

    def reduced_to(self, places: Sequence[MemberState]) -> tuple[int, ...]:
        """All that decides what becomes of these nodes in a new ring, one number for each."""
        members = tuple([place.nodeid for place in places])
        return tuple([self._reduce(place, members) for place in places])

    def _reduce(self, place: MemberState, members: tuple[int, ...]) -> int:
        found = self._reduced.get((place, members))
        if found is None:
            before = dict(zip(place.members, self.row(place.knows), strict=True))
            known = tuple(before.get(nodeid, _UNKNOWN) for nodeid in members)
            ear, says = self._begin(place, members), self._speech(place, members)
            in_ring = _InRing(ear, members.index(place.nodeid), says, known)
            found = self._reduced[place, members] = self._in_rings.of(in_ring)
        return found

    def heard(self, nodes: Sequence[int]) -> Iterator[tuple[Heard, ...]]:
        """The nodes of a new ring when they have heard all, for each of them that may speak first.

        `nodes` are what `reduced_to` gives.
        """
        there = [self._in_rings.values[number] for number in nodes]
        listeners = [(one.ear, one.at, self._audible(one, there)) for one in there]
        for first in range(len(there)):
            yield tuple([self._hear_all(ear, at, speakers, first) for ear, at, speakers in listeners])

    def decided(self, nodes: Iterable[Heard]) -> RingOutcome:
        """What becomes of nodes that have heard all, if no device holds them back."""
        knows, fates = [], []
        for ear, row, at in nodes:
            decided = self._decides.get(ear)
            if decided is None:
                decided = self._decides[ear] = self._decide(ear)
            head, itself, fate = decided
            knows.append(self._known.of((head, (*row[:at], itself, *row[at + 1 :]))))
            fates.append(fate)
        return RingOutcome(tuple(knows), tuple(fates))

    def _hear_all(self, ear: int, at: int, speakers: tuple[int, ...], first: int) -> Heard:
        row = []
        for speaker in speakers[first:] + speakers[:first]:
            heard = self._hears.get((ear, speaker))
            if heard is None:
                heard = self._hears[ear, speaker] = self._hear(ear, speaker)
            ear, entry = heard
            row.append(entry)
        last = len(row) - first
        return Heard(ear, tuple(row[last:] + row[:last]), at)

    def _speech(self, place: MemberState, members: tuple[int, ...]) -> int:
        """What a node says, without its id."""
        key = (place.knows, place.members.index(place.nodeid), len(members))
        if key not in self._says:
            self.asked += 1
            said = self._bench.says(self._placed(place), members)
            self._says[key] = self._speeches.of(tuple(_about(message, _ITSELF) for message in said))
        return self._says[key]

    def _audible(self, listener: _InRing, there: Sequence[_InRing]) -> tuple[int, ...]:
        """The members as the speakers that they are to this one, in the order of their ids."""
        members = self._ears.values[listener.ear].ring.members or range(len(there))
        itself = members[listener.at]
        return tuple(
            self._speakers.of(_Speaker(self._name(nodeid, itself), known, one.says))
            for nodeid, known, one in zip(members, listener.known, there, strict=True)
        )

    def _name(self, nodeid: int, listener: int) -> int:
        if nodeid == listener:
            return _ITSELF
        return nodeid if self._ids_matter else _NAMELESS

    # -- asking the model ----------------------------------------------------------------------------------

    def _begin(self, place: MemberState, members: tuple[int, ...]) -> int:
        key = (place, members) if self._ids_matter else self._nameless(place, members)
        if key not in self._begins:
            self.asked += 1
            self._begins[key] = self._ear(self._bench.begins(self._placed(place), members))
        return self._begins[key]

    def _nameless(self, place: MemberState, members: tuple[int, ...]) -> tuple[object, ...]:
        row = self.row(place.knows)
        stay = [entry for nodeid, entry in zip(place.members, row, strict=True) if nodeid in members]
        itself = row[place.members.index(place.nodeid)]
        return self.head(place.knows), itself, tuple(sorted(stay)), len(row), len(members)

    def _hear(self, ear: int, speaker: int) -> tuple[int, int]:
        """What a listener has become, and the number of what it knows of the speaker now."""
        self.asked += 1
        listening, who = self._listening(ear), self._speakers.values[speaker]
        nodeid = self._find(listening, who)
        said = (_about(message, nodeid) for message in self._speeches.values[who.says])
        after = self._bench.hears(listening, nodeid, said)
        self._check(listening, after, nodeid)
        return self._ear(after, nodeid), self._entries.of(dict(after.known)[nodeid])

    def _decide(self, ear: int) -> tuple[int, int, int]:
        """Its head, what it knows of itself, and its timer."""
        self.asked += 1
        listening = self._listening(ear)
        after = self._bench.decides(listening)
        self._check(listening, after, listening.nodeid)
        itself = dict(after.known)[after.nodeid]
        return self._heads.of(after.head), self._entries.of(itself), after.fate

    @staticmethod
    def _check(before: Listening, after: Listening, speaker: int) -> None:
        """Nothing changes but what a node knows of the speaker and of itself: `decided` relies on it."""
        changed = {nodeid for nodeid, _ in set(before.known) ^ set(after.known)}
        assert changed <= {before.nodeid, speaker}, "hearing one member changed what is known of another"

    def _ear(self, listening: Listening, heard: int | None = None) -> int:
        known = dict(listening.known)
        itself = self._entries.of(known.pop(listening.nodeid))
        if heard in known:
            known[heard] = known[heard]._replace(flags=_NO_FLAGS)
        others = (
            (self._name(nodeid, listening.nodeid), self._entries.of(entry)) for nodeid, entry in known.items()
        )
        size = len(listening.members)
        ring = _Ring(size, listening.nodeid, listening.members) if self._ids_matter else _Ring(size)
        head = self._heads.of(listening.head)
        ear = _Ear(ring, head, itself, tuple(sorted(others)), listening.fate, listening.waits)
        return self._ears.of(ear)

    def gathered(self, nodes: Sequence[Heard], members: tuple[int, ...]) -> list[Listening]:
        """Nodes that have heard each other, as the members of a ring."""
        return [self._gathered(one, members) for one in nodes]

    def _gathered(self, one: Heard, members: tuple[int, ...]) -> Listening:
        ear = self._ears.values[one.ear]
        row = (*one.row[: one.at], ear.itself, *one.row[one.at + 1 :])
        known = tuple(zip(members, map(self._entries.values.__getitem__, row), strict=True))
        head = self._heads.values[ear.head]
        return Listening(members[one.at], members, head, known, ear.fate, ear.waits)

    def _listening(self, number: int) -> Listening:
        """A node that listens; without names it gets some."""
        ear = self._ears.values[number]
        nodeid = ear.ring.nodeid if self._ids_matter else self._anybody
        known = [(nodeid, self._entries.values[ear.itself])]
        for at, (name, entry) in enumerate(ear.others, 1):
            known.append((name if self._ids_matter else nodeid + at, self._entries.values[entry]))
        members = ear.ring.members or tuple(range(nodeid, nodeid + ear.ring.size))
        return Listening(nodeid, members, self._heads.values[ear.head], tuple(known), ear.fate, ear.waits)

    def _find(self, listening: Listening, speaker: _Speaker) -> int:
        """The speaker's node id."""
        if speaker.name == _ITSELF:
            return listening.nodeid
        if self._ids_matter:
            return speaker.name
        if speaker.known == _UNKNOWN:
            return 1 + max(nodeid for nodeid, _ in listening.known)
        entry = self._entries.values[speaker.known]
        return next(nodeid for nodeid, known in listening.known[1:] if known == entry)

    def _placed(self, place: MemberState) -> Placed:
        return Placed(place.nodeid, place.members, self.snapshot(place.knows), 0)


def _about(message: Multicast, nodeid: int) -> Multicast:
    """The same message from another node about itself; what it says of its device stays."""
    if isinstance(message, NodeInfoMessage) and message.nodeid != QDEVICE_NODEID:
        return replace(message, nodeid=nodeid)
    return message
