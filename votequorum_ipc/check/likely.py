"""How likely quorum is, where each thing is down with a probability of its own.

Strategy: every set of nodes that may be down is asked about, as failures at the same moment from a cluster
that is whole; its probability is the product of its parts. Nodes that the rules do not tell apart are
counted, not tried one by one. Beyond `_EXACT` nodes sets are drawn at random, and the result says how far it
may be off.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from math import comb, log10, sqrt
from typing import Final

from ..cluster import ClusterConfig
from .devices import DeviceKind
from .failures import Failures, alike_at_once
from .report import Checked

_EXACT: Final = 15
_DRAWN: Final = 4000
_MINUTES: Final = 365.25 * 24 * 60


@dataclass(frozen=True)
class Availability:
    """The probability that somebody is quorate; `error` is its standard error, 0 where it is exact."""

    probability: float
    error: float

    @property
    def nines(self) -> float:
        """0.999 is three nines."""
        return -log10(max(1 - self.probability, 1e-15))

    @property
    def minutes_a_year(self) -> float:
        """Without quorum."""
        return (1 - self.probability) * _MINUTES


def availability(
    config: ClusterConfig, down: float, *, device: DeviceKind | None = None, device_down: float | None = None
) -> Availability:
    """The availability where each node is down with probability `down`, and the device with `device_down`.

    Failures are independent of each other. `device_down` None: as likely as a node.
    """
    checked = Checked(config, device)
    failures = Failures(checked.successors())
    fails = down if device_down is None else device_down
    states = [(1 - fails, False), (fails, True)] if failures.has_device else [(1.0, False)]
    if len(config.nodes) <= _EXACT:
        total = sum(
            chance * weight * failures.goes_on(nodeids, device=without)
            for nodeids, chance in _sets(config, down)
            for weight, without in states
        )
        return Availability(total, 0.0)
    return _sampled(config, down, failures, fails)


def _sets(config: ClusterConfig, down: float) -> Iterator[tuple[tuple[int, ...], float]]:
    """Sets of nodes that are down, one of each kind, with the probability of the kind."""
    chosen: list[tuple[tuple[int, ...], float]] = [((), 1.0)]
    for group in alike_at_once(config):
        chosen = [
            ((*nodeids, *group[:count]), chance * _binomial(len(group), count, down))
            for nodeids, chance in chosen
            for count in range(len(group) + 1)
        ]
    return iter([(tuple(sorted(nodeids)), chance) for nodeids, chance in chosen])


def _binomial(of: int, count: int, probability: float) -> float:
    return comb(of, count) * probability**count * (1 - probability) ** (of - count)


def _sampled(config: ClusterConfig, down: float, failures: Failures, device_down: float) -> Availability:
    chance = random.Random(0)
    kinds = {nodeid: group for group in alike_at_once(config) for nodeid in group}
    good = 0
    for _ in range(_DRAWN):
        lost = [nodeid for nodeid in config.nodeids if chance.random() < down]
        counts = {group: sum(nodeid in group for nodeid in lost) for group in set(kinds.values())}
        same = tuple(sorted(nodeid for group, count in counts.items() for nodeid in group[:count]))
        without = failures.has_device and chance.random() < device_down
        good += failures.goes_on(same, device=without)
    share = good / _DRAWN
    return Availability(share, sqrt(max(share * (1 - share), 1 / _DRAWN) / _DRAWN))
