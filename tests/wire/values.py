"""Hypothesis strategies for the fields of any message, derived from its declaration."""

from __future__ import annotations

from typing import Any

import construct as c
from hypothesis import strategies as st

from votequorum_ipc.wire import SERVICES, Layout
from votequorum_ipc.wire.layout import BytesOf, CharArray, ListOf, MarName, RestOfMessage, Tupled

LAYOUTS = [layout for layouts in SERVICES.values() for layout in layouts]
NAMES = [f"{service}: {layout}" for service, layouts in SERVICES.items() for layout in layouts]

RANGES = {
    letter: (-(1 << size * 8 - 1), (1 << size * 8 - 1) - 1) if letter.islower() else (0, (1 << size * 8) - 1)
    for size, letters in {1: "bB", 2: "hH", 4: "lL", 8: "qQ"}.items()
    for letter in letters
}
"""What each integer type of the struct module can hold."""

MOST_ITEMS = 40
LONGEST_KEY = 255
"""cmap keeps names as C strings in 256 bytes."""


def texts(most_bytes: int) -> st.SearchStrategy[str]:
    """Texts that fit into as many bytes, among them such that no encoding explains."""
    longest = st.binary(min_size=1, max_size=4).map(lambda raw: (raw * most_bytes)[:most_bytes])
    raw = st.binary(max_size=min(most_bytes, 40)) | longest
    return raw.map(lambda value: value.replace(b"\0", b"x").decode("utf-8", "surrogateescape"))


def named_fields(layout: Layout) -> dict[str, c.Construct]:
    """The declared types of the fields that `encode` takes."""
    declared = {field.name: field.subcon for field in layout.construct.subcons if field.name}
    return {name: declared[name] for name in layout.record._fields}


def values_of(bare: c.Construct) -> st.SearchStrategy[Any]:
    """Values of one field."""
    match bare:
        case c.FormatField():
            return st.integers(*RANGES[bare.fmtstr[-1]])
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


def fields_of(layout: Layout) -> st.SearchStrategy[dict[str, Any]]:
    """The keywords of a layout's `encode`."""
    return st.fixed_dictionaries({name: values_of(bare) for name, bare in named_fields(layout).items()})


def messages() -> st.SearchStrategy[tuple[Layout, dict[str, Any]]]:
    """A message of any service, and its fields."""
    return st.sampled_from(LAYOUTS).flatmap(
        lambda layout: fields_of(layout).map(lambda fields: (layout, fields)),
    )
