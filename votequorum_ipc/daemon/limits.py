"""What one client, and all clients together, may use. A client that exceeds a limit is refused or dropped."""

from __future__ import annotations

from typing import Final

MIN_MAX_MSG_SIZE: Final = 8192
"""Bytes of a message that every client may send, whatever it asks for (corosync's IPC_MSG_SIZE)."""

MAX_MAX_MSG_SIZE: Final = 1 << 20
"""Bytes of the largest message that a client gets when it asks for more: what corosync's C libraries ask for.
With shared memory a connection holds three times as much."""

MAX_CONNECTIONS: Final = 512
"""Clients of one server, over all its services. The next one is refused with EMFILE."""

MAX_HANDSHAKES: Final = 64
"""Clients of one listener that have connected and sent no request yet. One more drops the oldest."""

HANDSHAKE_SECONDS: Final = 10.0
"""Seconds that a client has to send its connection request."""

MAX_BATCH: Final = 50
"""Requests of one client that are answered before the others have their turn (libqb's MAX_RECV_MSGS); and
messages of strangers to one client's socket that are thrown away before that."""

MAX_QUEUED_BYTES: Final = 1 << 20
"""Bytes of events that wait for one client to make room. A client that lets more gather is dropped."""

MAX_HANDLES: Final = 256
"""Iterators, and trackers, of one client of cmap. The next one is refused with NO_RESOURCES."""

BACKLOG: Final = 128
"""Connections that the kernel holds until they are accepted."""

MAX_KEYS: Final = 10_000
"""Keys that clients of cmap may add to a node's. The next one is refused with NO_MEMORY."""
