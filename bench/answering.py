"""The command loop of a side written in Python: read a command, answer it. See `side` for the format."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence


def commands() -> Iterator[tuple[str, int]]:
    """Yield each command and its count until input ends. Blocks, because a side is idle between rounds."""
    for line in sys.stdin:
        command, count = line.split()
        yield command, int(count)


def answer(numbers: Sequence[int]) -> None:
    """Answer the last command."""
    sys.stdout.buffer.write(struct.pack(f"=Q{len(numbers)}q", len(numbers), *numbers))
    sys.stdout.buffer.flush()
