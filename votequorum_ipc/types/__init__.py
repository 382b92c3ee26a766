"""The values that calls take and give: enumerations, flags and frozen dataclasses, with the C API's names.

Import them from here. Nothing in this package deals with bytes or sockets.

Strategy: defining a dataclass takes 0.4 ms, and no program needs all of them. So the values are grouped into
modules by topic, and each module is imported when one of its names is first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .cfg import *  # noqa: F403
    from .enumerations import *  # noqa: F403
    from .events import *  # noqa: F403
    from .keys import *  # noqa: F403
    from .nodes import *  # noqa: F403
    from .statistics import *  # noqa: F403
    from .status import *  # noqa: F403
    from .views import *  # noqa: F403

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "cfg": ("LinkStatus", "NodeStatus", "RingStatus", "ShutdownFlags", "ShutdownNotification"),
    "enumerations": (
        "DEVICE_FLAGS",
        "DispatchFlags",
        "InfoFlags",
        "NodeState",
        "OpenFlag",
        "QuorumType",
        "TrackFlags",
    ),
    "events": (
        "ExpectedVotesNotification",
        "NodelistNotification",
        "QdeviceExtraInfoNotification",
        "QuorumEvent",
        "QuorumNodelistNotification",
        "QuorumNotification",
        "QuorumV0Notification",
        "QuorumV1Notification",
        "VotequorumEvent",
    ),
    "keys": ("ALL_TRACK_TYPES", "KeyChange", "MapName", "TrackType", "TypedValue", "Value", "ValueType"),
    "nodes": (
        "Node",
        "NodeInfo",
        "PROCESSOR_COUNT_MAX",
        "QDEVICE_EXTRA_INFO_MAXSIZE",
        "QDEVICE_MAX_NAME_LEN",
        "QDEVICE_NODEID",
        "RingId",
        "TransportName",
    ),
    "statistics": ("Link", "LinkChanged", "LinkStatistics", "SchedulingMiss", "TotemStatistics"),
    "status": (
        "ClusterStatus",
        "ConfiguredNode",
        "Device",
        "Margin",
        "Member",
        "TieBreaker",
        "parse_tie_breaker",
    ),
    "views": (
        "Change",
        "Connected",
        "DeviceChanged",
        "ExpectedVotesChanged",
        "Lost",
        "MembershipChanged",
        "NameChanged",
        "NodeVotesChanged",
        "QuorumChanged",
        "QuorumState",
        "QuorumView",
        "VotesChanged",
    ),
}
"""The public names of each module."""

_MODULES: Final = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
