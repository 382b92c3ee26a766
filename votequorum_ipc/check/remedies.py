"""What would make something bad go away: changes of the configuration, each tried before it is named.

Strategy: a table of changes that administrators make. Each is applied, and the whole check is run with the
result; a remedy is one with which the property cannot happen. What is still bad with it is said, and what
cannot be settled in time is not named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from ..cluster import ClusterConfig, ConfigurationError, DeviceConfig, TieBreaker
from .devices import DeviceKind
from .report import Reachability, Report, check
from .search import Bounds


@dataclass(frozen=True)
class Remedy:
    """A change, in words and as a configuration, and what was still bad with it."""

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


def remedies(
    config: ClusterConfig, device: DeviceKind | None, name: str, *, seconds: float, most: int = 3
) -> Iterator[Remedy]:
    """Changes after which the property `name` cannot happen, each checked for up to `seconds`."""
    found, tried = 0, [config]
    for text, change in CHANGES.items():
        changed = change(config)
        kind = DeviceKind.FFSPLIT if _FFSPLIT in text else device
        if changed in tried or found == most or (_FFSPLIT in text and len(config.nodes) % 2):
            continue
        tried.append(changed)
        report = _checked(changed, kind, seconds)
        if report is not None and _is_gone(report, name):
            found += 1
            yield Remedy(text, changed, kind, tuple(one.name for one in report.bad))


def _checked(config: ClusterConfig, device: DeviceKind | None, seconds: float) -> Report | None:
    try:
        return check(config, device=device, bounds=Bounds(seconds=seconds))
    except ConfigurationError:
        return None


def _is_gone(report: Report, name: str) -> bool:
    return any(one.name == name and one.outcome is Reachability.CANNOT_HAPPEN for one in report.verdicts)
