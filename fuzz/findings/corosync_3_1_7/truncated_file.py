"""A client cuts the file behind a request ring, or the control file: the daemon dies of SIGBUS.

Class: death by signal (SIGBUS), in the main loop; libqb guards only its own disconnecting against it.
Reach: any user who may connect (uid 0, gid 0, or listed in `uidgid`): the files belong to the client's user.
Configuration: any; both transports. Cost: one connection and one ftruncate.
Last words: none in the log. strace: --- SIGBUS {si_signo=SIGBUS, si_code=BUS_ADRERR, ...} ---
"""

from __future__ import annotations

from fuzz.reproduce import reproduce
from votequorum_ipc.attack import Bell, Connect, Send, Truncate
from votequorum_ipc.wire import votequorum

TRANSPORTS = ("shm", "socket")
OUTCOME = "dies"

STEPS = (
    Connect(0, "votequorum"),
    Send(0, votequorum.GETINFO.encode(nodeid=0)),
    Truncate(0, "request", "header", 0),
    Bell(0, 1),
)

if __name__ == "__main__":
    reproduce(STEPS, __doc__)
