"""Output that must not affect the program: writing a line neither waits nor fails.

Strategy: a program that holds a vote must not lose it because its output is not read. So a line is written
only while the descriptor accepts it. A reader that is gone (`| head -1`), a full disk, or a terminal stopped
with Ctrl-S costs lines, never time. The first line that is lost is announced once on stderr, written in the
same way. A pipe that polls writable takes PIPE_BUF bytes at once (pipe(7)), so a line is written in pieces of
that size.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Final, TextIO

PIECE: Final = select.PIPE_BUF


class LossyOutput:
    """Standard output for a program that keeps running if its output is lost."""

    def __init__(self, stream: TextIO | None = None, errors: TextIO | None = None) -> None:
        """`stream` and `errors` are standard output and standard error by default."""
        self._descriptor = _descriptor(stream or sys.stdout)
        self._errors = _descriptor(errors or sys.stderr)
        self._announced = False

    def line(self, text: str) -> None:
        """Write a line, or lose it."""
        why = _write(self._descriptor, text)
        if why and not self._announced:
            self._announced = True
            self.complain(f"the output is lost: {why}; this program goes on without it")

    def complain(self, text: str) -> None:
        """Write a line to standard error, or lose it."""
        _write(self._errors, f"votequorum-ipc: {text}")


def _descriptor(stream: TextIO | None) -> int | None:
    """None if there is no such stream, as after `>&-`."""
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None


def _write(descriptor: int | None, text: str) -> str:
    """Write a line. Returns an empty text, or why (a part of) the line was lost."""
    if descriptor is None:
        return "it is closed"
    rest = text.encode("utf-8", "surrogateescape") + b"\n"
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    while rest:
        if not poll.poll(0):
            return "it is not being read"
        try:
            rest = rest[os.write(descriptor, rest[:PIECE]) :]
        except OSError as error:
            return error.strerror or "it cannot be written"
    return ""
