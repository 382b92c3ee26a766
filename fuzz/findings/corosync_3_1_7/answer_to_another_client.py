"""A client counts requests that it does not send, and leaves: its answer goes to the client that comes next.

Class: a response for one client is delivered to another, in front of the answer to its connection request,
so that it is refused. It looks as if the daemon writes to the number of a descriptor that was closed and
given to the new connection. Before that it serves nobody for up to three seconds, while it tries to connect
to the socket of the client that has left.
Reach: any user who may connect. Configuration: `system { qb_ipc_type: socket }`. Cost: one request.
Whether it happens depends on who is faster.
Last words: [QB] socket connect-on-send, once a second.
"""

from __future__ import annotations

import sys

from fuzz.reproduce import reproduce
from votequorum_ipc.attack import Close, Connect, Handshake, Send
from votequorum_ipc.wire import cfg

TRANSPORTS = ("socket",)
OUTCOME = "refuses"

RELOAD_CONFIG = 7
_RELOAD = RELOAD_CONFIG.to_bytes(4, sys.byteorder) + cfg.LOCAL_GET.encode()[4:]

STEPS = (
    Connect(0, "cfg"),
    Send(0, _RELOAD, posts=3),
    Handshake("cmap", bytes(24)),
    Close(0),
)

if __name__ == "__main__":
    reproduce(STEPS, __doc__)
