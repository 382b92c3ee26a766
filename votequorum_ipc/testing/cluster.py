"""The simulated cluster in a trio program's own loop.

Strategy: this is the embedded daemon (`votequorum_ipc.daemon`) at separate addresses, so that any number of
clusters can run side by side, with clients that close with it. Time is virtual and passes only in `advance`:
a quorum device's timeout takes no real time, and nothing happens that the test has not asked for.
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
    lets pass. A program under test connects to `address(node)`.
    """

    def __init__(self, server: Server, config: ClusterConfig, latency: Latency | None = None) -> None:
        """Not public: use `simulated_cluster`."""
        super().__init__(server, config, self.address, latency)
        self._prefix = f"@vqsim-{os.getpid()}-{next(_numbers)}"
        self._handles: list[Handle[Any]] = []

    def address(self, nodeid: int = 1) -> str:
        """The address of a node's services, for any client's `address` and for the command's option."""
        if nodeid not in self.config.nodeids:
            raise ValueError(f"no such node: {nodeid}")
        return f"{self._prefix}-{nodeid}-{{service}}"

    async def connect(self, node: int = 1, **callbacks: Any) -> Votequorum:
        """A handle on a node's votequorum service; finalized at the latest with the cluster.

        Callbacks and errors are `Votequorum.initialize`'s: `Library` while the node is down.
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
    """A cluster that runs during the block; all nodes are up at first, in one membership.

    `nodes` is the number of nodes, or their ids. `options` are `ClusterConfig`'s fields, the quorum options
    of corosync.conf: `two_node=True`, `expected_votes=5`, `device=DeviceConfig(votes=1)`, and so on.
    Alternatively, `config` has everything. `transport` is corosync's `system.qb_ipc_type`. Only root and this
    process's user may connect, unless `access` allows more. Raises `ConfigurationError` if corosync would not
    start with this, and `RuntimeError` under asyncio or without an event loop.

    Without a `latency` the nodes hear each other at once, which is kinder than corosync: there, a call that
    changes a vote or a device's name takes effect some milliseconds later. `Latency(seed=1)` behaves like
    that. Virtual time must then pass for anything to arrive: `advance`, `settle`, `keep_time`.
    """
    if current().name != "trio":
        raise RuntimeError(
            "simulated_cluster runs in a trio program's loop: elsewhere, write "
            "`with simulated_cluster_in_thread(...) as cluster`"
        )
    if config is None:
        config = configuration(nodes, options)
    elif options:
        raise TypeError(f"config cannot be combined with {', '.join(options)}")
    async with open_server(transport=transport, access=access) as server:
        cluster = SimulatedCluster(server, config, latency)
        try:
            cluster.up(*config.nodeids)
            cluster.settle()
            yield cluster
        finally:
            await cluster.aclose()
