"""Steers a run by the edges that the daemon under test takes.

Strategy: `tools/sanitized-corosync` builds a corosync that marks each edge of its code in a file of `EDGES`
bytes, which `COROSYNC_EDGES` names. A run looks at it after each case. A guided run stores the choices behind
each case that took an edge for the first time, and makes new cases by changing stored choices. hypothesis
turns choices, which are plain bytes, into cases (`fuzz_one_input`).
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

EDGES: Final = 1 << 16
"""Bytes of the file, as in `tools/edges.c`."""

VARIABLE: Final = "COROSYNC_EDGES"
"""The environment variable that names the file to the daemon."""

MOST_CHOICES: Final = 4096
"""Bytes of choices that a guided case may begin with."""

_FRESH: Final = 0.1
"""The share of cases that begin with random choices rather than with stored ones."""


class Edges:
    """The edges that daemons took since `edges_of_daemons` began."""

    def __init__(self, map_: mmap.mmap) -> None:
        self._map = map_
        self._seen = 0

    def take(self) -> int:
        """Count the edges taken since the last call that were never taken before."""
        taken = int.from_bytes(self._map, "little")
        new = (taken & ~self._seen).bit_count()
        self._seen |= taken
        return new

    @property
    def reached(self) -> int:
        """How many different edges were taken so far. 0 means that the daemon does not count them."""
        return self._seen.bit_count()


@contextlib.contextmanager
def edges_of_daemons() -> Iterator[Edges]:
    """Let every daemon that starts in this block count its edges, if it was built to."""
    before = os.environ.get(VARIABLE)
    with tempfile.NamedTemporaryFile(prefix="fuzz-edges-") as file:
        file.truncate(EDGES)
        with mmap.mmap(file.fileno(), EDGES) as map_:
            os.environ[VARIABLE] = file.name
            try:
                yield Edges(map_)
            finally:
                os.environ.pop(VARIABLE)
                if before is not None:
                    os.environ[VARIABLE] = before


class Guide:
    """Stores the choices behind new edges, and makes new ones by changing them."""

    def __init__(self, edges: Edges, directory: Path, seed: int) -> None:
        """`directory` keeps the choices from one run to the next."""
        self._edges = edges
        self._directory = directory
        self._random = random.Random(seed)
        directory.mkdir(parents=True, exist_ok=True)
        self._again = [path.read_bytes() for path in sorted(directory.iterdir())]
        self._stored: list[bytes] = []

    def step(self, try_out: Callable[[bytes], bytes | None]) -> None:
        """Try one case out. `try_out` is hypothesis's `fuzz_one_input`, and may raise what the case does."""
        self._edges.take()
        choices = try_out(self._next())
        if choices is not None and self._edges.take():
            self._stored.append(choices)
            name = hashlib.sha256(choices).hexdigest()[:16]
            (self._directory / name).write_bytes(choices)

    def _next(self) -> bytes:
        if self._again:
            return self._again.pop()
        if not self._stored or self._random.random() < _FRESH:
            return self._random.randbytes(self._random.randrange(16, 1024))
        # Half of the time one of the latest: little was tried behind a new edge so far.
        latest = self._stored[-16:] if self._random.random() < 0.5 else self._stored
        choices = bytearray(self._random.choice(latest))
        for _ in range(self._random.choice((1, 1, 2, 4, 8))):
            self._random.choice((self._flip, self._replace, self._insert, self._remove, self._join))(choices)
        return bytes(choices[:MOST_CHOICES])

    def _place(self, choices: bytearray) -> int:
        return self._random.randrange(len(choices) + 1)

    def _flip(self, choices: bytearray) -> None:
        if choices:
            choices[self._random.randrange(len(choices))] ^= 1 << self._random.randrange(8)

    def _replace(self, choices: bytearray) -> None:
        start, length = self._place(choices), self._random.choice((1, 1, 2, 4, 16))
        choices[start : start + length] = self._random.randbytes(length)

    def _insert(self, choices: bytearray) -> None:
        start = self._place(choices)
        choices[start:start] = self._random.randbytes(self._random.choice((1, 4, 16, 64)))

    def _remove(self, choices: bytearray) -> None:
        start = self._place(choices)
        del choices[start : start + self._random.choice((1, 4, 16, 64))]

    def _join(self, choices: bytearray) -> None:
        other = self._random.choice(self._stored)
        choices[self._place(choices) :] = other[self._random.randrange(len(other) + 1) :]
