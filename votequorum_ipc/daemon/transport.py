"""What a served connection needs of a transport, whichever it is. Nothing here or below it waits.

Strategy: as at the client's end, every method returns at once, and all waiting is for edges of one epoll
descriptor. An edge says "look again". A transport registers its sockets there. It asks for room to write only
while something waits for room; otherwise every message that a client takes would wake us.
"""

from __future__ import annotations

import select
from typing import Final, Protocol

ARRIVALS: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
ROOM: Final = select.EPOLLOUT
HANG_UP: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

STRAY_BYTES: Final = 64
"""Bytes on the setup socket that belong to no request, thrown away at a time."""


class ServerTransport(Protocol):
    """One client's way to and from the server."""

    @property
    def connection_type(self) -> int:
        """How the setup response names this kind (wire.setup.TRANSPORT_*)."""

    @property
    def max_msg_size(self) -> int:
        """Bytes of the largest message either way."""

    def names(self) -> dict[str, str]:
        """What the setup response tells of where to connect: its fields request, response and event."""

    def register(self, epoll: select.epoll) -> None:
        """Have arrivals noticed."""

    def watch_room(self, epoll: select.epoll, wanted: bool) -> None:
        """Have room to write noticed, or no longer."""

    def check(self) -> None:
        """Raises `MessageError` if the client has broken the shared memory."""

    def receive(self) -> bytes | None:
        """The next request, if one is here. Raises `MessageError` for anything that cannot be a request."""

    def respond(self, message: bytes) -> bool:
        """Send a response; False when there is no room now. Raises `Library` when the client is gone."""

    def notify(self, message: bytes) -> bool:
        """Send an event; False when there is no room now. Raises `Library` when the client is gone."""

    def settle(self, answered: int) -> bool:
        """Take and send the doorbells that are due after `answered` requests; whether to look again at once.

        Raises `Library` when the client is gone.
        """

    def discard(self) -> bool:
        """Throw away bytes that arrived without a request; whether there were any. Raises as `settle`
        does."""

    def needs_room(self) -> bool:
        """Whether a doorbell waits for room."""

    def must_poll(self, *, response: bool) -> bool:
        """Whether no edge will announce room for the message that waits: a response, or else an event."""

    def set_flow_control(self, level: int) -> None:
        """Tell the client whether its requests are read."""

    def close(self) -> None:
        """Free everything but the setup socket, the client's directory included."""
