"""Walks a construct declaration: the offset and name of each field, and which bytes are padding.

Strategy: one walk for two uses. Without bytes it gives the rows of an offset table; an offset after a list
depends on the list's count. With bytes it gives the pieces of that message, for a dump and for telling
padding from content. It descends into nested structures: "ring_id.seq".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import construct as c

from votequorum_ipc.wire.fields import CharArray, CountedField, MarName, Tupled, bare, description


@dataclass(frozen=True)
class Extent:
    """A number of bytes: a fixed part, and multiples of count fields."""

    fixed: int = 0
    per_count: tuple[tuple[int, str], ...] = ()
    open_end: bool = False
    """Whether more follows, up to the message's `size`."""

    def __add__(self, other: Extent) -> Extent:
        return Extent(
            self.fixed + other.fixed, self.per_count + other.per_count, self.open_end or other.open_end
        )

    def __str__(self) -> str:
        counted = [f"{width} * {count}" if width > 1 else count for width, count in self.per_count]
        rest = ["…"] if self.open_end else []
        fixed = [str(self.fixed)] if self.fixed or not (counted or rest) else []
        return " + ".join([*fixed, *counted, *rest])


class Row(NamedTuple):
    """A field in a declaration; padding has no name."""

    name: str
    type: str
    offset: Extent
    size: Extent
    field: c.Construct
    """The field type, or the padding."""


def rows(declaration: c.Struct, prefix: str = "", offset: Extent | None = None) -> Iterator[Row]:
    """The parts of a declaration, in order and without gaps."""
    offset = offset or Extent()
    for field in declaration.subcons:
        type_ = bare(field)
        size = _extent(type_)
        if isinstance(type_, Tupled):
            yield from rows(type_.subcon, f"{prefix}{field.name}.", offset)
        elif isinstance(type_, c.Struct):
            yield from rows(type_, f"{prefix}{field.name}.", offset)
        elif field.name:
            yield Row(prefix + field.name, description(type_), offset, size, type_)
        else:
            yield Row("", "", offset, size, type_)
        offset += size


def size(declaration: c.Struct) -> Extent:
    """The length of such a message."""
    return sum((_extent(bare(field)) for field in declaration.subcons), Extent())


class Piece(NamedTuple):
    """A field in a message; padding has no name."""

    name: str
    start: int
    end: int
    value: Any
    content: tuple[range, ...]
    """Offsets of the bytes that have a meaning: text ends at its NUL, padding has none."""


def pieces(declaration: c.Struct, data: bytes) -> Iterator[Piece]:
    """The parts of a message, in order and without gaps. Raises construct's errors if it does not parse."""
    values = declaration.parse(data)
    for row in rows(declaration):
        start = _length(row.offset, values, len(data))
        end = start + _length(row.size, values, len(data) - start)
        value = _value(values, row.name) if row.name else None
        yield Piece(row.name, start, end, value, tuple(_content(row, value, data, range(start, end))))


def padding(declaration: c.Struct, data: bytes) -> set[int]:
    """The offsets of all bytes without a meaning."""
    content = (range_ for piece in pieces(declaration, data) for range_ in piece.content)
    return set(range(len(data))).difference(*content)


def _extent(type_: c.Construct) -> Extent:
    if not isinstance(type_, CountedField):
        return Extent(int(type_.sizeof()))
    if type_.count_field is None:
        return Extent(open_end=True)
    return Extent(per_count=((type_.width, type_.count_field),))


def _length(extent: Extent, values: Any, rest: int) -> int:
    if extent.open_end:
        return rest
    return extent.fixed + sum(width * int(values[count]) for width, count in extent.per_count)


def _value(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = getattr(values, name)
    return values


def _content(row: Row, value: Any, data: bytes, whole: range) -> Iterator[range]:
    if isinstance(row.field, CharArray):
        yield range(whole.start, data.index(0, whole.start) + 1)
    elif isinstance(row.field, MarName):
        length, _, text = rows(row.field.subcon)
        yield range(whole.start, whole.start + length.size.fixed)
        start = whole.start + text.offset.fixed
        yield range(start, start + len(value.encode("utf-8", "surrogateescape")))
    elif row.name:
        yield whole
