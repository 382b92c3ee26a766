"""What a connection needs of a transport, whichever it is. Nothing here or below it waits.

Strategy: every method returns at once. A task waits only on the connection's epoll descriptor, in which a
transport registers its sockets edge-triggered. An edge says "look again", and the waiting task looks at
everything. So a response in shared memory can wake a task, though the server sends no byte for it.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Sequence
from typing import Final, Protocol

from ..types import TransportName

EDGES: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

FLOW_CONTROL_TRY_AGAIN: Final = 1
"""The flow control level at which libqb's client refuses to send (its `fc_enable_max`). At 2, which corosync
sets while it synchronises, requests are sent and wait in the ring."""


ENDED: Final = "corosync was stopped, or died, which its log tells; start it, then connect again"
"""What it means that the other end of a connection is gone, and what to do."""


class Transport(Protocol):
    """One connection's way to move messages."""

    @property
    def name(self) -> TransportName:
        """How corosync.conf calls it, in `system.qb_ipc_type`."""

    @property
    def response_room(self) -> int:
        """What the responses to all unanswered requests may cost together."""

    @property
    def max_unanswered(self) -> int:
        """How many requests may be unanswered at present."""

    @property
    def event_socket(self) -> socket.socket:
        """The socket that is readable while an event waits."""

    def check_lengths(self) -> None:
        """Raises `MessageError` if a shared file was truncated, so that touching it would be a SIGBUS."""

    def cost(self, response_size: int) -> int:
        """What a response of this many bytes takes of `response_room`."""

    def flow_control(self) -> int:
        """The server's flow control level. Raises `Library` if the server has unmapped its end."""

    def send(self, messages: Sequence[bytes]) -> int:
        """Send as many of the requests as there is room for; return how many that was."""

    def expect_no_answer(self) -> None:
        """The first of the requests sent last, not counted so far, will not be answered."""

    def receive(self) -> bytes | None:
        """The next response, if one is here."""

    def receive_event(self) -> bytes | None:
        """The next event, if one is here."""

    def settle_doorbells(self) -> None:
        """Send and take the setup socket's bytes that are due."""

    def answered_later(self) -> bool:
        """Whether the server is done with every request's wake-up, so that none will come for a response."""

    def hang_up(self) -> None:
        """Let the server know that this connection is over; nothing is freed yet."""

    def close(self, *, server_gone: bool) -> None:
        """Free everything but the setup socket; remove the files of a server that died."""

    def disown(self) -> None:
        """Free what this process holds, and touch nothing that others see: after a fork, in the child."""


def hang_up(setup_socket: socket.socket) -> None:
    """End the conversation on a setup socket, which stays open."""
    with contextlib.suppress(OSError):
        setup_socket.shutdown(socket.SHUT_RDWR)
