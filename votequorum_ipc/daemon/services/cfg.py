"""The cfg service: addresses and links of the nodes, reloading, killing nodes and shutting down.

Strategy: the simulation carries out each order. The response goes out first, as in corosync, where the order
has to travel round the ring. Source: exec/cfg.c and exec/totemknet.c of corosync 3.1.7.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from typing import Any, ClassVar, Final

from ...errors import CsErrorCode
from ...types import ValueType
from ...wire import cfg as wire
from ..connection import ServerConnection
from ..service import Route, routes
from .base import LocalNode, NodeService
from .keys import addresses
from .shutdown import DEFAULT_SHUTDOWN_TIMEOUT, Shutdown

_ONWIRE: Final = dict.fromkeys(("onwire_min", "onwire_max", "onwire_ver"), 0)
"""The versions of knet's own protocol, which corosync 3.1.7 as Debian builds it does not ask for."""

_log = logging.getLogger(__name__)


class CfgService(NodeService):
    """The service of one node."""

    name = "cfg"

    def __init__(self, local: LocalNode) -> None:
        super().__init__(local)
        self._shutdown = Shutdown(local.engine, lambda: local.operator.leave(local.nodeid))

    def disconnected(self, client: ServerConnection) -> None:
        super().disconnected(client)
        self._shutdown.end(client)

    # --- nodes and links ---

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
        links, peer = self.local.links, request.nodeid
        ours = self._addresses(self.nodeid)
        described = [
            _link(
                ours[number], theirs[number], links.connected(peer, number), links.quality(peer, number).mtu
            )
            for number in links.numbers(peer)
        ]
        response = wire.NODESTATUSGET_RESPONSE.encode(
            version=request.version,
            nodeid=request.nodeid,
            reachable=int(links.reachable(peer)),
            remote=0,
            external=0,
            **_ONWIRE,
            link_status=b"".join(described).ljust(wire.MAX_LINKS * wire.LINK_STATUS.sizeof(), b"\0"),
        )
        client.respond(response)

    def _ringstatusget(self, client: ServerConnection, request: Any) -> None:
        names = [f"{number} {address}" for number, address in enumerate(self._addresses(self.nodeid))]
        statuses = [self._ring_status(number) for number in range(len(names))]
        interfaces = wire.INTERFACES.build(
            {
                "interface_name": _filled(names),
                "interface_status": _filled(statuses),
            },
        )
        response = wire.RINGSTATUSGET_RESPONSE.encode(interface_count=len(names), interfaces=interfaces)
        if len(response) > client.max_msg_size:
            # corosync loses an answer that is too large for the client's ring.
            response = wire.RINGSTATUSGET_RESPONSE.encode(
                error=CsErrorCode.NO_MEMORY, interface_count=0, interfaces=b""
            )
        client.respond(response)

    def _ring_status(self, number: int) -> str:
        """A character for each node, by node id: its link's bits, or n for this node."""
        links, characters = self.local.links, []
        for nodeid in sorted(self.config.nodeids):
            if nodeid == self.nodeid:
                characters.append("n")
            elif number in links.numbers(nodeid):
                characters.append("3" if links.connected(nodeid, number) else "1")
            else:
                characters.append("d")
        return "".join(characters)

    def _ringreenable(self, client: ServerConnection, request: Any) -> None:
        client.respond(wire.RINGREENABLE_RESPONSE.encode(error=CsErrorCode.NOT_SUPPORTED))

    # --- configuration and logs ---

    def _reload_config(self, client: ServerConnection, request: Any) -> None:
        error = CsErrorCode.OK
        try:
            self.local.operator.reload_from_file()
        except (ValueError, OSError) as reason:
            _log.warning("node %d: the configuration is not reloaded: %s", self.nodeid, reason)
            error = CsErrorCode.INVALID_PARAM
        client.respond(wire.RELOAD_CONFIG_RESPONSE.encode(error=error))

    def _reopen_log_files(self, client: ServerConnection, request: Any) -> None:
        client.respond(wire.REOPEN_LOG_FILES_RESPONSE.encode())

    # --- ends ---

    def _killnode(self, client: ServerConnection, request: Any) -> None:
        if request.nodeid not in self.node.members:
            client.respond(wire.KILLNODE_RESPONSE.encode(error=CsErrorCode.NOT_EXIST))
            return
        client.respond(wire.KILLNODE_RESPONSE.encode())
        _log.warning("node %d: killed by node %d: %s", request.nodeid, self.nodeid, request.reason)
        self.local.operator.kill(request.nodeid)

    def _tryshutdown(self, client: ServerConnection, request: Any) -> None:
        timeout = self.local.icmap.number("cfg.shutdown_timeout", ValueType.UINT32)
        self._shutdown.request(
            client, request.flags, DEFAULT_SHUTDOWN_TIMEOUT if timeout is None else timeout
        )

    def _replytoshutdown(self, client: ServerConnection, request: Any) -> None:
        error = self._shutdown.reply(client, bool(request.response))
        # corosync sends the requester's answer first; two connections have no common order.
        client.respond(wire.REPLYTOSHUTDOWN_RESPONSE.encode(error=error))
        self._shutdown.check()

    def _trackstart(self, client: ServerConnection, request: Any) -> None:
        self._shutdown.track(client)
        client.respond(wire.TRACKSTART_RESPONSE.encode())

    def _trackstop(self, client: ServerConnection, request: Any) -> None:
        client.respond(wire.TRACKSTOP_RESPONSE.encode())
        self._shutdown.forget(client)

    routes: ClassVar[dict[int, Route]] = routes(
        (wire.RINGSTATUSGET, _ringstatusget),
        (wire.RINGREENABLE, _ringreenable),
        (wire.KILLNODE, _killnode),
        (wire.TRYSHUTDOWN, _tryshutdown),
        (wire.REPLYTOSHUTDOWN, _replytoshutdown),
        (wire.RELOAD_CONFIG, _reload_config),
        (wire.REOPEN_LOG_FILES, _reopen_log_files),
        (wire.GET_NODE_ADDRS, _get_node_addrs),
        (wire.LOCAL_GET, _local_get),
        (wire.NODESTATUSGET, _nodestatusget),
        (wire.TRACKSTART, _trackstart),
        (wire.TRACKSTOP, _trackstop),
    )


def _filled(texts: list[str]) -> list[str]:
    return texts + [""] * (wire.MAX_INTERFACES - len(texts))


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
