"""Many hostile variants of one message or of one ring, from one seed.

Strategy: hypothesis draws what a burst begins with and its seed. The variants come from a generator of random
numbers with that seed, because drawing ten million of them one by one would take days. A variant differs from
the honest original in a few bytes or words, half of them with special values: 0, the edges of integer types,
sizes that are true for other bytes, counts around a limit.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from hypothesis import strategies as st

from ..types import PROCESSOR_COUNT_MAX
from ..wire import Kind
from ..wire.layout import CS_OK
from ..wire.setup import CHUNK_ALLOCATED, CHUNK_COMMITTED, CHUNK_RECLAIMED
from .messages import Frame, valid
from .rings import MESSAGE_SIZES

STATES: Final = 1000
"""How many variants a burst has."""

_SPECIAL: Final = (
    0, 1, 2, 3, 4, 7, 8, 15, 16, 23, 24, 31, 32, 255, 256, 4095, 4096, 8191, 8192, 0xFFFF, 0x10000,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFC, 0xFFFFFFFF, PROCESSOR_COUNT_MAX, PROCESSOR_COUNT_MAX + 1,
    PROCESSOR_COUNT_MAX + 3, 200_000, CHUNK_ALLOCATED, CHUNK_COMMITTED, CHUNK_RECLAIMED,
)  # fmt: skip
_LENGTHS: Final = (0, 8, 16, 24, 28, 40, 48, 56, 320, 3120, 8192, 65536)
_SIZE_OFFSET: Final = 8
_WORD: Final = struct.Struct("=I")


@dataclass(frozen=True)
class FrameBurst:
    """Variants of a message that a server sends."""

    frame: Frame
    seed: int
    count: int = STATES

    def variants(self) -> Iterator[bytes]:
        """The messages, in the order of the seed."""
        numbers = random.Random(self.seed)
        honest = self.frame.data
        for _ in range(self.count):
            yield _variant(honest, numbers)


@dataclass(frozen=True)
class RingBurst:
    """Variants of a ring that an honest server has written messages to."""

    max_msg_size: int
    sizes: tuple[int, ...]
    """Of the messages in it, in bytes."""
    seed: int
    count: int = STATES

    def variants(self, words: int) -> Iterator[tuple[tuple[str, int, int], ...]]:
        """What is overwritten for each variant: "header", "data" or "semaphore", which word, and its value.

        `words` is the ring's length. The words of the header are those of libqb's struct.
        """
        numbers = random.Random(self.seed)
        for _ in range(self.count):
            yield tuple(_overwritten(numbers, words) for _ in range(numbers.randrange(1, 4)))


def _variant(honest: bytes, numbers: random.Random) -> bytes:
    """A message with a new length in one of three variants, and then with other words or bytes."""
    data = bytearray(honest)
    if numbers.random() < 0.3:
        length = numbers.choice(_LENGTHS) if numbers.random() < 0.5 else numbers.randrange(len(data) + 64)
        data = data[:length].ljust(length, numbers.choice((b"\0", b"\x01", b"\xff")))
        if len(data) >= _SIZE_OFFSET + _WORD.size and numbers.random() < 0.9:
            _WORD.pack_into(data, _SIZE_OFFSET, len(data))
    for _ in range(numbers.randrange(4) if len(data) >= _WORD.size else 0):
        if numbers.random() < 0.7:
            # Most of what decides is in the first words.
            reach = min(len(data), 64) if numbers.random() < 0.8 else len(data)
            offset = numbers.randrange(reach // _WORD.size) * _WORD.size
            _WORD.pack_into(data, offset, _value(numbers))
        else:
            data[numbers.randrange(len(data))] = numbers.randrange(256)
    return bytes(data)


def _overwritten(numbers: random.Random, words: int) -> tuple[str, int, int]:
    part = numbers.choice(("header", "header", "header", "semaphore", "data", "data"))
    near = (words + numbers.randrange(-3, 4)) & 0xFFFFFFFF
    value = near if numbers.random() < 0.2 else _value(numbers)
    if part == "data":
        word = numbers.randrange(8) if numbers.random() < 0.8 else numbers.randrange(words)
        return part, word, value
    # The pointers and the ring's length; of the semaphore its count, which sem_t begins with.
    return part, numbers.randrange(3) if part == "header" else 0, value


def _value(numbers: random.Random) -> int:
    return numbers.choice(_SPECIAL) if numbers.random() < 0.7 else numbers.getrandbits(32)


def frame_bursts() -> st.SearchStrategy[FrameBurst]:
    """Variants of what a server answers or sends, whatever the service."""
    sent = valid(kinds=(Kind.RESPONSE, Kind.EVENT)).map(_successful)
    return st.builds(FrameBurst, sent, _seeds)


def ring_bursts() -> st.SearchStrategy[RingBurst]:
    """Variants of rings of any size."""
    return st.sampled_from(MESSAGE_SIZES).flatmap(
        lambda most: st.builds(
            RingBurst, st.just(most), st.lists(st.integers(0, most), max_size=3).map(tuple), _seeds
        )
    )


def _successful(frame: Frame) -> Frame:
    """The message without an error, behind which nothing is read. In a connection's answer that is 0."""
    error = 0 if frame.service == "setup" else CS_OK
    return replace(frame, fields={**frame.fields, "error": error})


_seeds = st.integers(0, (1 << 32) - 1)
