"""The common part of the C libraries: loading, structs, and handles whose callbacks collect events."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, ClassVar, ParamSpec, Self, TypeVar

import trio

from ..installation import load_library

P = ParamSpec("P")
T = TypeVar("T")

CS_OK = 1
CS_DISPATCH_ALL = 2  # corotypes.h
_SUFFIXES = {"votequorum": 8, "quorum": 5, "cmap": 4}

Handle = ctypes.c_uint64


class RingId(ctypes.Structure):
    """votequorum_ring_id_t and struct quorum_ring_id, which are the same."""

    _fields_ = (("nodeid", ctypes.c_uint32), ("seq", ctypes.c_uint64))

    def plain(self) -> tuple[int, int]:
        return self.nodeid, self.seq


def load(name: str) -> ctypes.CDLL:
    """Load the library `name`. Raises OSError if it is not installed."""
    return load_library(f"lib{name}.so.{_SUFFIXES[name]}")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a blocking call from trio. A cancelled call continues in its thread until the daemon answers."""
    return await trio.to_thread.run_sync(lambda: call(*args, **kwargs), abandon_on_cancel=True)


def integers(pointer: Any, entries: int) -> tuple[int, ...]:
    """The numbers of a C array, which may be NULL if it is empty."""
    return tuple(pointer[i] for i in range(entries))


class CHandle:
    """A handle of one of the libraries. `error` is the result of opening it; the handle is usable only after
    CS_OK.

    During `dispatch`, callbacks append to `events` a tuple that begins with the kind's name.
    """

    library: ClassVar[str]

    def __init__(self) -> None:
        self._library = load(self.library)
        self._handle = Handle()
        self.events: list[tuple[Any, ...]] = []
        self.error = self._open()

    def _open(self) -> int:
        raise NotImplementedError

    def __enter__(self) -> Self:
        """The handle, which must have opened; it is finalized at the end of the block."""
        if self.error != CS_OK:
            raise RuntimeError(f"{self.library}_initialize returned {self.error}")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.finalize()

    def finalize(self) -> int:
        return self.call("finalize")

    def fd_get(self) -> tuple[int, int]:
        fd = ctypes.c_int(-1)
        return self.call("fd_get", ctypes.byref(fd)), fd.value

    def dispatch(self, flags: int = CS_DISPATCH_ALL) -> int:
        """Deliver the waiting events to `events`. By default it returns at once, even without events."""
        return self.call("dispatch", ctypes.c_int(flags))

    def take(self) -> list[tuple[Any, ...]]:
        """Dispatch all, then return the events so far and drop them."""
        self.dispatch()
        taken, self.events = self.events, []
        return taken

    def call(self, name: str, *args: Any) -> int:
        """Call `<library>_<name>` with the handle in front."""
        function = getattr(self._library, f"{self.library}_{name}")
        return int(function(self._handle, *args))
