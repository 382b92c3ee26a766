"""A client queues two requests and sends one byte for them: the daemon hangs until that client is gone.

Class: hang of the whole daemon. It takes both requests, then waits without a time limit for the second byte
on that client's socket; meanwhile it does nothing else, for no other client and for no other node.
Reach: any user who may connect. Configuration: shared memory, the default on Linux.
Cost: one connection, held open.
Last words, once the client has gone: [QB] error receiving from setup sock (...): Transport endpoint is not
connected (107)
"""

from __future__ import annotations

from fuzz.reproduce import reproduce
from votequorum_ipc.attack import Connect, Send
from votequorum_ipc.wire import votequorum

TRANSPORTS = ("shm",)
OUTCOME = "hangs"

STEPS = (
    Connect(0, "votequorum"),
    Send(0, votequorum.GETINFO.encode(nodeid=0), bells=0),
    Send(0, votequorum.GETINFO.encode(nodeid=0)),
)

if __name__ == "__main__":
    reproduce(STEPS, __doc__)
