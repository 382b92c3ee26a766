"""Values for the fields of any message, by the type that the construct declaration gives them.

Strategy: one function from a declared type to a strategy, and one that puts a layout's fields together.
Numbers come from the whole range of their type; its edges and small numbers are more frequent.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import construct as c
from hypothesis import strategies as st

from ..wire import Layout
from ..wire.fields import BytesOf, CharArray, ListOf, MarName, RestOfMessage, Tupled

RANGES: Final = {
    letter: (-(1 << size * 8 - 1), (1 << size * 8 - 1) - 1) if letter.islower() else (0, (1 << size * 8) - 1)
    for size, letters in {1: "bB", 2: "hH", 4: "lL", 8: "qQ"}.items()
    for letter in letters
}
"""What each integer type of the struct module can hold."""

MOST_ITEMS: Final = 40
"""Items of a list, or bytes of a tail, in one message."""

LONGEST_KEY: Final = MarName.LENGTH - 1
"""cmap keeps names as C strings in 256 bytes."""


@functools.cache
def integers(letter: str) -> st.SearchStrategy[int]:
    """Numbers that a type of the struct module can hold; the edges of it and of smaller ones are likely."""
    low, high = RANGES[letter]
    edges = {edge for pair in RANGES.values() for edge in pair} | {0, 1, 16, 24, 255, 256, 4096}
    return st.integers(low, high) | st.sampled_from(
        sorted((edge for edge in edges if low <= edge <= high), key=lambda edge: (abs(edge), edge < 0)),
    )


def texts(most_bytes: int) -> st.SearchStrategy[str]:
    """Texts of at most `most_bytes` bytes, some of them not valid in any encoding."""
    longest = st.binary(min_size=1, max_size=4).map(lambda raw: (raw * most_bytes)[:most_bytes])
    raw = st.binary(max_size=min(most_bytes, 40)) | longest
    return raw.map(lambda value: value.replace(b"\0", b"x").decode("utf-8", "surrogateescape"))


def named_fields(layout: Layout) -> dict[str, c.Construct]:
    """The declared types of the fields that `encode` takes."""
    declared = {field.name: field.subcon for field in layout.construct.subcons if field.name}
    return {name: declared[name] for name in layout.record._fields}


def values_of(bare: c.Construct) -> st.SearchStrategy[Any]:
    """Values of one field, by its declared type. Raises `TypeError` for a type that no message has."""
    match bare:
        case c.FormatField():
            return integers(bare.fmtstr[-1])
        case CharArray():
            return texts(bare.length - 1)
        case MarName():
            return texts(LONGEST_KEY)
        case Tupled():
            inner = (values_of(field.subcon) for field in bare.subcon.subcons if field.name)
            return st.tuples(*inner).map(bare.record._make)
        case ListOf():
            return st.lists(values_of(bare.subcon), max_size=MOST_ITEMS).map(tuple)
        case BytesOf() | RestOfMessage():
            return st.binary(max_size=MOST_ITEMS)
    raise TypeError(bare)


@functools.cache
def fields_of(layout: Layout) -> st.SearchStrategy[dict[str, Any]]:
    """The keywords of a layout's `encode`."""
    return st.fixed_dictionaries({name: values_of(bare) for name, bare in named_fields(layout).items()})
