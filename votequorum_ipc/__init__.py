"""corosync's votequorum and quorum services in pure Python: ask for quorum, follow it, cast votes.

`Votequorum`, `Quorum`, `Cmap` and `Cfg` are the clients, for trio and asyncio. `votequorum_ipc.blocking`
has the same for programs without an event loop. `votequorum_ipc.ipc` is the client half of libqb by itself,
`votequorum_ipc.wire` the messages.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from . import types
from .errors import (
    Access,
    BadFlags,
    BadHandle,
    BadOperation,
    Busy,
    ContextNotFound,
    CsError,
    CsErrorCode,
    Exist,
    FailedOperation,
    Init,
    Interrupt,
    InvalidParam,
    Library,
    MessageError,
    NameNotFound,
    NameTooLong,
    NoMemory,
    NoResources,
    NoSections,
    NoSpace,
    NotExist,
    NotSupported,
    QueueFull,
    QueueNotAvailable,
    Security,
    Timeout,
    TooBig,
    TooManyGroups,
    TryAgain,
    Version,
)
from .retry import retry

if TYPE_CHECKING:
    from .cfg import Cfg
    from .cmap import Cmap
    from .follow import cluster_status
    from .quorum import Quorum
    from .types import (
        Change,
        ClusterStatus,
        Connected,
        Device,
        DeviceChanged,
        DispatchFlags,
        ExpectedVotesChanged,
        ExpectedVotesNotification,
        InfoFlags,
        KeyChange,
        LinkStatus,
        Lost,
        Margin,
        Member,
        MembershipChanged,
        NameChanged,
        Node,
        NodeInfo,
        NodelistNotification,
        NodeState,
        NodeStatus,
        NodeVotesChanged,
        QdeviceExtraInfoNotification,
        QuorumChanged,
        QuorumNodelistNotification,
        QuorumNotification,
        QuorumState,
        QuorumType,
        QuorumV0Notification,
        QuorumV1Notification,
        QuorumView,
        RingId,
        RingStatus,
        ShutdownFlags,
        ShutdownNotification,
        TrackFlags,
        TrackType,
        TypedValue,
        ValueType,
        VotesChanged,
    )
    from .votequorum import Votequorum
    from .watch import QuorumWatcher, watch_quorum

__version__ = "0.1.0"

__all__ = [
    "Access",
    "BadFlags",
    "BadHandle",
    "BadOperation",
    "Busy",
    "Cfg",
    "Change",
    "ClusterStatus",
    "Cmap",
    "Connected",
    "ContextNotFound",
    "CsError",
    "CsErrorCode",
    "Device",
    "DeviceChanged",
    "DispatchFlags",
    "Exist",
    "ExpectedVotesChanged",
    "ExpectedVotesNotification",
    "FailedOperation",
    "InfoFlags",
    "Init",
    "Interrupt",
    "InvalidParam",
    "KeyChange",
    "Library",
    "LinkStatus",
    "Lost",
    "Margin",
    "Member",
    "MembershipChanged",
    "MessageError",
    "NameChanged",
    "NameNotFound",
    "NameTooLong",
    "NoMemory",
    "NoResources",
    "NoSections",
    "NoSpace",
    "Node",
    "NodeInfo",
    "NodeState",
    "NodeStatus",
    "NodeVotesChanged",
    "NodelistNotification",
    "NotExist",
    "NotSupported",
    "QdeviceExtraInfoNotification",
    "QueueFull",
    "QueueNotAvailable",
    "Quorum",
    "QuorumChanged",
    "QuorumNodelistNotification",
    "QuorumNotification",
    "QuorumState",
    "QuorumType",
    "QuorumV0Notification",
    "QuorumV1Notification",
    "QuorumView",
    "QuorumWatcher",
    "RingId",
    "RingStatus",
    "Security",
    "ShutdownFlags",
    "ShutdownNotification",
    "Timeout",
    "TooBig",
    "TooManyGroups",
    "TrackFlags",
    "TrackType",
    "TryAgain",
    "TypedValue",
    "ValueType",
    "Version",
    "Votequorum",
    "VotesChanged",
    "cluster_status",
    "retry",
    "watch_quorum",
]

_LATER: Final = {
    "Cfg": "cfg",
    "Cmap": "cmap",
    "Quorum": "quorum",
    "Votequorum": "votequorum",
    "QuorumWatcher": "watch",
    "cluster_status": "follow",
    "watch_quorum": "watch",
}
"""Names, and the modules that have them: imported when first used, since no program uses all of them. The
values are in `types`, which does the same."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    if name in __all__:
        return getattr(types, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
