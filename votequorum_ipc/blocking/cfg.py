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
        """A node's addresses, one a link (corosync_cfg_get_node_addrs). `nodeid` 0 is this node.

        Raises `NotExist` for a node that this one does not know.
        """
        return call(self._handle.get_node_addrs(nodeid), timeout)

    def node_status_get(self, nodeid: int, version: int = 1, *, timeout: float | None = None) -> NodeStatus:
        """Whether a node can be reached, and over which links (corosync_cfg_node_status_get).

        `nodeid` 0 is not this node: `local_get` says which that is. There is one `version`, 1. Raises
        `FailedOperation` for a node that is not configured, `NotSupported` for another version.
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
        """Re-enable rings that had failed. Raises `NotSupported` from every corosync 3."""
        call(self._handle.ring_reenable(), timeout)

    def kill_node(self, nodeid: int, reason: str, *, timeout: float | None = None) -> None:
        """End corosync on a member, this one included (corosync_cfg_kill_node).

        `reason`, at most 255 bytes, goes into its log. Returns when the order is on its way. Raises
        `NotExist` for a node that is no member, `InvalidParam` for a longer reason.
        """
        call(self._handle.kill_node(nodeid, reason), timeout)

    def reload_config(self, *, timeout: float | None = None) -> None:
        """Have all nodes of the partition read their corosync.conf again (corosync_cfg_reload_config).

        Returns when this node has. Raises `InvalidParam`, or another error of corosync's, when this node
        cannot take its file: the message has corosync's reason where the daemon tells it. What other nodes
        make of theirs is in their logs.
        """
        call(self._handle.reload_config(), timeout)

    def reopen_log_files(self, *, timeout: float | None = None) -> None:
        """Have this daemon open its log files anew, after a rotation (corosync_cfg_reopen_log_files)."""
        call(self._handle.reopen_log_files(), timeout)

    def try_shutdown(
        self, flags: ShutdownFlags = ShutdownFlags.REQUEST, *, timeout: float | None = None
    ) -> None:
        """Shut corosync down on this node, if those who track agree (corosync_cfg_try_shutdown).

        Returns when that is decided; the daemon ends soon after. They have cfg.shutdown_timeout milliseconds
        to answer, 5,000 by default. Raises `Busy` when somebody refused or did not answer, `Exist` when
        another shutdown is under way, `Library` where the daemon was gone before its answer was read. To
        finalize this handle before the decision calls the shutdown off; to cancel this call does not.
        """
        call(self._handle.try_shutdown(flags), timeout)

    def replyto_shutdown(self, agree: bool, *, timeout: float | None = None) -> None:
        """Answer a `ShutdownNotification` (corosync_cfg_replyto_shutdown).

        Raises `Access` when no shutdown is under way any more.
        """
        call(self._handle.replyto_shutdown(agree), timeout)

    def trackstart(self, flags: TrackFlags = TrackFlags.CHANGES, *, timeout: float | None = None) -> None:
        """Be asked before this node is shut down (corosync_cfg_trackstart); corosync ignores `flags`.

        A `ShutdownNotification` then waits for an answer by `replyto_shutdown`; none counts as refusing.
        """
        call(self._handle.trackstart(flags), timeout)

    def trackstop(self, *, timeout: float | None = None) -> None:
        """Be asked no more (corosync_cfg_trackstop); agrees to a shutdown that is under way.

        corosync 3.1.2 never answers this; close the handle instead.
        """
        call(self._handle.trackstop(), timeout)
