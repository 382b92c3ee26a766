"""What changes in the cluster, in order: each change once, and none missed.

Strategy: corosync announces memberships, quorum and expected votes, and these are passed on as they come:
membership and quorum from the quorum service, which knows who joined and left, or else from votequorum. It
announces nothing when a node's votes or a device's state change, so after each announcement the whole status
is read, and what differs from the last one is a change as well. A status counts only if no announcement is
waiting when it has been read: then it speaks of the moment after all announcements that were passed on.

While nodes synchronise, which may wait half a minute for a quorum device, corosync answers no questions but
announces on; so a question is given up when an announcement comes, and asked again after it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn

import trio

from .errors import CsError, Timeout, TryAgain, error_from_errno
from .handle import Handle
from .ipc import Address
from .quorum import Quorum
from .status import ClusterStatus, Services, StatusReader
from .types import (
    DispatchFlags,
    ExpectedVotesNotification,
    InfoFlags,
    NodeInfo,
    NodelistNotification,
    QuorumNodelistNotification,
    QuorumNotification,
    QuorumV1Notification,
    RingId,
)
from .votequorum import Votequorum

DEVICE_FLAGS: Final = (
    InfoFlags.QDEVICE_REGISTERED
    | InfoFlags.QDEVICE_ALIVE
    | InfoFlags.QDEVICE_CAST_VOTE
    | InfoFlags.QDEVICE_MASTER_WINS
)
"""The flags that belong to one node's device, not to the cluster."""

_BUSY_DELAY: Final = 0.1
"""Seconds until a daemon that could not answer is asked again."""


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """Nodes joined or left, or both at once, as one that restarted does."""

    ring_id: RingId
    members: tuple[int, ...]
    joined: tuple[int, ...]
    left: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class QuorumChanged:
    """This node's partition gained or lost quorum."""

    quorate: bool


@dataclass(frozen=True, slots=True)
class ExpectedVotesChanged:
    """The votes that this node expects changed."""

    expected_votes: int


@dataclass(frozen=True, slots=True)
class VotesChanged:
    """The votes present, or what quorum takes of them, changed."""

    info: NodeInfo
    """All figures of now, as this node has them."""


@dataclass(frozen=True, slots=True)
class NodeVotesChanged:
    """A node's votes changed, or a node was seen for the first time."""

    node_id: int
    votes: int


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """The state of a node's quorum device changed."""

    node_id: int
    name: str
    flags: InfoFlags
    """Those of `DEVICE_FLAGS` that are set."""


Change = (
    MembershipChanged | QuorumChanged | ExpectedVotesChanged | VotesChanged | NodeVotesChanged | DeviceChanged
)


class Follower:
    """Connections that follow a daemon: `start` gives the state of now, `follow` each change from then on."""

    def __init__(self, emit: Callable[[Change], None], reader: StatusReader) -> None:
        """Not public: use `connect`."""
        self._emit = emit
        self._reader = reader
        self._handles: list[Quorum | Votequorum] = []
        self._votequorum_alone = False
        self._started = False
        self._announced = 0
        # What is known, up to and including the change that `emit` is being called with.
        self.node_id = 0
        self.ring_id = RingId(0, 0)
        self.members: tuple[int, ...] = ()
        self.quorate = False
        self.expected_votes = 0
        self.own: NodeInfo | None = None
        """votequorum's figures as this node has them; None without votequorum."""
        self.infos: dict[int, NodeInfo] = {}
        """What votequorum knows of each node ever seen; of a new member, from its `NodeVotesChanged` on."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, address: Address, emit: Callable[[Change], None]) -> AsyncIterator[Follower]:
        """Connect; the errors are those of `StatusReader.connect`. `emit` is called with each change."""
        async with StatusReader.connect(address) as reader, Services(address) as services:
            follower = cls(emit, reader)
            quorum, votequorum = await services.quorum_and_votequorum(
                partial(
                    Quorum.initialize,
                    nodelist_notify=follower._on_nodelist,
                    quorum_notify=follower._on_quorum,
                ),
                partial(
                    Votequorum.initialize,
                    nodelist_notify=follower._on_votequorum_nodelist,
                    quorum_notify=follower._on_votequorum_quorum,
                    expectedvotes_notify=follower._on_expected_votes,
                ),
            )
            follower._handles = [handle for handle in (quorum, votequorum) if handle is not None]
            follower._votequorum_alone = quorum is None
            for handle in follower._handles:
                handle.fileno()  # made now, so that a lack of descriptors shows here
            yield follower

    @property
    def names(self) -> Mapping[int, str]:
        """Nodes' names, as far as they are known."""
        return self._reader.names

    async def start(self) -> ClusterStatus:
        """The state of now; each change after it comes from `follow`. Errors are `StatusReader.read`'s."""
        for handle in self._handles:
            await handle.trackstart()
        status = await self._read()
        self.node_id, self.ring_id = status.node_id, status.ring_id
        self.members = tuple(member.node_id for member in status.members)
        self.quorate = status.quorate
        self._remember(status)
        if status.info is not None:
            self.expected_votes = status.info.node_expected_votes
        self._started = True
        return status

    async def follow(self, *, patience: float = math.inf) -> NoReturn:
        """Call `emit` with each change, for ever. Raises `Library` after the last: the daemon is gone.

        After `patience` seconds without an announcement the status is read all the same; when that takes as
        long again, raises `Timeout`.
        """
        while True:
            with trio.move_on_after(patience):
                await self._announcement()
            self._compare(await self._read_within(patience))

    async def _read_within(self, patience: float) -> ClusterStatus:
        with trio.move_on_after(patience):
            return await self._read()
        raise Timeout(f"the daemon has not answered for {patience:g} s")

    # --- announcements ---

    async def _announcement(self) -> None:
        """Wait until one is here, or the daemon is gone."""
        async with trio.open_nursery() as nursery:

            async def wait(handle: Handle[Any]) -> None:
                try:
                    await trio.lowlevel.wait_readable(handle.fileno())
                except OSError as error:
                    raise error_from_errno(error.errno or 0, f"cannot wait: {error.strerror}") from error
                nursery.cancel_scope.cancel()

            for handle in self._handles:
                nursery.start_soon(wait, handle)

    async def _pass_on(self) -> bool:
        """Pass on the announcements that are here; whether there were any."""
        before = self._announced
        lost: CsError | None = None
        for handle in self._handles:
            try:
                await handle.dispatch(DispatchFlags.ALL)
            except CsError as error:
                # What the other handle was told before comes first.
                lost = lost or error
        if lost is not None:
            raise lost
        return self._announced > before

    def _on_nodelist(self, event: QuorumNodelistNotification) -> None:
        self._announced += 1
        self._set_members(event.ring_id, event.members, event.joined, event.left)

    def _on_quorum(self, event: QuorumV1Notification) -> None:
        self._announced += 1
        self._set_quorate(event.quorate)

    def _on_votequorum_nodelist(self, event: NodelistNotification) -> None:
        self._announced += 1
        if self._votequorum_alone:
            joined = tuple(node for node in event.members if node not in self.members)
            left = tuple(node for node in self.members if node not in event.members)
            self._set_members(event.ring_id, event.members, joined, left)

    def _on_votequorum_quorum(self, event: QuorumNotification) -> None:
        self._announced += 1
        if self._votequorum_alone:
            self._set_quorate(event.quorate)

    def _on_expected_votes(self, event: ExpectedVotesNotification) -> None:
        self._announced += 1
        self._set_expected_votes(event.expected_votes)

    # --- what is not announced ---

    async def _read(self) -> ClusterStatus:
        """A status that is later than all announcements passed on, and earlier than all that will be."""
        while True:
            await self._pass_on()
            status = await self._read_unless_announced()
            if status is not None and not await self._pass_on():
                return status

    async def _read_unless_announced(self) -> ClusterStatus | None:
        """A status; None when something was announced meanwhile, or the daemon is too busy to answer."""
        status: ClusterStatus | None = None
        lost: CsError | None = None
        async with trio.open_nursery() as nursery:

            async def give_up() -> None:
                await self._announcement()
                nursery.cancel_scope.cancel()

            nursery.start_soon(give_up)
            try:
                status = await self._reader.read()
            except TryAgain:
                await trio.sleep(_BUSY_DELAY)
            except CsError as error:
                lost = error
            nursery.cancel_scope.cancel()
        if lost is not None:
            # What was announced before the daemon was lost comes first.
            await self._pass_on()
            raise lost
        return status

    def _compare(self, status: ClusterStatus) -> None:
        infos, own = self.infos, self.own
        self._remember(status)
        self._set_quorate(status.quorate)
        for member in status.members:
            if member.info is not None:
                self._compare_node(member.info, infos.get(member.node_id))
        if status.info is not None:
            self._set_expected_votes(status.info.node_expected_votes)
            if own is None or _votes(status.info) != _votes(own):
                self._change(VotesChanged(status.info))

    def _compare_node(self, now: NodeInfo, before: NodeInfo | None) -> None:
        if before is None or now.node_votes != before.node_votes:
            self._change(NodeVotesChanged(now.node_id, now.node_votes))
        flags = now.flags & DEVICE_FLAGS
        if flags != (before.flags & DEVICE_FLAGS if before else InfoFlags(0)):
            self._change(DeviceChanged(now.node_id, now.qdevice_name, flags))

    def _remember(self, status: ClusterStatus) -> None:
        # Nodes that left keep their entry: one that comes back as it was has not changed.
        self.infos = self.infos | {member.node_id: member.info for member in status.members if member.info}
        self.own = status.info

    # --- passing on ---

    def _set_members(
        self, ring_id: RingId, members: tuple[int, ...], joined: tuple[int, ...], left: tuple[int, ...]
    ) -> None:
        self.ring_id, self.members = ring_id, members
        self._change(MembershipChanged(ring_id, members, joined, left))

    def _set_quorate(self, quorate: bool) -> None:
        # corosync announces each membership's quorum, be it the same or not.
        if quorate != self.quorate:
            self.quorate = quorate
            self._change(QuorumChanged(quorate))

    def _set_expected_votes(self, expected_votes: int) -> None:
        if expected_votes != self.expected_votes:
            self.expected_votes = expected_votes
            self._change(ExpectedVotesChanged(expected_votes))

    def _change(self, change: Change) -> None:
        # Until the state of now is known, announcements only tell that it is another one.
        if self._started:
            self._emit(change)


def _votes(info: NodeInfo) -> tuple[int, int, int, InfoFlags]:
    flags = info.flags & ~(DEVICE_FLAGS | InfoFlags.QUORATE)
    return info.total_votes, info.highest_expected, info.quorum, flags
