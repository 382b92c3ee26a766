"""libqb's client half by itself: `await connect(service)`, then `request` and `next_event`.

It works with any libqb service; messages are bytes, headers included. `handshake` sets up a connection, `shm`
and `datagram` are the two transports behind the interface in `transport`, `connection` shares a connection
among tasks, and `backend` has what all of them need from trio, asyncio, or a program without an event loop.
"""

from __future__ import annotations

from ..sockets import Address, sibling
from .connection import DEFAULT_MAX_MSG_SIZE, Connection, connect, let_servers_end, wait_for_any
from .exchange import MAX_UNREAD_EVENT_BYTES

__all__ = [
    "DEFAULT_MAX_MSG_SIZE",
    "MAX_UNREAD_EVENT_BYTES",
    "Address",
    "Connection",
    "connect",
    "let_servers_end",
    "sibling",
    "wait_for_any",
]
