"""The simulated cluster in a trio program's own loop.

Strategy: it is the embedded daemon (`votequorum_ipc.daemon`) under separate addresses, so that any number of
clusters run side by side, with clients that close with it. Time is virtual and passes in `advance` only: a
quorum device's timeout takes no time at all, and nothing happens that a test has not asked for.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal

import trio

from ..cluster import ClusterConfig, Latency, configuration
from ..daemon.admission import AccessRule
from ..daemon.server import Server, open_server
from ..daemon.simulation import Simulation
from ..handle import Handle
from ..ipc.backend import current
from ..quorum import Quorum
from ..types import TransportName
from ..votequorum import Votequorum

_numbers = itertools.count(1)


class SimulatedCluster(Simulation):
    """A running cluster, made by `simulated_cluster`.

    `up`, `kill`, `leave`, `partition`, `heal`, `reform` and `advance` take effect before they return: every
    client has its events, though it may not have read them. With a latency that takes time, which `settle`
    lets pass. What a program under test connects to is `address(node)`.
    """

    def __init__(self, server: Server, config: ClusterConfig, latency: Latency | None = None) -> None:
        """Not public: use `simulated_cluster`."""
        super().__init__(server, config, self.address, latency)
        self._prefix = f"@vqsim-{os.getpid()}-{next(_numbers)}"
        self._handles: list[Handle[Any]] = []

    def address(self, nodeid: int = 1) -> str:
        """Where a node's services are: for the `address` of any client, and for the command's option."""
        if nodeid not in self.config.nodeids:
            raise ValueError(f"no such node: {nodeid}")
        return f"{self._prefix}-{nodeid}-{{service}}"

    async def connect(self, node: int = 1, **callbacks: Any) -> Votequorum:
        """A handle on a node's votequorum service; finalized with the cluster, if not before.

        `callbacks` and what is raised are `Votequorum.initialize`'s: `Library` while the node is down.
        """
        handle = await Votequorum.initialize(address=self.address(node), **callbacks)
        self._handles.append(handle)
        return handle

    async def connect_quorum(self, node: int = 1, *, model: Literal[0, 1] = 1, **callbacks: Any) -> Quorum:
        """A handle on a node's quorum service; as `connect`, with `Quorum.initialize`'s arguments."""
        handle = await Quorum.initialize(address=self.address(node), model=model, **callbacks)
        self._handles.append(handle)
        return handle

    async def aclose(self) -> None:
        """End the handles that are still open, then the nodes."""
        with trio.CancelScope(shield=True):
            for handle in self._handles:
                await handle.connection.aclose()
        self.close()


@contextlib.asynccontextmanager
async def simulated_cluster(
    nodes: int | Iterable[int] = 3,
    *,
    config: ClusterConfig | None = None,
    transport: TransportName = "shm",
    access: AccessRule | None = None,
    latency: Latency | None = None,
    **options: Any,
) -> AsyncIterator[SimulatedCluster]:
    """A cluster whose nodes are all up, in one membership, for as long as the block.

    `nodes` is how many, or their ids. `options` are the quorum options of corosync.conf as `ClusterConfig`
    has them: `two_node=True`, `expected_votes=5`, `device=DeviceConfig(votes=1)`, and so on. Or else `config`
    has everything. `transport` is corosync's `system.qb_ipc_type`. Only root and this process's user may
    connect, unless `access` allows more. Raises `ConfigurationError` where corosync would not start with
    this, and `RuntimeError` under asyncio or without an event loop.

    Without a `latency` the nodes hear each other at once, which is kinder than corosync: there, a vote or a
    device's name is still the old one for some milliseconds after the call that changes it. `Latency(seed=1)`
    behaves like that. Virtual time must then pass for anything to arrive: `advance`, `settle`, `keep_time`.
    """
    if current().name != "trio":
        raise RuntimeError(
            "simulated_cluster runs in a trio program's loop: elsewhere, write "
            "`with simulated_cluster_in_thread(...) as cluster`"
        )
    if config is None:
        config = configuration(nodes, options)
    elif options:
        raise TypeError(f"config says it all: {', '.join(options)} cannot be given besides")
    async with open_server(transport=transport, access=access) as server:
        cluster = SimulatedCluster(server, config, latency)
        try:
            cluster.up(*config.nodeids)
            cluster.settle()
            yield cluster
        finally:
            await cluster.aclose()
