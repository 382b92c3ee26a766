"""How likely quorum is, given the probabilities that nodes, sites, links and the device are down.

Strategy: a *situation* says which nodes run and which of them see each other, after failures at one moment in
a whole cluster. Situations that differ only by nodes that the rules do not distinguish count as one. The
probabilities of all situations are computed area by area: an area is a site, or a node if there are no sites.
The model is asked once about each situation, however many probabilities are tried. If there are too many
situations, they are sampled at random, and the result has a standard error.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import log10, sqrt
from typing import Final

from ..cluster import ClusterConfig
from .devices import DeviceKind
from .failures import Failures, alike_at_once
from .report import Checked

_SITUATIONS: Final = 40_000
"""The most situations for which all are examined: enough for any 15 nodes."""

_DRAWN: Final = 4000
_MINUTES: Final = 365.25 * 24 * 60

Counts = tuple[int, ...]
"""How many nodes of each kind."""

_Situation = tuple[Counts, ...]
"""The partitions, each by the kinds of its nodes, sorted."""


def unavailability(mtbf: float, mttr: float) -> float:
    """The probability that something is down that fails every `mtbf` on average and is repaired within
    `mttr`."""
    return mttr / (mtbf + mttr)


@dataclass(frozen=True)
class Chances:
    """The probability that each thing is down at any moment. All fail independently.

    `node` is that of each node, and `nodes` has exceptions by node id. A `site` that is down stops all its
    nodes. A `link` that is down cuts off a site, or a node if there are no sites; what is cut off keeps
    running. `sites` and `links` have exceptions by the number of the site, from 1, or the node id.
    """

    node: float = 0.0
    device: float = 0.0
    site: float = 0.0
    link: float = 0.0
    nodes: Mapping[int, float] = field(default_factory=dict)
    sites: Mapping[int, float] = field(default_factory=dict)
    links: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Availability:
    """`probability` is that of exactly one partition with quorum, `split_brain` that of more than one.

    `error` is the standard error of both, 0 where they are exact.
    """

    probability: float
    split_brain: float
    error: float

    @property
    def nines(self) -> float:
        """0.999 is three nines."""
        return -log10(max(1 - self.probability, 1e-15))

    @property
    def minutes_a_year(self) -> float:
        """Without quorum, or with two."""
        return (1 - self.probability) * _MINUTES


@dataclass(frozen=True)
class _Area:
    """Nodes that share a site and a link. `number` is the site's, from 1, or the node's id."""

    number: int
    nodeids: tuple[int, ...]


class Estimator:
    """Answers for one configuration; further questions with other probabilities are cheap."""

    def __init__(
        self, config: ClusterConfig, *, device: DeviceKind | None = None, sites: Sequence[Sequence[int]] = ()
    ) -> None:
        """`device` is how the device votes, as for `check`; `sites` are the nodes of each site.

        Raises `ValueError` if there are sites and some node is not at exactly one of them.
        """
        self._failures = Failures(Checked(config, device).successors())
        self._kinds = [sorted(group) for group in alike_at_once(config)]
        self._kind = {nodeid: at for at, group in enumerate(self._kinds) for nodeid in group}
        if sites and sorted(chain.from_iterable(sites)) != sorted(config.nodeids):
            raise ValueError("every node must be at one site")
        self._areas = [_Area(at, tuple(site)) for at, site in enumerate(sites, 1)]
        self._areas = self._areas or [_Area(nodeid, (nodeid,)) for nodeid in sorted(config.nodeids)]
        self._has_sites = bool(sites)

    def availability(self, chances: Chances) -> Availability:
        """How likely quorum is."""
        situations = self._all(chances)
        if situations is None:
            return self._sampled(chances)
        one = two = 0.0
        for situation, chance in situations.items():
            for without, weight in self._device(chances):
                quorate = self._quorate(situation, without)
                one += chance * weight * (quorate == 1)
                two += chance * weight * (quorate > 1)
        return Availability(one, two, 0.0)

    def _quorate(self, situation: _Situation, without_device: bool) -> int:
        """How many partitions are quorate."""
        names = [iter(kind) for kind in self._kinds]
        groups = [
            tuple(sorted(next(names[kind]) for kind, count in enumerate(counts) for _ in range(count)))
            for counts in situation
        ]
        return self._failures.quorate_in(tuple(sorted(groups)), device=without_device)

    def _device(self, chances: Chances) -> list[tuple[bool, float]]:
        """Whether the device is down, and how likely that is."""
        if not self._failures.has_device:
            return [(False, 1.0)]
        return [(False, 1 - chances.device), (True, chances.device)]

    # --- every situation ---

    def _all(self, chances: Chances) -> dict[_Situation, float] | None:
        """All situations, with their probabilities; None where there are too many."""
        empty = (0,) * len(self._kinds)
        found: dict[tuple[Counts, _Situation], float] = {(empty, ()): 1.0}
        for area in self._areas:
            grown: dict[tuple[Counts, _Situation], float] = defaultdict(float)
            outcomes = list(self._outcomes(area, chances))
            for (connected, cut_off), chance in found.items():
                for counts, is_cut, weight in outcomes:
                    grown[_joined(connected, cut_off, counts, is_cut)] += chance * weight
            found = grown
            if len(found) > _SITUATIONS:
                return None
        merged: dict[_Situation, float] = defaultdict(float)
        for (connected, cut_off), chance in found.items():
            merged[_situation(connected, cut_off)] += chance
        return merged

    def _outcomes(self, area: _Area, chances: Chances) -> Iterator[tuple[Counts, bool, float]]:
        """Which nodes of an area run, whether it is cut off, and how likely that is."""
        site, link = self._of_area(area, chances)
        for counts, chance in self._running(area, chances).items():
            for is_cut, weight in ((False, 1 - link), (True, link)):
                if weight:
                    yield counts, is_cut, chance * weight * (1 - site)
        if site:
            yield (0,) * len(self._kinds), False, site

    def _of_area(self, area: _Area, chances: Chances) -> tuple[float, float]:
        """How likely the site is down, and the link."""
        site = chances.sites.get(area.number, chances.site) if self._has_sites else 0.0
        return site, chances.links.get(area.number, chances.link)

    def _running(self, area: _Area, chances: Chances) -> dict[Counts, float]:
        found: dict[Counts, float] = {(0,) * len(self._kinds): 1.0}
        for nodeid in area.nodeids:
            down, kind = chances.nodes.get(nodeid, chances.node), self._kind[nodeid]
            grown: dict[Counts, float] = defaultdict(float)
            for counts, chance in found.items():
                grown[counts] += chance * down
                grown[(*counts[:kind], counts[kind] + 1, *counts[kind + 1 :])] += chance * (1 - down)
            found = grown
        return found

    # --- situations drawn at random ---

    def _sampled(self, chances: Chances) -> Availability:
        draw = random.Random(0)
        seen = Counter(self._quorate(*self._drawn(draw, chances)) for _ in range(_DRAWN))
        share = seen[1] / _DRAWN
        split = 1 - (seen[0] + seen[1]) / _DRAWN
        return Availability(share, split, sqrt(max(share * (1 - share), 1 / _DRAWN) / _DRAWN))

    def _drawn(self, draw: random.Random, chances: Chances) -> tuple[_Situation, bool]:
        empty = (0,) * len(self._kinds)
        connected: Counts = empty
        cut_off: _Situation = ()
        for area in self._areas:
            site, link = self._of_area(area, chances)
            counts = list(empty)
            if draw.random() >= site:
                for nodeid in area.nodeids:
                    up = draw.random() >= chances.nodes.get(nodeid, chances.node)
                    counts[self._kind[nodeid]] += up
            connected, cut_off = _joined(connected, cut_off, tuple(counts), draw.random() < link)
        without = self._failures.has_device and draw.random() < chances.device
        return _situation(connected, cut_off), without


@dataclass(frozen=True)
class Estimate:
    """An answer, what was asked, and the curve: the availability with other probabilities for each node."""

    chances: Chances
    found: Availability
    estimator: Estimator

    @classmethod
    def of(cls, estimator: Estimator, chances: Chances) -> Estimate:
        """The estimate for these chances."""
        return cls(chances, estimator.availability(chances), estimator)

    def __str__(self) -> str:
        found = self.found
        error = f" (standard error {found.error:.2g})" if found.error else ""
        split = f"; two partitions are quorate with probability {found.split_brain:.2g}" * (
            found.split_brain > 0
        )
        return (
            f"quorum with probability {found.probability:.6f}{error}, {found.nines:.1f} nines, "
            f"{found.minutes_a_year:.0f} minutes a year without{split}"
        )

    def curve(self, points: Sequence[float]) -> list[Availability]:
        """The availability if each node were down with each of these probabilities."""
        return [self.estimator.availability(replace(self.chances, node=point)) for point in points]


def availability(
    config: ClusterConfig,
    chances: Chances,
    *,
    device: DeviceKind | None = None,
    sites: Sequence[Sequence[int]] = (),
) -> Availability:
    """How likely quorum is; see `Estimator`."""
    return Estimator(config, device=device, sites=sites).availability(chances)


def _joined(
    connected: Counts, cut_off: _Situation, counts: Counts, is_cut: bool
) -> tuple[Counts, _Situation]:
    """A situation with the running nodes of one more area."""
    if is_cut:
        return connected, tuple(sorted((*cut_off, counts))) if any(counts) else cut_off
    return tuple(map(sum, zip(connected, counts, strict=True))), cut_off


def _situation(connected: Counts, cut_off: _Situation) -> _Situation:
    return tuple(sorted((*cut_off, connected))) if any(connected) else cut_off
