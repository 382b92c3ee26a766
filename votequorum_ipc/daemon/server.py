"""The server: any number of services at their addresses, in one nursery that ends with it.

async with open_server(transport="shm") as server:
    server.listen(MyService(), "@my-service")
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Literal

import trio

from ..groups import unwrapped
from .access import Access
from .datagram import DatagramTransport
from .listener import Listener, MakeTransport
from .service import Service
from .shm import ShmTransport

TransportName = Literal["shm", "socket"]
"""As corosync.conf calls them, in `system.qb_ipc_type`."""

TRANSPORTS: dict[TransportName, MakeTransport] = {"shm": ShmTransport, "socket": DatagramTransport}


class Server:
    """Made by `open_server`. Nothing of it waits: services come and go at once."""

    def __init__(self, nursery: trio.Nursery, transport: TransportName, access: Access) -> None:
        """Not public: use `open_server`."""
        self.transport = transport
        self.access = access
        self.ready = True
        """While False, clients are told to try again, as by a corosync that starts."""
        self.connections = 0
        """How many clients are connected, over all services."""
        self.make_transport = TRANSPORTS[transport]
        self._nursery = nursery
        self._listeners: list[Listener] = []

    def listen(self, service: Service, address: str | os.PathLike[str] | None = None) -> Listener:
        """Offer a service from now on. `address` is as a client's (`votequorum_ipc.ipc.address`): None for
        the service's own name, "@name", or a path; "{service}" in it stands for the service's name.

        Raises `Busy` when another server is there, other `CsError` for an address that is none.
        """
        listener = Listener(self, service, address)
        self._listeners.append(listener)
        self._nursery.start_soon(listener.run)
        return listener

    def withdraw(self, listener: Listener) -> None:
        """Offer a service no longer, and end its connections."""
        self._listeners.remove(listener)
        listener.close()

    def close(self) -> None:
        """Withdraw all services."""
        while self._listeners:
            self.withdraw(self._listeners[-1])


@contextlib.asynccontextmanager
async def open_server(
    *,
    transport: TransportName = "shm",
    access: Access | None = None,
) -> AsyncIterator[Server]:
    """A server without services yet, for as long as the block. What fails in the block is raised as it is.

    `access` says who may connect; root and the own user if left out.
    """
    with unwrapped():
        async with trio.open_nursery() as nursery:
            server = Server(nursery, transport, Access.of() if access is None else access)
            try:
                yield server
            finally:
                server.close()
                nursery.cancel_scope.cancel()
