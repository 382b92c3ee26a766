"""The plans: each entry of `PLANS` is a cluster's configuration, and the nodes that may be cut off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.real.cluster import three_nodes
from tests.real.config import Config, Device, Node

_DEFAULT: Final = {"token": 3000, "token_coefficient": 650}
"""corosync 3.1's defaults. The tests' configuration has shorter ones, so these must be given explicitly."""

_SHORT: Final = {"token": 800, "token_coefficient": 0}


@dataclass(frozen=True)
class Plan:
    """A series to measure."""

    title: str
    config: Config
    cut_off: tuple[int, ...]
    """The nodes to cut off in turn."""
    favoured: int | None = None
    """The node that the quorum device votes for when nodes lose each other; None without a device."""
    deaf: bool = False
    """The cut-off node no longer receives, but what it sends still arrives."""
    paused: float = 0.0
    """Seconds for which corosync on the cut-off node is paused, from the cut on."""


PLANS: Final[Mapping[str, Plan]] = {
    "default": Plan(
        "three nodes, default timeouts", Config(nodes=three_nodes(), totem=_DEFAULT), cut_off=(1, 2, 3)
    ),
    "short": Plan(
        "three nodes, short timeouts", Config(nodes=three_nodes(), totem=_SHORT), cut_off=(1, 2, 3)
    ),
    "device": Plan(
        "two nodes and a quorum device, short timeouts",
        Config(nodes=(Node(1), Node(2)), device=Device(), totem=_SHORT),
        cut_off=(2,),
        favoured=1,
    ),
    "deaf": Plan(
        "three nodes, one receives nothing but still sends, short timeouts",
        Config(nodes=three_nodes(), totem=_SHORT),
        cut_off=(1, 2, 3),
        deaf=True,
    ),
    "paused": Plan(
        "three nodes, corosync on the cut-off node paused for 4 s, short timeouts",
        Config(nodes=three_nodes(), totem=_SHORT),
        cut_off=(1, 2, 3),
        paused=4.0,
    ),
}
