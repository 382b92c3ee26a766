"""A blocking handle on the cfg service: `votequorum_ipc.Cfg` without an event loop."""

from __future__ import annotations

from collections.abc import Collection

from ..cfg import Cfg as AsyncCfg
from ..cfg import IPAddress
from ..ipc import Address
from .handle import Handle, call


class Cfg(Handle[None]):
    """A blocking handle on the cfg service: `votequorum_ipc.Cfg` without an event loop.

    It belongs to the thread that made it, and makes one call at a time. See `Handle` for `timeout`.
    """

    _handle: AsyncCfg

    @classmethod
    def initialize(
        cls,
        *,
        address: Address = None,
        server_uids: Collection[int] | None = None,
        timeout: float | None = None,
    ) -> Cfg:
        """Connect to the service (corosync_cfg_initialize).

        Arguments and errors are `Votequorum.initialize`'s.
        """
        return cls(call(AsyncCfg.initialize(address=address, server_uids=server_uids), timeout))

    def get_node_addrs(self, nodeid: int, *, timeout: float | None = None) -> list[IPAddress]:
        """A node's addresses, one a link (corosync_cfg_get_node_addrs). `nodeid` 0 is this node."""
        return call(self._handle.get_node_addrs(nodeid), timeout)

    def local_get(self, *, timeout: float | None = None) -> int:
        """This node's id (corosync_cfg_local_get)."""
        return call(self._handle.local_get(), timeout)
