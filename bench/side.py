"""Run a side: a process that takes commands and answers with numbers.

A command is a line: a word and a count. An answer is a uint64 count followed by that many int64 numbers. A
side that fails writes why to its standard error and exits; the error raised here contains that text.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

ROOT: Final = Path(__file__).resolve().parents[1]

_PATIENCE: Final = 60.0
"""A side that does not answer within this many seconds counts as hung."""


class SideError(Exception):
    """A side exited, or does not answer."""


class Side:
    """A running side; a context manager that ends it."""

    def __init__(self, name: str, argv: Sequence[str]) -> None:
        """Start it, in the network namespace that the calling thread is in."""
        self.name = name
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            argv,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            bufsize=0,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, command: str, count: int = 0) -> list[int]:
        """Give a command and wait for the answer. Raises `SideError`."""
        self.tell(command, count)
        return self.hear()

    def tell(self, command: str, count: int = 0) -> None:
        """Give a command; `hear` waits for the answer. Raises `SideError`."""
        assert self._process.stdin
        try:
            self._process.stdin.write(f"{command} {count}\n".encode())
        except BrokenPipeError:
            raise self._ended() from None

    def hear(self) -> list[int]:
        """The answer to the last command. Raises `SideError`."""
        (count,) = struct.unpack("=Q", self._read(8))
        return list(struct.unpack(f"={count}q", self._read(8 * count)))

    def _read(self, size: int) -> bytes:
        assert self._process.stdout
        descriptor, data = self._process.stdout.fileno(), b""
        deadline = time.monotonic() + _PATIENCE
        while len(data) < size:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise SideError(f"{self.name} has not answered for {_PATIENCE:g} s")
            part = os.read(descriptor, size - len(data))
            if not part:
                raise self._ended()
            data += part
        return data

    def _ended(self) -> SideError:
        code = self._process.wait()
        self._complaints.seek(0)
        return SideError(f"{self.name} ended with {code}: {self._complaints.read().decode().strip()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if error is not None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._complaints.close()
