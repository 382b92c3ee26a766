"""A blocking handle on the cfg service: `votequorum_ipc.Cfg` without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ..cfg import Cfg as AsyncCfg
from ..cfg import IPAddress
from ..errors import CsError
from ..ipc import Address
from ..types import NodeStatus, RingStatus, ShutdownFlags, ShutdownNotification, TrackFlags
from .handle import Handle, call


class Cfg(Handle[ShutdownNotification]):
    """A blocking handle on the cfg service: `votequorum_ipc.Cfg` without an event loop.

    It belongs to the thread that made it, and makes one call at a time. See `Handle` for `timeout`.
    """

    _handle: AsyncCfg

    @classmethod
    def initialize(
        cls,
        *,
        shutdown_callback: Callable[[ShutdownNotification], None] | None = None,
        address: Address = None,
        server_uids: Collection[int] | None = None,
        timeout: float | None = None,
    ) -> Cfg:
        """Connect to the service (corosync_cfg_initialize).

        `shutdown_callback` is what `dispatch` calls after `trackstart`. Other arguments and errors are
        `Votequorum.initialize`'s.
        """
        return cls(
            call(
                AsyncCfg.initialize(
                    shutdown_callback=shutdown_callback, address=address, server_uids=server_uids
                ),
                timeout,
            )
        )

    def local_get(self, *, timeout: float | None = None) -> int:
        """This node's id (corosync_cfg_local_get)."""
        return call(self._handle.local_get(), timeout)

    def get_node_addrs(self, nodeid: int, *, timeout: float | None = None) -> list[IPAddress]:
        """A node's addresses, one for each link (corosync_cfg_get_node_addrs). `nodeid` 0 is this node.

        Raises `NotExist` for a node that this node does not know.
        """
        return call(self._handle.get_node_addrs(nodeid), timeout)

    def node_status_get(self, nodeid: int, version: int = 1, *, timeout: float | None = None) -> NodeStatus:
        """Whether a node can be reached, and over which links (corosync_cfg_node_status_get).

        `nodeid` 0 does not mean this node: use `local_get`. The only `version` is 1. Raises `FailedOperation`
        for a node that is not configured, `NotSupported` for another version.
        """
        return call(self._handle.node_status_get(nodeid, version), timeout)

    def node_status_get_all(
        self, nodeids: Sequence[int], *, timeout: float | None = None
    ) -> list[NodeStatus | CsError]:
        """`node_status_get` for several nodes, sent together. An error is returned in its node's place."""
        return call(self._handle.node_status_get_all(nodeids), timeout)

    def ring_status_get(self, *, timeout: float | None = None) -> list[RingStatus]:
        """This node's links in corosync's words (corosync_cfg_ring_status_get).

        Programs read `node_status_get`.
        """
        return call(self._handle.ring_status_get(), timeout)

    def ring_reenable(self, *, timeout: float | None = None) -> None:
        """Re-enable failed rings. Every corosync 3 answers `NotSupported`."""
        call(self._handle.ring_reenable(), timeout)

    def kill_node(self, nodeid: int, reason: str, *, timeout: float | None = None) -> None:
        """End corosync on a member, this one included (corosync_cfg_kill_node).

        `reason`, at most 255 bytes, goes into its log. Returns once the order has been sent. Raises
        `NotExist` for a node that is not a member, `InvalidParam` for a longer reason.
        """
        call(self._handle.kill_node(nodeid, reason), timeout)

    def reload_config(self, *, timeout: float | None = None) -> None:
        """Have all nodes of the partition read their corosync.conf again (corosync_cfg_reload_config).

        Returns when this node has read its own. Raises `InvalidParam`, or another of corosync's errors, when
        this node rejects its file; the message has corosync's reason if the daemon gives one. Other nodes
        report on their files in their own logs.
        """
        call(self._handle.reload_config(), timeout)

    def reopen_log_files(self, *, timeout: float | None = None) -> None:
        """Have this daemon reopen its log files, after a rotation (corosync_cfg_reopen_log_files)."""
        call(self._handle.reopen_log_files(), timeout)

    def try_shutdown(
        self, flags: ShutdownFlags = ShutdownFlags.REQUEST, *, timeout: float | None = None
    ) -> None:
        """Shut corosync down on this node, if the clients that track shutdowns agree
        (corosync_cfg_try_shutdown).

        Returns when that is decided; the daemon ends soon after. The clients have cfg.shutdown_timeout
        milliseconds to answer, 5,000 by default. Raises `Busy` when a client refused or did not answer,
        `Exist` when another shutdown is under way, `Library` if the daemon ended before its answer was read.
        Finalizing this handle before the decision calls the shutdown off; cancelling this call does not.
        """
        call(self._handle.try_shutdown(flags), timeout)

    def replyto_shutdown(self, agree: bool, *, timeout: float | None = None) -> None:
        """Answer a `ShutdownNotification` (corosync_cfg_replyto_shutdown).

        Raises `Access` when no shutdown is under way.
        """
        call(self._handle.replyto_shutdown(agree), timeout)

    def trackstart(self, flags: TrackFlags = TrackFlags.CHANGES, *, timeout: float | None = None) -> None:
        """Ask to be consulted before this node is shut down (corosync_cfg_trackstart); corosync ignores
        `flags`.

        Answer each `ShutdownNotification` with `replyto_shutdown`; no answer counts as a refusal.
        """
        call(self._handle.trackstart(flags), timeout)

    def trackstop(self, *, timeout: float | None = None) -> None:
        """End `trackstart` (corosync_cfg_trackstop); this agrees to a shutdown that is under way.

        corosync 3.1.2 never answers this; close the handle instead.
        """
        call(self._handle.trackstop(), timeout)
