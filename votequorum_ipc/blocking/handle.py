"""The common part of the blocking clients: running one call with a timeout, and the methods of every handle.

Strategy: a blocking handle holds an asynchronous one. A call runs a coroutine of that handle to its end in
the calling thread, with `timeout` as a scope around it. So a call that takes too long ends like a cancelled
one under trio, and leaves the handle usable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from ..errors import Timeout
from ..handle import Handle as AsyncHandle
from ..ipc.backend import INFINITY
from ..ipc.blocking_backend import BACKEND, run_blocking
from ..types import DispatchFlags

T = TypeVar("T")
EventT = TypeVar("EventT")


def call(coroutine: Coroutine[Any, Any, T], timeout: float | None) -> T:
    """Run a coroutine of this library in the calling thread.

    Raises `Timeout` if it takes longer than `timeout` seconds, and whatever the coroutine raises.
    """
    return run_blocking(coroutine if timeout is None else _within(coroutine, timeout))


async def _within(coroutine: Coroutine[Any, Any, T], timeout: float) -> T:
    with BACKEND.move_on_after(timeout):
        return await coroutine
    raise Timeout(f"not done within {timeout:g} s; the handle is still usable: try again, or allow more time")


class Handle(Generic[EventT]):
    """An initialized handle: a context manager that calls `finalize` at its end.

    It belongs to the thread that made it, and makes one call at a time. `timeout` is in seconds; None waits
    as long as it takes. Each call that waits raises `Timeout` when the time is up, and leaves the handle
    usable. From another thread, each call raises `BadHandle`.

    A signal handler may raise during a call, as Ctrl-C does. If a message is being sent or received at that
    moment, the connection ends, and later calls raise `Library`: connect again. A signal handler that makes
    calls needs its own handle; the timeout of the interrupted call does not apply to them.
    """

    def __new__(cls, *args: Any) -> Self:
        if not args:
            name = cls.__name__
            raise TypeError(f"{name}() opens nothing: use `with {name}.initialize() as handle`")
        return super().__new__(cls)

    def __init__(self, handle: AsyncHandle[EventT]) -> None:
        """Not public: use `initialize`."""
        self.context: Any = None
        """For the program's own use; the library ignores it."""
        self._handle = handle

    def finalize(self) -> None:
        """End the connection and free everything.

        Raises `BadHandle` the second time, as in C; leaving a `with` block afterwards does not.
        """
        run_blocking(self._handle.finalize())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        run_blocking(self._handle.__aexit__(exc_type, exc, traceback))

    def __repr__(self) -> str:
        return f"<blocking {repr(self._handle)[1:]}"

    def events(self, *, timeout: float | None = None) -> Iterator[EventT]:
        """The events since `trackstart`, in order: `for event in handle.events()`.

        Never ends by itself. Raises `Timeout` when no event has come for `timeout` seconds; iterating again
        goes on with the next one. Raises `Library` when the daemon is gone, after every event that it
        delivered before; `BadHandle` when the handle is finalized; `MessageError` for an event that cannot be
        decoded, which is then skipped; `QueueFull` when the events queued here exceeded
        `votequorum_ipc.ipc.MAX_UNREAD_EVENT_BYTES`, which ends the connection.

        Events are fetched during calls on this handle. Between calls they wait in the daemon: in a ring of
        12 KiB first, and then in its memory.
        """
        return _Events(self._handle, timeout)

    def next_event(self, *, timeout: float | None = None) -> EventT:
        """Wait for one event. Raises as `events` does."""
        return call(self._handle.next_event(), timeout)

    def next_event_nowait(self) -> EventT | None:
        """The next event if one has arrived, else None. Raises as `events` does."""
        return self._handle.next_event_nowait()

    def dispatch(self, flags: DispatchFlags, *, timeout: float | None = None) -> None:
        """Call the callbacks for events, as `votequorum_dispatch` and `quorum_dispatch` do.

        `flags` says how many events to dispatch, and whether to wait: see `DispatchFlags`. An event without a
        callback counts, and is dropped. Raises `TryAgain` for ONE_NONBLOCKING when no event has arrived,
        `BadHandle` when a callback finalized the handle, `InvalidParam` for other flags, `Library` when the
        daemon is gone, and whatever a callback raises. Callbacks may make calls on this handle; `timeout`
        does not bound them.
        """
        call(self._handle.dispatch(flags), timeout)

    def fileno(self) -> int:
        """A descriptor that polls readable while an event waits, like that of `votequorum_fd_get`.

        For `select` and event loops: when it is readable, call `dispatch` with ALL or ONE_NONBLOCKING. It is
        also readable when the daemon is gone, and may be readable once more right after an event was taken.
        Do not read from it. Raises `BadHandle` when the handle was finalized.
        """
        return self._handle.fileno()


class _Events(Iterator[EventT]):
    def __init__(self, handle: AsyncHandle[EventT], timeout: float | None) -> None:
        self._events = handle.events()
        self._timeout = INFINITY if timeout is None else timeout

    def __next__(self) -> EventT:
        return call(_next(self._events), self._timeout)


async def _next(events: AsyncIterator[EventT]) -> EventT:
    return await anext(events)
