"""Which states can follow a state: every event that is possible, and what it leads to.

Strategy: an event regroups the nodes that are up. `_regroup` puts the pieces of the old partitions
together, asks `Partitions` what each new ring comes to, lets the device vote, and puts the timers in one
order again. Each generator below is one kind of event. Interchangeable nodes are tried once: of three
crashed nodes that are alike, the one with the lowest id stands for all.

Small clusters (`Reach.ANY_NETWORK`) regroup in every way, which covers what single cut links do: where A
sees B and B sees C but A does not see C, the membership protocol forms one ring after the other, and B goes
from one to the other without being alone. Large ones split and merge two partitions at a time, heal, and move
single nodes.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, combinations, product
from typing import Final

from ..cluster.snapshot import NO_TIMER
from .devices import DeviceKind, DeviceModel, Groups
from .events import (
    CancelWaitForAll,
    Crash,
    DeviceFails,
    DeviceReturns,
    Event,
    ExpectedVotes,
    Leave,
    Network,
    PowerCut,
    Start,
    Votes,
    Window,
)
from .partitions import Partition, Partitions, TimedPartition, Timers
from .states import State, Symmetry, state_of

_ANY_NETWORK_NODES: Final = 6
"""Nodes up to which the network may break in every way at once."""

_ANY_CRASH_NODES: Final = 6
"""Nodes up to which any of a partition may crash at once; beyond, up to `_MOST_CRASH`."""

_MOST_CRASH: Final = 2

_WINDOWS_IN_ORDER_NODES: Final = 4
"""Nodes up to which windows pass one after the other; beyond, all that run pass before anything else."""

Parts = list[tuple[Partition, Timers]]
Successor = tuple[Event, State]


class Reach(enum.StrEnum):
    """What networks can do in a search."""

    ANY_NETWORK = "any change of the network"
    BY_TWO = "partitions that split or merge two at a time, and single nodes that move"


class Successors:
    """The events of one configuration. `operator` lets the operator set expected votes and end waiting."""

    def __init__(
        self,
        partitions: Partitions,
        symmetry: Symmetry,
        device: DeviceModel | None,
        *,
        operator: bool = False,
    ) -> None:
        self.partitions = partitions
        self.symmetry = symmetry
        self.device = device
        nodeids = partitions.config.nodeids
        self.reach = Reach.ANY_NETWORK if len(nodeids) <= _ANY_NETWORK_NODES else Reach.BY_TWO
        self._nodeids = tuple(sorted(nodeids))
        self.windows_in_order = len(nodeids) <= _WINDOWS_IN_ORDER_NODES
        self._kinds = [self._crashes, self._power_cut, self._starts, self._windows]
        self._kinds += [self._any_network] if self.reach is Reach.ANY_NETWORK else [self._by_two]
        if partitions.rules.allow_downscale:
            self._kinds.append(self._leaves)
        if device is not None:
            self._kinds += [self._votes, self._device_fails_or_returns]
        if operator:
            self._kinds += [self._cancels, self._expectations]

    def of(self, state: State) -> Iterator[Successor]:
        """All that can come next. Different events may lead to the same state."""
        for kind in self._kinds:
            yield from kind(state)

    def not_looked_at(self, faults: int | None) -> tuple[str, ...]:
        """What even a search that ends leaves out, within this many faults (None: any number)."""
        return tuple(
            what
            for what, is_left_out in (
                (
                    "network changes that are more than one split, one merge or one node's move in one step",
                    self.reach is Reach.BY_TWO,
                ),
                (
                    f"more than {_MOST_CRASH} nodes of a partition that crash at the same moment",
                    len(self._nodeids) > _ANY_CRASH_NODES and (faults is None or faults > _MOST_CRASH),
                ),
                (
                    "last_man_standing windows that pass one after another",
                    self.partitions.rules.last_man_standing and not self.windows_in_order,
                ),
                (
                    "states that differ by which of several like nodes speaks in which place",
                    not self.symmetry.is_exact,
                ),
            )
            if is_left_out
        )

    def all_down(self) -> State:
        """The beginning: no node is up."""
        return State(())

    # -- putting partitions together -------------------------------------------------------------------

    def regrouped(self, state: State, groups: Groups, started: Iterable[int] = ()) -> Iterator[State]:
        """The states that follow when the nodes form these groups. Nodes in none of them are down.

        There are several where the device has a choice.
        """
        pieces, timers = self._pieces(state, started)
        if self.device is None:
            yield from self._combined(state, groups, pieces, timers, None)
            return
        for votes in self.device.choices(groups, state.device_works, self.votes(state)):
            yield from self._combined(state, groups, pieces, timers, votes)

    def votes(self, state: State) -> frozenset[int]:
        """The nodes that the device votes for."""
        return frozenset(chain.from_iterable(self.partitions.all[at].voted_for for at in state.partitions))

    def groups(self, state: State) -> Groups:
        """The members of each partition."""
        return tuple(self.partitions.all[at].members for at in state.partitions)

    def _pieces(self, state: State, started: Iterable[int]) -> tuple[dict[int, int], dict[int, int]]:
        """Each node's state, and its timer if one is running."""
        pieces: dict[int, int] = {nodeid: self.partitions.started(nodeid) for nodeid in started}
        timers: dict[int, int] = {}
        for partition, due in self._parts(state):
            pieces.update(zip(partition.members, partition.pieces, strict=True))
            if due:
                timers.update(zip(partition.members, due, strict=True))
        return pieces, timers

    def _parts(self, state: State) -> Parts:
        timers = state.timers or ((),) * len(state.partitions)
        return [
            (self.partitions.all[number], due) for number, due in zip(state.partitions, timers, strict=True)
        ]

    def _combined(
        self,
        state: State,
        groups: Groups,
        pieces: dict[int, int],
        timers: dict[int, int],
        votes: frozenset[int] | None,
    ) -> Iterator[State]:
        """The states that the outcomes of the single groups can make together."""
        there = {partition.members: (partition, due) for partition, due in self._parts(state)}
        options = [self._options(there.get(group), group, pieces, timers, votes) for group in groups]
        if all(len(option) == 1 for option in options):
            yield self._state([option[0] for option in options], state.device_works)
            return
        for parts in product(*options):
            yield self._state(list(parts), state.device_works)

    def _options(
        self,
        known: tuple[Partition, Timers] | None,
        group: tuple[int, ...],
        pieces: dict[int, int],
        timers: dict[int, int],
        votes: frozenset[int] | None,
    ) -> Parts:
        """What a group may become; one that was a partition before stays as it is, but for the device."""
        mine = None if votes is None else votes.intersection(group)
        if known is not None and (mine is None or mine == frozenset(known[0].voted_for)):
            return [known]
        due = tuple(timers.get(nodeid, NO_TIMER) for nodeid in group) if timers else ()
        given, ranks = _local(due)
        if known is not None and mine is not None:
            outcomes = [self.partitions.vote(known[0], given, mine)]
        else:
            outcomes = self.partitions.rings(tuple(pieces[nodeid] for nodeid in group), given, mine)
        return [(outcome.partition, _global(outcome.timers, ranks)) for outcome in outcomes]

    def _replaced(self, state: State, at: int, outcome: TimedPartition, ranks: list[int]) -> State:
        parts = self._parts(state)
        parts[at] = (outcome.partition, _global(outcome.timers, ranks))
        return self._state(parts, state.device_works)

    def _state(self, parts: Parts, device_works: bool) -> State:
        return state_of(parts, device_works, in_order=self.windows_in_order)

    # -- nodes -----------------------------------------------------------------------------------------

    def _crashes(self, state: State) -> Iterator[Successor]:
        groups = self.groups(state)
        for at, group in enumerate(groups):
            for lost in self._lost(state, at):
                left = tuple(nodeid for nodeid in group if nodeid not in lost)
                rest = (*groups[:at], *([left] if left else []), *groups[at + 1 :])
                for after in self.regrouped(state, rest):
                    yield Crash(lost, len(lost)), after

    def _lost(self, state: State, at: int) -> Iterator[tuple[int, ...]]:
        """Which nodes of a partition may crash at once: any, in large clusters up to `_MOST_CRASH`."""
        most = len(self._nodeids) if len(self._nodeids) <= _ANY_CRASH_NODES else _MOST_CRASH
        return (lost for lost in self._selections(state, at) if 0 < len(lost) <= most)

    def _selections(self, state: State, at: int) -> Iterator[tuple[int, ...]]:
        """The subsets of a partition's members that differ by more than names."""
        due = state.timers[at] if state.timers else ()
        alike = self.symmetry.alike(state.partitions[at], due)
        for counts in product(*(range(len(group) + 1) for group in alike)):
            yield tuple(sorted(chain.from_iterable(map(_first, alike, counts))))

    def _power_cut(self, state: State) -> Iterator[Successor]:
        if len(state.partitions) > 0:
            yield PowerCut(), State((), (), state.device_works)

    def _starts(self, state: State) -> Iterator[Successor]:
        groups = self.groups(state)
        up = set(chain.from_iterable(groups))
        for nodeid, *_ in self.symmetry.down_alike(nodeid for nodeid in self._nodeids if nodeid not in up):
            for at, group in enumerate(groups):
                rest = (*groups[:at], tuple(sorted((*group, nodeid))), *groups[at + 1 :])
                for after in self.regrouped(state, rest, [nodeid]):
                    yield Start(nodeid, group), after
            for after in self.regrouped(state, (*groups, (nodeid,)), [nodeid]):
                # a network with one partition must break for a node that starts to be alone
                yield Start(nodeid, (), faults=int(len(groups) == 1)), after

    def _leaves(self, state: State) -> Iterator[Successor]:
        for at, (partition, due) in enumerate(self._parts(state)):
            for nodeid, *_ in self.symmetry.alike(partition.number, due):
                if len(partition.members) > 1:
                    given, ranks = _local(due)
                    outcome = self.partitions.leave(partition, given, nodeid, None)
                    yield Leave(nodeid), self._replaced(state, at, outcome, ranks)

    def _windows(self, state: State) -> Iterator[Successor]:
        if not state.timers:
            return
        parts: Parts = []
        fired: list[int] = []
        for partition, due in self._parts(state):
            if 0 in due:
                fired += [nodeid for nodeid, rank in zip(partition.members, due, strict=True) if rank == 0]
                given, ranks = _local(due)
                outcome = self.partitions.fire(partition, given)
                parts.append((outcome.partition, _global(outcome.timers, ranks)))
            else:
                parts.append((partition, due))
        yield Window(tuple(sorted(fired))), self._state(parts, state.device_works)

    # -- the network -----------------------------------------------------------------------------------

    def _any_network(self, state: State) -> Iterator[Successor]:
        groups = self.groups(state)
        for new in _groupings(tuple(sorted(chain.from_iterable(groups)))):
            if new != groups:
                yield from self._network(state, groups, new)

    def _by_two(self, state: State) -> Iterator[Successor]:
        groups = self.groups(state)
        for at, group in enumerate(groups):
            rest = (*groups[:at], *groups[at + 1 :])
            for side in self._selections(state, at):
                other = tuple(nodeid for nodeid in group if nodeid not in side)
                if side and other:
                    yield from self._network(state, groups, (*rest, side, other))
                    if len(side) == 1:
                        yield from self._moves(state, groups, rest, side, other)
        for one, two in combinations(groups, 2):
            rest = tuple(group for group in groups if group not in (one, two))
            yield from self._network(state, groups, (*rest, (*one, *two)))
        if len(groups) > 2:
            yield from self._network(state, groups, (tuple(chain.from_iterable(groups)),))

    def _moves(
        self, state: State, groups: Groups, rest: Groups, side: tuple[int, ...], other: tuple[int, ...]
    ) -> Iterator[Successor]:
        for to in rest:
            new = (*(group for group in rest if group != to), other, (*to, *side))
            yield from self._network(state, groups, new)

    def _network(self, state: State, old: Groups, new: Groups) -> Iterator[Successor]:
        ordered = tuple(sorted(tuple(sorted(group)) for group in new))
        heals = all(any(set(group) <= set(target) for target in ordered) for group in old)
        event = Network(ordered, heals)
        for after in self.regrouped(state, ordered):
            yield event, after

    # -- the device and the operator --------------------------------------------------------------------

    def _votes(self, state: State) -> Iterator[Successor]:
        if self.device is None:
            return
        groups, now = self.groups(state), self.votes(state)
        for votes in self.device.changes(groups, state.device_works, now):
            yield Votes(tuple(sorted(votes))), self.voted(state, votes)

    def _device_fails_or_returns(self, state: State) -> Iterator[Successor]:
        if self.device is None or not self.device.can_fail:
            return
        turned = state._replace(device_works=not state.device_works)
        for votes in self.device.choices(self.groups(state), turned.device_works, self.votes(state)):
            nodeids = tuple(sorted(votes))
            event = DeviceFails() if state.device_works else DeviceReturns(nodeids)
            yield event, self.voted(turned, votes)

    def willing(self, state: State) -> Iterator[State]:
        """The states in which a device that may choose votes for all of one partition."""
        if self.device is not None and not self.device.can_fail and self.device.kind is not DeviceKind.NONE:
            for group in self.groups(state):
                yield self.voted(state, frozenset(group))

    def voted(self, state: State, votes: frozenset[int]) -> State:
        """The state in which the device votes for these nodes."""
        pieces, timers = self._pieces(state, ())
        (after,) = self._combined(state, self.groups(state), pieces, timers, votes)
        return after

    def _cancels(self, state: State) -> Iterator[Successor]:
        for at, (partition, due) in enumerate(self._parts(state)):
            if partition.waiting_for_all:
                given, ranks = _local(due)
                outcome = self.partitions.cancel_wait_for_all(partition, given)
                yield CancelWaitForAll(partition.members), self._replaced(state, at, outcome, ranks)

    def _expectations(self, state: State) -> Iterator[Successor]:
        for at, (partition, due) in enumerate(self._parts(state)):
            given, ranks = _local(due)
            for expected_votes in range(1, len(self._nodeids) + 1):
                outcome = self.partitions.set_expected(partition, given, expected_votes)
                if outcome.partition is not partition:
                    event = ExpectedVotes(partition.members, expected_votes)
                    yield event, self._replaced(state, at, outcome, ranks)


def _local(due: Timers) -> tuple[Timers, list[int]]:
    """A partition's timers by its own ranks, and what those were."""
    if not due or max(due) == NO_TIMER:
        return (), []
    ranks = sorted({rank for rank in due if rank != NO_TIMER})
    return tuple(ranks.index(rank) if rank != NO_TIMER else NO_TIMER for rank in due), ranks


_LAST: Final = 1 << 30
"""A rank behind all others: a timer that has just been started."""


def _global(due: Timers, ranks: list[int]) -> Timers:
    """The way back."""
    if not due:
        return ()
    back = [*ranks, _LAST, NO_TIMER]
    return tuple(back[rank] for rank in due)


def _first(group: tuple[int, ...], count: int) -> tuple[int, ...]:
    return group[:count]


@cache
def _groupings(nodeids: tuple[int, ...]) -> tuple[Groups, ...]:
    """All ways to put nodes into groups."""
    if not nodeids:
        return ((),)
    first, rest = nodeids[0], nodeids[1:]
    found: list[Groups] = []
    for smaller in _groupings(rest):
        found.append(((first,), *smaller))
        found += [((first, *group), *smaller[:at], *smaller[at + 1 :]) for at, group in enumerate(smaller)]
    return tuple(sorted(tuple(sorted(groups)) for groups in found))
