"""What a service knows of its node, and what the services of the cluster's model have in common."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from ... import cluster
from ...types import QuorumEvent, VotequorumEvent
from ...wire import Layout
from ..service import Client, Handler, Service

Event = VotequorumEvent | QuorumEvent


class NodeView(Protocol):
    """A node of a simulated cluster, as its services see it."""

    @property
    def nodeid(self) -> int:
        """Its id."""

    @property
    def config(self) -> cluster.ClusterConfig:
        """The configuration, which is the whole cluster's."""

    @property
    def transport(self) -> str:
        """What `system.qb_ipc_type` is."""

    @property
    def runtime(self) -> dict[str, cluster.RuntimeValue]:
        """The cmap keys below `runtime.votequorum.`."""

    @property
    def members(self) -> tuple[int, ...]:
        """The nodes of its membership."""

    def reaches(self, nodeid: int) -> bool:
        """Whether the network carries messages between this node and another that is up."""

    def cancel_wait_for_all(self) -> None:
        """The operator's order to wait no longer."""

    def attach(self, client: Client, service: ModelService) -> None:
        """Make a client known to the model."""

    def detach(self, client: Client) -> None:
        """Make the model forget a client."""

    def ask(self, client: Client, request: cluster.Request) -> None:
        """Put a client's request to the model; the answer goes to the client, now or later."""


class NodeService(Service):
    """A service of a node."""

    def __init__(self, node: NodeView) -> None:
        self.node = node

    waits_for_sync: ClassVar[bool] = True
    """Whether it leaves requests unread while the node's membership changes (exec/ipc_glue.c)."""

    def changed(self) -> None:
        """Something has happened in the cluster; the node is up."""


class ModelService(NodeService, abc.ABC):
    """A service that the model implements: here is only the translation from and to bytes."""

    kind: ClassVar[cluster.Service]

    def connected(self, client: Client) -> None:
        self.node.attach(client, self)

    def disconnected(self, client: Client) -> None:
        self.node.detach(client)

    @abc.abstractmethod
    def encode_response(self, response: cluster.Response) -> bytes:
        """The bytes of an answer of the model's."""

    @abc.abstractmethod
    def encode_event(self, event: Event) -> bytes:
        """The bytes of an event of the model's."""


def ask(layout: Layout, translate: Callable[[Any], cluster.Request]) -> tuple[Layout, Handler]:
    """A row of such a service's table: how a decoded request reads in the model's terms."""

    def handler(service: ModelService, client: Client, request: Any) -> None:
        service.node.ask(client, translate(request))

    return layout, handler
