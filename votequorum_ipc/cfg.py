"""The cfg service: links and addresses of nodes, reloading the configuration, killing nodes, shutting down.

Strategy: each call of the C library is a method of its name, and its structs are named tuples in `types`.
Text from corosync is returned unchanged. Two calls need more than this daemon: a reload goes once round the
totem ring, and a shutdown waits for the clients that track shutdowns. A failed reload leaves its reason in
cmap, and the error quotes it. Sources: corosync's include/corosync/cfg.h, include/corosync/ipc_cfg.h.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from .cmap import Cmap
from .errors import CsError, CsErrorCode, InvalidParam, MessageError
from .handle import Handle
from .ipc import Address, Connection, connect, sibling
from .ipc.backend import move_on_after
from .types import LinkStatus, NodeStatus, RingStatus, ShutdownFlags, ShutdownNotification, TrackFlags
from .wire import cfg as wire
from .wire import reply_error
from .wire.derive import derive_read
from .wire.fields import encode_text

SERVICE: Final = "cfg"

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

RELOAD_ERROR_MESSAGE: Final = "config.reload_error_message"
"""The cmap key that says why the last reload failed; newer than corosync 3.1.7."""

_MAX_MSG_SIZE: Final = 16 << 10
"""The answer to ring_status_get has 10,272 bytes."""

_REASON_SECONDS: Final = 0.5
"""How long to wait for cmap's answer about why a reload failed, in seconds."""

_LENGTHS: Final = {socket.AF_INET: 4, socket.AF_INET6: 16}
_LINK_SIZE: Final = wire.LINK_STATUS.sizeof()
_NO_LINK_BYTES: Final = bytes(_LINK_SIZE)
_NO_LINK: Final = LinkStatus(False, False, False, 0, "", "")

_NO_ADDRESS: Final = "node {nodeid} has no address here"
_HINTS: Final = {
    ("get_node_addrs", CsErrorCode.EXIST): _NO_ADDRESS,
    ("get_node_addrs", CsErrorCode.NOT_EXIST): _NO_ADDRESS,
    ("nodestatusget", CsErrorCode.FAILED_OPERATION): "node {nodeid} is not in this node's configuration",
    ("nodestatusget", CsErrorCode.NOT_SUPPORTED): (
        "this daemon does not know version {version} of a node's status"
    ),
    (
        "ringreenable",
        CsErrorCode.NOT_SUPPORTED,
    ): "corosync 3 has nothing to re-enable: knet does that",
    ("killnode", CsErrorCode.NOT_EXIST): (
        "node {nodeid} is not a member: votequorum-ipc status lists the members"
    ),
    ("tryshutdown", CsErrorCode.EXIST): "another shutdown is under way: wait until it ends",
    ("tryshutdown", CsErrorCode.BUSY): (
        "a client that tracks shutdowns refused, or did not answer in time; with ShutdownFlags.REGARDLESS "
        "clients cannot refuse, with ShutdownFlags.IMMEDIATE they are not asked"
    ),
    ("replytoshutdown", CsErrorCode.ACCESS): "no shutdown is under way, or it was called off",
    ("reload_config", CsErrorCode.INVALID_PARAM): (
        "the daemon rejects corosync.conf, and its log says why; the file may differ from node to node"
    ),
}


class Cfg(Handle[ShutdownNotification]):
    """A handle on the cfg service of the daemon on this machine.

    Every call raises, besides what it lists itself, what `Votequorum`'s calls do.
    """

    def __init__(
        self,
        connection: Connection,
        connect_cmap: Callable[[], Awaitable[Cmap]],
        shutdown_callback: Callable[[ShutdownNotification], Awaitable[None] | None] | None,
    ) -> None:
        """Not public: use `initialize`."""
        super().__init__(connection, EVENT_DECODERS, {ShutdownNotification: shutdown_callback}, _HINTS)
        self._connect_cmap = connect_cmap

    @classmethod
    async def initialize(
        cls,
        *,
        shutdown_callback: Callable[[ShutdownNotification], Awaitable[None] | None] | None = None,
        address: Address = None,
        server_uids: Collection[int] | None = None,
    ) -> Cfg:
        """Connect to the service (corosync_cfg_initialize).

        `shutdown_callback` is what `dispatch` calls after `trackstart`. Other arguments and errors are
        `Votequorum.initialize`'s.
        """
        connection = await connect(
            SERVICE, max_msg_size=_MAX_MSG_SIZE, address=address, server_uids=server_uids
        )
        return cls(connection, functools.partial(_cmap_beside, address, server_uids), shutdown_callback)

    # --- nodes and links ---

    async def local_get(self) -> int:
        """This node's id (corosync_cfg_local_get)."""
        answer = await self._call(wire.LOCAL_GET, wire.LOCAL_GET_RESPONSE)
        return int(answer.local_nodeid)

    async def get_node_addrs(self, nodeid: int) -> list[IPAddress]:
        """A node's addresses, one for each link (corosync_cfg_get_node_addrs). `nodeid` 0 is this node.

        Raises `NotExist` for a node that this node does not know.
        """
        answer = await self._call(wire.GET_NODE_ADDRS, wire.GET_NODE_ADDRS_RESPONSE, nodeid=nodeid)
        length = _LENGTHS.get(answer.family, 0)
        if answer.num_addrs and not length:
            raise MessageError(f"{answer.family} is unknown", field="get_node_addrs response.family")
        if answer.num_addrs * wire.ADDRESS_LENGTH > len(answer.addrs):
            raise MessageError(
                f"{answer.num_addrs} addresses in {len(answer.addrs)} bytes",
                field="get_node_addrs response.num_addrs",
            )
        starts = range(0, answer.num_addrs * wire.ADDRESS_LENGTH, wire.ADDRESS_LENGTH)
        return [ipaddress.ip_address(answer.addrs[start : start + length]) for start in starts]

    async def node_status_get(self, nodeid: int, version: int = 1) -> NodeStatus:
        """Whether a node can be reached, and over which links (corosync_cfg_node_status_get).

        `nodeid` 0 does not mean this node: use `local_get`. The only `version` is 1. Raises `FailedOperation`
        for a node that is not configured, `NotSupported` for another version.
        """
        answer = await self._call(
            wire.NODESTATUSGET, wire.NODESTATUSGET_RESPONSE, nodeid=nodeid, version=version
        )
        return _node_status(answer)

    async def node_status_get_all(self, nodeids: Sequence[int]) -> list[NodeStatus | CsError]:
        """`node_status_get` for several nodes, sent together. An error is returned in its node's place."""
        answers = await self._call_all(
            wire.NODESTATUSGET,
            wire.NODESTATUSGET_RESPONSE,
            [{"nodeid": nodeid, "version": 1} for nodeid in nodeids],
        )
        return [answer if isinstance(answer, CsError) else _node_status(answer) for answer in answers]

    async def ring_status_get(self) -> list[RingStatus]:
        """This node's links in corosync's words (corosync_cfg_ring_status_get).

        Programs read `node_status_get`.
        """
        answer = await self._call(wire.RINGSTATUSGET, wire.RINGSTATUSGET_RESPONSE)
        count = answer.interface_count
        if count > wire.MAX_INTERFACES or len(answer.interfaces) != wire.INTERFACES.sizeof():
            raise MessageError(
                f"{count} interfaces in {len(answer.interfaces)} bytes",
                field="ringstatusget response.interface_count",
            )
        names = wire.INTERFACES.parse(answer.interfaces)
        pairs = zip(names.interface_name, names.interface_status, strict=True)
        return [RingStatus(*pair) for pair in pairs][:count]

    async def ring_reenable(self) -> None:
        """Re-enable failed rings. Every corosync 3 answers `NotSupported`."""
        await self._call(wire.RINGREENABLE, wire.RINGREENABLE_RESPONSE)

    async def kill_node(self, nodeid: int, reason: str) -> None:
        """End corosync on a member, this one included (corosync_cfg_kill_node).

        `reason`, at most 255 bytes, goes into its log. Returns once the order has been sent. Raises
        `NotExist` for a node that is not a member, `InvalidParam` for a longer reason.
        """
        length = len(encode_text(reason, "reason"))
        if length >= wire.REASON_LENGTH:
            raise InvalidParam(f"a reason has at most {wire.REASON_LENGTH - 1} bytes; this has {length}")
        await self._call(
            wire.KILLNODE, wire.KILLNODE_RESPONSE, nodeid=nodeid, reason_length=length, reason=reason
        )

    # --- configuration and logs ---

    async def reload_config(self) -> None:
        """Have all nodes of the partition read their corosync.conf again (corosync_cfg_reload_config).

        Returns when this node has read its own. Raises `InvalidParam`, or another of corosync's errors, when
        this node rejects its file; the message has corosync's reason if the daemon gives one. Other nodes
        report on their files in their own logs.
        """
        try:
            await self._call(wire.RELOAD_CONFIG, wire.RELOAD_CONFIG_RESPONSE, deferred=True)
        except CsError as error:
            if (reason := await self._reload_error_message()) is None:
                raise
            raise type(error)(f"the configuration was not reloaded: {reason}") from error

    async def _reload_error_message(self) -> str | None:
        with move_on_after(_REASON_SECONDS):
            try:
                async with await self._connect_cmap() as cmap:
                    reason = await cmap.get_or_none(RELOAD_ERROR_MESSAGE)
            except CsError:
                return None
            return None if reason is None else str(reason)
        return None

    async def reopen_log_files(self) -> None:
        """Have this daemon reopen its log files, after a rotation (corosync_cfg_reopen_log_files)."""
        await self._call(wire.REOPEN_LOG_FILES, wire.REOPEN_LOG_FILES_RESPONSE)

    # --- shutting down ---

    async def try_shutdown(self, flags: ShutdownFlags = ShutdownFlags.REQUEST) -> None:
        """Shut corosync down on this node, if the clients that track shutdowns agree
        (corosync_cfg_try_shutdown).

        Returns when that is decided; the daemon ends soon after. The clients have cfg.shutdown_timeout
        milliseconds to answer, 5,000 by default. Raises `Busy` when a client refused or did not answer,
        `Exist` when another shutdown is under way, `Library` if the daemon ended before its answer was read.
        Finalizing this handle before the decision calls the shutdown off; cancelling this call does not.
        """
        await self._call(wire.TRYSHUTDOWN, wire.TRYSHUTDOWN_RESPONSE, deferred=True, flags=int(flags))

    async def replyto_shutdown(self, agree: bool) -> None:
        """Answer a `ShutdownNotification` (corosync_cfg_replyto_shutdown).

        Raises `Access` when no shutdown is under way.
        """
        await self._call(wire.REPLYTOSHUTDOWN, wire.REPLYTOSHUTDOWN_RESPONSE, response=int(agree))

    async def trackstart(self, flags: TrackFlags = TrackFlags.CHANGES) -> None:
        """Ask to be consulted before this node is shut down (corosync_cfg_trackstart); corosync ignores
        `flags`.

        Answer each `ShutdownNotification` with `replyto_shutdown`; no answer counts as a refusal.
        """
        await self._call(wire.TRACKSTART, wire.TRACKSTART_RESPONSE, track_flags=int(flags))

    async def trackstop(self) -> None:
        """End `trackstart` (corosync_cfg_trackstop); this agrees to a shutdown that is under way.

        corosync 3.1.2 never answers this; close the handle instead.
        """
        await self._call(wire.TRACKSTOP, wire.TRACKSTOP_RESPONSE)


async def _cmap_beside(address: Address, server_uids: Collection[int] | None) -> Cmap:
    return await Cmap.initialize(address=sibling(address, "cmap"), server_uids=server_uids)


def _node_status(answer: Any) -> NodeStatus:
    raw = answer.link_status
    if len(raw) != wire.MAX_LINKS * _LINK_SIZE:
        raise MessageError(f"{len(raw)} bytes", field="nodestatusget response.link_status")
    return NodeStatus(
        version=answer.version,
        nodeid=answer.nodeid,
        reachable=bool(answer.reachable),
        remote=bool(answer.remote),
        external=bool(answer.external),
        onwire_min=answer.onwire_min,
        onwire_max=answer.onwire_max,
        onwire_ver=answer.onwire_ver,
        link_status=tuple(
            _link_status(raw[start : start + _LINK_SIZE]) for start in range(0, len(raw), _LINK_SIZE)
        ),
    )


def _link_status(raw: bytes) -> LinkStatus:
    if raw == _NO_LINK_BYTES:
        return _NO_LINK
    enabled, connected, dynconnected, *others = _read_link_status()(raw)
    return LinkStatus(bool(enabled), bool(connected), bool(dynconnected), *others)


@functools.cache
def _read_link_status() -> Callable[[bytes], tuple[Any, ...]]:
    return derive_read("link_status", wire.LINK_STATUS)


def _shutdown_notification(raw: bytes) -> ShutdownNotification:
    event = wire.TESTSHUTDOWN.decode(raw)
    return ShutdownNotification(event.flags, timed_out=reply_error(raw) == CsErrorCode.TIMEOUT)


EVENT_DECODERS: Final[dict[int, Callable[[bytes], ShutdownNotification]]] = {
    wire.TESTSHUTDOWN.id: _shutdown_notification,
}
"""For each event's id, the function that decodes it."""
