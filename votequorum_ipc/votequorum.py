"""The votequorum service: ask for votes and quorum, change them, follow them, and be a quorum device.

Strategy: each call of the C library is a method of the same name that encodes one request and decodes one
response. The C library checks a device's name before it sends it, and so does this module. Sources:
corosync's include/corosync/votequorum.h and the man pages votequorum_*(3).
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from .errors import CsError, CsErrorCode, InvalidParam, Library
from .handle import Handle
from .ipc import Address, connect, sibling
from .ipc.handshake import nothing_listens
from .types import (
    QDEVICE_EXTRA_INFO_MAXSIZE,
    QDEVICE_MAX_NAME_LEN,
    ExpectedVotesNotification,
    InfoFlags,
    Node,
    NodeInfo,
    NodelistNotification,
    NodeState,
    QdeviceExtraInfoNotification,
    QuorumNotification,
    RingId,
    TrackFlags,
    VotequorumEvent,
)
from .wire import Layout
from .wire import votequorum as wire
from .wire.fields import encode_text

SERVICE: Final = "votequorum"

_NO_PROVIDER = (
    "corosync runs, but without votequorum: name it in the quorum section of corosync.conf "
    "(provider: corosync_votequorum) and restart it"
)
_NO_DEVICE = "no quorum device is registered on this node: call qdevice_register first"
_OTHER_DEVICE = "the device registered on this node is not called {name!r}: getinfo tells its name"
_NO_NODE = "this node does not know a node {nodeid}: votequorum-ipc status lists the members"
_MAY_NOT = (
    "corosync's configuration leaves no room for a quorum device: the line 'configuration error' in its log "
    "says why. two_node rules a device out; so do last_man_standing, auto_tie_breaker and allow_downscale "
    "if they were on when corosync started, and missing or too many votes for the device"
)
_NEWER_DAEMON = "this daemon does not know the call; extra info is newer than corosync 3.1.10"

_HINTS: Final = {
    ("getinfo", CsErrorCode.NOT_EXIST): _NO_NODE,
    (
        "setexpected",
        CsErrorCode.INVALID_PARAM,
    ): "{expected_votes} is below the votes present, or would lose quorum",
    ("setvotes", CsErrorCode.NAME_NOT_FOUND): _NO_NODE,
    (
        "setvotes",
        CsErrorCode.INVALID_PARAM,
    ): "{votes} votes for node {nodeid} would lose quorum: bring up more nodes first",
    ("trackstart", CsErrorCode.EXIST): "this handle already tracks; the current state was sent again",
    ("trackstop", CsErrorCode.NOT_EXIST): "this handle does not track",
    ("qdevice_register", CsErrorCode.ACCESS): _MAY_NOT,
    (
        "qdevice_register",
        CsErrorCode.EXIST,
    ): "a device with another name than {name!r} is registered: getinfo tells which",
    ("qdevice_register", CsErrorCode.TRY_AGAIN): "another registration is under way: try again",
    ("qdevice_unregister", CsErrorCode.NOT_EXIST): _NO_DEVICE,
    ("qdevice_unregister", CsErrorCode.INVALID_PARAM): _OTHER_DEVICE,
    ("qdevice_update", CsErrorCode.NOT_EXIST): _NO_DEVICE,
    (
        "qdevice_update",
        CsErrorCode.INVALID_PARAM,
    ): "the device registered on this node is not called {oldname!r}: getinfo tells its name",
    ("qdevice_poll", CsErrorCode.ACCESS): _MAY_NOT,
    ("qdevice_poll", CsErrorCode.NOT_EXIST): _NO_DEVICE,
    ("qdevice_poll", CsErrorCode.INVALID_PARAM): _OTHER_DEVICE,
    (
        "qdevice_poll",
        CsErrorCode.MESSAGE_ERROR,
    ): "{ring_id} is not the current ring id; the last node list notification has it",
    ("qdevice_master_wins", CsErrorCode.ACCESS): _MAY_NOT,
    ("qdevice_master_wins", CsErrorCode.NOT_EXIST): _NO_DEVICE,
    ("qdevice_master_wins", CsErrorCode.INVALID_PARAM): _OTHER_DEVICE,
    ("qdevice_set_extra_info", CsErrorCode.INVALID_PARAM): _NEWER_DAEMON,
    ("qdevice_get_extra_info", CsErrorCode.INVALID_PARAM): _NEWER_DAEMON,
}

_MAX_INT32: Final = 0x7FFFFFFF
_MAX_UINT32: Final = 0xFFFFFFFF

_flags: Final = functools.lru_cache(maxsize=64)(InfoFlags)
_STATES: Final = {int(state): state for state in NodeState}
"""Several times faster than calling the enumeration, which matters for lists of hundreds of nodes."""

_EXTRA_INFO_RESPONSE_SIZE: Final = (
    wire.QDEVICE_GET_EXTRA_INFO_RESPONSE.least_size + QDEVICE_EXTRA_INFO_MAXSIZE
)


class Votequorum(Handle[VotequorumEvent]):
    """A handle on the votequorum service of the daemon on this machine.

    ```python
    async with await Votequorum.initialize() as vq:
        info = await vq.getinfo()
        print(info.total_votes, info.quorum, InfoFlags.QUORATE in info.flags)
    ```

    Any number of tasks may call at once. Cancelling a call leaves the handle usable. Each call raises,
    besides what it lists: `Library` when the daemon is gone, `TryAgain` while it cannot answer,
    `BadHandle` when the handle was finalized, `MessageError` for an answer that cannot be decoded.
    """

    STARTS_EVENTS = "trackstart"

    @classmethod
    async def initialize(
        cls,
        *,
        quorum_notify: Callable[[QuorumNotification], Awaitable[None] | None] | None = None,
        nodelist_notify: Callable[[NodelistNotification], Awaitable[None] | None] | None = None,
        expectedvotes_notify: Callable[[ExpectedVotesNotification], Awaitable[None] | None] | None = None,
        extra_info_notify: Callable[[QdeviceExtraInfoNotification], Awaitable[None] | None] | None = None,
        address: Address = None,
        server_uids: Collection[int] | None = None,
    ) -> Votequorum:
        """Connect to the service (votequorum_initialize(3)).

        `dispatch` calls the callbacks, which are plain or async functions of one event. `address` is None for
        corosync on this machine; see `votequorum_ipc.ipc.connect` for others, and for `server_uids`, the
        users whose server is trusted. Raises `Library` when it is not running, or runs without votequorum,
        `Access` when this user may not use it, `Security` when another user's program answers in its place,
        `TryAgain` while it starts.
        """
        try:
            connection = await connect(SERVICE, address=address, server_uids=server_uids)
        except Library as error:
            if nothing_listens(error) and await _quorum_listens(address, server_uids):
                raise Library(_NO_PROVIDER) from error.__cause__
            raise
        callbacks = {
            QuorumNotification: quorum_notify,
            NodelistNotification: nodelist_notify,
            ExpectedVotesNotification: expectedvotes_notify,
            QdeviceExtraInfoNotification: extra_info_notify,
        }
        return cls(connection, EVENT_DECODERS, callbacks, _HINTS)

    async def getinfo(self, nodeid: int = 0) -> NodeInfo:
        """What this node knows about a node and about the cluster (votequorum_getinfo(3)).

        `nodeid` 0 is this node. Raises `NotExist` for a node that this daemon has never seen as a member.
        """
        return _node_info(await self._call(wire.GETINFO, wire.GETINFO_RESPONSE, nodeid=nodeid))

    async def getinfo_all(
        self, nodeids: Sequence[int], *, context: int | None = None
    ) -> list[NodeInfo | CsError]:
        """`getinfo` for several nodes, sent together. An error is returned in its node's place.

        With a `context`, votequorum also repeats its state, as for `trackstart` with CURRENT, in two events
        that have this context. It does so after its answer for the first node.
        """
        requests: list[tuple[Layout, dict[str, int]]] = [(wire.GETINFO, {"nodeid": node}) for node in nodeids]
        if context is not None:
            requests.insert(1, (wire.TRACKSTART, {"context": context, "track_flags": TrackFlags.CURRENT}))
        answers = await self._connection.request_all(
            [request.encode(**fields) for request, fields in requests],
            response_size=wire.GETINFO_RESPONSE.fixed_size,
        )
        infos: list[NodeInfo | CsError] = []
        for (request, fields), raw in zip(requests, answers, strict=True):
            if request is wire.GETINFO:
                try:
                    if isinstance(raw, CsError):
                        raise raw
                    infos.append(_node_info(self._decoded(request, wire.GETINFO_RESPONSE, raw, fields)))
                except CsError as error:
                    infos.append(error)
        return infos

    async def setexpected(self, expected_votes: int) -> None:
        """Change the votes the whole cluster expects (votequorum_setexpected(3)).

        Raises `InvalidParam` when that is below the votes present or would lose quorum.
        """
        await self._status(wire.SETEXPECTED, expected_votes=expected_votes)

    async def setvotes(self, nodeid: int, votes: int) -> None:
        """Change how many votes a node has (votequorum_setvotes(3)).

        Raises `NameNotFound` for an unknown node, `InvalidParam` when quorum would be lost.
        """
        await self._status(wire.SETVOTES, nodeid=nodeid, votes=votes)

    async def trackstart(self, context: int = 0, flags: TrackFlags = TrackFlags.CHANGES) -> None:
        """Ask for events (votequorum_trackstart(3)); `context`, a uint64, comes back in each of them.

        With CURRENT or CHANGES the daemon first sends the current state: a node list, then a quorum
        notification. Raises `Exist` if this handle already tracks; the current state is sent anyway.
        """
        if isinstance(context, TrackFlags):
            raise InvalidParam(f"the context comes first: trackstart(flags=TrackFlags.{context.name})")
        self._events_started = True
        await self._status(wire.TRACKSTART, context=context, track_flags=flags)

    async def trackstop(self) -> None:
        """Ask for no more events (votequorum_trackstop(3)). Raises `NotExist` if this handle does not
        track."""
        await self._status(wire.TRACKSTOP)

    # --- being a quorum device ---

    async def qdevice_register(self, name: str) -> None:
        """Become this node's quorum device (votequorum_qdevice_register(3)); answered by the whole cluster.

        `name` has 1 to 254 bytes in UTF-8, else `InvalidParam`. Registering the same name again is fine.
        Raises `Exist` when a device with another name is registered here or elsewhere in the cluster,
        `Access` when the configuration does not allow a device, `TryAgain` while another registration is
        under way.
        """
        await self._status(wire.QDEVICE_REGISTER, deferred=True, name=_device_name(name))

    async def qdevice_unregister(self, name: str) -> None:
        """Withdraw the device and its vote (votequorum_qdevice_unregister(3)).

        Raises `NotExist` when no device is registered, `InvalidParam` when it has another name.
        """
        await self._status(wire.QDEVICE_UNREGISTER, name=_device_name(name))

    async def qdevice_update(self, oldname: str, newname: str) -> None:
        """Rename the device (votequorum_qdevice_update(3)).

        Raises `NotExist` when no device is registered, `InvalidParam` when it is not called `oldname`.
        """
        await self._status(
            wire.QDEVICE_UPDATE,
            oldname=_device_name(oldname),
            newname=_device_name(newname),
        )

    async def qdevice_poll(self, name: str, cast_vote: bool | int, ring_id: RingId) -> None:
        """Report that the device is alive, and whether it votes (votequorum_qdevice_poll(3)).

        `cast_vote` is a uint32, as in C; the device votes unless it is 0. Other numbers raise `InvalidParam`.
        Repeat this within quorum.device.timeout (10 s by default), and within quorum.device.sync_timeout (30
        s) after a membership change, or the vote is lost. `ring_id` is that of the last
        `NodelistNotification`; an older one raises `MessageError`. Raises `NotExist` when no device is
        registered, `InvalidParam` when it has another name, `Access` when the configuration does not allow a
        device.
        """
        await self._status(
            wire.QDEVICE_POLL,
            name=_device_name(name),
            cast_vote=_as_int32(cast_vote, "cast_vote"),
            ring_id=ring_id,
        )

    async def qdevice_master_wins(self, name: str, allow: bool) -> None:
        """Let the partition with the device's vote win (votequorum_qdevice_master_wins(3)).

        Raises what `qdevice_poll` does, except for the ring id's error.
        """
        await self._status(wire.QDEVICE_MASTER_WINS, name=_device_name(name), allow=int(allow))

    async def qdevice_set_extra_info(self, data: bytes) -> None:
        """Publish up to 4096 bytes about this node's device. Needs a corosync newer than 3.1.10.

        Raises `InvalidParam` for more bytes, and on a daemon that does not know the call.
        """
        if len(data) > QDEVICE_EXTRA_INFO_MAXSIZE:
            raise InvalidParam(f"extra info has at most {QDEVICE_EXTRA_INFO_MAXSIZE} bytes, not {len(data)}")
        await self._status(wire.QDEVICE_SET_EXTRA_INFO, extra_info=data)

    async def qdevice_get_extra_info(self, nodeid: int) -> bytes:
        """What a node's device has published. Needs a corosync newer than 3.1.10.

        Raises `InvalidParam` on a daemon that does not know the call.
        """
        answer = await self._call(
            wire.QDEVICE_GET_EXTRA_INFO,
            wire.QDEVICE_GET_EXTRA_INFO_RESPONSE,
            response_size=_EXTRA_INFO_RESPONSE_SIZE,
            nodeid=nodeid,
        )
        return bytes(answer.extra_info)

    async def _status(self, request: Any, *, deferred: bool = False, **fields: Any) -> None:
        await self._call(request, wire.STATUS_RESPONSE, deferred=deferred, **fields)


def _node_info(answer: Any) -> NodeInfo:
    return NodeInfo(
        answer.nodeid,
        _STATES.get(answer.state) or NodeState(answer.state),
        answer.votes,
        answer.expected_votes,
        answer.highest_expected,
        answer.total_votes,
        answer.quorum,
        _flags(answer.flags),
        answer.qdevice_votes,
        answer.qdevice_name,
    )


def _as_int32(number: int, what: str) -> int:
    """A uint32 of the C API as the int32 that the message has (`int cast_vote`)."""
    if not 0 <= number <= _MAX_UINT32:
        raise InvalidParam(f"{what} is 0 to {_MAX_UINT32}, not {number}")
    return number - _MAX_UINT32 - 1 if number > _MAX_INT32 else int(number)


async def _quorum_listens(address: Address, server_uids: Collection[int] | None) -> bool:
    """Whether the daemon runs without votequorum."""
    try:
        where = sibling(address, "quorum")
        async with await connect("quorum", address=where, server_uids=server_uids):
            return True
    except CsError:
        return False


def _device_name(name: str) -> str:
    if not isinstance(name, str):
        raise InvalidParam(f"a quorum device's name is a str, not {name!r}")
    size = len(encode_text(name, "name"))
    if not 0 < size < QDEVICE_MAX_NAME_LEN or "\0" in name:
        raise InvalidParam(
            f"a quorum device's name has 1 to {QDEVICE_MAX_NAME_LEN - 1} bytes and no NUL; this has {size}",
        )
    return name


# --- Events: wire to values ---


def _quorum_notification(raw: bytes) -> QuorumNotification:
    event = wire.QUORUM_NOTIFICATION.decode(raw)
    entries = ((nodeid, _STATES.get(state) or NodeState(state)) for nodeid, state in event.node_list)
    nodes = tuple(map(Node._make, entries))
    return QuorumNotification(event.context, bool(event.quorate), nodes)


def _nodelist_notification(raw: bytes) -> NodelistNotification:
    event = wire.NODELIST_NOTIFICATION.decode(raw)
    return NodelistNotification(event.context, event.ring_id, event.node_list)


def _expectedvotes_notification(raw: bytes) -> ExpectedVotesNotification:
    event = wire.EXPECTEDVOTES_NOTIFICATION.decode(raw)
    return ExpectedVotesNotification(event.context, event.expected_votes)


def _extra_info_notification(raw: bytes) -> QdeviceExtraInfoNotification:
    event = wire.QDEVICE_EXTRA_INFO_NOTIFICATION.decode(raw)
    return QdeviceExtraInfoNotification(event.context, event.nodeid, bytes(event.extra_info))


EVENT_DECODERS: Final[dict[int, Callable[[bytes], VotequorumEvent]]] = {
    wire.QUORUM_NOTIFICATION.id: _quorum_notification,
    wire.NODELIST_NOTIFICATION.id: _nodelist_notification,
    wire.EXPECTEDVOTES_NOTIFICATION.id: _expectedvotes_notification,
    wire.QDEVICE_EXTRA_INFO_NOTIFICATION.id: _extra_info_notification,
}
"""For each event's id, the function that decodes it."""
