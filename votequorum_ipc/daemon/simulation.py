"""A simulated cluster with real IPC: the model of a cluster, and a server that offers each node's services.

Strategy: `Engine` runs the model. Here nodes come and go: a node that is up has its services at its address,
and one that goes down disappears from there at once. `partition` and the like deliver their events before
they return.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final

from ..cluster import ClusterConfig, Latency
from ..errors import CsErrorCode
from ..types import TransportName, ValueType
from .admission import AccessRule
from .engine import Engine
from .listener import Listener
from .network import SimulatedNetwork, link_count
from .server import Server, open_server
from .services.base import LocalNode, NodeService
from .services.cfg import CfgService
from .services.cmap import CmapService
from .services.keys import Key
from .services.quorum import QuorumService
from .services.votequorum import VotequorumService

NODE_SERVICES: tuple[type[NodeService], ...] = (VotequorumService, QuorumService, CmapService, CfgService)
"""What every node offers."""

AddressOf = Callable[[int], str | None]
"""Returns the address of a node's services: a text with "{service}" in it, or None for their well-known
names."""

_Listeners = dict[NodeService, Listener]
"""The services of a node, and where they listen."""


class Simulation:
    """Made by `open_simulation`. Methods that change the cluster are plain functions and take effect at
    once."""

    def __init__(
        self, server: Server, config: ClusterConfig, address: AddressOf, latency: Latency | None = None
    ) -> None:
        """Not public: use `open_simulation`."""
        self.server = server
        self._engine = Engine(config, self._changed, latency)
        self.model = self._engine.model
        """The cluster itself, for reading. Change it only through the simulation."""
        self.network = SimulatedNetwork()
        """The quality of the links. Change it with `link`."""
        self.read_config: Callable[[], ClusterConfig] = lambda: self.config
        """Reads the current corosync.conf. May raise ValueError or OSError."""
        self._address = address
        self._served: dict[int, _Listeners] = {}
        self._local: dict[int, LocalNode] = {}

    @property
    def config(self) -> ClusterConfig:
        """The configuration that is in force."""
        return self.model.config

    def address(self, nodeid: int) -> str | None:
        """Where a node's services are, or will be when it is up."""
        return self._address(nodeid)

    # --- what can happen to the cluster: see `votequorum_ipc.cluster.Cluster` ---

    def up(self, *nodeids: int, groups: Collection[Collection[int]] | None = None) -> None:
        """Start nodes; those that are already up stay as they are. With `groups`, `partition` first.

        Raises `Busy` when a node's addresses are in use; nothing has changed then.
        """
        unknown = set(nodeids) - set(self.config.nodeids)
        if unknown:
            raise ValueError(f"no such node: {', '.join(map(str, sorted(unknown)))}")
        starting: dict[int, _Listeners] = {}
        local: dict[int, LocalNode] = {}
        with contextlib.ExitStack() as undo:
            for nodeid in dict.fromkeys(nodeids):
                if nodeid not in self._served:
                    undo.callback(self._withdraw, starting.setdefault(nodeid, {}))
                    local[nodeid] = LocalNode(self._engine, nodeid, self.server.transport, self)
                    self._offer(local[nodeid], starting[nodeid])
            if groups is not None:
                self.partition(*groups)
            undo.pop_all()
        self._served |= starting
        self._local |= local
        self._engine.apply(self.model.up, *nodeids)

    def kill(self, *nodeids: int) -> None:
        """Crash nodes; those that are already down stay down. Their clients lose their connections."""
        self._engine.apply(self.model.kill, *nodeids)

    def leave(self, *nodeids: int) -> None:
        """Shut nodes down in order; those that are already down stay down."""
        self._engine.apply(self.model.leave, *nodeids)

    def partition(self, *groups: Collection[int]) -> None:
        """Cut the network: nodes hear those of their own group only. Nodes in no group form one more."""
        self.model.check_groups(*groups)
        self.network.partition(groups)
        self._reshape()

    def heal(self) -> None:
        """Repair the network: every link is connected, and every node hears every other."""
        self.network.heal()
        self._reshape()

    def link(
        self,
        node: int,
        peer: int,
        number: int | None = None,
        *,
        connected: bool | None = None,
        latency: float | None = None,
        loss: float | None = None,
        mtu: int | None = None,
        one_way: bool = False,
    ) -> None:
        """Change one link between two nodes, or all of them; arguments left out change nothing.

        `number` is the link's, from 0. `latency` is in seconds, `loss` a part of the packets (0.0 to 1.0),
        `mtu` in bytes. With `one_way` only `node` sees the change. Clients see it in cfg's node status and in
        the statistics. Nodes without any link that is connected do not hear each other; for what becomes of
        their partition see `SimulatedNetwork.groups`. Raises `ValueError` for an unknown node or link.
        """
        given = {"connected": connected, "latency": latency, "loss": loss, "mtu": mtu}
        changes = {name: value for name, value in given.items() if value is not None}
        numbers = self._link_numbers(node, peer, number)
        ways = [(node, peer)] if one_way else [(node, peer), (peer, node)]
        self.network.change([(*way, each) for way in ways for each in numbers], **changes)
        for nodeid, other in ways:
            if nodeid in self._local:
                self._local[nodeid].links.look(self._engine.now(), other)
        self._reshape()

    def set_statistic(self, node: int, name: str, value: int) -> None:
        """Set a statistic of a running node, such as "stats.srp.mcast_retx", until a client clears it or the
        node goes down.

        Raises `ValueError` for an unknown name, and for a value that it cannot hold.
        """
        self._node(node).statistics.give(name, value)
        self._changed()

    def schedule_miss(self, node: int, delay: float) -> None:
        """Report that a running node was not scheduled for `delay` seconds, below `stats.schedmiss.`."""
        self._node(node).statistics.miss(delay * 1000)
        self._changed()

    def reform(self, *nodeids: int) -> None:
        """The partitions of these nodes form new rings of the same members."""
        self._engine.apply(self.model.reform, *nodeids)

    def reload(self, config: ClusterConfig) -> None:
        """Every running node reads a changed configuration. Raises as `Cluster.reload` does."""
        self.write_config(config)
        self.reload_from_file()

    def write_config(self, config: ClusterConfig) -> None:
        """Change corosync.conf on every node. It takes effect when a client reloads it, or `reload` does."""
        self.read_config = lambda: config

    def reload_from_file(self) -> None:
        """Every node that is up reads corosync.conf again, as `read_config` does. cmap says how it went.

        Raises what `read_config` or `Cluster.reload` raises; nothing has changed then.
        """
        for key in _RELOADS:
            self._publish(key, Key.of(ValueType.UINT8, 1))
        status = CsErrorCode.OK
        try:
            self._engine.apply(self.model.reload, self.read_config())
        except (ValueError, OSError) as error:
            status = CsErrorCode.INVALID_PARAM
            self._publish(_RELOAD_ERROR, Key.of(ValueType.STRING, _one_line(error)))
            raise
        else:
            self._publish(_RELOAD_ERROR, None)
            for local in self._local.values():
                local.icmap.reload()
        finally:
            self._publish(_RELOAD_STATUS, Key.of(ValueType.INT32, status))
            for key in _RELOADS:
                self._publish(key, Key.of(ValueType.UINT8, 0))

    def cancel_wait_for_all(self, nodeid: int) -> None:
        """The operator cancels wait_for_all for the partition of a node."""
        self._engine.apply(self.model.cancel_wait_for_all, nodeid)

    def advance(self, seconds: float) -> None:
        """Let virtual time pass; everything that falls due happens in order."""
        self._engine.advance(seconds)

    def settle(self) -> None:
        """Let virtual time pass until every multicast has arrived and nodes that shut down are gone."""
        self._engine.apply(self.model.settle)

    async def keep_time(self) -> None:
        """Let the cluster's time pass as the clock does, until cancelled."""
        await self._engine.keep_time()

    async def settled(self) -> None:
        """Wait, while another task runs `keep_time`, for what `settle` would let happen at once."""
        await self._engine.settled()

    async def happened(self) -> None:
        """Wait, while another task runs `keep_time`, until something may have changed."""
        await self._engine.happened()

    # --- inside ---

    def _changed(self) -> None:
        """The model has changed: end the nodes that are gone, and let the services of the others look."""
        for nodeid in self._served.keys() - self.model.nodes.keys():
            del self._local[nodeid]
            self._withdraw(self._served.pop(nodeid))
        for nodeid, listeners in self._served.items():
            self._local[nodeid].changed()
            synchronises = self.model.is_synchronising(nodeid)
            for service, listener in listeners.items():
                paused = synchronises and service.waits_for_sync
                if service.paused != paused:
                    service.paused = paused
                    listener.wake()
                service.changed()

    def _reshape(self) -> None:
        self._engine.apply(self.model.partition, *self.network.groups(self.config))

    def _node(self, nodeid: int) -> LocalNode:
        if nodeid not in self._local:
            raise ValueError(f"node {nodeid} is not up")
        return self._local[nodeid]

    def _link_numbers(self, node: int, peer: int, number: int | None) -> list[int]:
        known = {each.nodeid: each for each in self.config.nodes}
        if unknown := {node, peer} - known.keys():
            raise ValueError(f"no such node: {min(unknown)}")
        if node == peer:
            raise ValueError(f"a link is between two nodes, not from node {node} to itself")
        numbers = range(link_count(known[node], known[peer]))
        if number is not None and number not in numbers:
            raise ValueError(f"nodes {node} and {peer} have links 0 to {len(numbers) - 1}, and no {number}")
        return [*numbers] if number is None else [number]

    def _publish(self, name: str, key: Key | None) -> None:
        for local in list(self._local.values()):
            local.icmap.put(name, key)

    def _offer(self, local: LocalNode, listeners: _Listeners) -> None:
        """Listen for a node that is about to start. Raises as `Server.listen` does, with some listening."""
        for make in NODE_SERVICES:
            if make is VotequorumService and not self.config.provider:
                continue
            service = make(local)
            listeners[service] = self.server.listen(service, self._address(local.nodeid))

    def _withdraw(self, listeners: _Listeners) -> None:
        for listener in listeners.values():
            self.server.withdraw(listener)

    def close(self) -> None:
        """Withdraw the services of all nodes."""
        while self._served:
            self._withdraw(self._served.popitem()[1])


_RELOADS: Final = ("config.totemconfig_reload_in_progress", "config.reload_in_progress")
_RELOAD_STATUS: Final = "config.reload_status"
_RELOAD_ERROR: Final = "config.reload_error_message"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).replace("\0", "")


@contextlib.asynccontextmanager
async def open_simulation(
    config: ClusterConfig,
    *,
    address: AddressOf,
    transport: TransportName = "shm",
    access: AccessRule | None = None,
    latency: Latency | None = None,
) -> AsyncIterator[Simulation]:
    """A simulated cluster that runs during the block. Its nodes are down at first: `simulation.up(1, 2, 3)`.

    `address` returns the address of a node's services. `latency` is how long multicasts take; without it they
    arrive at once. Raises `ConfigurationError` if corosync would not start with this configuration. The
    block's exceptions are raised unchanged.
    """
    async with open_server(transport=transport, access=access) as server:
        simulation = Simulation(server, config, address, latency)
        try:
            yield simulation
        finally:
            simulation.close()
