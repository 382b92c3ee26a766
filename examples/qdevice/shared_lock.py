"""A vote for the node that holds a lock on a shared file: python shared_lock.py /shared/quorum.lock

Protects from: two nodes that both continue when they cannot hear each other. One of them has the lock, and
keeps it as long as its process runs and the file system considers it alive. Only for TWO NODES: corosync
counts a device's vote only on the node that casts it, so in a part of two or more nodes all would need the
lock.

Does not protect from: a file system that gives the lock to the other node while this one still believes that
it has it, as NFS does after its lease if this node is cut off from the server; or one whose locks are local
to each node (NFS with local_lock, many FUSE file systems). The locks of GFS2 and OCFS2 depend on the cluster
itself, which waits for quorum. In all these cases use a lease. While the holder is alive but completely cut
off, the other node does not continue: that takes fencing.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

import trio

from votequorum_ipc.qdevice import View


class SharedLock:
    """The decision. Once it has the lock, it keeps it until the process ends or `close` is called."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def __call__(self, _: View) -> bool:
        # A file system that hangs holds one thread, and no second one is started.
        return await trio.to_thread.run_sync(
            self._is_mine, abandon_on_cancel=True, limiter=self._one_at_a_time
        )

    def close(self) -> None:
        """Give the lock up."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _is_mine(self) -> bool:
        if self._file is None:
            self._file = self._path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not self._has_the_name(self._file):
            self.close()
        return self._file is not None

    def _has_the_name(self, file: IO[bytes]) -> bool:
        # A process that replaces the file locks another file: only the lock on the file with this name
        # counts.
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False


if __name__ == "__main__":
    from _program import main  # the file beside this one

    main("lock", lambda file: SharedLock(Path(file)), "FILE", __doc__)
