"""Limits for one client and for all clients together. A client that exceeds one is refused or dropped."""

from __future__ import annotations

from typing import Final

LEAST_GRANTED_MSG_SIZE: Final = 8192
"""The least message size in bytes that every client is granted (corosync's IPC_MSG_SIZE)."""

MOST_GRANTED_MSG_SIZE: Final = 1 << 20
"""The largest message size in bytes that a client is granted: the size that corosync's C libraries ask for.
With shared memory a connection takes three times as much."""

MAX_CONNECTIONS: Final = 512
"""Most clients of one server, over all its services. The next one is refused with EMFILE."""

MAX_HANDSHAKES: Final = 64
"""Most clients of one listener that have connected and sent no request yet. One more drops the oldest."""

HANDSHAKE_SECONDS: Final = 10.0
"""How many seconds a client has to send its connection request."""

MAX_BATCH: Final = 50
"""Most requests of one client that are answered before the others have their turn (libqb's MAX_RECV_MSGS),
and most messages from strangers to its socket that are discarded in a turn."""

MAX_OUTBOX_BYTES: Final = 1 << 20
"""Most bytes of events that wait for one client to make room. A client that leaves more unread is dropped."""

MAX_HANDLES: Final = 256
"""Most iterators, and most trackers, of one cmap client. The next one is refused with NO_RESOURCES."""

BACKLOG: Final = 128
"""Most connections that the kernel holds until they are accepted."""

MAX_ADDED_KEYS: Final = 10_000
"""Most keys that cmap clients may add to a node's keys. The next one is refused with NO_MEMORY."""
