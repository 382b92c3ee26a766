"""A service for tests of the client, in a separate thread, so that any loop can use it."""

from __future__ import annotations

import contextlib
import queue
import secrets
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import trio

from votequorum_ipc.daemon import ServerConnection, Service, TransportName, open_server
from votequorum_ipc.wire import message_id

AT_ONCE, LATER, EVENT, SILENT = 1, 2, 3, 4


def request(id_: int, number: int = 0) -> bytes:
    """A request that contains a number."""
    return struct.pack("=i4xi4xi4x", id_, 24, number)


def response(id_: int, number: int = 0) -> bytes:
    """A response or event that contains a number; its error is OK."""
    return struct.pack("=i4xi4xi4xi4x", id_, 32, 1, number)


def number_in(message: bytes) -> int:
    """The number in a request, a response or an event."""
    return int(struct.unpack("=i4x", message[-8:])[0])


class Held(Service):
    """Answers `AT_ONCE` at once, `LATER` on command, and `SILENT` never; every answer has the request's
    number.
    """

    name = "held"

    def __init__(self) -> None:
        self.clients: list[ServerConnection] = []
        self.held: list[tuple[ServerConnection, int]] = []
        self.came: list[tuple[int, int]] = []

    def connected(self, client: ServerConnection) -> None:
        """Record a new client."""
        self.clients.append(client)

    def disconnected(self, client: ServerConnection) -> None:
        """Forget a client."""
        self.clients.remove(client)

    def process(self, client: ServerConnection, message: bytes) -> None:
        """Answer, or hold."""
        id_, number = message_id(message), number_in(message)
        self.came.append((id_, number))
        if id_ == LATER:
            self.held.append((client, number))
        elif id_ == AT_ONCE:
            client.respond(response(AT_ONCE, number))

    def answer(self) -> None:
        """Answer the oldest waiting `LATER`."""
        client, number = self.held.pop(0)
        client.respond(response(LATER, number))

    def announce(self, count: int = 1) -> None:
        """Send this many events to every client, numbered from 0."""
        for number in range(count):
            for client in self.clients:
                client.notify(response(EVENT, number))


class Elsewhere:
    """The service, its address, and a way to call functions in its thread."""

    def __init__(self, service: Held, address: str, token: trio.lowlevel.TrioToken) -> None:
        self.service = service
        self.address = address
        self._token = token

    def do(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in the service's thread, and return its result."""
        results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._token.run_sync_soon(lambda: results.put(function(*args)))
        return results.get()

    def soon(self, function: Callable[[], Any]) -> None:
        """Call a function in the service's thread without waiting."""
        self._token.run_sync_soon(function)


@contextlib.contextmanager
def serving_in_thread(
    service: Service, address: str, transport: TransportName = "shm"
) -> Iterator[trio.lowlevel.TrioToken]:
    """A service in another thread; yields the token for calling functions there."""
    box: dict[str, Any] = {}
    ready = threading.Event()

    async def main() -> None:
        async with open_server(transport=transport) as server:
            server.listen(service, address)
            box.update(token=trio.lowlevel.current_trio_token(), stop=trio.Event())
            ready.set()
            await box["stop"].wait()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    ready.wait()
    try:
        yield box["token"]
    finally:
        box["token"].run_sync_soon(box["stop"].set)
        thread.join()


@contextlib.contextmanager
def served_elsewhere(transport: TransportName) -> Iterator[Elsewhere]:
    """`Held` in another thread."""
    service, address = Held(), f"@held-{secrets.token_hex(8)}"
    with serving_in_thread(service, address, transport) as token:
        yield Elsewhere(service, address, token)
