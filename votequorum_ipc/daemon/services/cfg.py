"""The cfg service: the nodes' addresses and links, and which node this is. Nothing can be changed through it.

Source: exec/cfg.c and exec/totemknet.c of corosync 3.1.7.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, ClassVar, Final

from ...errors import CsErrorCode
from ...wire import cfg as wire
from ..connection import ServerConnection
from ..service import Route, routes
from .base import NodeService
from .keys import addresses

_LOOPBACK_MTU: Final = 65535
_MTU: Final = 1397
"""What knet finds on an Ethernet link, and for a node's link to itself."""

_ONWIRE: Final = dict.fromkeys(("onwire_min", "onwire_max", "onwire_ver"), 0)
"""The versions of knet's own protocol, which corosync 3.1.7 as Debian builds it does not ask for."""


class CfgService(NodeService):
    """The service of one node."""

    name = "cfg"

    def _addresses(self, nodeid: int) -> tuple[str, ...]:
        known = {node.nodeid: addresses(node) for node in self.config.nodes}
        return known.get(nodeid, ())[: wire.MAX_LINKS]

    def _local_get(self, client: ServerConnection, request: Any) -> None:
        client.respond(wire.LOCAL_GET_RESPONSE.encode(local_nodeid=self.nodeid))

    def _get_node_addrs(self, client: ServerConnection, request: Any) -> None:
        found = [_packed(address) for address in self._addresses(request.nodeid or self.nodeid)]
        response = wire.GET_NODE_ADDRS_RESPONSE.encode(
            error=CsErrorCode.OK if found else CsErrorCode.NOT_EXIST,
            family=found[0][0] if found else 0,
            num_addrs=len(found),
            addrs=b"".join(raw for _, raw in found),
        )
        client.respond(response)

    def _nodestatusget(self, client: ServerConnection, request: Any) -> None:
        theirs = self._addresses(request.nodeid)
        error = CsErrorCode.OK
        if not theirs:
            error = CsErrorCode.FAILED_OPERATION
        elif request.version != wire.NODE_STATUS_V1:
            error = CsErrorCode.NOT_SUPPORTED
        if error is not CsErrorCode.OK:
            client.respond(wire.NODESTATUSGET_ERROR.encode(error=error, version=0))
            return
        own = request.nodeid == self.nodeid
        reachable = own or self.reaches(request.nodeid)
        ours = self._addresses(self.nodeid)
        links = [
            _link(source, target, reachable, _LOOPBACK_MTU if own else _MTU)
            for source, target in zip(ours, theirs, strict=False)
        ]
        response = wire.NODESTATUSGET_RESPONSE.encode(
            version=request.version,
            nodeid=request.nodeid,
            reachable=int(reachable),
            remote=0,
            external=0,
            **_ONWIRE,
            link_status=b"".join(links).ljust(wire.MAX_LINKS * wire.LINK_STATUS.sizeof(), b"\0"),
        )
        client.respond(response)

    def _trackstart(self, client: ServerConnection, request: Any) -> None:
        # It announces shutdowns that cfg asks for, and nobody can ask for one here.
        client.respond(wire.TRACKSTART_RESPONSE.encode())

    def _trackstop(self, client: ServerConnection, request: Any) -> None:
        client.respond(wire.TRACKSTOP_RESPONSE.encode())

    routes: ClassVar[dict[int, Route]] = routes(
        (wire.GET_NODE_ADDRS, _get_node_addrs),
        (wire.LOCAL_GET, _local_get),
        (wire.NODESTATUSGET, _nodestatusget),
        (wire.TRACKSTART, _trackstart),
        (wire.TRACKSTOP, _trackstop),
    )


def _link(source: str, target: str, connected: bool, mtu: int) -> bytes:
    raw: bytes = wire.LINK_STATUS.build(
        {
            "enabled": 1,
            "connected": int(connected),
            "dynconnected": 0,
            "mtu": mtu,
            "src_ipaddr": source,
            "dst_ipaddr": target,
        },
    )
    return raw


def _packed(text: str) -> tuple[int, bytes]:
    """An address's family and its bytes; zeros, which clients skip, for a name that would need a resolver."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return socket.AF_INET, bytes(wire.ADDRESS_LENGTH)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return family, address.packed.ljust(wire.ADDRESS_LENGTH, b"\0")
