"""libqb's client half by itself: `await connect(service)`, then `request` and `next_event`.

Any libqb service will do; messages are bytes here, headers included. `handshake` sets a connection up, `shm`
and `datagram` are the two transports behind the one interface in `transport`, `connection` shares one among
tasks, and `backend` is what all of them need of trio, asyncio, or a program without an event loop.
"""

from __future__ import annotations

from .address import Address, sibling
from .connection import DEFAULT_MAX_MSG_SIZE, Connection, connect, let_servers_end, wait_for_any
from .exchange import EVENT_LIMIT

__all__ = [
    "DEFAULT_MAX_MSG_SIZE",
    "EVENT_LIMIT",
    "Address",
    "Connection",
    "connect",
    "let_servers_end",
    "sibling",
    "wait_for_any",
]
