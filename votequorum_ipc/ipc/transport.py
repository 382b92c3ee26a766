"""What a connection needs from any transport. No transport waits.

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
"""The flow control level at which libqb's client refuses to send (its `fc_enable_max`). At level 2, which
corosync sets while it synchronises, requests are sent and wait in the ring."""


ENDED: Final = "corosync was stopped or died: its log says which; start it, then connect again"
"""What the loss of a connection's other end means, and what to do."""


class Transport(Protocol):
    """Moves one connection's messages."""

    @property
    def name(self) -> TransportName:
        """Its name in corosync.conf, under `system.qb_ipc_type`."""

    @property
    def response_room(self) -> int:
        """How much room there is for the responses to all unanswered requests."""

    @property
    def max_unanswered(self) -> int:
        """How many requests may be unanswered now."""

    @property
    def event_socket(self) -> socket.socket:
        """The socket that is readable while an event waits."""

    def check_lengths(self) -> None:
        """Raises `MessageError` if a shared file was truncated, so that an access would raise SIGBUS."""

    def cost(self, response_size: int) -> int:
        """How much of `response_room` a response of this many bytes takes."""

    def flow_control(self) -> int:
        """The server's flow control level. Raises `Library` if the server has unmapped its end."""

    def send(self, messages: Sequence[bytes]) -> int:
        """Send as many of the requests as there is room for, and return their number."""

    def expect_no_answer(self) -> None:
        """Called after `send`: the next of the requests just sent will not be answered."""

    def receive(self) -> bytes | None:
        """The next response, if one has arrived."""

    def receive_event(self) -> bytes | None:
        """The next event, if one has arrived."""

    def settle_doorbells(self) -> None:
        """Send and receive the bytes that are due on the setup socket."""

    def answered_later(self) -> bool:
        """Whether the server has read the byte of every request, so that no edge will announce a response."""

    def hang_up(self) -> None:
        """Tell the server that this connection is over, without freeing anything yet."""

    def close(self, *, server_gone: bool) -> None:
        """Free everything but the setup socket; remove the files of a server that died."""

    def disown(self) -> None:
        """In a child after a fork: free what this process holds, and leave everything shared alone."""


def hang_up(setup_socket: socket.socket) -> None:
    """Shut down a setup socket without closing it."""
    with contextlib.suppress(OSError):
        setup_socket.shutdown(socket.SHUT_RDWR)
