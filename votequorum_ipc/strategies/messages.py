"""Whole messages: valid ones, almost valid ones, and arbitrary bytes.

Strategy: an almost valid message is a valid one with one change to its bytes, and it names the change: the
kind of lie, the field, and the new content. Everything else in it is true. So a shrunk failure reads like its
cause: `AlmostValid(Frame('votequorum', 'getinfo response', {...}), Lie.SIZE, 'size', 0)`.
"""

from __future__ import annotations

import enum
import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import construct as c
from hypothesis import strategies as st

from ..wire import SERVICES, Kind, Layout
from ..wire.fields import MarName
from ..wire.layout import REQUEST_HEADER
from .anatomy import Part, Place, places
from .values import RANGES, fields_of, integers, named_fields

MESSAGES: Final = {
    (service, str(layout)): layout for service, layouts in SERVICES.items() for layout in layouts
}
"""Every message there is, by its service and what `str` makes of its layout."""


class Lie(enum.Enum):
    """What is wrong with an almost valid message."""

    FIELD = "field"
    """A number is replaced by any other number, valid or not."""
    SIZE = "size"
    """The header's `size` is not the message's."""
    LENGTH = "length"
    """There are fewer or more bytes than the layout takes; `size` tells the truth about them."""
    COUNT = "count"
    """A count does not match the items that follow."""
    ID = "id"
    """It has another message's id."""
    TERMINATOR = "terminator"
    """A text has no NUL within its array, or a name is longer than its array."""
    PADDING = "padding"
    """Padding is not zero. That is not a lie about anything: the message means the same."""

    def __repr__(self) -> str:
        return f"Lie.{self.name}"


@dataclass(frozen=True)
class Frame:
    """A valid message."""

    service: str
    """A key of `wire.SERVICES`."""
    message: str
    """A layout's name and kind, such as "getinfo request"."""
    fields: dict[str, Any]
    """What the layout's `encode` takes."""

    @property
    def layout(self) -> Layout:
        """The declaration of this message."""
        return MESSAGES[self.service, self.message]

    @property
    def data(self) -> bytes:
        """The message's bytes."""
        return self.layout.encode(**self.fields)


@dataclass(frozen=True)
class AlmostValid:
    """A valid message with one lie in it."""

    frame: Frame
    lie: Lie
    field: str
    """Where: the header's `size` or `id`, a field such as "ring_id.seq", the padding behind one."""
    value: int | bytes
    """What stands there instead. For `Lie.LENGTH`, how many bytes there are."""

    @property
    def layout(self) -> Layout:
        """The declaration of the message that this almost is."""
        return self.frame.layout

    @property
    def data(self) -> bytes:
        """The bytes, lie included."""
        data = self.frame.data
        if self.lie is Lie.LENGTH:
            return _with_length(self.layout, data, int(self.value))
        [place] = [p for p in _candidates(self.layout, data, self.lie) if p.name == self.field]
        new = self.value if isinstance(self.value, bytes) else _pack(place, self.value)
        return data[: place.start] + new + data[place.start + place.size :]


def layouts(
    *, services: tuple[str, ...] | None = None, kinds: tuple[Kind, ...] | None = None
) -> list[tuple[str, Layout]]:
    """The messages of some services and kinds, all by default, each with its service."""
    return [
        (service, layout)
        for (service, _), layout in MESSAGES.items()
        if (services is None or service in services) and (kinds is None or layout.kind in kinds)
    ]


def valid(
    *, services: tuple[str, ...] | None = None, kinds: tuple[Kind, ...] | None = None
) -> st.SearchStrategy[Frame]:
    """Valid messages of these services and kinds; of all by default."""
    # The fewest fields first: hypothesis shrinks towards the first choice, and towards fewer choices.
    choices = sorted(layouts(services=services, kinds=kinds), key=lambda pair: len(named_fields(pair[1])))
    return st.sampled_from(choices).flatmap(lambda pair: frames_of(*pair))


@functools.cache
def frames_of(service: str, layout: Layout) -> st.SearchStrategy[Frame]:
    """Valid messages of one layout."""
    return fields_of(layout).map(lambda fields: Frame(service, str(layout), fields))


def almost_valid(frame: st.SearchStrategy[Frame] | None = None) -> st.SearchStrategy[AlmostValid]:
    """Messages with exactly one lie. `frame` is what to lie about: by default all valid messages."""
    return _almost_valid(valid() if frame is None else frame)


@st.composite
def _almost_valid(draw: st.DrawFn, frames: st.SearchStrategy[Frame]) -> AlmostValid:
    frame = draw(frames)
    data = frame.data
    where: dict[Lie, list[Place]] = {Lie.LENGTH: []}
    for place in places(frame.layout, data):
        if lie := _lie_about(place):
            where.setdefault(lie, []).append(place)
    # The kind first: else most lies would be about numbers, of which there are most.
    lie = draw(st.sampled_from([lie for lie in Lie if lie in where]))
    if lie is Lie.LENGTH:
        length = draw(st.integers(0, len(data) + 64))
        return AlmostValid(frame, lie, "length", length + (length == len(data)))
    place = draw(st.sampled_from(where[lie]))
    value = draw(_values_for(place.part, place.size, place.letter))
    return AlmostValid(frame, lie, place.name, _different(value, data, place))


def arbitrary(max_size: int = 400) -> st.SearchStrategy[bytes]:
    """Any bytes. Half of them follow a header with the id of some message and the true size."""
    headed = st.builds(
        lambda pair, rest: _HEADER.build({"id": pair[1].id, "size": _HEADER.sizeof() + len(rest)}) + rest,
        st.sampled_from(layouts()),
        st.binary(max_size=max_size - _HEADER.sizeof()),
    )
    return st.binary(max_size=max_size) | headed


def frames(
    *, services: tuple[str, ...] | None = None, kinds: tuple[Kind, ...] | None = None
) -> st.SearchStrategy[Frame | AlmostValid | bytes]:
    """Valid, almost valid and arbitrary messages."""
    correct = valid(services=services, kinds=kinds)
    return st.one_of(correct, almost_valid(correct), arbitrary())


def bytes_of(message: Frame | AlmostValid | bytes) -> bytes:
    """The bytes of any kind of message."""
    return message if isinstance(message, bytes) else message.data


_HEADER: Final = c.Struct(*REQUEST_HEADER)

_LIES_ABOUT: Final = {
    Part.INTEGER: Lie.FIELD,
    Part.COUNT: Lie.COUNT,
    Part.TEXT: Lie.TERMINATOR,
    Part.NAME_LENGTH: Lie.TERMINATOR,
    Part.PADDING: Lie.PADDING,
}


def _lie_about(place: Place) -> Lie | None:
    by_name = {"id": Lie.ID, "size": Lie.SIZE}
    if place.name in by_name and place.part is Part.INTEGER:
        return by_name[place.name]
    return _LIES_ABOUT.get(place.part)


def _candidates(layout: Layout, data: bytes, lie: Lie) -> Iterator[Place]:
    return (place for place in places(layout, data) if _lie_about(place) is lie)


@functools.cache
def _values_for(part: Part, size: int, letter: str) -> st.SearchStrategy[Any]:
    match part:
        case Part.TEXT:
            return st.integers(1, 255).map(lambda byte: bytes([byte]) * size)
        case Part.NAME_LENGTH:
            return st.integers(MarName.LENGTH + 1, RANGES["H"][1])
        case Part.PADDING:
            return st.binary(min_size=size, max_size=size)
    return integers(letter)


def _different(value: int | bytes, data: bytes, place: Place) -> int | bytes:
    """The value, or, where the message has that value already, one that differs in a bit."""
    there = data[place.start : place.start + place.size]
    if isinstance(value, bytes):
        return value if value != there else bytes([value[0] ^ 1]) + value[1:]
    return value if _pack(place, value) != there else value ^ 1


def _pack(place: Place, value: int) -> bytes:
    return struct.pack(f"={place.letter}", value)


def _with_length(layout: Layout, data: bytes, length: int) -> bytes:
    resized = bytearray(data[:length].ljust(length, b"\0"))
    size = next(place for place in places(layout, data) if place.name == "size")
    if size.start + size.size <= length:
        resized[size.start : size.start + size.size] = _pack(size, length)
    return bytes(resized)
