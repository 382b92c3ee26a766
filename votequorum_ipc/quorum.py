"""The quorum service: is this partition quorate, who is in it, who joined or left. Works with any provider.

Strategy: as in `votequorum`, a method for each call of the C library. A handle speaks model 0, whose one
notification has a ring sequence and the members, or model 1 (corosync 3.1.0 and newer), which adds full ring
ids and a node list with joined and left nodes. Sources: corosync's quorum.h, man quorum_*(3).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, Literal

from .errors import CsErrorCode, InvalidParam, MessageError
from .handle import Handle
from .ipc import Address, connect
from .types import (
    QuorumEvent,
    QuorumNodelistNotification,
    QuorumType,
    QuorumV0Notification,
    QuorumV1Notification,
    TrackFlags,
)
from .wire import quorum as wire

SERVICE: Final = "quorum"

_HINTS: Final = {
    ("trackstart", CsErrorCode.EXIST): "this handle tracks already; the current state was sent again",
    ("model_gettype", CsErrorCode.INVALID_PARAM): "the daemon is older than 3.1.0: initialize with model=0",
}


class Quorum(Handle[QuorumEvent]):
    """A handle on the quorum service of the daemon on this machine.

    Any number of tasks may call at once. Cancelling a call leaves the handle usable. Each call raises,
    besides what it lists: `Library` when the daemon is gone, `BadHandle` when the handle was
    finalized, `MessageError` for an answer that cannot be decoded.
    """

    STARTS_EVENTS = "trackstart"

    quorum_type: QuorumType
    """Whether the daemon has a quorum provider (`SET`) or always calls itself quorate (`FREE`)."""

    @classmethod
    async def initialize(
        cls,
        *,
        model: Literal[0, 1] = 1,
        quorum_notify: Callable[[Any], Awaitable[None] | None] | None = None,
        nodelist_notify: Callable[[QuorumNodelistNotification], Awaitable[None] | None] | None = None,
        address: Address = None,
        server_uids: Collection[int] | None = None,
    ) -> Quorum:
        """Connect to the service (quorum_initialize(3), quorum_model_initialize(3)).

        The callbacks, plain or async functions of one event, are what `dispatch` calls: `quorum_notify` with
        a `QuorumV0Notification` or a `QuorumV1Notification`, depending on the model; `nodelist_notify` with
        model 1 only. `address` is None for corosync on this machine; see `votequorum_ipc.ipc.connect` for
        others, and for `server_uids`. Raises `Library` when it is not running, `Access` when this user may
        not use it, `Security` when another user's program answers in its place, `TryAgain` while it starts,
        `InvalidParam` for another model or one that the daemon does not know.
        """
        if model not in (wire.MODEL_V0, wire.MODEL_V1):
            raise InvalidParam(f"the models are 0 and 1, not {model!r}")
        connection = await connect(SERVICE, address=address, server_uids=server_uids)
        callbacks = {
            QuorumV0Notification: quorum_notify,
            QuorumV1Notification: quorum_notify,
            QuorumNodelistNotification: nodelist_notify,
        }
        quorum = cls(connection, EVENT_DECODERS, callbacks, _HINTS)
        try:
            quorum.quorum_type = await quorum._open(model)
        except BaseException:
            await connection.aclose()
            raise
        return quorum

    async def _open(self, model: int) -> QuorumType:
        if model == wire.MODEL_V0:
            answer = await self._call(wire.GETTYPE, wire.GETTYPE_RESPONSE)
        else:
            answer = await self._call(wire.MODEL_GETTYPE, wire.MODEL_GETTYPE_RESPONSE, model=model)
        try:
            return QuorumType(answer.quorum_type)
        except ValueError:
            raise MessageError(f"{answer.quorum_type} is unknown", field="quorum_type") from None

    async def getquorate(self) -> bool:
        """Whether this node's partition is quorate (quorum_getquorate(3))."""
        answer = await self._call(wire.GETQUORATE, wire.GETQUORATE_RESPONSE)
        return bool(answer.quorate)

    async def trackstart(self, flags: TrackFlags = TrackFlags.CHANGES) -> None:
        """Have events sent (quorum_trackstart(3)).

        With CURRENT or CHANGES the current state is sent first: with model 1 a node list, then a quorum
        notification; with model 0 the latter alone. Raises `Exist` if this handle already tracks; the
        current state is sent anyway.
        """
        self._events_started = True
        await self._call(wire.TRACKSTART, wire.TRACKSTART_RESPONSE, track_flags=flags)

    async def trackstop(self) -> None:
        """Have no more events sent (quorum_trackstop(3)). Not an error if nothing was tracked."""
        await self._call(wire.TRACKSTOP, wire.TRACKSTOP_RESPONSE)


# --- Events: wire to values ---


def _notification(raw: bytes) -> QuorumV0Notification:
    event = wire.NOTIFICATION.decode(raw)
    return QuorumV0Notification(bool(event.quorate), event.ring_seq, event.view_list)


def _v1_quorum_notification(raw: bytes) -> QuorumV1Notification:
    event = wire.V1_QUORUM_NOTIFICATION.decode(raw)
    return QuorumV1Notification(event.ring_id, bool(event.quorate), event.view_list)


def _v1_nodelist_notification(raw: bytes) -> QuorumNodelistNotification:
    event = wire.V1_NODELIST_NOTIFICATION.decode(raw)
    return QuorumNodelistNotification(event.ring_id, event.member_list, event.joined_list, event.left_list)


EVENT_DECODERS: Final[dict[int, Callable[[bytes], QuorumEvent]]] = {
    wire.NOTIFICATION.id: _notification,
    wire.V1_QUORUM_NOTIFICATION.id: _v1_quorum_notification,
    wire.V1_NODELIST_NOTIFICATION.id: _v1_nodelist_notification,
}
