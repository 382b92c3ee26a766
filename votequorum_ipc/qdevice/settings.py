"""corosync.conf's settings for quorum devices, read and followed through cmap.

Strategy: cmap does not answer while the nodes synchronise, and a membership change may be waiting for the
very poll that this device is about to send. So connecting and reading are tried only for a moment. Settings
that could not be read have their defaults, and are tried again after the next poll. With a daemon without
cmap, or an address that does not lead to it, the defaults stay. Source: votequorum(5), and
`votequorum_readconfig` of corosync 3.1.7 for what it refuses.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Final

import trio

from ..cmap import Cmap
from ..errors import CsError
from ..ipc import Address, sibling
from ..ipc.handshake import nothing_listens
from ..types import ALL_TRACK_TYPES, DispatchFlags, InfoFlags, KeyChange, Value
from .schedule import Timeouts

_READ_SECONDS: Final = 0.25
"""Seconds that cmap may take; it takes less than a millisecond when it answers at all."""

_PREFIX: Final = "quorum."

Keys = Mapping[str, Value]

MODEL: Final = "quorum.device.model"
NOT_NAMED: Final = (
    f"{MODEL} is not set, so a quorum device has no votes on this node: add to the quorum section of "
    "corosync.conf, on all nodes, the lines 'device {', 'model: votequorum-ipc', 'votes: 1' and '}', and "
    "reload or restart; a simulated cluster has one with `votequorum-ipc serve --device 1`"
)

_MODES: Final = (
    (InfoFlags.TWONODE, "quorum.two_node is on; a device takes its place"),
    (InfoFlags.LAST_MAN_STANDING, "quorum.last_man_standing has been on since corosync started"),
    (InfoFlags.AUTO_TIE_BREAKER, "quorum.auto_tie_breaker has been on since corosync started"),
    (InfoFlags.ALLOW_DOWNSCALE, "quorum.allow_downscale has been on since corosync started"),
)
"""The options that exclude a device while they are in force, with the words for it. corosync reads all but
the first only when it starts, so getinfo, not their keys, tells whether they are in force."""

_VOTES: Final[tuple[tuple[Callable[[Keys], object], str], ...]] = (
    (
        lambda keys: "quorum.expected_votes" in keys and "quorum.device.votes" not in keys,
        "quorum.expected_votes is set, and quorum.device.votes is not",
    ),
    (
        lambda keys: 0 < _number(keys, "quorum.expected_votes") < _number(keys, "quorum.device.votes") + 2,
        "quorum.expected_votes must exceed quorum.device.votes by 2 at least",
    ),
    (
        lambda keys: "quorum.device.votes" not in keys,
        "quorum.device.votes is not set, as it must be unless each node has one vote",
    ),
)
"""Vote settings with which votequorum refuses a device, in its order, with the words for it."""


class Settings:
    """The known part of the configuration. Made by `open_settings`."""

    def __init__(self, address: Address, server_uids: Collection[int] | None) -> None:
        """Not public: use `open_settings`."""
        self.timeouts = Timeouts()
        self.model_missing = False
        """Whether cmap has reported that no model is set."""
        self._address = address
        self._server_uids = server_uids
        self._exists = True
        """Whether there may be a cmap to connect to."""
        self._cmap: Cmap | None = None
        self._tracks = False
        self._changed = True

    async def refresh(self) -> None:
        """Read what has changed since the last time, if cmap answers now."""
        with trio.move_on_after(_READ_SECONDS), contextlib.suppress(CsError):
            cmap = await self._connected()
            if cmap is None:
                return
            if not self._tracks:
                await cmap.track_add(_PREFIX, ALL_TRACK_TYPES)
                self._tracks = True
            await cmap.dispatch(DispatchFlags.ALL)
            if self._changed:
                self._changed = False
                try:
                    await self._read(cmap)
                except BaseException:
                    self._changed = True
                    raise

    async def why_refused(self, flags: InfoFlags) -> str:
        """Which setting makes votequorum refuse a device; empty if that is unknown.

        `flags` are those of this node's getinfo.
        """
        with trio.move_on_after(_READ_SECONDS), contextlib.suppress(CsError):
            cmap = await self._connected()
            if cmap is None:
                return ""
            keys = await cmap.items(_PREFIX)
            if MODEL not in keys:
                return NOT_NAMED
            modes = (text for flag, text in _MODES if flag in flags)
            votes = (text for applies, text in _VOTES if applies(keys))
            return next(itertools.chain(modes, votes), "")
        return ""

    async def aclose(self) -> None:
        """End the connection to cmap."""
        if self._cmap is not None:
            await self._cmap.finalize()

    async def _connected(self) -> Cmap | None:
        """The handle, made if needed; None if an earlier attempt has shown that there is no cmap."""
        if self._cmap is None and self._exists:
            try:
                self._cmap = await Cmap.initialize(
                    notify=self._mark_changed,
                    address=sibling(self._address, "cmap"),
                    server_uids=self._server_uids,
                )
            except CsError as error:
                self._exists = not nothing_listens(error)
                raise
        return self._cmap

    def _mark_changed(self, _change: KeyChange) -> None:
        self._changed = True

    async def _read(self, cmap: Cmap) -> None:
        usual = Timeouts()
        self.timeouts = Timeouts(
            timeout=await _seconds(cmap, "quorum.device.timeout", usual.timeout),
            sync_timeout=await _seconds(cmap, "quorum.device.sync_timeout", usual.sync_timeout),
        )
        self.model_missing = not await cmap.get_or_none(MODEL)


@contextlib.asynccontextmanager
async def open_settings(address: Address, server_uids: Collection[int] | None) -> AsyncIterator[Settings]:
    """The settings of the daemon whose votequorum is at `address`, not read yet; closed at the end of the
    block."""
    async with contextlib.aclosing(Settings(address, server_uids)) as settings:
        yield settings


async def _seconds(cmap: Cmap, key: str, usual: float) -> float:
    milliseconds = await cmap.get_or_none(key)
    # corosync ignores a value that is not a uint32; 0 would leave no time for anything.
    return milliseconds / 1000 if isinstance(milliseconds, int) and milliseconds > 0 else usual


def _number(keys: Keys, key: str) -> int:
    value = keys.get(key, 0)
    return value if isinstance(value, int) else 0
