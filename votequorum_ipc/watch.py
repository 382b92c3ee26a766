"""Follows quorum for as long as a program runs: `async with watch_quorum() as watcher`.

Strategy: nothing runs between calls. A call takes what the daemon has reported since the last one, and asks
the daemon for its current state (`follow`). When the daemon is lost, the state is unknown at once. The next
call looks for the daemon again, with growing pauses, and follows it from the state it then finds.

"Not quorate" is a daemon's answer; "unknown" means that no daemon answers.
"""

from __future__ import annotations

import collections
import contextlib
import math
import os
from collections.abc import AsyncIterator, Collection, Iterator
from typing import Final, Self

from .errors import BadHandle, Busy, CsError, InvalidParam, NotExist, Timeout, TryAgain
from .follow import Follower
from .ipc.backend import current_time, move_on_after, sleep
from .retry import Backoff
from .sockets import locate
from .types import Change, ClusterStatus, Connected, Lost, QuorumState, QuorumType, QuorumView

CHANGE_LIMIT: Final = 10_000
"""The most changes that one view holds. If there are more, the oldest are dropped and counted."""

PATIENCE: Final = 40.0
"""How many seconds a daemon may take to answer, by default. After a membership change corosync does not
answer while it waits for a quorum device: by default up to 30 s (quorum.device.sync_timeout)."""

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
"""Seconds until the next look for a daemon that is not there."""

_BUSY_PAUSE: Final = 0.1
"""Seconds until the next question to a daemon that could not answer."""

_NO_PROVIDER: Final = (
    "corosync runs without a quorum provider and therefore always calls itself quorate: name one in the "
    "quorum section of corosync.conf (provider: corosync_votequorum) and restart it"
)


class QuorumWatcher(AsyncIterator[QuorumView]):
    """Yields views of quorum: `async for view in watcher`, or `await watcher.current()`.

    Made by `watch_quorum`; an async context manager. Raises `Busy` when another task is already asking, and
    `BadHandle` after the block. Cancelling a call loses no change.
    """

    def __init__(
        self,
        address: str | os.PathLike[str] | None,
        server_uids: Collection[int] | None,
        patience: float,
        require_provider: bool,
    ) -> None:
        """Not public: use `watch_quorum`."""
        self._address = address
        self._server_uids = server_uids
        self._patience = patience
        self._require_provider = require_provider
        self._follower: Follower | None = None
        self._ended: Follower | None = None
        """A follower that has lost its daemon and is not closed yet, because that may take a moment."""
        self._connected: bool | None = None
        """None before the first answer or failure."""
        self._error: CsError | None = None
        """Why the last question got no answer."""
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._look_again_at = -math.inf
        self._changes: collections.deque[Change] = collections.deque()
        self._dropped = 0
        self._last: QuorumView | None = None
        self._asked = False
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> QuorumView:
        """Wait for the next view: the first at once, then one after each change.

        Raises what the class says. A failure of the daemon is a view, not an error.
        """
        with self._asking():
            while True:
                await self._until_due()
                view = self._view(await self._status())
                if self._last is None or view.changes or view.dropped or view.state is not self._last.state:
                    return self._taken(view)

    async def current(self) -> QuorumView:
        """The current view. Asks the daemon, or tries once to connect, for at most `patience` seconds."""
        with self._asking():
            return self._taken(self._view(await self._status()))

    async def aclose(self) -> None:
        """End the connections. A task that is asking gets `BadHandle`."""
        self._closed = True
        followers, self._follower, self._ended = (self._follower, self._ended), None, None
        async with contextlib.AsyncExitStack() as stack:
            for follower in followers:
                if follower is not None:
                    stack.push_async_callback(follower.aclose)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        self._check_open()
        if self._asked:
            raise Busy("another task is asking this watcher: give each task its own watcher")
        self._asked = True
        try:
            yield
        finally:
            self._asked = False

    def _check_open(self) -> None:
        if self._closed:
            raise BadHandle("the block of watch_quorum has ended")

    # --- asking ---

    async def _until_due(self) -> None:
        """Wait until it makes sense to ask: for an announcement, or until it is time to look again."""
        if self._last is None or self._changes:
            return
        if self._follower is None:
            await sleep(max(self._look_again_at - current_time(), 0))
        elif self._error is None:
            with contextlib.suppress(CsError):
                await self._follower.wait(self._patience)

    async def _status(self) -> ClusterStatus | None:
        """The current status; None, with `_error` set, if it is unknown."""
        error: CsError
        try:
            with move_on_after(self._patience):
                return await self._answer()
            self._check_open()
            error = Timeout(
                f"the daemon has not answered for {self._patience:g} s: is it stopped, or waiting for other "
                "nodes or a quorum device?"
            )
            # Answers that never agreed may be the follower's fault. A new one starts from the current state.
            if self._follower is None or self._follower.disagreed:
                self._lose(error)
        except CsError as failure:
            self._check_open()
            error = failure
            self._lose(error)
        self._error = error
        return None

    async def _answer(self) -> ClusterStatus:
        self._check_open()
        if self._ended is not None:
            ended, self._ended = self._ended, None
            await ended.aclose()
        if self._follower is None:
            follower = await Follower.connect(self._address, self._server_uids, self._record)
            if self._closed:
                await follower.aclose()
            self._check_open()
            self._follower = follower
        while True:
            try:
                status = await self._follower.read()
                break
            except TryAgain:
                await sleep(_BUSY_PAUSE)
        self._error = None
        if not self._connected:
            self._connected = True
            self._record(Connected())
            self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        return status

    def _lose(self, error: CsError) -> None:
        if self._connected is not False:
            self._connected = False
            self._record(Lost(error))
        self._ended, self._follower = self._follower, None
        self._look_again_at = current_time() + self._backoff.pause()

    # --- views ---

    def _record(self, change: Change) -> None:
        self._changes.append(change)
        if len(self._changes) > CHANGE_LIMIT:
            self._changes.popleft()
            self._dropped += 1

    def _view(self, status: ClusterStatus | None) -> QuorumView:
        error = self._error
        if status is not None and status.quorum_type is QuorumType.FREE and self._require_provider:
            status, error = None, NotExist(_NO_PROVIDER)
        if status is None:
            state = QuorumState.UNKNOWN
        else:
            state = QuorumState.QUORATE if status.quorate else QuorumState.NOT_QUORATE
        same = self._last is not None and self._last.state is state
        since = self._last.since if same and self._last else current_time()
        return QuorumView(state, since, status, tuple(self._changes), self._dropped, error)

    def _taken(self, view: QuorumView) -> QuorumView:
        self._changes.clear()
        self._dropped = 0
        self._last = view
        return view


def watch_quorum(
    address: str | os.PathLike[str] | None = None,
    *,
    patience: float | None = PATIENCE,
    require_provider: bool = True,
    server_uids: Collection[int] | None = None,
) -> QuorumWatcher:
    """Watch quorum during the block, through restarts of the daemon.

    ```python
    async with watch_quorum() as watcher:
        async for view in watcher:
            if not view.state:
                await stop_services()
    ```

    A view's `state` is current when the view is returned: the daemon was asked after the call. `view.changes`
    is everything reported since the previous view. Nothing runs in between, so a program that has held a view
    for a while asks again, with `await watcher.current()`, before it acts.

    `address` is where the services are: None for corosync on this machine, or an address with "{service}" in
    it; see `votequorum_ipc.ipc.connect`. That also describes `server_uids`, the users whose server is
    trusted; with any other server the state is UNKNOWN. `patience`, in seconds, has two uses: if the daemon
    takes longer to answer, the state is UNKNOWN; and after that long without an announcement, `async for`
    asks for what corosync does not announce. With a quorum device, choose more than
    quorum.device.sync_timeout, because corosync does not answer while nodes synchronise. None waits for ever.

    A daemon without a quorum provider always calls itself quorate; the state is then UNKNOWN, unless
    `require_provider` is False. Raises `InvalidParam` for an invalid address or patience.
    """
    locate("votequorum", address)
    patience = math.inf if patience is None else patience
    if not patience > 0:
        raise InvalidParam(f"patience is a positive number of seconds, or None: not {patience!r}")
    return QuorumWatcher(address, server_uids, patience, require_provider)
