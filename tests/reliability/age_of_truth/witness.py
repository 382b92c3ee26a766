"""What a client on each node sees of a cut, with times.

Strategy: up to three tasks per node. One takes the announcements of the quorum service, one calls
votequorum's `getinfo` repeatedly, and in a cluster with a quorum device one votes for it. They share a
process with the witnesses of the other nodes, so that they all read the same `time.monotonic`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import trio

from tests.real.daemon import Daemon
from votequorum_ipc import InfoFlags, MessageError, NodelistNotification, Quorum, TryAgain, Votequorum
from votequorum_ipc.types import QuorumV1Notification, RingId

ASK_EVERY: Final = 0.01
"""Seconds between two requests: the precision of the answers' times."""

DEVICE: Final = "favours-one-node"
_POLL_EVERY: Final = 2.0
"""Seconds between two polls by the device; corosync allows 10."""


@dataclass(frozen=True)
class Announcement:
    """A quorum notification."""

    at: float
    quorate: bool
    members: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """An answer to `getinfo`. The daemon gave it between `asked` and `at`."""

    asked: float
    at: float
    quorate: bool
    total_votes: int


class Witness:
    """What was seen on one node since the last `forget`."""

    def __init__(self, nodeid: int, quorum: Quorum, votequorum: Votequorum) -> None:
        self.nodeid = nodeid
        self.announcements: list[Announcement] = []
        self.answers: list[Answer] = []
        self._quorum = quorum
        self._votequorum = votequorum

    def forget(self) -> None:
        """Drop everything seen so far."""
        self.announcements.clear()
        self.answers.clear()

    async def listen(self) -> None:
        """Take announcements forever."""
        await self._quorum.trackstart()
        async for event in self._quorum.events():
            if isinstance(event, QuorumV1Notification):
                self.announcements.append(Announcement(time.monotonic(), event.quorate, event.members))

    async def ask(self) -> None:
        """Call `getinfo` forever. A refusal by a busy daemon is no answer."""
        while True:
            asked = time.monotonic()
            with contextlib.suppress(TryAgain):
                info = await self._votequorum.getinfo()
                quorate = InfoFlags.QUORATE in info.flags
                self.answers.append(Answer(asked, time.monotonic(), quorate, info.total_votes))
            await trio.sleep(ASK_EVERY)


@contextlib.asynccontextmanager
async def witness(daemon: Daemon) -> AsyncIterator[Witness]:
    """A client on a node, with both of its tasks."""
    async with contextlib.AsyncExitStack() as stack:
        with daemon.namespace():
            quorum = await stack.enter_async_context(await Quorum.initialize())
            votequorum = await stack.enter_async_context(await Votequorum.initialize())
        seen = Witness(daemon.nodeid, quorum, votequorum)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seen.listen)
            nursery.start_soon(seen.ask)
            yield seen
            nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def device(daemon: Daemon, *, favoured: bool, nodes: int) -> AsyncIterator[None]:
    """A quorum device on a node: it votes while all nodes are present, and otherwise only if it is the
    favoured one.
    """
    with daemon.namespace():
        handle = await Votequorum.initialize()
    async with handle, trio.open_nursery() as nursery:
        await handle.qdevice_register(DEVICE)
        await handle.trackstart()
        ring: list[NodelistNotification] = []

        async def poll() -> None:
            members, ring_id = ring[-1].members, ring[-1].ring_id
            await _poll(handle, cast_vote=favoured or len(members) == nodes, ring_id=ring_id)

        async def follow() -> None:
            async for event in handle.events():
                if isinstance(event, NodelistNotification):
                    ring.append(event)
                    await poll()

        async def stay_alive() -> None:
            while True:
                await trio.sleep(_POLL_EVERY)
                await poll()

        nursery.start_soon(follow)
        nursery.start_soon(stay_alive)
        yield
        nursery.cancel_scope.cancel()


async def _poll(handle: Votequorum, *, cast_vote: bool, ring_id: RingId) -> None:
    # MessageError: the ring is outdated, and the event with the new one is on its way.
    with contextlib.suppress(MessageError, TryAgain):
        await handle.qdevice_poll(DEVICE, cast_vote, ring_id)
