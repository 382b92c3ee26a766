"""Which states can follow a state: every possible event, and its results.

Strategy: an event regroups the nodes that are up. `_Here` holds the parts of one state, asks `Partitions` for
the outcome of each new ring, lets the device vote, and puts the timers into one order again. Each generator
of `Successors` is one kind of event. Interchangeable nodes are tried once: of three crashed nodes that are
alike, the one with the lowest id stands for all.

A search examines many moves and reports few of them, so a move only says how to make its event.

Small clusters (`Reach.ANY_NETWORK`) regroup in every way, which covers single cut links: if A sees B and B
sees C but A does not see C, the membership protocol forms one ring after the other, and B goes from one to
the other without being alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain, product
from typing import Any, Final, NamedTuple

from .devices import DeviceKind, DeviceModel, Groups
from .events import (
    CancelWaitForAll,
    Crash,
    DeviceFails,
    DeviceReturns,
    Event,
    ExpectedVotes,
    Group,
    Leave,
    Network,
    PowerCut,
    Start,
    Votes,
    Window,
)
from .networks import Kinds, any_way, ordered, selections, two_at_a_time
from .partitions import Partitions, TimedPartition
from .states import State, Symmetry

_ANY_NETWORK_NODES: Final = 6
"""The most nodes for which the network may break in every way at once."""

_ANY_CRASH_NODES: Final = 6
"""The most nodes for which any of a partition may crash at once; with more, up to `_MOST_CRASH` may."""

_MOST_CRASH: Final = 2

_WINDOWS_IN_ORDER_NODES: Final = 4
"""The most nodes for which windows pass one after the other; with more, all running ones pass before anything
else."""


class Move(NamedTuple):
    """A state that may follow, the faults that it takes, and the event: `kind(*details)`."""

    after: State
    faults: int
    kind: Callable[..., Event]
    details: tuple[Any, ...]

    @property
    def event(self) -> Event:
        """What happens."""
        return self.kind(*self.details)


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
        self._regroupings = any_way if self.reach is Reach.ANY_NETWORK else two_at_a_time
        self._nodeids = tuple(sorted(nodeids))
        self._most_crash = len(nodeids) if len(nodeids) <= _ANY_CRASH_NODES else _MOST_CRASH
        self._expectable = range(1, len(nodeids) + 1)
        self._losses: dict[int, tuple[tuple[Group, Group], ...]] = {}
        self.windows_in_order = len(nodeids) <= _WINDOWS_IN_ORDER_NODES
        self._kinds = [self._crashes, self._power_cut, self._starts, self._windows, self._networks]
        if partitions.rules.allow_downscale:
            self._kinds.append(self._leaves)
        if device is not None:
            self._kinds += [self._votes, self._device_fails_or_returns]
        if operator:
            self._kinds += [self._cancels, self._expectations]

    def of(self, state: State) -> Iterator[Move]:
        """All possible next moves. Different events may lead to the same state."""
        here = _Here(self, state)
        for kind in self._kinds:
            yield from kind(here)

    def not_looked_at(self, faults: int | None) -> tuple[str, ...]:
        """What even a complete search leaves out, within this many faults (None: any number)."""
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

    # -- single changes ------------------------------------------------------------------------------------

    def regrouped(self, state: State, groups: Groups, started: Iterable[int] = ()) -> list[State]:
        """The states that follow when the nodes form these groups. Nodes in none of them are down.

        There are several where the device has a choice, or where it matters who speaks first.
        """
        return _Here(self, state).regrouped(ordered(groups), started)

    def votes(self, state: State) -> frozenset[int]:
        """The nodes that the device votes for."""
        return _Here(self, state).voted_for

    def willing(self, state: State) -> Iterator[State]:
        """The states in which a device that may choose votes for all of one partition."""
        if self.device is not None and not self.device.can_fail and self.device.kind is not DeviceKind.NONE:
            for group in _Here(self, state).groups:
                yield self.voted(state, frozenset(group))

    def voted(self, state: State, votes: frozenset[int]) -> State:
        """The state in which the device votes for these nodes."""
        return _Here(self, state).voted(state.device_works, votes)

    # -- nodes -----------------------------------------------------------------------------------------

    def _crashes(self, here: _Here) -> Iterator[Move]:
        groups = here.groups
        for at, number in enumerate(here.state.parts):
            for lost, left in self._lost(number):
                rest = groups[:at] + ((left,) if left else ()) + groups[at + 1 :]
                for after in here.regrouped(ordered(rest)):
                    yield Move(after, len(lost), Crash, (lost, len(lost)))

    def _lost(self, number: int) -> tuple[tuple[Group, Group], ...]:
        """Which nodes of a partition may crash at once, and those that are left then."""
        if number not in self._losses:
            members = self.partitions.timed[number].partition.members
            self._losses[number] = tuple(
                (lost, tuple(nodeid for nodeid in members if nodeid not in lost))
                for lost in selections(self.symmetry.alike(number))
                if 0 < len(lost) <= self._most_crash
            )
        return self._losses[number]

    def _power_cut(self, here: _Here) -> Iterator[Move]:
        if here.state.parts:
            yield Move(State((), here.state.device_works), 1, PowerCut, ())

    def _starts(self, here: _Here) -> Iterator[Move]:
        groups = here.groups
        up = set(chain.from_iterable(groups))
        for nodeid, *_ in self.symmetry.down_alike(nodeid for nodeid in self._nodeids if nodeid not in up):
            for at, group in enumerate(groups):
                rest = (*groups[:at], (*group, nodeid), *groups[at + 1 :])
                for after in here.regrouped(ordered(rest), (nodeid,)):
                    yield Move(after, 0, Start, (nodeid, group))
            # a network with one partition must break for a node that starts to be alone
            faults = int(len(groups) == 1)
            for after in here.regrouped(ordered((*groups, (nodeid,))), (nodeid,)):
                yield Move(after, faults, Start, (nodeid, (), faults))

    def _leaves(self, here: _Here) -> Iterator[Move]:
        for at, number in enumerate(here.state.parts):
            for nodeid, *_ in self.symmetry.alike(number):
                if len(here.groups[at]) > 1:
                    after = here.replaced(at, self.partitions.left(number, nodeid))
                    yield Move(after, 0, Leave, (nodeid,))

    def _windows(self, here: _Here) -> Iterator[Move]:
        timed = [self.partitions.timed[number] for number in here.state.parts]
        fired = [
            nodeid
            for one in timed
            for nodeid, rank in zip(one.partition.members, one.timers, strict=False)
            if rank == 0
        ]
        if fired:
            parts = [self.partitions.fired(one.number) if one.ranks & 1 else one.number for one in timed]
            yield Move(here.made_of(tuple(parts)), 0, Window, (tuple(sorted(fired)),))

    # -- the network -----------------------------------------------------------------------------------

    def _networks(self, here: _Here) -> Iterator[Move]:
        for new, heals in self._regroupings(here.groups, self._kinds_of(here.state)):
            for after in here.regrouped(new):
                yield Move(after, not heals, Network, (new, heals))

    def _kinds_of(self, state: State) -> Kinds:
        """All nodes that are up by what makes no difference; single nodes of one shape are alike as well."""
        if self.symmetry.is_trivial:
            return tuple(
                (nodeid,)
                for number in state.parts
                for nodeid in self.partitions.timed[number].partition.members
            )
        kinds: list[Group] = []
        alone: dict[int, Group] = {}
        for number in state.parts:
            alike = self.symmetry.alike(number)
            if len(self.partitions.timed[number].partition.members) > 1:
                kinds += alike
            else:
                shape = self.symmetry.shape(number)
                alone[shape] = alone.get(shape, ()) + alike[0]
        return (*kinds, *alone.values())

    # -- the device and the operator --------------------------------------------------------------------

    def _votes(self, here: _Here) -> Iterator[Move]:
        if self.device is None:
            return
        works = here.state.device_works
        for votes in self.device.changes(here.groups, works, here.voted_for):
            yield Move(here.voted(works, votes), 0, Votes, (tuple(sorted(votes)),))

    def _device_fails_or_returns(self, here: _Here) -> Iterator[Move]:
        if self.device is None or not self.device.can_fail:
            return
        worked = here.state.device_works
        for votes in self.device.choices(here.groups, not worked, here.voted_for):
            after = here.voted(not worked, votes)
            if worked:
                yield Move(after, 1, DeviceFails, ())
            else:
                yield Move(after, 0, DeviceReturns, (tuple(sorted(votes)),))

    def _cancels(self, here: _Here) -> Iterator[Move]:
        for at, number in enumerate(here.state.parts):
            partition = self.partitions.timed[number].partition
            if partition.waiting_for_all:
                after = here.replaced(at, self.partitions.wait_for_all_cancelled(number))
                yield Move(after, 0, CancelWaitForAll, (partition.members,))

    def _expectations(self, here: _Here) -> Iterator[Move]:
        for at, number in enumerate(here.state.parts):
            for (nodeid, *_), expected_votes in product(self.symmetry.alike(number), self._expectable):
                after = self.partitions.expecting(number, nodeid, expected_votes)
                if after != number:
                    yield Move(here.replaced(at, after), 0, ExpectedVotes, (nodeid, expected_votes))


class _Here:
    """One state, taken apart: what becomes of its nodes in new groups. Each group is computed once."""

    def __init__(self, successors: Successors, state: State) -> None:
        self.state = state
        self._partitions = successors.partitions
        self._device = successors.device
        self._in_order = successors.windows_in_order
        self._timed = [self._partitions.timed[number] for number in state.parts]
        self.groups: Groups = tuple(one.partition.members for one in self._timed)
        self._there = {one.partition.members: one for one in self._timed}
        self._held = {
            nodeid: held
            for one in self._timed
            for nodeid, held in zip(one.partition.members, one.held, strict=True)
        }
        self._become = _Becoming(self._partitions, self._there, self._held, None)
        self._voted: dict[frozenset[int], _Becoming] = {}

    @cached_property
    def voted_for(self) -> frozenset[int]:
        """The nodes that the device votes for."""
        return frozenset(chain.from_iterable(one.voted_for for one in self._timed))

    def regrouped(self, groups: Groups, started: Iterable[int] = ()) -> list[State]:
        """The states that follow when the nodes form these groups; those in none of them are down."""
        for nodeid in started:
            self._held[nodeid] = self._partitions.started(nodeid)
        works = self.state.device_works
        if self._device is None:
            return self._combined(groups, works, None)
        choices = self._device.choices(groups, works, self.voted_for)
        return list(chain.from_iterable(self._combined(groups, works, votes) for votes in choices))

    def voted(self, works: bool, votes: frozenset[int]) -> State:
        """The partitions stay, and the device votes for these nodes."""
        (after,) = self._combined(self.groups, works, votes)
        return after

    def replaced(self, at: int, number: int) -> State:
        """One partition becomes another."""
        parts = self.state.parts
        members = self._partitions.timed[number].partition.members
        if members == self.groups[at]:
            return self.made_of((*parts[:at], number, *parts[at + 1 :]))
        together = (*parts[:at], number, *parts[at + 1 :])
        return self.made_of(
            tuple(sorted(together, key=lambda one: self._partitions.timed[one].partition.members))
        )

    def made_of(self, parts: tuple[int, ...]) -> State:
        """A state of these partitions, whose timers may be out of order."""
        return State(self._partitions.ranked(parts, in_order=self._in_order), self.state.device_works)

    def _combined(self, groups: Groups, works: bool, votes: frozenset[int] | None) -> list[State]:
        """The states that the outcomes of the single groups can make together."""
        become = self._become if votes is None else self._becoming(votes)
        ranked, in_order = self._partitions.ranked, self._in_order
        together = product(*[become[group] for group in groups])
        return [State(ranked(parts, in_order=in_order), works) for parts in together]

    def _becoming(self, votes: frozenset[int]) -> _Becoming:
        becoming = self._voted.get(votes)
        if becoming is None:
            becoming = self._voted[votes] = _Becoming(self._partitions, self._there, self._held, votes)
        return becoming


class _Becoming(dict[Group, tuple[int, ...]]):
    """What the nodes of a state become in new groups, while a device votes for the nodes in `votes`.

    A group that was a partition before stays as it is, except for the device.
    """

    def __init__(
        self,
        partitions: Partitions,
        there: Mapping[Group, TimedPartition],
        held: Mapping[int, int],
        votes: frozenset[int] | None,
    ) -> None:
        super().__init__()
        self._partitions, self._there, self._held, self._votes = partitions, there, held, votes

    def __missing__(self, group: Group) -> tuple[int, ...]:
        before = self._there.get(group)
        votes = None if self._votes is None else self._votes.intersection(group)
        if before is None:
            options = self._partitions.rings(tuple([self._held[nodeid] for nodeid in group]), votes)
        elif votes is None or votes == before.voted_for:
            options = (before.number,)
        else:
            options = (self._partitions.voted(before.number, votes),)
        self[group] = options
        return options
