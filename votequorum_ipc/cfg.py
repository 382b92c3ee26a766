"""Of the cfg service: a node's addresses and this node's id, which corosync's own tools show.

Sources: corosync's include/corosync/cfg.h, include/corosync/ipc_cfg.h.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import Final

from .errors import CsErrorCode, MessageError
from .handle import Handle
from .ipc import Address, connect
from .wire import cfg as wire

SERVICE: Final = "cfg"

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_LENGTHS: Final = {socket.AF_INET: 4, socket.AF_INET6: 16}

_HINTS: Final = {
    ("get_node_addrs", CsErrorCode.EXIST): "node {nodeid} has no address here",
    ("get_node_addrs", CsErrorCode.NOT_EXIST): "node {nodeid} has no address here",
}


class Cfg(Handle[None]):
    """A handle on the cfg service of the daemon on this machine."""

    @classmethod
    async def initialize(
        cls,
        *,
        address: Address = None,
        server_uids: Collection[int] | None = None,
    ) -> Cfg:
        """Connect to the service (corosync_cfg_initialize).

        Arguments and errors are `Votequorum.initialize`'s.
        """
        return cls(await connect(SERVICE, address=address, server_uids=server_uids), {}, {}, _HINTS)

    async def get_node_addrs(self, nodeid: int) -> list[IPAddress]:
        """A node's addresses, one a link (corosync_cfg_get_node_addrs). `nodeid` 0 is this node."""
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

    async def local_get(self) -> int:
        """This node's id (corosync_cfg_local_get)."""
        answer = await self._call(wire.LOCAL_GET, wire.LOCAL_GET_RESPONSE)
        return int(answer.local_nodeid)
