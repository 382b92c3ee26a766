"""A connection's directory in /dev/shm: named as libqb names it, filled by us, then handed to the client.

The client becomes its owner, as C clients expect, and can then change it at will. So everything is created
before the directory is handed over, and nothing is removed by following a path that may have been replaced
since. Source: `handle_new_connection` and `remove_tempdir` in libqb's lib/ipc_setup.c.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from ..ring import SHM_DIRECTORY
from .admission import Credentials

_MODE = 0o770


class Directory:
    """`/dev/shm/qb-<server pid>-<client pid>-<descriptor>-<random>`, until `remove`."""

    def __init__(self, client: Credentials, descriptor: int) -> None:
        """Create it, at first accessible only to us. Raises OSError."""
        self.path = tempfile.mkdtemp(
            prefix=f"qb-{os.getpid()}-{client.pid}-{descriptor}-",
            dir=SHM_DIRECTORY,
        )
        self._owner = client.uid, client.gid

    def file(self, name: str) -> str:
        """The path of a file in it."""
        return f"{self.path}/{name}"

    def hand_over(self) -> None:
        """Make the client the owner of the directory and everything in it. Raises OSError if that is not
        allowed."""
        Path(self.path).chmod(_MODE)
        uid, _ = self._owner
        if uid != os.geteuid():
            try:
                self._change_owner()
            except PermissionError:
                # A server without privileges cannot change the owner, but root can open the files anyway.
                if uid != 0:
                    raise

    def _change_owner(self) -> None:
        for name in os.listdir(self.path):  # noqa: PTH208
            os.chown(self.file(name), *self._owner, follow_symlinks=False)
        # Last, because from here on the client can replace every path in it.
        os.chown(self.path, *self._owner, follow_symlinks=False)

    def remove(self, names: list[str]) -> None:
        """Remove these files, and the directory too unless the client has put something into it."""
        with contextlib.suppress(OSError):
            directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                for name in names:
                    with contextlib.suppress(OSError):
                        os.unlink(name, dir_fd=directory)
            finally:
                os.close(directory)
        with contextlib.suppress(OSError):
            os.rmdir(self.path)  # noqa: PTH106
