"""How a quorum device may vote: for which nodes of which partitions, after each membership change.

A device is any program that registers as one, and votequorum trusts it. So there are several kinds, from a
device that keeps its promise to one that votes like an adversary. `exclusive` covers every device that never
votes for two partitions, so whatever cannot happen with it cannot happen with `ffsplit`.

Source: qnetd-algo-ffsplit.c and qnetd-algo-lms.c of corosync-qdevice, without heuristics, and with all nodes
connected to qnetd or none.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from itertools import chain, combinations

Groups = tuple[tuple[int, ...], ...]
"""The partitions by their members, in the order of their first members."""


class DeviceKind(enum.StrEnum):
    """How the device votes."""

    NONE = "none"
    """A device is configured, but none runs, or it never votes."""
    FFSPLIT = "ffsplit"
    """qnetd's ffsplit: the partition with more than half of the nodes, or one half of a fifty-fifty split."""
    LMS = "lms"
    """qnetd's last man standing: the largest partition."""
    EXCLUSIVE = "exclusive"
    """Any device that votes for at most one partition, whichever it is, and may change its mind."""
    CARELESS = "careless"
    """A device that decides separately for each node, and may vote for all or for none."""


class DeviceModel:
    """A kind of device for a cluster of these nodes."""

    def __init__(self, kind: DeviceKind, nodeids: tuple[int, ...]) -> None:
        self.kind = kind
        self._nodeids = nodeids

    @property
    def apart(self) -> tuple[int, ...]:
        """The nodes that this device distinguishes from others."""
        if self.kind is DeviceKind.FFSPLIT:
            return () if len(self._nodeids) % 2 else (min(self._nodeids),)
        return self._nodeids if self.kind is DeviceKind.LMS else ()

    @property
    def can_fail(self) -> bool:
        """Whether its failure is an event. Other kinds may withhold their vote at any time anyway."""
        return self.kind in _DECIDES

    def choices(self, groups: Groups, works: bool, before: frozenset[int]) -> Iterator[frozenset[int]]:
        """For which nodes it may vote when these partitions have formed. `before`: for which it did."""
        if self.kind in _DECIDES:
            yield frozenset(_DECIDES[self.kind](groups, self._nodeids)) if works else frozenset()
        elif self.kind is DeviceKind.EXCLUSIVE:
            yield frozenset()
            yield from map(frozenset, groups)
        elif self.kind is DeviceKind.CARELESS:
            # it may change its mind before and after, so that here it need not
            yield before.intersection(chain.from_iterable(groups))
        else:
            yield frozenset()

    def changes(self, groups: Groups, works: bool, now: frozenset[int]) -> Iterator[frozenset[int]]:
        """For which other nodes it may come to vote while the partitions stay as they are."""
        if self.kind is DeviceKind.CARELESS:
            for nodeid in chain.from_iterable(groups):
                yield now ^ {nodeid}
        elif self.kind is DeviceKind.EXCLUSIVE:
            yield from (choice for choice in self.choices(groups, works, now) if choice != now)


def _ffsplit(groups: Groups, nodeids: tuple[int, ...]) -> tuple[int, ...]:
    half = len(nodeids) / 2
    for group in groups:
        if len(group) > half:
            return group
    halves = [group for group in groups if len(group) == half]
    # one half that is alone has more nodes connected than the other, which is down
    if len(halves) == 1:
        return halves[0]
    return next((group for group in halves if min(nodeids) in group), ())


def _lms(groups: Groups, _nodeids: tuple[int, ...]) -> tuple[int, ...]:
    largest = max(map(len, groups), default=0)
    best = [group for group in groups if len(group) == largest]
    lowest = min(chain.from_iterable(groups), default=0)
    return best[0] if len(best) == 1 else next((group for group in best if lowest in group), ())


_DECIDES: dict[DeviceKind, Callable[[Groups, tuple[int, ...]], tuple[int, ...]]] = {
    DeviceKind.FFSPLIT: _ffsplit,
    DeviceKind.LMS: _lms,
}


def subsets(nodeids: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All subsets, small ones first."""
    return chain.from_iterable(combinations(nodeids, size) for size in range(len(nodeids) + 1))
