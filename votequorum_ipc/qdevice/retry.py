"""Trying again: pauses that double, with chance in them so that nodes do not march in step."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from ..errors import TryAgain

T = TypeVar("T")

_FIRST: Final = 0.01
_MOST: Final = 1.0


class Backoff:
    """Pauses in seconds: each about twice the one before, up to `most`, less up to a half by chance."""

    def __init__(self, first: float = _FIRST, most: float = _MOST) -> None:
        self._next = first
        self._most = most

    def pause(self) -> float:
        """The length of the next pause."""
        full = min(self._next, self._most)
        self._next = full * 2
        return full * random.uniform(0.5, 1)


async def until_accepted(call: Callable[[], Awaitable[T]], deadline: float) -> T:
    """Make a call, and again while the daemon answers `TryAgain`; that is raised when trio's clock passes
    `deadline`. At least one attempt is made. Raises whatever else the call does."""
    backoff = Backoff()
    while True:
        try:
            return await call()
        except TryAgain:
            pause = backoff.pause()
            if trio.current_time() + pause > deadline:
                raise
        await trio.sleep(pause)
