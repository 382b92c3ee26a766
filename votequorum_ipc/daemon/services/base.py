"""What the services of a node have in common, and what those have in common that the model implements."""

from __future__ import annotations

import abc
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final

from ... import cluster
from ...types import QuorumEvent, TrackFlags, VotequorumEvent
from ...wire import Layout
from ..connection import ServerConnection
from ..engine import Engine
from ..service import Handler, Service

Notification = VotequorumEvent | QuorumEvent


class NodeService(Service):
    """A service of one node of a simulated cluster."""

    waits_for_sync: ClassVar[bool] = True
    """Whether it leaves requests unread while the node's membership changes (exec/ipc_glue.c)."""

    def __init__(self, engine: Engine, nodeid: int, transport: str) -> None:
        """`transport` is what cmap says of `system.qb_ipc_type`."""
        self.engine = engine
        self.nodeid = nodeid
        self.transport = transport

    @property
    def node(self) -> cluster.NodeModel:
        """The model of this node; `Library` while it is down."""
        return self.engine.model.node(self.nodeid)

    @property
    def config(self) -> cluster.ClusterConfig:
        """The configuration that is in force."""
        return self.engine.model.config

    def reaches(self, nodeid: int) -> bool:
        """Whether the network carries messages between this node and another that is up."""
        return any({self.nodeid, nodeid} <= set(group) for group in self.engine.model.partitions())

    def changed(self) -> None:
        """Something has changed in the cluster; the node is up."""


class ModelService(NodeService, abc.ABC):
    """A service that the model implements. Here it is only translated from and to bytes."""

    kind: ClassVar[cluster.ServiceKind]

    def __init__(self, engine: Engine, nodeid: int, transport: str) -> None:
        super().__init__(engine, nodeid, transport)
        self._conns: dict[ServerConnection, cluster.Conn] = {}

    def connected(self, client: ServerConnection) -> None:
        self._conns[client] = self.engine.attach(self.nodeid, self.kind, partial(self._deliver, client))

    def disconnected(self, client: ServerConnection) -> None:
        conn = self._conns.pop(client, None)
        if conn is not None:
            self.engine.detach(conn)

    def ask(self, client: ServerConnection, request: cluster.Request) -> None:
        """Put a client's request to the model."""
        self.engine.ask(self._conns[client], request)

    def _deliver(self, client: ServerConnection, output: cluster.Output) -> None:
        if isinstance(output, cluster.ConnectionClosed):
            client.close()
        elif isinstance(output, cluster.Response):
            client.respond(self.encode_response(output))
        else:
            client.notify(self.encode_event(output))

    @abc.abstractmethod
    def encode_response(self, response: cluster.Response) -> bytes:
        """The bytes of one of the model's responses."""

    @abc.abstractmethod
    def encode_event(self, event: Notification) -> bytes:
        """The bytes of one of the model's events."""


_TRACK_FLAGS: Final = int(TrackFlags.CURRENT | TrackFlags.CHANGES | TrackFlags.CHANGES_ONLY)


def track_flags(number: int) -> TrackFlags:
    """The flags of a request that mean something. An enumeration would keep each unknown number for ever."""
    return TrackFlags(number & _TRACK_FLAGS)


def ask(layout: Layout, translate: Callable[[Any], cluster.Request]) -> tuple[Layout, Handler]:
    """A row of such a service's table: what a decoded request is in the model's terms."""

    def handler(service: ModelService, client: ServerConnection, request: Any) -> None:
        service.ask(client, translate(request))

    return layout, handler
