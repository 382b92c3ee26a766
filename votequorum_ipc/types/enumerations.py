"""The enumerations and flags of calls and events, with the C API's names.

An enumeration accepts numbers without a name, because a newer daemon may send one (and corosync 3.1.7 does
send a node state of 0 for a quorum device).
"""

from __future__ import annotations

import enum
from typing import Final


class NodeState(enum.IntEnum):
    """What votequorum knows of a node (VOTEQUORUM_NODESTATE_* in votequorum.h)."""

    MEMBER = 1
    DEAD = 2
    LEAVING = 3

    @classmethod
    def _missing_(cls, value: object) -> NodeState | None:
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value}"
        member._value_ = value
        return member

    def __reduce_ex__(self, protocol: object) -> tuple[type[NodeState], tuple[int]]:
        # By value: some releases of Python 3.11 look members up by name, and only known states have one.
        return NodeState, (int(self),)


class OpenFlag(enum.IntFlag):
    """Flags that keep unknown bits without caching them.

    `enum` caches every combination that it has ever seen. With known bits their number is bounded. With
    unknown bits the other end could choose among 4 billion combinations, each of which would take 400 bytes.
    """

    @classmethod
    def _missing_(cls, value: object) -> object:
        member = super()._missing_(value)
        known = sum(int(flag) for flag in cls.__members__.values())
        if isinstance(member, cls) and member._value_ & ~known:
            cls._value2member_map_.pop(member._value_, None)
        return member


class InfoFlags(OpenFlag):
    """`NodeInfo.flags` (VOTEQUORUM_INFO_* in votequorum.h)."""

    TWONODE = 1
    QUORATE = 2
    WAIT_FOR_ALL = 4
    LAST_MAN_STANDING = 8
    AUTO_TIE_BREAKER = 16
    ALLOW_DOWNSCALE = 32
    QDEVICE_REGISTERED = 64
    QDEVICE_ALIVE = 128
    QDEVICE_CAST_VOTE = 256
    QDEVICE_MASTER_WINS = 512
    QDEVICE_HAS_EXTRA_INFO = 1024
    """Newer than corosync 3.1.10."""


DEVICE_FLAGS: Final = (
    InfoFlags.QDEVICE_REGISTERED
    | InfoFlags.QDEVICE_ALIVE
    | InfoFlags.QDEVICE_CAST_VOTE
    | InfoFlags.QDEVICE_MASTER_WINS
)
"""The flags that describe one node's device. All others describe the cluster."""


class TrackFlags(OpenFlag):
    """What `trackstart` asks for (CS_TRACK_* in corotypes.h)."""

    CURRENT = 1
    """The current state, once."""
    CHANGES = 2
    """The current state, then each change."""
    CHANGES_ONLY = 4
    """Each change from now on."""


class DispatchFlags(enum.IntEnum):
    """How `dispatch` waits (CS_DISPATCH_* in corotypes.h)."""

    ONE = 1
    """One event; waits for it."""
    ALL = 2
    """All events that have arrived; does not wait."""
    BLOCKING = 3
    """Every event, until the handle is finalized or the daemon goes."""
    ONE_NONBLOCKING = 4
    """One event, or `TryAgain` if none has arrived."""


class QuorumType(enum.IntEnum):
    """Whether a quorum provider is configured (QUORUM_FREE and QUORUM_SET in quorum.h)."""

    FREE = 0
    SET = 1
