"""The server: any number of services at their addresses, in one nursery that ends with it.

async with open_server(transport="shm") as server:
    server.listen(MyService(), "@my-service")
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

import trio

from ..exception_groups import collapse_exception_group
from ..types import TransportName
from .admission import AccessRule, Admission
from .datagram import ServerDatagram
from .listener import Listener, MakeTransport
from .service import Service
from .shm import ServerShm

TRANSPORTS: dict[TransportName, MakeTransport] = {"shm": ServerShm, "socket": ServerDatagram}


class Server:
    """Made by `open_server`. No method waits: services come and go at once."""

    def __init__(self, nursery: trio.Nursery, transport: TransportName, access: AccessRule) -> None:
        """Not public: use `open_server`."""
        self.transport = transport
        self.admission = Admission(access)
        self._nursery = nursery
        self._listeners: list[Listener] = []

    def listen(self, service: Service, address: str | os.PathLike[str] | None = None) -> Listener:
        """Offer a service from now on. `address` is as a client's (`sockets.Address`): None for the service's
        own name, "@name", or a path; "{service}" in it stands for the service's name.

        Raises `Busy` when another server has the address, another `CsError` for an invalid address.
        """
        listener = Listener(service, address, self.admission, TRANSPORTS[self.transport])
        self._listeners.append(listener)
        self._nursery.start_soon(listener.run)
        return listener

    def withdraw(self, listener: Listener) -> None:
        """Withdraw a service, and end its connections."""
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
    access: AccessRule | None = None,
) -> AsyncIterator[Server]:
    """A server, at first without services, that runs during the block. The block's exceptions are raised
    unchanged.

    `access` says who may connect; by default root and the server's own user.
    """
    with collapse_exception_group():
        async with trio.open_nursery() as nursery:
            server = Server(nursery, transport, AccessRule.of() if access is None else access)
            try:
                yield server
            finally:
                server.close()
                nursery.cancel_scope.cancel()
