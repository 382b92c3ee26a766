"""How a network can regroup the running nodes; ways that differ only by names count once.

Strategy: the nodes of a partition fall into kinds within which it makes no difference which node is meant
(`Symmetry.alike`). Two ways to regroup are the same when their groups take the same numbers of each kind. The
answer depends on the partitions and the kinds alone, so it is worked out once for each.

Up to six nodes the network regroups in every way (`any_way`). Beyond, two partitions at a time
split and merge, all merge, and single nodes move (`two_at_a_time`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import chain, combinations, product
from typing import Final

from .devices import Groups
from .events import Group

Kinds = tuple[Group, ...]
"""Nodes in groups within which it makes no difference which node is meant."""

Regrouping = tuple[Groups, bool]
"""The new groups, and whether the network only healed: nothing that was together is cut."""

_KEPT: Final = 4096
"""Answers of each kind that are remembered."""


@lru_cache(_KEPT)
def any_way(groups: Groups, kinds: Kinds) -> tuple[Regrouping, ...]:
    """Every way to regroup nodes that form these groups now."""
    every = _groupings(tuple(sorted(chain.from_iterable(groups))))
    return tuple(_distinct((new for new in every if new != groups), groups, kinds))


@lru_cache(_KEPT)
def two_at_a_time(groups: Groups, kinds: Kinds) -> tuple[Regrouping, ...]:
    """Each split of one group in two, merge of two, merge of all, and move of one node."""
    return tuple(_distinct(map(ordered, _by_two(groups, kinds)), groups, kinds))


def selections(kinds: Kinds) -> Iterator[Group]:
    """The sets of these nodes that differ by more than names, the empty one first."""
    for counts in product(*(range(len(kind) + 1) for kind in kinds)):
        chosen = (kind[:count] for kind, count in zip(kinds, counts, strict=True))
        yield tuple(sorted(chain.from_iterable(chosen)))


def ordered(groups: Iterable[Iterable[int]]) -> Groups:
    """Groups in the order of their first members, each sorted."""
    return tuple(sorted(tuple(sorted(group)) for group in groups))


def _by_two(groups: Groups, kinds: Kinds) -> Iterator[Iterable[Group]]:
    for at, group in enumerate(groups):
        rest = (*groups[:at], *groups[at + 1 :])
        for side in selections(tuple(tuple(filter(group.__contains__, kind)) for kind in kinds)):
            other = tuple(nodeid for nodeid in group if nodeid not in side)
            if side and other:
                yield (*rest, side, other)
            if len(side) == 1:
                yield from _moves(rest, side, other)
    for one, two in combinations(groups, 2):
        yield (*(group for group in groups if group not in (one, two)), (*one, *two))
    if len(groups) > 2:
        yield (tuple(chain.from_iterable(groups)),)


def _moves(rest: Groups, node: Group, left: Group) -> Iterator[Iterable[Group]]:
    for to in rest:
        others = (group for group in rest if group != to)
        yield (*others, *([left] if left else []), (*to, *node))


def _distinct(ways: Iterable[Groups], old: Groups, kinds: Kinds) -> Iterator[Regrouping]:
    seen: set[object] = set()
    kind_of = {nodeid: number for number, kind in enumerate(kinds) for nodeid in kind}
    for new in ways:
        takes = tuple(sorted(tuple(sorted(kind_of[nodeid] for nodeid in group)) for group in new))
        if takes not in seen:
            seen.add(takes)
            yield new, _heals(old, new)


def _heals(old: Groups, new: Groups) -> bool:
    return all(any(set(group) <= set(target) for target in new) for group in old)


@cache
def _groupings(nodeids: Group) -> tuple[Groups, ...]:
    """All ways to put nodes into groups."""
    if not nodeids:
        return ((),)
    first, rest = nodeids[0], nodeids[1:]
    found: list[Groups] = []
    for smaller in _groupings(rest):
        found.append(((first,), *smaller))
        found += [((first, *group), *smaller[:at], *smaller[at + 1 :]) for at, group in enumerate(smaller)]
    return tuple(sorted(map(ordered, found)))
