"""What was encoded decodes to the same; any bytes decode to a value, or to a `MessageError` that names a
field.

Besides: construct's own interpreter and the functions that are derived from the same declaration agree on
every value and every byte; a message with one lie in it is refused, unless the lie is one that its layout
cannot know; padding means nothing; and what a message claims costs no memory that is not there in its
bytes.
"""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from typing import Any, Final

from hypothesis import strategies as st

from fuzz.target import Target
from protocol_specs.frames import layout_of, load
from votequorum_ipc.errors import MessageError
from votequorum_ipc.strategies.messages import (
    MESSAGES,
    AlmostValid,
    Frame,
    Lie,
    almost_valid,
    arbitrary,
    bytes_of,
    valid,
)
from votequorum_ipc.wire import SERVICES, Layout, message_id, reply_error

REFUSED: Final = {Lie.SIZE, Lie.COUNT, Lie.ID, Lie.TERMINATOR}
"""Lies that every layout finds out."""

MEMORY_A_BYTE: Final = 100
"""Bytes of Python objects that a byte of a message may turn into: a list of numbers takes some 40 for each
4.
"""

MEMORY: Final = 32 * 1024
"""Bytes that a message may take besides: its tuple, its error."""


class Codec:
    """A session."""

    def check(self, case: Frame | AlmostValid | bytes) -> None:
        """Decode the case, and if it is any message at all, encode it again."""
        match case:
            case Frame():
                self._valid(case)
            case AlmostValid():
                self._almost_valid(case)
            case bytes():
                for layout in MESSAGES.values():
                    decode_or_complain(layout, case)
                self._headers(case)

    def _valid(self, frame: Frame) -> None:
        data = frame.data
        assert frame.layout.decode(data)._asdict() == frame.fields
        assert message_id(data) == frame.layout.id
        header = {"id": frame.layout.id, "size": len(data)}
        assert frame.layout.construct.build({**header, **frame.fields}) == data

    def _almost_valid(self, case: AlmostValid) -> None:
        decoded = in_bounded_memory(case.layout, case.data)
        if case.lie in REFUSED:
            assert isinstance(decoded, MessageError), decoded
        if case.lie is Lie.PADDING:
            assert decoded == case.layout.decode(case.frame.data)
        decode_or_complain(case.layout, case.data)
        self._headers(case.data)

    def _headers(self, data: bytes) -> None:
        for read in (message_id, reply_error):
            found = outcome(read, data)
            assert isinstance(found, int) or found.field


def outcome(read: Any, data: bytes) -> Any:
    """What reading gives: a value, or the `MessageError`."""
    try:
        return read(data)
    except MessageError as error:
        return error


def in_bounded_memory(layout: Layout, data: bytes) -> Any:
    """Decode, and see that it took no more memory than the message is worth."""
    tracemalloc.start()
    try:
        decoded = outcome(layout.decode, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= MEMORY + MEMORY_A_BYTE * len(data), peak
    return decoded


def decode_or_complain(layout: Layout, data: bytes) -> None:
    """Decode; what decodes must mean the same to construct, and what does not must name a field."""
    decoded = outcome(layout.decode, data)
    if isinstance(decoded, MessageError):
        assert decoded.field
        assert decoded.field in str(decoded)
        return
    parsed = layout.construct.parse(data)
    assert {name: plain(parsed[name]) for name in layout.record._fields} == decoded._asdict()


def plain(value: Any) -> Any:
    """A value without the types that construct has for structures and lists."""
    return tuple(value) if isinstance(value, list) and not hasattr(value, "_fields") else value


@contextlib.contextmanager
def _session() -> Iterator[Codec]:
    codec = Codec()
    for service in SERVICES:
        for frame in load(service):
            layout = layout_of(service, frame)
            # A response with an error has noise behind its header.
            if layout is not None and (layout.kind.value == "request" or reply_error(frame.data) in (0, 1)):
                decode_or_complain(layout, frame.data)
                assert not isinstance(outcome(layout.decode, frame.data), MessageError), frame
    yield codec


TARGETS = [
    Target(
        name="codec",
        property=__doc__ or "",
        cases=st.one_of(valid(), almost_valid(), st.one_of(arbitrary(), almost_valid().map(bytes_of))),
        session=_session,
        examples=300,
    )
]
