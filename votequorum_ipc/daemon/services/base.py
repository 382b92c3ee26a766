"""The common part of a node's services, and of those that the model implements."""

from __future__ import annotations

import abc
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final, Protocol

from ... import cluster
from ...types import QuorumEvent, RingId, TrackFlags, VotequorumEvent
from ...wire import Layout
from ..connection import ServerConnection
from ..engine import Engine
from ..network import SimulatedNetwork
from ..service import Handler, Service
from .clients import Clients
from .icmap import READ_ONLY, READ_ONLY_WITH_VOTEQUORUM, Icmap
from .keys import CmapKeys, Members, configured, runtime
from .knet import Links
from .stats import NodeStatistics

Notification = VotequorumEvent | QuorumEvent


class Operator(Protocol):
    """Changes of the cluster that a node's clients can ask for; `Simulation` carries them out."""

    network: SimulatedNetwork

    def kill(self, *nodeids: int) -> None:
        """Crash nodes."""

    def leave(self, *nodeids: int) -> None:
        """Shut nodes down."""

    def reload_from_file(self) -> None:
        """Every running node reads its file again. Raises ValueError or OSError if it cannot."""


class LocalNode:
    """What the services of one node share, from the node's start to its end."""

    def __init__(self, engine: Engine, nodeid: int, transport: str, operator: Operator) -> None:
        """`transport` is cmap's value of `system.qb_ipc_type`."""
        self.engine = engine
        self.nodeid = nodeid
        self.operator = operator
        self.clients = Clients()
        self.links = Links(nodeid, operator.network)
        self.statistics = NodeStatistics(lambda: engine.model.now, self.links, self.clients)
        self.icmap = Icmap(self._derive)
        self._transport = transport
        self._members = Members(self.config)
        self._read: cluster.ClusterConfig | None = None
        self._configured: CmapKeys = {}
        self._ring_id: RingId | None = None
        self._take_in_config()

    @property
    def config(self) -> cluster.ClusterConfig:
        """The configuration that is in force."""
        return self.engine.model.config

    def changed(self) -> None:
        """Something has changed in the cluster; the node is up. The services are informed after this."""
        self._take_in_config()
        model = self.engine.model
        node = model.node(self.nodeid)
        if self._ring_id != node.ring_id:
            self._ring_id = node.ring_id
            members = frozenset(node.members)
            self._members.update(members)
            self.links.update(model.now, members)
            self.statistics.update(members)
        self.icmap.outdate()

    def _take_in_config(self) -> None:
        if self._read is self.config:
            return
        self._read = self.config
        self._configured = configured(self.config, self.nodeid, self._transport)
        self._members.read(self.config)
        self.links.read(self.engine.model.now, self.config)
        self.statistics.read(self.config.nodeids)
        self.icmap.read_only = READ_ONLY
        if self.config.provider:
            self.icmap.read_only |= READ_ONLY_WITH_VOTEQUORUM

    def _derive(self) -> CmapKeys:
        values = self.engine.model.node(self.nodeid).runtime
        return self._configured | self._members.keys() | runtime(values)


class NodeService(Service):
    """A service of one node of a simulated cluster."""

    waits_for_sync: ClassVar[bool] = True
    """Whether it leaves requests unread while the node's membership changes (exec/ipc_glue.c)."""

    def __init__(self, local: LocalNode) -> None:
        self.local = local
        self.engine = local.engine
        self.nodeid = local.nodeid

    def connected(self, client: ServerConnection) -> None:
        self.local.clients.add(self.name, client)

    def disconnected(self, client: ServerConnection) -> None:
        self.local.clients.remove(client)

    @property
    def node(self) -> cluster.NodeModel:
        """The model of this node; `Library` while it is down."""
        return self.engine.model.node(self.nodeid)

    @property
    def config(self) -> cluster.ClusterConfig:
        """The configuration that is in force."""
        return self.engine.model.config

    def changed(self) -> None:
        """Something has changed in the cluster; the node is up."""


class ModelService(NodeService, abc.ABC):
    """A service that the model implements. This class only translates from and to bytes."""

    kind: ClassVar[cluster.ServiceKind]

    def __init__(self, local: LocalNode) -> None:
        super().__init__(local)
        self._conns: dict[ServerConnection, cluster.Conn] = {}

    def connected(self, client: ServerConnection) -> None:
        super().connected(client)
        self._conns[client] = self.engine.attach(self.nodeid, self.kind, partial(self._deliver, client))

    def disconnected(self, client: ServerConnection) -> None:
        super().disconnected(client)
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
    """The known flags of a request. An enumeration would keep each unknown number for ever."""
    return TrackFlags(number & _TRACK_FLAGS)


def ask(layout: Layout, translate: Callable[[Any], cluster.Request]) -> tuple[Layout, Handler]:
    """A row of such a service's table: translates a decoded request into the model's terms."""

    def handler(service: ModelService, client: ServerConnection, request: Any) -> None:
        service.ask(client, translate(request))

    return layout, handler
