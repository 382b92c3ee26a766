"""Visiting another network namespace with the calling thread.

A socket belongs for ever to the network namespace that its maker was in, and any thread may use it from then
on. So a process that talks to a daemon in another namespace needs to be there only while sockets are created:

    with namespace.visit():
        connection = await connect(...)

Only the calling thread moves. Under trio all tasks share it, so within the block nothing else should create
sockets; two tasks whose visits overlap without nesting are found out and reported. A thread that is started
during a visit stays there for ever; so `trio.to_thread` and trio's subprocesses, which keep threads for
later, are given new ones at each border. For processes on a host there is `Host.command`.
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
    """The visits that a thread is on, outermost first: the place each started from."""

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
    # A visit that ends out of turn would strand the thread in another visit's namespace: go all the way home,
    # once, and let the visits that are still open complain as well.
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
    # Nothing public does this. The threads kept until now end by themselves when they have been idle.
    _thread_cache.THREAD_CACHE = _thread_cache.ThreadCache()


def _identity(fd: int) -> int:
    return os.fstat(fd).st_ino
