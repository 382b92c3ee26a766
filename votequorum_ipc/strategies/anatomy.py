"""Where each field of a message is, so that exactly one field can become a lie.

Strategy: one walk over the construct declaration, beside the bytes of a message that was encoded from it. The
counts that the walk passes tell how long the lists behind them are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import NamedTuple

import construct as c

from ..wire import Layout
from ..wire.fields import CharArray, CountedField, CountOf, MarName, Tupled


class Part(enum.Enum):
    """What a stretch of a message is."""

    INTEGER = "integer"
    COUNT = "count"
    TEXT = "text"
    NAME_LENGTH = "name length"
    BYTES = "bytes"
    PADDING = "padding"


class Place(NamedTuple):
    """A stretch of a message: `data[start:start + size]`."""

    name: str
    """As "ring_id.seq"; a list's items are one stretch. Padding has the name of what it stands behind."""
    part: Part
    start: int
    size: int
    letter: str = ""
    """Of an integer: its type in the struct module."""


def places(layout: Layout, data: bytes) -> list[Place]:
    """What a message that `layout` encoded consists of, in order and without gaps."""
    return list(_walk(layout.construct, data, 0, "", {}))


def _walk(struct: c.Struct, data: bytes, start: int, prefix: str, counts: dict[str, int]) -> Iterator[Place]:
    last = ""
    for field in struct.subcons:
        bare = field.subcon if isinstance(field, c.Renamed) else field
        if field.name is None:
            yield Place(f"{prefix}{last}", Part.PADDING, start, int(bare.sizeof()))
            start += int(bare.sizeof())
            continue
        last = field.name
        for place in _field(bare, prefix + field.name, data, start, counts):
            yield place
            start = place.start + place.size


def _field(bare: c.Construct, name: str, data: bytes, start: int, counts: dict[str, int]) -> Iterator[Place]:
    match bare:
        case CountOf():
            counts[name] = int(bare.subcon.parse(data[start:]))
            yield Place(name, Part.COUNT, start, bare.sizeof(), bare.subcon.fmtstr[-1])
        case c.FormatField():
            yield Place(name, Part.INTEGER, start, bare.sizeof(), bare.fmtstr[-1])
        case CharArray():
            yield Place(name, Part.TEXT, start, bare.length)
        case MarName():
            yield from _mar_name(bare, name, start)
        case Tupled():
            yield from _walk(bare.subcon, data, start, f"{name}.", counts)
        case _:
            yield Place(name, Part.BYTES, start, _tail_size(bare, data, start, counts))


def _mar_name(bare: MarName, name: str, start: int) -> Iterator[Place]:
    length, padding, value = (int(subcon.sizeof()) for subcon in bare.subcon.subcons)
    yield Place(f"{name}.length", Part.NAME_LENGTH, start, length, "H")
    yield Place(f"{name}.length", Part.PADDING, start + length, padding)
    yield Place(f"{name}.value", Part.BYTES, start + length + padding, value)


def _tail_size(bare: CountedField, data: bytes, start: int, counts: dict[str, int]) -> int:
    if bare.count_field is None:
        return len(data) - start
    return counts[bare.count_field] * bare.width
