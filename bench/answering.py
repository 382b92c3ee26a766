"""The commands of a side that is written in Python: read one, answer it. See `side` for the format."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence


def commands() -> Iterator[tuple[str, int]]:
    """The commands and their counts, until there are no more. Blocks: a side does nothing between rounds."""
    for line in sys.stdin:
        command, count = line.split()
        yield command, int(count)


def answer(numbers: Sequence[int]) -> None:
    """Answer the command before."""
    sys.stdout.buffer.write(struct.pack(f"=Q{len(numbers)}q", len(numbers), *numbers))
    sys.stdout.buffer.flush()
