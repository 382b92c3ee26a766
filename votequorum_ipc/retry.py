"""Retries, for callers who ask for them. Nothing else in this library hides `TryAgain`.

Strategy: pauses double from one attempt to the next, up to a limit. Each is shortened at random by up to a
half, so that nodes which were refused at the same moment do not all return at the same moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from .errors import TryAgain

T = TypeVar("T")

FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 1.0


class Backoff:
    """Pauses in seconds: each twice the one before, up to `most`, shortened at random by up to a half."""

    def __init__(self, first: float = FIRST_PAUSE, most: float = LONGEST_PAUSE) -> None:
        self._next = first
        self._most = most

    def pause(self) -> float:
        """The length of the next pause."""
        full = min(self._next, self._most)
        self._next = full * 2
        from random import uniform  # imports a lot, which programs that never pause do not need

        return full * uniform(0.5, 1)


async def retry(call: Callable[..., Awaitable[T]], *args: Any, deadline: float) -> T:
    """Make a call, and repeat it as long as the daemon answers `TryAgain`.

    `deadline` is on the clock of the event loop: `deadline=trio.current_time() + 30` under trio,
    `deadline=asyncio.get_running_loop().time() + 30` under asyncio. At least one attempt is made. `TryAgain`
    is raised when the next attempt would come after the deadline. A call in progress is not cut short: use a
    cancel scope or `asyncio.timeout` against a daemon that hangs. Raises whatever else the call raises.
    """
    # Imports construct, which programs that only want values do not need.
    from .ipc.backend import current_time, sleep

    backoff = Backoff()
    too_late = current_time() > deadline
    while True:
        try:
            return await call(*args)
        except TryAgain as error:
            if too_late:
                # most likely meant as seconds from now
                raise TryAgain(f"{error}; not tried again: {_NOT_A_TIME.format(deadline)}") from error
            pause = backoff.pause()
            if current_time() + pause > deadline:
                raise
        await sleep(pause)


_NOT_A_TIME: Final = (
    "deadline={:g} had passed at the start; it is a time on the event loop's clock, such as "
    "trio.current_time() + 30 or asyncio.get_running_loop().time() + 30"
)
