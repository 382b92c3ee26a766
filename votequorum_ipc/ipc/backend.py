"""Everything the library needs from an event loop, and which of the three ways to wait is in use.

Strategy: everything above this package is written once, with `await`, and waits only through the functions
here. Each asks which backend is running: trio, asyncio, or the blocking runner, which drives a coroutine in
the calling thread. A connection asks once, when it is made, and keeps the answer. Neither trio nor asyncio is
imported here: a loop can run only if the program has imported it.
"""

from __future__ import annotations

import importlib
import select
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from ..errors import error_from_errno

T = TypeVar("T")

INFINITY: Final = float("inf")


class Scope(Protocol):
    """A deadline for a block of code, as `trio.move_on_after` gives one."""

    @property
    def cancelled_caught(self) -> bool:
        """Whether this scope's own deadline ended the block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...


class HasDescriptor(Protocol):
    """A socket, or anything else with a descriptor to wait for."""

    def fileno(self) -> int:
        """The descriptor."""


class Edges(Protocol):
    """One connection's epoll descriptor, for the task that drives the connection."""

    async def wait(self, seconds: float | None) -> None:
        """Return after an edge, an `interrupt`, or `seconds`. Spurious returns are allowed."""

    def interrupt(self) -> None:
        """Make the waiting task return. Called only while a task waits."""

    def close(self) -> None:
        """The descriptor is about to be closed; no task waits on it."""


class Watched(Protocol):
    """What `Backend.wait_for_any` needs from a connection."""

    @property
    def epoll(self) -> select.epoll:
        """Readable when there may be news."""

    def has_news(self) -> bool:
        """Look, without waiting, whether an event has arrived or the connection has ended."""

    async def wait_for_news(self) -> None:
        """Wait until `has_news`."""


class Backend(Protocol):
    """One way to wait. When the loop cancels a wait, the method raises the loop's own exception."""

    @property
    def name(self) -> str:
        """For error messages."""

    @property
    def cancelled(self) -> type[BaseException]:
        """The exception that a cancelled wait raises."""

    def current_time(self) -> float:
        """Seconds on the loop's clock."""

    async def sleep(self, seconds: float) -> None:
        """Wait for that many seconds."""

    async def checkpoint(self) -> None:
        """Let other tasks run, and be cancelled if that is due."""

    async def checkpoint_if_cancelled(self) -> None:
        """Deliver a pending cancellation. Raises `RuntimeError` outside of the backend's own loop."""

    async def give_way(self) -> None:
        """Let other tasks run. trio delivers no cancellation here; asyncio may."""

    def move_on_after(self, seconds: float, *, shield: bool = False) -> Scope:
        """See the function of this name."""

    async def wait_readable(self, sock: HasDescriptor) -> None:
        """Wait until a socket can be read."""

    async def wait_writable(self, sock: HasDescriptor) -> None:
        """Wait until a socket can be written."""

    def edges(self, epoll: select.epoll) -> Edges:
        """The edges of a connection."""

    async def park(self, parking: dict[Any, None], waiter: Any) -> None:
        """Wait until `unpark(waiter)`. `waiter` is in `parking`; a cancellation takes it out."""

    def unpark(self, waiter: Any) -> None:
        """Resume a waiter that has just been taken out of `parking`."""

    async def wait_for_any(self, connections: Sequence[Watched]) -> None:
        """Wait until one of the connections has news."""

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """See the function of this name."""

    def closing(self, descriptor: Any) -> None:
        """Tell tasks that wait for a descriptor in this loop that it is about to be closed."""


class BlockingState(threading.local):
    """The blocking runner's state in this thread."""

    runs = False
    """Whether it drives a coroutine."""
    scope: Any = None
    """The innermost scope."""


BLOCKING: Final = BlockingState()

_loaded: dict[str, Backend] = {}
"""The backends that have run, by name."""


def current() -> Backend:
    """The backend of the caller.

    Raises `RuntimeError`, with advice, if none runs. The first call imports the backend, and raises `Library`
    if no descriptors are left for that; a later call tries again.
    """
    name = _running()
    if name is None:
        raise RuntimeError(NO_LOOP)
    if name not in _loaded:
        try:
            _loaded[name] = importlib.import_module(f".{name}_backend", __package__).BACKEND
        except OSError as error:
            text = f"the {name} backend cannot be imported: {error.strerror}"
            raise error_from_errno(error.errno or 0, text) from error
    return _loaded[name]


def _running() -> str | None:
    # The blocking runner first: it may have been called inside an event loop.
    if BLOCKING.runs:
        return "blocking"
    # trio next: in guest mode it runs inside another loop.
    if (trio := sys.modules.get("trio")) is not None:
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            pass
        else:
            return "trio"
    if (asyncio := sys.modules.get("asyncio")) is not None and asyncio._get_running_loop() is not None:
        return "asyncio"
    return None


NO_LOOP: Final = (
    "no event loop runs here: await this under trio.run or asyncio.run, or, in a program without an event "
    "loop, use the same names from votequorum_ipc.blocking"
)


def current_time() -> float:
    """Seconds on the running loop's clock: trio's, asyncio's, or `time.monotonic`."""
    return current().current_time()


async def sleep(seconds: float) -> None:
    """Wait for that many seconds."""
    await current().sleep(seconds)


async def checkpoint() -> None:
    """Let other tasks run, and be cancelled if that is due."""
    await current().checkpoint()


def move_on_after(seconds: float, *, shield: bool = False) -> Scope:
    """End a block after that many seconds: `with move_on_after(2) as scope: ...`, as in trio.

    `scope.cancelled_caught` then says whether the deadline ended it. Scopes nest. A cancellation from outside
    is never swallowed. With `shield`, it does not interrupt the block: trio delivers it at the next
    checkpoint after the block, asyncio at the end of the block. Under asyncio only this library's own waits
    are shielded, not other awaitables in the block.
    """
    return current().move_on_after(seconds, shield=shield)


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call a blocking function: in a worker thread under trio and asyncio, otherwise in this thread.

    If this is cancelled, the worker thread finishes by itself.
    """
    return await current().in_thread(function, *args)
