"""The values and changes of cmap's keys."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from .enumerations import OpenFlag


class ValueType(enum.IntEnum):
    """The type of a value in cmap (CMAP_VALUETYPE_* in cmap.h)."""

    INT8 = 1
    UINT8 = 2
    INT16 = 3
    UINT16 = 4
    INT32 = 5
    UINT32 = 6
    INT64 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    STRING = 11
    BINARY = 12


Value = int | float | str | bytes
"""What a key holds."""

MapName = Literal["cmap", "stats"]
"""The configuration and runtime keys, or corosync's statistics."""


class TrackType(OpenFlag):
    """What `track_add` follows (CMAP_TRACK_* in cmap.h)."""

    DELETE = 1
    MODIFY = 2
    ADD = 4
    PREFIX = 8
    """All keys that begin with the name, instead of one key."""


ALL_TRACK_TYPES: Final = TrackType.DELETE | TrackType.MODIFY | TrackType.ADD | TrackType.PREFIX
"""Every change of every key with a prefix."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key was added, modified or deleted; `old` is None if there was no value, `new` if there is none
    now."""

    track: int
    """The number that `track_add` returned."""
    key: str
    change: TrackType
    old: Value | None
    new: Value | None
    type: ValueType | None = field(default=None, compare=False)
    """The type of `new`, or of `old` where the key was deleted."""


class TypedValue(NamedTuple):
    """A key's value and its type."""

    type: ValueType
    value: Value
