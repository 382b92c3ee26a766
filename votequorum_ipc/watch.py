"""Quorum as a whole, for as long as the program runs: `async with watch_quorum() as watcher`.

Strategy: a task of the block's own nursery follows the daemon (`changes`), and makes a view of each thing
that the daemon reports. When the daemon is lost that is a view as well, at once; then it is looked for again,
at growing intervals, and followed anew from the state that it has then. So of what a daemon reports while it
is connected each change is one view, in order; what happened in between nobody can tell.

"Not quorate" is what a daemon says; "unknown" is that none is there to say anything. They differ.
"""

from __future__ import annotations

import contextlib
import enum
import math
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Self

import trio

from .changes import Change, Follower
from .errors import BadHandle, CsError, InvalidParam, QueueFull, Timeout
from .groups import unwrapped
from .retry import Backoff
from .status import Member
from .types import NodeInfo, RingId

VIEW_LIMIT: Final = 10_000
"""Views that are kept for a program that does not take them. Beyond it the watcher ends with `QueueFull`."""

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
"""Seconds until a daemon that is not there is looked for again."""


class QuorumState(enum.Enum):
    """Whether this node's partition has quorum. Only `QUORATE` is true.

    Fence other nodes, take over what they ran, and write to shared storage while `QUORATE`, and only then.
    Stop what needs quorum on `NOT_QUORATE`: the others may have quorum. `UNKNOWN` is no reason to fence
    anybody, and no leave to go on for long: the other nodes miss this one as soon as its corosync is gone,
    and may be about to fence it. Wait for the daemon's restart no longer than they would need for that.
    """

    QUORATE = "quorate"
    NOT_QUORATE = "not quorate"
    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return self is QuorumState.QUORATE


@dataclass(frozen=True, slots=True)
class Connected:
    """The daemon was found: what the view shows is its state of now. Not a change in the cluster."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The daemon is gone, or was not there to begin with."""

    error: CsError
    """`Library` where it stopped, died or is not running, `Access` where this user may not ask, and so on."""


@dataclass(frozen=True, slots=True)
class QuorumView:
    """What one node knows of quorum, from one moment to the next view."""

    state: QuorumState
    since: float
    """When that state began, as it was noticed here: on trio's clock, which the time of day does not move."""
    why: Connected | Lost | Change
    """What made this view another one than the last."""
    ring_id: RingId | None
    """The membership; None while unknown."""
    members: tuple[Member, ...]
    """This node's partition; empty while unknown. Each has its state and votes in `info`, which is None for
    one that joined just now and was never seen before: its votes are a later view's news."""
    expected_votes: int
    """As this node has them; 0 while unknown, and without votequorum."""
    info: NodeInfo | None
    """votequorum's figures, when it was last asked: total votes, quorum, flags; None while unknown."""


class QuorumWatcher(AsyncIterator[QuorumView]):
    """The views, as they come: `async for view in watcher`. Made by `watch_quorum`.

    The first one comes as soon as the daemon was asked, or was not there. Never ends by itself. When more
    than `VIEW_LIMIT` views wait to be taken, raises `QueueFull` after the last of them. Raises `InvalidParam`
    for an address that is none, `BadHandle` after the block.
    """

    def __init__(self, address: str | os.PathLike[str] | None, patience: float) -> None:
        """Not public: use `watch_quorum`."""
        self.latest: QuorumView | None = None
        """The newest view, taken or not; None before the first."""
        self._address = address
        self._patience = patience
        self._end: CsError = BadHandle("the block of watch_quorum has ended")
        self._follower: Follower
        self._send, self._receive = trio.open_memory_channel[QuorumView](VIEW_LIMIT)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> QuorumView:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise self._end from None

    # --- the task ---

    async def _run(self) -> None:
        try:
            with self._send:
                await self._follow_for_ever()
        except InvalidParam as error:
            self._end = error
        except trio.WouldBlock:
            self._end = QueueFull(f"{VIEW_LIMIT} views were not taken")

    async def _follow_for_ever(self) -> None:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            if await self._follow():
                backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
            await trio.sleep(backoff.pause())

    async def _follow(self) -> bool:
        """Follow the daemon until it is lost; whether it was there at all."""
        found = False
        with trio.CancelScope(deadline=trio.current_time() + self._patience) as scope:
            try:
                async with Follower.connect(self._address, self._on_change) as follower:
                    self._follower = follower
                    try:
                        await follower.start()
                        scope.deadline = math.inf
                        found = True
                        self._show(Connected())
                        await follower.follow(patience=self._patience)
                    except CsError as error:
                        # At once: to end the connections to a dead daemon takes a moment.
                        self._show_loss(error)
            except InvalidParam:
                raise
            except CsError as error:
                self._show_loss(error)
        if scope.cancelled_caught:
            self._show_loss(Timeout(f"the daemon has not answered for {self._patience:g} s"))
        return found

    def _on_change(self, change: Change) -> None:
        self._show(change)

    def _show(self, why: Connected | Change) -> None:
        follower = self._follower
        infos = follower.infos
        members = tuple(
            Member(node, follower.names.get(node, ""), node == follower.node_id, infos.get(node))
            for node in follower.members
        )
        state = QuorumState.QUORATE if follower.quorate else QuorumState.NOT_QUORATE
        self._publish(state, why, follower.ring_id, members, follower.expected_votes, follower.own)

    def _show_loss(self, error: CsError) -> None:
        if self.latest is None or self.latest.state is not QuorumState.UNKNOWN:
            self._publish(QuorumState.UNKNOWN, Lost(error), None, (), 0, None)

    def _publish(
        self,
        state: QuorumState,
        why: Connected | Lost | Change,
        ring_id: RingId | None,
        members: tuple[Member, ...],
        expected_votes: int,
        info: NodeInfo | None,
    ) -> None:
        same = self.latest is not None and self.latest.state is state
        since = self.latest.since if same and self.latest else trio.current_time()
        view = QuorumView(state, since, why, ring_id, members, expected_votes, info)
        self._send.send_nowait(view)
        self.latest = view


@contextlib.asynccontextmanager
async def watch_quorum(
    address: str | os.PathLike[str] | None = None, *, patience: float = math.inf
) -> AsyncIterator[QuorumWatcher]:
    """Watch quorum for as long as the block, through the daemon's restarts.

    ```python
    async with watch_quorum() as watcher:
        async for view in watcher:
            if not view.state:
                await stop_services()
    ```

    `address` is where the services are: None for corosync on this machine, or one with "{service}" in it; see
    `votequorum_ipc.ipc.connect`. `patience` is how many seconds the daemon may leave a question unanswered
    before it counts as lost, and after how many without news it is asked. By default a daemon that hangs goes
    unnoticed, as it does in C. While nodes synchronise corosync answers nothing: where there is a quorum
    device, for up to quorum.device.sync_timeout (30 s). The watcher's task ends with the block.
    """
    watcher = QuorumWatcher(address, patience)
    # The task raises nothing of its own: what is in the group is the block's.
    with unwrapped():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher._run)
            yield watcher
            nursery.cancel_scope.cancel()
