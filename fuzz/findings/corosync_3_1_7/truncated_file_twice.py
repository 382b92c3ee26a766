"""A client cuts a file of its connection and leaves, twice: the daemon dies of the second.

Class: SIGBUS while a connection is closed. libqb expects it there, but leaves its handler by `longjmp`. That
keeps SIGBUS blocked for the rest of the daemon's life, and a blocked SIGBUS ends a process.
The two may come hours apart and from different clients, so a fresh daemon does not repeat the last one.
Reach: any user who may connect. Configuration: any; shared memory.
Cost: two connections, each with one ftruncate, and no request.
Last words: none; strace: SIGBUS {si_code=BUS_ADRERR}, then "killed by SIGBUS".
"""

from __future__ import annotations

from fuzz.reproduce import reproduce
from votequorum_ipc.attack import Close, Connect, Truncate

TRANSPORTS = ("shm",)
OUTCOME = "dies"

_ONCE = (
    Connect(0, "quorum"),
    Truncate(0, "event", "header", 0),
    Close(0),
)

STEPS = (*_ONCE, *_ONCE)

if __name__ == "__main__":
    reproduce(STEPS, __doc__)
