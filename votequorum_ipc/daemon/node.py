"""A node that is up: its services at their addresses, and what they may know of the node."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from .. import cluster
from .listener import Listener
from .service import Client
from .services import SERVICES, ModelService, NodeService

if TYPE_CHECKING:
    from .simulation import Simulation


class ServedNode:
    """A node's end towards its clients, from its start to its end. See `services.NodeView`."""

    def __init__(self, simulation: Simulation, nodeid: int, address: str | None) -> None:
        """Listen at once, though the model need not have the node up yet. Raises as `Server.listen` does."""
        self.nodeid = nodeid
        self.config = simulation.config
        self.transport = simulation.server.transport
        self._simulation = simulation
        self._services: dict[NodeService, Listener] = {}
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            for make in SERVICES:
                service = make(self)
                self._services[service] = simulation.server.listen(service, address)
            undo.pop_all()

    @property
    def runtime(self) -> dict[str, cluster.RuntimeValue]:
        return self._simulation.model.node(self.nodeid).runtime

    @property
    def members(self) -> tuple[int, ...]:
        return self._simulation.model.node(self.nodeid).members

    def reaches(self, nodeid: int) -> bool:
        return any({self.nodeid, nodeid} <= set(group) for group in self._simulation.model.partitions())

    def cancel_wait_for_all(self) -> None:
        self._simulation.cancel_wait_for_all(self.nodeid)

    def attach(self, client: Client, service: ModelService) -> None:
        self._simulation.attach(self.nodeid, client, service)

    def detach(self, client: Client) -> None:
        self._simulation.detach(client)

    def ask(self, client: Client, request: cluster.Request) -> None:
        self._simulation.ask(client, request)

    def changed(self) -> None:
        """Something has happened in the cluster."""
        synchronises = self._simulation.model.is_synchronising(self.nodeid)
        for service, listener in self._services.items():
            paused = synchronises and service.waits_for_sync
            if service.paused != paused:
                service.paused = paused
                listener.wake()
            service.changed()

    def close(self) -> None:
        """Go from the clients' sight at once."""
        for listener in self._services.values():
            self._simulation.server.withdraw(listener)
        self._services.clear()
