"""A simulated cluster with real IPC: the model of a cluster, and a server on which each node is offered.

Strategy: whatever happens to the cluster goes through one function, which hands the model's outputs to the
clients before it returns. So `partition` has delivered its events when it returns, and nothing of the
simulation runs by itself: time passes when `advance` says so, or, with `keep_time`, by the clock.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import ParamSpec

import trio

from ..cluster import (
    Cluster,
    ClusterConfig,
    Conn,
    ConnectionClosed,
    GetInfo,
    GetQuorate,
    GetType,
    ModelGetType,
    Output,
    Outputs,
    Request,
    Response,
)
from .access import Access
from .node import ServedNode
from .server import Server, TransportName, open_server
from .service import Client
from .services import ModelService

P = ParamSpec("P")

_READS = (GetInfo, GetQuorate, GetType, ModelGetType)
"""Requests that change nothing anybody else can see."""

AddressOf = Callable[[int], str | None]
"""Where a node's services are: an address with "{service}" in it, or None for their well-known names."""


class Simulation:
    """Made by `open_simulation`. What changes the cluster is a plain function and takes effect at once."""

    def __init__(self, server: Server, config: ClusterConfig, address: AddressOf) -> None:
        """Not public: use `open_simulation`."""
        self.server = server
        self.config = config
        self.model = Cluster(config)
        """The cluster itself, to look at. Change it through the simulation only."""
        self._address = address
        self._served: dict[int, ServedNode] = {}
        self._clients: dict[Conn, tuple[Client, ModelService]] = {}
        self._conns: dict[Client, Conn] = {}
        self._happened = trio.Event()
        self._kept_since: float | None = None
        """When the clock was last looked at; None while nobody keeps time."""

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
        starting: dict[int, ServedNode] = {}
        with contextlib.ExitStack() as undo:
            for nodeid in dict.fromkeys(nodeids):
                if nodeid not in self._served:
                    starting[nodeid] = ServedNode(self, nodeid, self._address(nodeid))
                    undo.callback(starting[nodeid].close)
            if groups is not None:
                self.partition(*groups)
            undo.pop_all()
        self._served |= starting
        self._happen(self.model.up, *nodeids)

    def kill(self, *nodeids: int) -> None:
        """Crash nodes; those that are down already stay down. Their clients lose their connections."""
        self._happen(self.model.kill, *nodeids)

    def leave(self, *nodeids: int) -> None:
        """Shut nodes down in order; those that are down already stay down."""
        self._happen(self.model.leave, *nodeids)

    def partition(self, *groups: Collection[int]) -> None:
        """Cut the network: nodes hear those of their own group only. Nodes in no group form one more."""
        self._happen(self.model.partition, *groups)

    def heal(self) -> None:
        """Repair the network: every node hears every other."""
        self._happen(self.model.heal)

    def reform(self, *nodeids: int) -> None:
        """The partitions of these nodes form new rings of the same members."""
        self._happen(self.model.reform, *nodeids)

    def cancel_wait_for_all(self, nodeid: int) -> None:
        """The operator tells the partition of a node to wait for all no longer."""
        self._happen(self.model.cancel_wait_for_all, nodeid)

    def advance(self, seconds: float) -> None:
        """Let virtual time pass: what was due in it happens, in order."""
        self._happen(self.model.advance, seconds)

    async def keep_time(self) -> None:
        """Let the cluster's time pass as the clock does, until cancelled."""
        self._kept_since = trio.current_time()
        try:
            while True:
                deadline = self.model.next_deadline()
                self._happened = trio.Event()
                with trio.move_on_after(float("inf") if deadline is None else deadline - self.model.now):
                    await self._happened.wait()
                self.advance(0)
        finally:
            self._kept_since = None

    # --- what clients do ---

    def attach(self, nodeid: int, client: Client, service: ModelService) -> None:
        """A client has connected to a service that the model has."""
        conn = self.model.connect(nodeid, service.kind)
        self._clients[conn] = client, service
        self._conns[client] = conn

    def detach(self, client: Client) -> None:
        """A client is gone."""
        conn = self._conns.pop(client, None)
        if conn is not None:
            del self._clients[conn]
            self.model.disconnect(conn)

    def ask(self, client: Client, request: Request) -> None:
        """A client asks."""
        conn = self._conns[client]
        if isinstance(request, _READS):
            self._catch_up()
            self._deliver(self.model.request(conn, request))
        else:
            self._happen(self.model.request, conn, request)

    # --- inside ---

    def _happen(self, change: Callable[P, Outputs], *args: P.args, **kwargs: P.kwargs) -> None:
        self._catch_up()
        self._deliver(change(*args, **kwargs))
        for nodeid in self._served.keys() - self.model.nodes.keys():
            self._served.pop(nodeid).close()
        for node in self._served.values():
            node.changed()
        self._happened.set()

    def _catch_up(self) -> None:
        """With `keep_time`, let the time pass that has passed since the last input."""
        if self._kept_since is not None:
            now = trio.current_time()
            passed, self._kept_since = now - self._kept_since, now
            self._deliver(self.model.advance(passed))

    def _deliver(self, outputs: Outputs) -> None:
        for conn, output in outputs:
            self._deliver_one(conn, output)

    def _deliver_one(self, conn: Conn, output: Output) -> None:
        client, service = self._clients.get(conn, (None, None))
        if client is None or service is None:
            return
        if isinstance(output, ConnectionClosed):
            client.close()
        elif isinstance(output, Response):
            client.respond(service.encode_response(output))
        else:
            client.notify(service.encode_event(output))

    def close(self) -> None:
        """Take all nodes from the clients' sight."""
        while self._served:
            self._served.popitem()[1].close()


@contextlib.asynccontextmanager
async def open_simulation(
    config: ClusterConfig,
    *,
    address: AddressOf,
    transport: TransportName = "shm",
    access: Access | None = None,
) -> AsyncIterator[Simulation]:
    """A simulated cluster for as long as the block; its nodes are down at first: `simulation.up(1, 2, 3)`.

    `address` says where the services of a node are. Raises `ConfigurationError` where corosync would not
    start, and what fails in the block as it is.
    """
    async with open_server(transport=transport, access=access) as server:
        simulation = Simulation(server, config, address)
        try:
            yield simulation
        finally:
            simulation.close()
