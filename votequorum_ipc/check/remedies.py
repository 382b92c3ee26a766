"""Changes of a configuration that make something bad go away, each tried before it is named.

Strategy: a table of changes that administrators make. The whole check is run with each, once for all that is
bad; a remedy is a change with which the property cannot happen. What is still bad with it is said. A change
that cannot be settled in time is not named. The checks do not depend on each other, so several processes can
share them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from ..cluster import ClusterConfig, ConfigurationError, DeviceConfig, TieBreaker
from .devices import DeviceKind
from .report import Reachability, check
from .search import Bounds, Stopped
from .workers import in_order


@dataclass(frozen=True)
class Remedy:
    """A change, in words and as a configuration, and what is still bad with it."""

    text: str
    config: ClusterConfig
    device: DeviceKind | None
    still_bad: tuple[str, ...]


ConfigChange = Callable[[ClusterConfig], ClusterConfig]


def _with_device(config: ClusterConfig) -> ClusterConfig:
    return ClusterConfig(config.nodes, device=DeviceConfig(votes=1))


CHANGES: Final[dict[str, ConfigChange]] = {
    "remove expected_votes": lambda config: replace(config, expected_votes=None),
    "set two_node: 0": lambda config: replace(config, two_node=False),
    "set wait_for_all: 1": lambda config: replace(config, wait_for_all=True),
    "set wait_for_all: 0": lambda config: replace(config, wait_for_all=False),
    "set auto_tie_breaker: 0": lambda config: replace(config, auto_tie_breaker=TieBreaker.NONE),
    "set last_man_standing: 0": lambda config: replace(config, last_man_standing=False),
    "set auto_tie_breaker: 0 and last_man_standing: 0": lambda config: replace(
        config, auto_tie_breaker=TieBreaker.NONE, last_man_standing=False
    ),
    "set allow_downscale: 0": lambda config: replace(config, allow_downscale=False),
    "add a quorum device with one vote that runs ffsplit (and no other option)": _with_device,
}
"""In the order of their cost."""

_FFSPLIT: Final = "ffsplit"


@dataclass(frozen=True)
class _Candidate:
    """A change, and what the configuration and the device are with it."""

    text: str
    config: ClusterConfig
    device: DeviceKind | None


@dataclass(frozen=True)
class _Trial:
    """What a check said: the properties that cannot happen, and those that do and should not."""

    cannot_happen: frozenset[str]
    bad: tuple[str, ...]
    interrupted: bool


def remedies(
    config: ClusterConfig,
    device: DeviceKind | None,
    names: Collection[str],
    *,
    seconds: float,
    processes: int = 1,
    most: int = 3,
) -> dict[str, list[Remedy]]:
    """For each of these properties up to `most` changes after which it cannot happen.

    Each change is checked for up to `seconds`. `KeyboardInterrupt` ends it, and what was found stays.
    """
    found: dict[str, list[Remedy]] = {name: [] for name in names}
    candidates = list(_candidates(config, device)) if names else []
    try:
        trials = in_order(partial(_tried, seconds=seconds), candidates, processes)
        for one, trial in zip(candidates, trials, strict=True):
            for name in trial.cannot_happen & found.keys():
                if len(found[name]) < most:
                    found[name].append(Remedy(one.text, one.config, one.device, trial.bad))
            if trial.interrupted or all(len(known) == most for known in found.values()):
                break
    except KeyboardInterrupt:
        pass
    return found


def _candidates(config: ClusterConfig, device: DeviceKind | None) -> Iterator[_Candidate]:
    tried = [config]
    for text, change in CHANGES.items():
        changed = change(config)
        kind = DeviceKind.FFSPLIT if _FFSPLIT in text else device
        if changed not in tried and not (_FFSPLIT in text and len(config.nodes) % 2):
            tried.append(changed)
            yield _Candidate(text, changed, kind)


def _tried(candidate: _Candidate, seconds: float) -> _Trial:
    """The check with a change. It says nothing of one that votequorum refuses."""
    try:
        report = check(candidate.config, device=candidate.device, bounds=Bounds(seconds=seconds))
    except ConfigurationError:
        return _Trial(frozenset(), (), interrupted=False)
    cannot = (one.name for one in report.verdicts if one.outcome is Reachability.CANNOT_HAPPEN)
    interrupted = report.effort.stopped is Stopped.INTERRUPTED
    return _Trial(frozenset(cannot), tuple(one.name for one in report.bad), interrupted)
