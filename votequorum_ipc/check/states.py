"""A state of the cluster, and which states differ only by the names of their nodes.

Strategy: a state consists of the partitions with their timers, and whether the device works; nodes in no
partition are down. Two nodes are interchangeable when the configuration treats them alike: the same votes,
not in the tie breaker's list, and no rule that asks for the lowest or highest id. `Symmetry` describes each
partition without names (its *shape*) and numbers the shapes. States with the same shapes differ only by
names, so the sorted numbers are a state's `identity`. The first state of each identity represents all.

A shape must be the same for every order of the members. So members are distinguished by what they know and by
what others know about them, repeatedly until nothing changes. Only members that still look alike are tried in
every order, and only if exchanging two of them makes a difference.

The members of a ring speak in the order of their ids, no matter which begins. With every option that order
can matter, so no two nodes can be exchanged. But all ids can be rotated by the same number of places: every
ring then has the same circle of speakers as before (`_Rotations`). Clusters that are too large for that treat
nodes as interchangeable anyway (`Symmetry.is_exact`): then the number of states that a search sees depends
on which nodes it takes as examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, pairwise, permutations, product
from math import factorial, prod
from typing import Any, Final, NamedTuple

from ..cluster import Rules, TieBreaker
from ..cluster.snapshot import NO_TIMER
from .nodes import Numbering
from .partitions import Partitions, TimedPartition

_TRIED: Final = 5040
"""The most orders of one shape's members that are compared; with more, two equal states may count as two."""

_WAITING_NODES: Final = 6
_DEVICE_NODES: Final = 4
_OTHER_NODES: Final = 3
"""The most nodes that are not interchangeable if their order matters: with wait_for_all, with a device but
without it, and with other options. More nodes would have too many states."""

Identity = tuple[tuple[int, ...], bool]
"""A state without names."""


class State(NamedTuple):
    """`parts` are the numbers of timed partitions, in the order of their first members."""

    parts: tuple[int, ...]
    device_works: bool = True


class Symmetry:
    """Which nodes are interchangeable, and what follows for states.

    `apart` has nodes that something outside the rules distinguishes. `operator` says that an operator may
    intervene. `off` makes every node different.
    """

    def __init__(
        self,
        partitions: Partitions,
        *,
        apart: Iterable[int] = (),
        operator: bool = False,
        off: bool = False,
    ) -> None:
        self._partitions = partitions
        order_matters = (operator or _order_matters(partitions.rules)) and not off
        large = len(partitions.config.nodes) > _most_apart(partitions.rules)
        alike = _classes(partitions, set(apart), off)
        self._class = alike if large or not order_matters else _classes(partitions, set(), off=True)
        self.is_trivial = len(set(self._class.values())) == len(self._class)
        """Whether no two nodes can be exchanged."""
        self.is_exact = self.is_trivial or not order_matters
        """Whether interchangeable nodes really are, so that a complete search is one of all states."""
        self._rotations: _Rotations | None = None
        if self.is_trivial and len(set(alike.values())) == 1 and not partitions.rules.has_device:
            self._rotations = _Rotations(partitions)
        self._shapes: Numbering[tuple[Any, ...]] = Numbering()
        self._of_partition: dict[int, int] = {}
        self._alike: dict[int, tuple[tuple[int, ...], ...]] = {}

    @property
    def rotates(self) -> bool:
        """Whether states are the same when all ids move on by the same number of places."""
        return self._rotations is not None

    def identity(self, state: State) -> Identity:
        """The same value for all states that differ only by the names of interchangeable nodes."""
        if self._rotations is not None:
            return self._rotations.least(state.parts), state.device_works
        if self.is_trivial:
            return state
        known = self._of_partition
        try:
            shapes = [known[number] for number in state.parts]
        except KeyError:
            shapes = [self.shape(number) for number in state.parts]
        shapes.sort()
        return tuple(shapes), state.device_works

    def shape(self, number: int) -> int:
        """The number of a timed partition's shape."""
        shape = self._of_partition.get(number)
        if shape is None:
            matrix = self._matrix(self._partitions.timed[number])
            shape = self._of_partition[number] = self._shapes.of(matrix.least())
        return shape

    def alike(self, number: int) -> tuple[tuple[int, ...], ...]:
        """The members of a partition in groups within which it makes no difference which node is meant."""
        if number not in self._alike:
            matrix = self._matrix(self._partitions.timed[number])
            members = self._partitions.timed[number].partition.members
            groups = (tuple(members[at] for at in group) for group in matrix.exchangeable_groups())
            self._alike[number] = tuple(sorted(groups))
        return self._alike[number]

    def down_alike(self, nodeids: Iterable[int]) -> list[tuple[int, ...]]:
        """The same for nodes that are down."""
        by_class: dict[int, list[int]] = {}
        for nodeid in nodeids:
            by_class.setdefault(self._class[nodeid], []).append(nodeid)
        return list(map(tuple, by_class.values()))

    def _matrix(self, timed: TimedPartition) -> _Matrix:
        partition = timed.partition
        heads = map(self._partitions.nodes.head, partition.knows)
        timers = timed.timers or (NO_TIMER,) * len(partition.members)
        classes = (self._class[nodeid] for nodeid in partition.members)
        rows = tuple(map(self._partitions.nodes.row, partition.knows))
        return _Matrix(tuple(zip(classes, timers, heads, strict=True)), rows)


class _Rotations:
    """The same partition with all ids moved on by 0, 1, 2, ... places, each as a number.

    Devices poll in the order of node ids, which is not a circle, so this is only for clusters without a
    device.
    """

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions
        nodeids = sorted(partitions.config.nodeids)
        self._moved = [
            dict(zip(nodeids, nodeids[by:] + nodeids[:by], strict=True)) for by in range(len(nodeids))
        ]
        self._shapes: Numbering[tuple[Any, ...]] = Numbering()
        self._of_partition: dict[int, tuple[int, ...]] = {}

    def least(self, parts: Sequence[int]) -> tuple[int, ...]:
        """The same value for all states that differ only by such a rotation."""
        known = self._of_partition
        try:
            moved = [known[number] for number in parts]
        except KeyError:
            moved = [self._of(number) for number in parts]
        return min([tuple(sorted(one)) for one in zip(*moved, strict=True)], default=())

    def _of(self, number: int) -> tuple[int, ...]:
        if number not in self._of_partition:
            timed = self._partitions.timed[number]
            self._of_partition[number] = tuple(
                self._shapes.of(self._described(timed, names)) for names in self._moved
            )
        return self._of_partition[number]

    def _described(self, timed: TimedPartition, names: Mapping[int, int]) -> tuple[Any, ...]:
        members, knows = timed.partition.members, timed.partition.knows
        order = sorted(range(len(members)), key=lambda at: names[members[at]])
        nodes = self._partitions.nodes
        timers = timed.timers or (NO_TIMER,) * len(members)
        rows = [nodes.row(known) for known in knows]
        return tuple(
            (names[members[at]], timers[at], nodes.head(knows[at]), tuple(rows[at][other] for other in order))
            for at in order
        )


class _Matrix:
    """A partition without names: what each member is, and what each knows of each."""

    def __init__(self, members: tuple[tuple[int, int, int], ...], rows: tuple[tuple[int, ...], ...]) -> None:
        self._members = members
        self._rows = rows
        self._places = range(len(rows))

    def least(self) -> tuple[Any, ...]:
        """The same for every order of the members."""
        return min(map(self._described, self._orders()))

    def exchangeable_groups(self) -> Iterator[tuple[int, ...]]:
        """The members in groups of which any two can be exchanged."""
        for group in self._groups():
            if self._can_exchange(group):
                yield group
            else:
                yield from ((at,) for at in group)

    def _orders(self) -> Iterator[tuple[int, ...]]:
        """The orders of the members that may have the smallest description."""
        groups = self._groups()
        tried = prod(factorial(len(group)) for group in groups)
        if tried > _TRIED or all(map(self._can_exchange, groups)):
            yield tuple(chain.from_iterable(groups))
            return
        for chosen in product(*map(permutations, groups)):
            yield tuple(chain.from_iterable(chosen))

    def _groups(self) -> list[tuple[int, ...]]:
        """The members that look alike, in an order that does not depend on names."""
        looks = self._ranked([(*member, self._rows[at][at]) for at, member in enumerate(self._members)])
        while True:
            finer = self._ranked([(looks[at], self._neighbours(at, looks)) for at in self._places])
            if max(finer) == max(looks):
                ordered = sorted(self._places, key=looks.__getitem__)
                return [tuple(group) for _, group in groupby(ordered, key=looks.__getitem__)]
            looks = finer

    def _neighbours(self, at: int, looks: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
        rows = self._rows
        return tuple(sorted((looks[other], rows[at][other], rows[other][at]) for other in self._places))

    @staticmethod
    def _ranked(looks: Sequence[Any]) -> list[int]:
        ranks = {look: rank for rank, look in enumerate(sorted(set(looks)))}
        return [ranks[look] for look in looks]

    def _can_exchange(self, group: Sequence[int]) -> bool:
        """Whether exchanging any two of these members gives the same partition again."""
        rows = self._rows
        for one, other in pairwise(group):
            moved = [other if at == one else one if at == other else at for at in self._places]
            if any(rows[moved[i]][moved[j]] != rows[i][j] for i in self._places for j in self._places):
                return False
        return True

    def _described(self, order: Sequence[int]) -> tuple[Any, ...]:
        return (
            tuple(self._members[at] for at in order),
            tuple(tuple(self._rows[at][other] for other in order) for at in order),
        )


def _order_matters(rules: Rules) -> bool:
    """Whether it may matter in which order members speak: not where nothing but votes decides."""
    return (
        rules.wait_for_all
        or rules.last_man_standing
        or rules.allow_downscale
        or rules.expected_votes_tracking
        or rules.has_device
        or rules.tie_breaker is not TieBreaker.NONE
    )


def _most_apart(rules: Rules) -> int:
    if rules.wait_for_all:
        return _WAITING_NODES
    return _DEVICE_NODES if rules.has_device else _OTHER_NODES


def _classes(partitions: Partitions, apart: set[int], off: bool) -> dict[int, int]:
    """The class of each node, as a number; the nodes of a class are interchangeable."""
    config, rules = partitions.config, partitions.rules
    by_order = rules.tie_breaker in (TieBreaker.LOWEST, TieBreaker.HIGHEST)
    # last_man_standing asks a tie breaker's list for its lowest node as well
    by_order = by_order or (rules.tie_breaker is TieBreaker.LIST and rules.last_man_standing)
    special = set(config.nodeids) if off or by_order else {*apart, *rules.tie_breaker_nodes}

    def key(nodeid: int) -> tuple[int, int]:
        return config.node(nodeid).votes, nodeid if nodeid in special else 0

    keys = sorted({key(nodeid) for nodeid in config.nodeids})
    return {nodeid: keys.index(key(nodeid)) for nodeid in config.nodeids}
