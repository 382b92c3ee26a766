"""The results of given failures, without a search: from a cluster that is completely up, or completely down.

Strategy: each question here has one answer. "Nodes 2 and 3 fail" is asked about the state in which all nodes
are up and all windows have passed. Sets of nodes that differ only by names are examined once, and represented
by the first of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations, permutations, product
from math import prod
from typing import Final

from ..cluster import ClusterConfig, TieBreaker
from .devices import Groups
from .events import Crash, DeviceFails, Event, Network, PowerCut, Start, Window
from .states import State
from .story import Story, story_of
from .successors import Successors

_SETS: Final = 4096
"""The most sets of nodes to examine for a question; with more, only small sets are examined."""

_ORDERED: Final = 3
"""How many nodes' failures are tried in every order."""

_MOST_ORDERED: Final = 8
"""The largest cluster, in nodes, for which orders are tried."""

Way = tuple[tuple[Event | None, State], ...]


@dataclass(frozen=True)
class Failure:
    """Things that fail at the same moment, and the nodes that stay quorate.

    `alike` is how many sets of nodes, this one included, have the same outcome.
    """

    nodeids: tuple[int, ...]
    device: bool
    cut_off: bool
    goes_on: tuple[int, ...]
    alike: int
    story: Story

    @property
    def is_fatal(self) -> bool:
        """No node is quorate."""
        return not self.goes_on

    @property
    def size(self) -> int:
        """How many things fail."""
        return len(self.nodeids) + self.device

    def __str__(self) -> str:
        things = ["the device"] if self.device else []
        if self.nodeids:
            noun = "node" if len(self.nodeids) == 1 else "nodes"
            things.insert(
                0, f"{noun} {' '.join(map(str, self.nodeids))}{' (cut off)' if self.cut_off else ''}"
            )
        return " and ".join(things)


class Failures:
    """Answers about one configuration."""

    def __init__(self, successors: Successors) -> None:
        self._successors = successors
        self._partitions = successors.partitions
        self._nodeids = tuple(sorted(self._partitions.config.nodeids))
        self._groups = successors.symmetry.down_alike(self._nodeids)
        if _count_sets(self._groups) > _SETS:
            self._groups = alike_at_once(self._partitions.config)
        self.is_limited = _count_sets(self._groups) > _SETS
        """Whether there are too many sets of nodes to examine all of them."""
        self._known: dict[tuple[Groups, bool], int] = {}

    def whole(self) -> State:
        """The state in which all nodes are up and connected, and time has passed. The device votes for them
        if it may."""
        return self._up[-1][1]

    @cached_property
    def _up(self) -> Way:
        return self._start(self._nodeids)

    def table(self, most: int | None = None) -> list[Failure]:
        """The results of up to `most` simultaneous failures; None examines as many as possible."""
        failures = []
        for nodeids, alike in self._sets(most):
            if nodeids:
                failures.append(self._crash(nodeids, alike, device=False))
            if self.has_device:
                failures.append(self._crash(nodeids, alike, device=True))
        return sorted(failures, key=lambda failure: (failure.size, failure.device, failure.nodeids))

    def quorate_in(self, groups: Groups, *, device: bool = False) -> int:
        """How many partitions are quorate after a whole cluster breaks into these groups at one moment.

        Nodes in none of the `groups` have failed, and with `device` the quorum device has.
        """
        key = (groups, device)
        if key not in self._known:
            state = self._without_device(self.whole()) if device else self.whole()
            after = self._best(state, tuple(sorted(groups)), device=not device)
            self._known[key] = sum(bool(one.quorate) for one in self._partitions.of(after.parts))
        return self._known[key]

    def goes_on(self, nodeids: tuple[int, ...], *, device: bool = False) -> bool:
        """Whether some node is quorate when these nodes, and with `device` the device, fail at one moment."""
        left = tuple(nodeid for nodeid in self._nodeids if nodeid not in nodeids)
        return bool(left) and self.quorate_in((left,), device=device) > 0

    def tolerated(self, *, device: bool = False) -> int:
        """Any set of this many nodes may fail at one moment, in addition to the `device`.

        -1 if the device's failure alone ends quorum. Of clusters with very many kinds of nodes, 2 at most.
        """
        fatal = [len(nodeids) for nodeids, _ in self._sets(None) if not self.goes_on(nodeids, device=device)]
        return min(fatal, default=3) - 1

    def cut_off(self) -> list[Failure]:
        """The results of one node losing its network."""
        if len(self._nodeids) == 1:
            return []
        alone = [(nodeids, alike) for nodeids, alike in self._sets(1) if nodeids]
        return [self._isolate(nodeids, alike) for nodeids, alike in sorted(alone)]

    def fatal_sets(self) -> list[Failure]:
        """The smallest sets of failures after which no node is quorate."""
        found: list[Failure] = []
        for failure in self.table():
            things = set(self._things(failure))
            if failure.is_fatal and not any(self._contains(things, smaller) for smaller in found):
                found.append(failure)
        return found

    def cold_start(self) -> list[tuple[int, ...]]:
        """The smallest sets of nodes that become quorate when they start after a power cut."""
        found: list[tuple[int, ...]] = []
        for nodeids, _ in sorted(self._sets(None), key=lambda pair: len(pair[0])):
            able = nodeids and set(nodeids) <= self._quorate(self._start(nodeids)[-1][1])
            if able and not any(self._fits(smaller, nodeids) for smaller in found):
                found.append(nodeids)
        return sorted(found, key=lambda nodeids: (len(nodeids), nodeids))

    def memory(self) -> tuple[Story, Story] | None:
        """Two ways in which the same nodes fail with different results; None if there are none."""
        if not self._can_remember():
            return None
        for size in range(2, min(_ORDERED, len(self._nodeids) - 1) + 1):
            for nodeids in combinations(self._nodeids, size):
                ways = [self._at_once(nodeids), *self._one_by_one(nodeids)]
                other = next((w for w in ways if self._end(w) != self._end(ways[0])), None)
                if other is not None:
                    return story_of(self._partitions, ways[0]), story_of(self._partitions, other)
        return None

    @property
    def has_too_many_orders(self) -> bool:
        """Whether there are too many nodes for `memory` to try anything."""
        return len(self._nodeids) > _MOST_ORDERED

    @property
    def orders_not_tried(self) -> tuple[str, ...]:
        """What `memory` leaves out."""
        if self.has_too_many_orders:
            return (f"any order of failures, as there are more than {_MOST_ORDERED} nodes",)
        left_out = []
        if len(self._nodeids) > _ORDERED + 1:
            left_out.append(f"failures of more than {_ORDERED} nodes")
        if self._partitions.rules.last_man_standing:
            left_out.append("failures of which some wait for the windows to pass and some do not")
        return tuple(left_out)

    # -- what fails ------------------------------------------------------------------------------------

    @property
    def has_device(self) -> bool:
        """Whether a device is configured and has votes."""
        return self._successors.device is not None and bool(self._partitions.rules.device_votes)

    def _sets(self, most: int | None) -> Iterator[tuple[tuple[int, ...], int]]:
        """Sets of nodes, each with the number of equivalent ones; only small sets if there are many."""
        groups = self._groups
        if self.is_limited and most is None:
            most = 2
        for counts in product(*(range(len(group) + 1) for group in groups)):
            if most is None or sum(counts) <= most:
                chosen = chain.from_iterable(
                    group[:count] for group, count in zip(groups, counts, strict=True)
                )
                nodeids = tuple(sorted(chosen))
                yield nodeids, self.alike(nodeids)

    def alike(self, nodeids: tuple[int, ...]) -> int:
        """How many sets of nodes are the same as this one but for names, itself included."""
        counts = (len(set(group).intersection(nodeids)) for group in self._groups)
        return prod(map(_choose, map(len, self._groups), counts))

    def _crash(self, nodeids: tuple[int, ...], alike: int, *, device: bool) -> Failure:
        way = list(self._up)
        state = way[-1][1]
        if device:
            state = self._without_device(state)
            way.append((DeviceFails(), state))
        if nodeids:
            left = tuple(nodeid for nodeid in self._nodeids if nodeid not in nodeids)
            state = self._best(state, ((left,) if left else ()), device=not device)
            event = Crash(nodeids, len(nodeids)) if left else PowerCut()
            way.append((event, state))
        return self._failure(nodeids, device, False, alike, way)

    def _isolate(self, nodeids: tuple[int, ...], alike: int) -> Failure:
        way = list(self._up)
        left = tuple(nodeid for nodeid in self._nodeids if nodeid not in nodeids)
        groups = tuple(sorted((left, nodeids)))
        state = self._best(way[-1][1], groups)
        way.append((Network(groups, heals=False), state))
        return self._failure(nodeids, False, True, alike, way)

    def _failure(
        self,
        nodeids: tuple[int, ...],
        device: bool,
        cut_off: bool,
        alike: int,
        way: list[tuple[Event | None, State]],
    ) -> Failure:
        goes_on = tuple(sorted(self._quorate(way[-1][1])))
        return Failure(nodeids, device, cut_off, goes_on, alike, story_of(self._partitions, way))

    @staticmethod
    def _things(failure: Failure) -> Iterator[int]:
        yield from failure.nodeids
        if failure.device:
            yield 0

    def _contains(self, things: set[int], smaller: Failure) -> bool:
        """Whether a failure contains a smaller one, or one equivalent to it."""
        if smaller.device and 0 not in things:
            return False
        return self._fits(smaller.nodeids, tuple(things - {0}))

    def _fits(self, smaller: tuple[int, ...], larger: tuple[int, ...]) -> bool:
        return all(
            len(set(group).intersection(smaller)) <= len(set(group).intersection(larger))
            for group in self._groups
        )

    # -- what comes of it ------------------------------------------------------------------------------

    def _start(self, nodeids: tuple[int, ...]) -> Way:
        """All nodes down, then these start one after another, and time passes."""
        way: list[tuple[Event | None, State]] = [(None, State(()))]
        for at, nodeid in enumerate(nodeids):
            others = nodeids[:at]
            state = self._best(way[-1][1], (nodeids[: at + 1],), started=(nodeid,))
            way.append((Start(nodeid, others), state))
        return (*way, *self._windows(way[-1][1]))

    def _windows(self, state: State) -> Iterator[tuple[Event, State]]:
        while any(self._partitions.timed[number].timers for number in state.parts):
            (move,) = [move for move in self._successors.of(state) if move.kind is Window]
            state = move.after
            yield move.event, state

    def _best(
        self,
        state: State,
        groups: tuple[tuple[int, ...], ...],
        *,
        started: tuple[int, ...] = (),
        device: bool = True,
    ) -> State:
        """The state with these partitions, and of several the one to name.

        Where a device may choose, it is the one with the most quorate nodes. Where it matters which node
        speaks first, it is the one with the fewest: what is said to go on does so whichever speaks first.
        """
        if not device:
            state = state._replace(device_works=False)
            ways = map(self._without_device, self._successors.regrouped(state, groups, started))
            return min(ways, key=self._count_quorate)
        worst: dict[frozenset[int], State] = {}
        for after in self._successors.regrouped(state, groups, started):
            votes = self._successors.votes(after)
            worst[votes] = min(worst.get(votes, after), after, key=self._count_quorate)
        states = list(worst.values())
        voting = self._successors.willing(states[-1]) if self.has_device else []
        return max((*states, *voting), key=self._count_quorate)

    def _without_device(self, state: State) -> State:
        return self._successors.voted(state._replace(device_works=False), frozenset())

    def _quorate(self, state: State) -> set[int]:
        there = self._partitions.of(state.parts)
        return set(chain.from_iterable(partition.quorate for partition in there))

    def _count_quorate(self, state: State) -> int:
        return len(self._quorate(state))

    def _end(self, way: Way) -> set[int]:
        return self._quorate(way[-1][1])

    # -- the same failures in other orders ----------------------------------------------------------------

    def _can_remember(self) -> bool:
        """Whether this question makes sense: not with one node, nor with too many to try."""
        return len(self._nodeids) > 2 and not self.has_too_many_orders

    def _at_once(self, nodeids: tuple[int, ...]) -> Way:
        way = self._up
        left = tuple(nodeid for nodeid in self._nodeids if nodeid not in nodeids)
        state = self._best(way[-1][1], (left,))
        return (*way, (Crash(nodeids, len(nodeids)), state), *self._windows(state))

    def _one_by_one(self, nodeids: tuple[int, ...]) -> Iterator[Way]:
        for order in permutations(nodeids):
            for waits in (False, True):
                way = list(self._up)
                for at, nodeid in enumerate(order):
                    left = tuple(other for other in self._nodeids if other not in order[: at + 1])
                    way.append((Crash((nodeid,), 1), self._best(way[-1][1], (left,))))
                    if waits or at == len(order) - 1:
                        way += self._windows(way[-1][1])
                yield tuple(way)


def alike_at_once(config: ClusterConfig) -> list[tuple[int, ...]]:
    """Nodes that are equivalent when a whole cluster loses some at once: all except those that break ties."""
    breaker = config.auto_tie_breaker
    special = set() if isinstance(breaker, TieBreaker) else set(breaker)
    special |= {min(config.nodeids), max(config.nodeids)}
    groups: dict[tuple[int, int], list[int]] = {}
    for node in config.nodes:
        key = (node.votes, node.nodeid if node.nodeid in special else 0)
        groups.setdefault(key, []).append(node.nodeid)
    return [tuple(group) for group in groups.values()]


def _count_sets(groups: list[tuple[int, ...]]) -> int:
    return prod(len(group) + 1 for group in groups)


def _choose(of: int, count: int) -> int:
    return prod(range(of - count + 1, of + 1)) // prod(range(1, count + 1))
