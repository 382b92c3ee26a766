"""Shared by `setexpected`, `setvotes` and `qdevice`: one call to the daemon's votequorum."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from ..errors import InvalidParam
from ..ipc import Address, sibling
from ..votequorum import Votequorum

MOST_VOTES: Final = 2**31 - 1
"""The most that corosync-quorumtool accepts; the daemon computes with an int."""


async def on_votequorum(address: str | None, call: Callable[[Votequorum], Awaitable[None]]) -> None:
    """Make one call on the daemon's votequorum, even if the address is that of another of its services."""
    where: Address = address
    with contextlib.suppress(InvalidParam):  # it leads to only one service: votequorum
        where = sibling(address, "votequorum")
    async with await Votequorum.initialize(address=where) as votequorum:
        await call(votequorum)
