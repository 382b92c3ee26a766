"""A state of the cluster, and which states are the same but for the names of their nodes.

Strategy: a state is the partitions there are, by number, the order in which their timers are due, and whether
the device works; nodes in no partition are down. Two nodes are interchangeable when the configuration treats
them alike: the same votes, not in the tie breaker's list, and no rule that asks for the lowest or highest id.
`Symmetry.canonical` renames the nodes of a state so that all renamings of one state become one. It describes
each partition without names first (its *shape*), sorts the shapes, and hands the names out in order.

The members of a ring speak in the order of their ids, no matter which begins. With wait_for_all that order
can matter. So there no node is interchangeable, except in clusters that are too large to go on without
(`Symmetry.is_exact`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise, permutations, product
from typing import Any, Final, NamedTuple

from ..cluster import TieBreaker
from ..cluster.snapshot import NO_TIMER, NodeSnapshot
from .partitions import Partition, Partitions, Timers

_TRIED: Final = 5040
"""Orders of one shape's members that are compared at most; beyond, two equal states may count as two."""


_WITHOUT_SYMMETRY: Final = 6
"""Nodes up to which a search does without symmetry where it is not exact."""


class State(NamedTuple):
    """`partitions` are numbers, sorted by their first members. `timers` are () where none is running.

    Ranks of timers go across all partitions: 0 is due first.
    """

    partitions: tuple[int, ...]
    timers: tuple[Timers, ...] = ()
    device_works: bool = True


def state_of(
    parts: Iterable[tuple[Partition, Timers]], device_works: bool, *, in_order: bool = True
) -> State:
    """A state of these partitions with these timers, whose ranks may have gaps.

    Without `in_order` it only matters which timers run: all have rank 0.
    """
    ordered = sorted(parts, key=lambda part: part[0].members)
    numbers = tuple(partition.number for partition, _ in ordered)
    timers = tuple(timers for _, timers in ordered)
    if not any(timers):
        return State(numbers, (), device_works)
    running = sorted({rank for part in timers for rank in part if rank != NO_TIMER})
    dense = {rank: at if in_order else 0 for at, rank in enumerate(running)} | {NO_TIMER: NO_TIMER}
    return State(numbers, tuple(tuple(dense[rank] for rank in part) for part in timers), device_works)


class Symmetry:
    """Which nodes are interchangeable, and what follows for states.

    `apart` are nodes that something outside of the rules tells apart. `off` makes every node different.
    """

    def __init__(self, partitions: Partitions, *, apart: Iterable[int] = (), off: bool = False) -> None:
        self._partitions = partitions
        order_matters = partitions.rules.wait_for_all and not off
        large = len(partitions.config.nodes) > _WITHOUT_SYMMETRY
        self._class = _classes(partitions, set(apart), off or (order_matters and not large))
        self._members: dict[int, list[int]] = {}
        for nodeid in sorted(self._class):
            self._members.setdefault(self._class[nodeid], []).append(nodeid)
        self.is_trivial = len(self._members) == len(self._class)
        self.is_exact = self.is_trivial or not order_matters
        """Whether interchangeable nodes really are, so that a complete search is one of all states."""
        self._shapes: dict[tuple[int, Timers], tuple[int, tuple[int, ...]]] = {}
        self._numbers: dict[Any, int] = {}
        self._named: dict[tuple[int, tuple[int, ...]], tuple[Partition, Timers]] = {}
        self._alike: dict[tuple[int, Timers], tuple[tuple[int, ...], ...]] = {}
        self._states: dict[State, State] = {}

    def canonical(self, state: State) -> State:
        """The one state that stands for all that are the same but for the names of interchangeable nodes."""
        if self.is_trivial:
            return state
        found = self._states.get(state)
        if found is None:
            found = self._states[state] = self._canonical(state)
        return found

    def alike(self, number: int, timers: Timers) -> tuple[tuple[int, ...], ...]:
        """The members of a partition in groups within which it makes no difference which node is meant."""
        key = (number, timers)
        if key not in self._alike:
            partition = self._partitions.all[number]
            groups = (
                [partition.members[at] for at in group]
                for group in self._groups(partition, timers, split=True)
            )
            self._alike[key] = tuple(map(tuple, groups))
        return self._alike[key]

    def down_alike(self, nodeids: Iterable[int]) -> list[tuple[int, ...]]:
        """The same for nodes that are down."""
        by_class: dict[int, list[int]] = {}
        for nodeid in nodeids:
            by_class.setdefault(self._class[nodeid], []).append(nodeid)
        return list(map(tuple, by_class.values()))

    def _canonical(self, state: State) -> State:
        timers = state.timers or ((),) * len(state.partitions)
        shapes = sorted(map(self._shape, state.partitions, timers))
        names = {group: iter(nodeids) for group, nodeids in self._members.items()}
        parts = [self._name(shape, order, names, where) for shape, order, where in shapes]
        return state_of(parts, state.device_works)

    def _shape(self, number: int, timers: Timers) -> tuple[int, tuple[int, ...], tuple[int, Timers]]:
        """The shape's number, the members' places in the shape's order, and the partition itself."""
        key = (number, timers)
        if key not in self._shapes:
            partition = self._partitions.all[number]
            described = [
                (self._describe(partition, timers, order), order) for order in self._orders(partition, timers)
            ]
            best, order = min(described, key=lambda pair: pair[0])
            self._shapes[key] = (self._numbers.setdefault(best, len(self._numbers)), order)
        return (*self._shapes[key], key)

    def _orders(self, partition: Partition, timers: Timers) -> Iterator[tuple[int, ...]]:
        """The orders of the members that may give the least description."""
        groups = self._groups(partition, timers, split=False)
        if all(self._interchangeable(partition, group) for group in groups) or _count(groups) > _TRIED:
            yield tuple(at for group in groups for at in group)
            return
        for chosen in product(*map(permutations, groups)):
            yield tuple(at for group in chosen for at in group)

    def _groups(self, partition: Partition, timers: Timers, *, split: bool) -> list[list[int]]:
        """Members that look alike, in order; with `split`, only such as can really be exchanged together."""
        looks = {at: self._look(partition, timers, at) for at in range(len(partition.members))}
        ordered = sorted(looks, key=lambda at: looks[at])
        groups = [list(group) for _, group in groupby(ordered, key=lambda at: looks[at])]
        if not split:
            return groups
        kept: list[list[int]] = []
        for group in groups:
            kept += [group] if self._interchangeable(partition, group) else [[at] for at in group]
        return kept

    def _look(self, partition: Partition, timers: Timers, at: int) -> tuple[Any, ...]:
        node = partition.nodes[at]
        seen_by_others = sorted(other.row[at] for other in partition.nodes)
        timer = timers[at] if timers else NO_TIMER
        return (
            self._class[partition.members[at]],
            timer,
            node[1:],
            node.row[at],
            sorted(node.row),
            seen_by_others,
        )

    @staticmethod
    def _interchangeable(partition: Partition, group: Sequence[int]) -> bool:
        """Whether exchanging any two of these members gives the same partition again."""
        rows = [node.row for node in partition.nodes]
        places = range(len(rows))
        for one, other in pairwise(group):
            moved = {one: other, other: one}
            if any(rows[moved.get(i, i)][moved.get(j, j)] != rows[i][j] for i in places for j in places):
                return False
        return True

    def _describe(self, partition: Partition, timers: Timers, order: tuple[int, ...]) -> tuple[Any, ...]:
        return (
            tuple(self._class[partition.members[at]] for at in order),
            tuple(_permuted(partition.nodes[at], order) for at in order),
            tuple(timers[at] for at in order) if timers else (),
        )

    def _name(
        self,
        shape: int,
        order: tuple[int, ...],
        names: Mapping[int, Iterator[int]],
        where: tuple[int, Timers],
    ) -> tuple[Partition, Timers]:
        """The partition of a shape with the next free names."""
        partition, timers = self._partitions.all[where[0]], where[1]
        given = tuple(next(names[self._class[partition.members[at]]]) for at in order)
        key = (shape, given)
        if key not in self._named:
            by_name = sorted(range(len(order)), key=lambda place: given[place])
            places = tuple(order[place] for place in by_name)
            renamed = [_permuted(partition.nodes[at], places) for at in places]
            known = self._partitions.known(sorted(given), renamed)
            self._named[key] = (known, tuple(timers[at] for at in places) if timers else ())
        return self._named[key]


def _permuted(node: NodeSnapshot, order: Sequence[int]) -> NodeSnapshot:
    return node._replace(row=tuple(node.row[at] for at in order))


def _count(groups: Iterable[Sequence[int]]) -> int:
    count = 1
    for group in groups:
        for factor in range(2, len(group) + 1):
            count *= factor
    return count


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
