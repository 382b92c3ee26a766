"""Multicasts between sending and arrival: one order for all nodes of a ring, but each node gets them at its
own time.

Strategy: totem gives every multicast a place in one order. All nodes of the ring keep that order, but they do
not get a multicast at the same instant. A `Latency` says how long it takes to get a place, and from there to
each node. It derives these times from a seed and the multicast's number and keeps no state, so that a copy of
a cluster behaves like the original. Without a `Latency` a multicast is everywhere at once.

A new ring ends the old one. Nodes that stay together first deliver what one of them has sent or delivered.
Whatever else was under way is lost to them. Source: extended virtual synchrony, as the recovery in
exec/totemsrp.c of corosync 3.1.7 has it.
"""

from __future__ import annotations

import bisect
import heapq
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .effects import NANOSECONDS
from .messages import Multicast

_TICK = 10_000
"""Nanoseconds. Multicasts arrive at whole ticks, so that a large cluster has not too many instants."""

_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Latency:
    """How long multicasts take: each leg `least` to `most` seconds, as `seed` decides.

    A multicast has two legs, one to its place in the order and one from there to each node. Times are whole
    multiples of 10 microseconds. Raises `ValueError` unless 0 <= least <= most.
    """

    least: float = 0.0005
    most: float = 0.005
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most:
            raise ValueError(f"a latency is 0 <= least <= most, not {self.least} and {self.most}")

    def leg(self, *what: int) -> int:
        """Nanoseconds, always the same for the same numbers."""
        seconds = self.least + (self.most - self.least) * _fraction(self.seed, *what)
        return round(seconds * NANOSECONDS / _TICK) * _TICK


def _fraction(*numbers: int) -> float:
    """A number from 0 to 1 that looks random (the finaliser of splitmix64, once for each number)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state / _MASK


class Delivery(NamedTuple):
    """A multicast, and the nodes that get it now."""

    sender: int
    message: Multicast
    nodeids: tuple[int, ...]


class _Arrival(NamedTuple):
    """A multicast on its way to one node. Those of a node sort by their places in the order."""

    place: tuple[int, int]
    """When the multicast got its place, and its number, which no other has."""
    due: int
    """When it arrives at the earliest: not before those that have earlier places."""
    sender: int
    message: Multicast


@dataclass(slots=True)
class UnderWay:
    """The multicasts of one ring."""

    members: tuple[int, ...]
    latency: Latency | None = None
    _at_once: deque[Delivery] = field(default_factory=deque)
    """Multicasts without a delay."""
    _arrivals: dict[int, list[_Arrival]] = field(default_factory=dict)
    """Multicasts with a delay, by node, in order."""
    _heads: list[tuple[int, tuple[int, int], int]] = field(default_factory=list)
    """A heap of when each node gets its next one: due, place and node. May have outdated entries besides."""
    _places: dict[int, int] = field(default_factory=dict)
    """When each sender's last multicast got its place: a sender's multicasts keep their order."""

    def __bool__(self) -> bool:
        return bool(self._at_once) or any(self._arrivals.values())

    def send(self, now: int, number: int, sender: int, message: Multicast) -> None:
        """A node multicasts. Each number is used once in a cluster; `now` is in nanoseconds."""
        if self.latency is None:
            self._at_once.append(Delivery(sender, message, self.members))
            return
        instant = max(now + self.latency.leg(number), self._places.get(sender, 0))
        self._places[sender] = instant
        place = instant, number
        for nodeid in self.members:
            arrival = _Arrival(place, instant + self.latency.leg(number, nodeid), sender, message)
            queue = self._arrivals.setdefault(nodeid, [])
            bisect.insort(queue, arrival, key=lambda each: each.place)
            if queue[0] is arrival:
                heapq.heappush(self._heads, (arrival.due, place, nodeid))

    def take(self, now: int) -> Delivery | None:
        """The next delivery that is due, if one is."""
        if self._at_once:
            return self._at_once.popleft()
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, nodeid = heapq.heappop(self._heads)
        arrival = self._arrivals[nodeid].pop(0)
        self._note_head(nodeid)
        return Delivery(arrival.sender, arrival.message, (nodeid,))

    def next_due(self) -> int | None:
        """When the next delivery is due; None if nothing is under way that takes time."""
        while self._heads:
            due, place, nodeid = self._heads[0]
            queue = self._arrivals.get(nodeid)
            if queue and queue[0].place == place:
                return due
            heapq.heappop(self._heads)
        return None

    def _note_head(self, nodeid: int) -> None:
        queue = self._arrivals[nodeid]
        if queue:
            heapq.heappush(self._heads, (queue[0].due, queue[0].place, nodeid))

    def recover(self, together: Collection[int]) -> Iterator[Delivery]:
        """What nodes deliver before they go on to a new ring together; the rest is lost to them."""
        queues = {nodeid: self._arrivals.pop(nodeid, []) for nodeid in together}
        missing: dict[tuple[int, int], list[int]] = {}
        found: dict[tuple[int, int], _Arrival] = {}
        for nodeid, queue in queues.items():
            for arrival in queue:
                found[arrival.place] = arrival
                missing.setdefault(arrival.place, []).append(nodeid)
        for place, arrival in sorted(found.items(), key=lambda item: item[0]):
            if arrival.sender in together or len(missing[place]) < len(together):
                yield Delivery(arrival.sender, arrival.message, tuple(missing[place]))

    def forget(self, nodeid: int) -> None:
        """A node is gone and gets nothing more."""
        self._arrivals.pop(nodeid, None)
