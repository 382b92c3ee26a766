"""Visiting another network namespace with the calling thread.

A socket always belongs to the network namespace in which it was created, and any thread may use it
afterwards. So a process that talks to a daemon in another namespace needs to be there only while it creates
sockets:

  with namespace.visit():
      connection = await connect(...)

Only the calling thread moves. Under trio all tasks share that thread, so within the block no other task
should create sockets; overlapping visits that are not nested are detected and reported. A thread started
during a visit stays there. `trio.to_thread` and trio's subprocesses keep threads for later, so they get new
ones at the start and end of each visit. For processes on a host there is `Host.command`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from trio._core import _thread_cache

CLONE_NEWNET = 0x40000000  # linux/sched.h
_HERE = Path("/proc/thread-self/ns/net")

_libc = ctypes.CDLL(None, use_errno=True)


class _Visits(threading.local):
    """The visits of a thread, outermost first: the namespace from which each started."""

    def __init__(self) -> None:
        self.homes: list[int] = []


_visits = _Visits()


class NetworkNamespace:
    """A network namespace, kept alive by this object until `close`."""

    def __init__(self, path: Path) -> None:
        """`path` is a namespace file such as /proc/<pid>/ns/net."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.identity = _identity(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @contextlib.contextmanager
    def visit(self) -> Iterator[None]:
        """Move the calling thread into the namespace for the duration of the block."""
        home = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._fd)
            _visits.homes.append(home)
            try:
                yield
            finally:
                _leave(home)
        finally:
            os.close(home)


def current() -> int:
    """The identity of the namespace that the calling thread is in."""
    return _HERE.stat().st_ino


def _leave(home: int) -> None:
    homes = _visits.homes
    if homes and homes[-1] == home:
        _enter(homes.pop())
        return
    # A visit that ends out of turn would leave the thread in another visit's namespace. So return to the
    # outermost one, once, and let the remaining visits raise this error too.
    if homes:
        _enter(homes[0])
        homes.clear()
    raise RuntimeError(
        "visits to network namespaces overlap without nesting: do not await other tasks' visits"
    )


def _enter(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns to a network namespace: {os.strerror(error)}")
    if current() != _identity(fd):
        raise RuntimeError("the thread is not in the network namespace that it entered")
    # There is no public function for this. The old threads end by themselves after being idle.
    _thread_cache.THREAD_CACHE = _thread_cache.ThreadCache()


def _identity(fd: int) -> int:
    return os.fstat(fd).st_ino
