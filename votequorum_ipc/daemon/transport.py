"""What a served connection needs from any transport. No transport waits.

Strategy: as at the client's end, every method returns at once, and all waiting is for edges of one epoll
descriptor. An edge says "look again". A transport registers its sockets there. It watches for room to write
only while something waits for room; otherwise every message that a client takes would wake us.
"""

from __future__ import annotations

import select
from typing import Final, Protocol

ARRIVALS: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
ROOM: Final = select.EPOLLOUT
HANG_UP: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

STRAY_BYTES: Final = 64
"""How many bytes on the setup socket that belong to no request are discarded at a time."""


class ServerTransport(Protocol):
    """One client's way to and from the server."""

    @property
    def connection_type(self) -> int:
        """How the setup response names this kind (wire.setup.TRANSPORT_*)."""

    @property
    def max_msg_size(self) -> int:
        """The largest message in either direction, in bytes."""

    def names(self) -> dict[str, str]:
        """Where the client must connect: the fields request, response and event of the setup response."""

    def register(self, epoll: select.epoll) -> None:
        """Watch for arrivals."""

    def watch_room(self, epoll: select.epoll, wanted: bool) -> None:
        """Watch for room to write, or stop watching."""

    def check(self) -> None:
        """Raises `MessageError` if the client has broken the shared memory."""

    def receive(self) -> bytes | None:
        """The next request, if one has arrived. Raises `MessageError` for anything that cannot be a
        request."""

    def respond(self, message: bytes) -> bool:
        """Send a response; False when there is no room now. Raises `Library` when the client is gone."""

    def notify(self, message: bytes) -> bool:
        """Send an event; False when there is no room now. Raises `Library` when the client is gone."""

    def settle(self, answered: int) -> bool:
        """Take and send the doorbells that are due after `answered` requests. Returns whether to look again
        at once.

        Raises `Library` when the client is gone.
        """

    def discard(self) -> bool:
        """Discard bytes that arrived without a request. Returns whether there were any. Raises as `settle`
        does."""

    def needs_room(self) -> bool:
        """Whether a doorbell waits for room."""

    def must_poll(self, *, response: bool) -> bool:
        """Whether no edge will announce room for the message that waits: a response, or else an event."""

    def set_flow_control(self, level: int) -> None:
        """Tell the client whether its requests are read."""

    def close(self) -> None:
        """Free everything, including the client's directory, except the setup socket."""
