"""A blocking handle on the quorum service: `votequorum_ipc.Quorum` without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal

from ..ipc import Address
from ..quorum import Quorum as AsyncQuorum
from ..types import QuorumEvent, QuorumNodelistNotification, QuorumType, TrackFlags
from .handle import Handle, call


class Quorum(Handle[QuorumEvent]):
    """A blocking handle on the quorum service: `votequorum_ipc.Quorum` without an event loop.

    It belongs to the thread that made it, and makes one call at a time. See `Handle` for `timeout`.
    """

    _handle: AsyncQuorum

    @property
    def quorum_type(self) -> QuorumType:
        """Whether the daemon has a quorum provider (`SET`) or always calls itself quorate (`FREE`)."""
        return self._handle.quorum_type

    @classmethod
    def initialize(
        cls,
        *,
        model: Literal[0, 1] = 1,
        quorum_notify: Callable[[Any], None] | None = None,
        nodelist_notify: Callable[[QuorumNodelistNotification], None] | None = None,
        address: Address = None,
        server_uids: Collection[int] | None = None,
        timeout: float | None = None,
    ) -> Quorum:
        """Connect to the service (quorum_initialize(3), quorum_model_initialize(3)).

        The callbacks, functions of one event, are what `dispatch` calls: `quorum_notify` with
        a `QuorumV0Notification` or a `QuorumV1Notification`, depending on the model; `nodelist_notify` with
        model 1 only. `address` is None for corosync on this machine; see `votequorum_ipc.ipc.connect` for
        others, and for `server_uids`. Raises `Library` when it is not running, `Access` when this user may
        not use it, `Security` when another user's program answers in its place, `TryAgain` while it starts,
        `InvalidParam` for another model or one that the daemon does not know.
        """
        return cls(
            call(
                AsyncQuorum.initialize(
                    model=model,
                    quorum_notify=quorum_notify,
                    nodelist_notify=nodelist_notify,
                    address=address,
                    server_uids=server_uids,
                ),
                timeout,
            )
        )

    def getquorate(self, *, timeout: float | None = None) -> bool:
        """Whether this node's partition is quorate (quorum_getquorate(3))."""
        return call(self._handle.getquorate(), timeout)

    def trackstart(self, flags: TrackFlags = TrackFlags.CHANGES, *, timeout: float | None = None) -> None:
        """Have events sent (quorum_trackstart(3)).

        With CURRENT or CHANGES the current state is sent first: with model 1 a node list, then a quorum
        notification; with model 0 the latter alone. Raises `Exist` if this handle already tracks; the
        current state is sent anyway.
        """
        call(self._handle.trackstart(flags), timeout)

    def trackstop(self, *, timeout: float | None = None) -> None:
        """Have no more events sent (quorum_trackstop(3)). Not an error if nothing was tracked."""
        call(self._handle.trackstop(), timeout)
