"""A simulated cluster with real IPC: the model of a cluster, and a server that offers each node's services.

Strategy: `Engine` runs the model. Here nodes come and go: a node that is up has its services at its address,
and one that goes down disappears from there at once. `partition` and the like deliver their events before
they return.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Collection

from ..cluster import ClusterConfig, Latency
from ..types import TransportName
from .admission import AccessRule
from .engine import Engine
from .listener import Listener
from .server import Server, open_server
from .services.base import NodeService
from .services.cfg import CfgService
from .services.cmap import CmapService
from .services.quorum import QuorumService
from .services.votequorum import VotequorumService

NODE_SERVICES: tuple[type[NodeService], ...] = (VotequorumService, QuorumService, CmapService, CfgService)
"""What every node offers."""

AddressOf = Callable[[int], str | None]
"""Where a node's services are: an address with "{service}" in it, or None for their well-known names."""

_Listeners = dict[NodeService, Listener]
"""The services of a node, and where they listen."""


class Simulation:
    """Made by `open_simulation`. What changes the cluster is a plain function and takes effect at once."""

    def __init__(
        self, server: Server, config: ClusterConfig, address: AddressOf, latency: Latency | None = None
    ) -> None:
        """Not public: use `open_simulation`."""
        self.server = server
        self._engine = Engine(config, self._changed, latency)
        self.model = self._engine.model
        """The cluster itself, to look at. Change it through the simulation only."""
        self._address = address
        self._served: dict[int, _Listeners] = {}

    @property
    def config(self) -> ClusterConfig:
        """The configuration that is in force."""
        return self.model.config

    def address(self, nodeid: int) -> str | None:
        """Where a node's services are, or will be when it is up."""
        return self._address(nodeid)

    # --- what can happen to the cluster: see `votequorum_ipc.cluster.Cluster` ---

    def up(self, *nodeids: int, groups: Collection[Collection[int]] | None = None) -> None:
        """Start nodes; those that are up already stay as they are. With `groups`, `partition` first.

        Raises `Busy` when something else has a node's addresses; nothing has changed then.
        """
        unknown = set(nodeids) - set(self.config.nodeids)
        if unknown:
            raise ValueError(f"no such node: {', '.join(map(str, sorted(unknown)))}")
        starting: dict[int, _Listeners] = {}
        with contextlib.ExitStack() as undo:
            for nodeid in dict.fromkeys(nodeids):
                if nodeid not in self._served:
                    undo.callback(self._withdraw, starting.setdefault(nodeid, {}))
                    self._offer(nodeid, starting[nodeid])
            if groups is not None:
                self.partition(*groups)
            undo.pop_all()
        self._served |= starting
        self._engine.apply(self.model.up, *nodeids)

    def kill(self, *nodeids: int) -> None:
        """Crash nodes; those that are down already stay down. Their clients lose their connections."""
        self._engine.apply(self.model.kill, *nodeids)

    def leave(self, *nodeids: int) -> None:
        """Shut nodes down in order; those that are down already stay down."""
        self._engine.apply(self.model.leave, *nodeids)

    def partition(self, *groups: Collection[int]) -> None:
        """Cut the network: nodes hear those of their own group only. Nodes in no group form one more."""
        self._engine.apply(self.model.partition, *groups)

    def heal(self) -> None:
        """Repair the network: every node hears every other."""
        self._engine.apply(self.model.heal)

    def reform(self, *nodeids: int) -> None:
        """The partitions of these nodes form new rings of the same members."""
        self._engine.apply(self.model.reform, *nodeids)

    def reload(self, config: ClusterConfig) -> None:
        """Every node that is up reads a changed configuration. Raises as `Cluster.reload`."""
        self._engine.apply(self.model.reload, config)

    def cancel_wait_for_all(self, nodeid: int) -> None:
        """The operator tells the partition of a node to wait for all no longer."""
        self._engine.apply(self.model.cancel_wait_for_all, nodeid)

    def advance(self, seconds: float) -> None:
        """Let virtual time pass: what was due in it happens, in order."""
        self._engine.apply(self.model.advance, seconds)

    def settle(self) -> None:
        """Let virtual time pass until every multicast has arrived and nodes that shut down are gone."""
        self._engine.apply(self.model.settle)

    async def keep_time(self) -> None:
        """Let the cluster's time pass as the clock does, until cancelled."""
        await self._engine.keep_time()

    async def settled(self) -> None:
        """Wait, while another task runs `keep_time`, for what `settle` would let happen at once."""
        await self._engine.settled()

    # --- inside ---

    def _changed(self) -> None:
        """The model has changed: end the nodes that are gone, and let the services of the others look."""
        for nodeid in self._served.keys() - self.model.nodes.keys():
            self._withdraw(self._served.pop(nodeid))
        for nodeid, listeners in self._served.items():
            synchronises = self.model.is_synchronising(nodeid)
            for service, listener in listeners.items():
                paused = synchronises and service.waits_for_sync
                if service.paused != paused:
                    service.paused = paused
                    listener.wake()
                service.changed()

    def _offer(self, nodeid: int, listeners: _Listeners) -> None:
        """Listen for a node that is about to start. Raises as `Server.listen` does, with some listening."""
        for make in NODE_SERVICES:
            if make is VotequorumService and not self.config.provider:
                continue
            service = make(self._engine, nodeid, self.server.transport)
            listeners[service] = self.server.listen(service, self._address(nodeid))

    def _withdraw(self, listeners: _Listeners) -> None:
        for listener in listeners.values():
            self.server.withdraw(listener)

    def close(self) -> None:
        """Take all nodes from the clients' sight."""
        while self._served:
            self._withdraw(self._served.popitem()[1])


@contextlib.asynccontextmanager
async def open_simulation(
    config: ClusterConfig,
    *,
    address: AddressOf,
    transport: TransportName = "shm",
    access: AccessRule | None = None,
    latency: Latency | None = None,
) -> AsyncIterator[Simulation]:
    """A simulated cluster for as long as the block; its nodes are down at first: `simulation.up(1, 2, 3)`.

    `address` says where the services of a node are. `latency` is how long multicasts take; without it they
    arrive at once. Raises `ConfigurationError` where corosync would not
    start, and what fails in the block as it is.
    """
    async with open_server(transport=transport, access=access) as server:
        simulation = Simulation(server, config, address, latency)
        try:
            yield simulation
        finally:
            simulation.close()
