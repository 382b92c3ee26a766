"""What the two ends do to a ring, and lies in a ring or in a control block.

Strategy: a message in a ring matters by its size, not by its content, so a write is a size and a byte to fill
it with; the resulting content differs at every word, so that misplaced data is noticed. Sizes near the ring's
own, and near a word's, are more frequent. A lie is a word's place and its new value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st

from ..wire.setup import (
    CHUNK_ALLOCATED,
    CHUNK_COMMITTED,
    CHUNK_RECLAIMED,
    CONTROL_BLOCK,
    RING_HEADER,
)
from .values import integers

MESSAGE_SIZES: Final = (1, 24, 100, 4083, 4084, 8192)
"""`max_msg_size` of rings to try: of one page, of the least and of the most that fit there, and corosync's.
"""

_HEADER_WORDS: Final = tuple(
    field.name for field in RING_HEADER.subcons if field.name and field.sizeof() == 4
)
_CONTROL_WAYS: Final = tuple(field.name for field in CONTROL_BLOCK.subcons)
_CONTROL_WORDS: Final = tuple(field.name for field in CONTROL_BLOCK.request.subcon.subcons)
_MAGICS: Final = (CHUNK_ALLOCATED, CHUNK_COMMITTED, CHUNK_RECLAIMED)


@dataclass(frozen=True)
class Write:
    """The writer adds a message of `size` bytes."""

    size: int
    fill: int

    @property
    def data(self) -> bytes:
        """The message: no two words of it are alike."""
        words = -(-self.size // 4)
        return b"".join((self.fill << 24 | word).to_bytes(4, "little") for word in range(words))[: self.size]


@dataclass(frozen=True)
class Fill:
    """The writer adds a message that leaves `slack` bytes of room, or that is `-slack` bytes too long."""

    slack: int
    fill: int


@dataclass(frozen=True)
class Put(Write):
    """The writer adds a message and does not announce it yet."""


@dataclass(frozen=True)
class Publish:
    """The writer announces what it has put."""


@dataclass(frozen=True)
class Read:
    """The reader takes a message, if there is one."""


RingStep = Write | Fill | Publish | Read


@dataclass(frozen=True)
class RingLie:
    """A word of a ring that is not what its owner wrote.

    In the header `where` is a field's name, or "posted_sem"; in the data it is the word's number. A length
    for `where` "header" or "data" cuts that file.
    """

    part: str
    """"header", "data", or "length"."""
    where: str | int
    value: int


@dataclass(frozen=True)
class RingScript:
    """What happens to one ring."""

    max_msg_size: int
    start: int
    """The word at which both pointers stand at first, in words of any ring: to be taken modulo its length."""
    steps: tuple[RingStep, ...]
    lies: tuple[RingLie, ...] = ()
    """Changes that neither end makes."""
    after: tuple[RingStep, ...] = ()
    """What both ends do after that."""


@dataclass(frozen=True)
class ControlLie:
    """A word of the control block of the socket transport."""

    way: str
    field: str
    value: int


def ring_steps(max_msg_size: int, most: int) -> st.SearchStrategy[tuple[RingStep, ...]]:
    """What the two ends of a ring for `max_msg_size` bytes do in turn; a few messages are too large."""
    edges = [size for size in (0, 1, 3, 4, 5, max_msg_size - 1, max_msg_size) if 0 <= size <= max_msg_size]
    sizes = st.sampled_from(edges) | st.integers(0, max_msg_size + 8)
    fills = st.integers(0, 255)
    step: st.SearchStrategy[RingStep] = st.one_of(
        st.builds(Read),
        st.builds(Write, sizes, fills),
        st.builds(Put, sizes, fills),
        st.builds(Fill, st.integers(-13, 13), fills),
        st.builds(Publish),
    )
    return st.lists(step, max_size=most).map(tuple)


def ring_scripts(most_steps: int = 40) -> st.SearchStrategy[RingScript]:
    """Rings with two honest ends."""
    return st.sampled_from(MESSAGE_SIZES).flatmap(
        lambda size: st.builds(RingScript, st.just(size), _starts, ring_steps(size, most_steps))
    )


def damaged_ring_scripts(most_steps: int = 10) -> st.SearchStrategy[RingScript]:
    """Rings with lies in them."""
    return st.sampled_from(MESSAGE_SIZES).flatmap(
        lambda size: st.builds(
            RingScript,
            st.just(size),
            _starts,
            ring_steps(size, most_steps),
            st.lists(ring_lies(), min_size=1, max_size=4).map(tuple),
            ring_steps(size, most_steps),
        )
    )


_starts = st.just(0) | st.integers(0, 3071)


def ring_lies(words: int = 3072) -> st.SearchStrategy[RingLie]:
    """Lies about a ring of `words` words: its pointers, sizes, counts and chunk headers."""
    near = st.integers(-2, 2).map(lambda delta: (words + delta) & 0xFFFFFFFF)
    values = st.one_of(integers("L"), near, st.sampled_from(_MAGICS))
    return st.one_of(
        st.builds(RingLie, st.just("header"), st.sampled_from([*_HEADER_WORDS, "posted_sem"]), values),
        st.builds(RingLie, st.just("data"), st.integers(0, 7) | st.integers(0, words - 1), values),
    )


def ring_cuts() -> st.SearchStrategy[RingLie]:
    """Files of a ring that are shorter or longer than they should be. The control block has one file only."""
    return st.builds(
        RingLie,
        st.just("length"),
        st.sampled_from(["header", "data"]),
        st.sampled_from([0, 1, 4096, 1 << 20]),
    )


def control_lies() -> st.SearchStrategy[ControlLie]:
    """Lies in the control block of the socket transport."""
    return st.builds(
        ControlLie, st.sampled_from(_CONTROL_WAYS), st.sampled_from(_CONTROL_WORDS), integers("l")
    )
