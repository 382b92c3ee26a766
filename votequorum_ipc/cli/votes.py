"""What `setexpected` and `setvotes` share: a call on votequorum, or why there is none to call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ..errors import NotExist
from ..status import Services
from ..votequorum import Votequorum

MOST_VOTES: Final = 2**31 - 1
"""The most that corosync-quorumtool takes; the daemon computes with an int."""


async def on_votequorum(address: str | None, call: Callable[[Votequorum], Awaitable[None]]) -> None:
    """Make one call. Raises `NotExist` on a daemon that runs without votequorum."""
    async with Services(address) as services:
        _, votequorum = await services.quorum_and_votequorum()
        if votequorum is None:
            raise NotExist(
                "corosync runs, but without votequorum: name it in the quorum section of corosync.conf "
                "(provider: corosync_votequorum) and restart it"
            )
        await call(votequorum)
