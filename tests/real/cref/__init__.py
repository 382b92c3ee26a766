"""corosync's own C client libraries through ctypes: the reference for ours.

Each call returns the `cs_error_t` as a number, alone or followed by the results as plain values; it raises no
exceptions. Handles are opened in the calling thread, which must be in the daemon's network namespace at that
time; afterwards any thread may use them. A call blocks with the GIL released: under trio use `await
in_thread(handle.getinfo, 0)`.
"""

from .cmap import CMap
from .library import CS_OK, in_thread
from .quorum import CQuorum
from .votequorum import CVotequorum

__all__ = ["CS_OK", "CMap", "CQuorum", "CVotequorum", "in_thread"]
