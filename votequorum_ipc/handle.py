"""The common part of all clients: calls, events, dispatch and finalizing a handle.

Strategy: a handle is a connection plus two tables, one that turns an event's id into a value and one that
explains an error in the words of the call. Events are decoded when they are consumed: by `events`, the
Pythonic way, or by `dispatch` and callbacks, as in C. Both take from the same queue.
"""

from __future__ import annotations

import inspect
import string
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from .errors import (
    BadHandle,
    BadOperation,
    CsError,
    CsErrorCode,
    InvalidParam,
    MessageError,
    TryAgain,
    error_from_code,
)
from .ipc import Connection
from .ipc.backend import checkpoint
from .ipc.exchange import Undo
from .types import DispatchFlags
from .wire import Layout, message_id, reply_error

EventT = TypeVar("EventT")

Callback = Callable[[Any], Awaitable[None] | None]
"""A plain or async function that takes one event."""

Hints = Mapping[tuple[str, CsErrorCode], str]
"""What an error of a call means, with the request's fields in braces."""


class Handle(Generic[EventT]):
    """An initialized handle: an async context manager that calls `finalize` at its end."""

    STARTS_EVENTS: ClassVar[str | None] = None
    """The call that must come before any event."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if not args and not kwargs:
            name = cls.__name__
            raise TypeError(
                f"{name}() opens nothing: use `await {name}.initialize()`, or, without an event loop, "
                f"{name}.initialize() of votequorum_ipc.blocking"
            )
        return super().__new__(cls)

    def __init__(
        self,
        connection: Connection,
        decoders: Mapping[int, Callable[[bytes], EventT]],
        callbacks: Mapping[type, Callback | None],
        hints: Hints,
    ) -> None:
        """Not public: use `initialize`."""
        self.context: Any = None
        """For the program's own use; the library ignores it."""
        self._connection = connection
        self._decoders = decoders
        self._callbacks = callbacks
        self._hints = hints
        self._finalized = False
        self._events_started = self.STARTS_EVENTS is None

    @property
    def connection(self) -> Connection:
        """The libqb connection underneath."""
        return self._connection

    async def finalize(self) -> None:
        """End the connection and free everything. Tasks that wait on this handle get `BadHandle`.

        Raises `BadHandle` the second time, as in C; leaving an `async with` block afterwards does not.
        """
        if self._finalized:
            raise BadHandle("this handle has already been finalized")
        self._connection.check_thread()
        self._finalized = True
        await self._connection.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._finalized:
            await self.finalize()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._connection!r}>"

    # --- events ---

    def events(self) -> AsyncIterator[EventT]:
        """The events since `trackstart`, in order: `async for event in handle.events()`.

        Never ends by itself. Raises `BadOperation` if `trackstart` was not called, since it would wait for
        ever; `Library` when the daemon is gone, after every event that it delivered before; `BadHandle` when
        the handle is finalized; `MessageError` for an event that cannot be decoded, which is then skipped;
        `QueueFull` when the events queued here exceeded `votequorum_ipc.ipc.MAX_UNREAD_EVENT_BYTES`, which
        ends the connection.

        Events are fetched while a task of this process waits on this handle, for an event or an answer.
        Otherwise they wait in the daemon: first in a ring of 12 KiB, then in its memory.
        """
        return _Events(self)

    async def next_event(self) -> EventT:
        """Wait for one event. Raises as `events` does, but may be called before `trackstart`."""
        return self._decode_event(await self._connection.next_event())

    def next_event_nowait(self) -> EventT | None:
        """The next event if one has arrived, else None. Raises as `events` does."""
        raw = self._connection.next_event_nowait()
        return None if raw is None else self._decode_event(raw)

    async def dispatch(self, flags: DispatchFlags) -> None:
        """Call the callbacks for events, as `votequorum_dispatch` and `quorum_dispatch` do.

        `flags` says how many events to dispatch, and whether to wait: see `DispatchFlags`. An event without a
        callback counts, and is dropped. Returns when another task finalizes the handle while this one waits.
        Raises `TryAgain` for ONE_NONBLOCKING when no event has arrived, `BadHandle` when a callback finalized
        the handle, `InvalidParam` for other flags, `Library` when the daemon is gone, and whatever a callback
        raises.
        """
        try:
            flags = DispatchFlags(flags)
        except ValueError:
            raise InvalidParam(f"{flags!r} is not one of DispatchFlags") from None
        waits = flags in (DispatchFlags.ONE, DispatchFlags.BLOCKING)
        once = flags in (DispatchFlags.ONE, DispatchFlags.ONE_NONBLOCKING)
        while True:
            raw = await self._raw_event(waits=waits)
            if raw is None and flags is DispatchFlags.ONE_NONBLOCKING:
                raise TryAgain("no event is waiting")
            if raw is None:
                return
            await self._call_back(self._decode_event(raw))
            if once:
                return

    async def _raw_event(self, *, waits: bool) -> bytes | None:
        if waits:
            finalized_before = self._finalized
            try:
                return await self._connection.next_event()
            except BadHandle:
                if finalized_before or not self._finalized:
                    raise
                return None
        # Before an event is taken: a cancelled call must not lose one.
        await checkpoint()
        return self._connection.next_event_nowait()

    async def _call_back(self, event: EventT) -> None:
        callback = self._callbacks.get(type(event))
        if callback is not None:
            result = callback(event)
            if inspect.isawaitable(result):
                await result
        if self._finalized:
            raise BadHandle("this handle was finalized by a callback")

    def _decode_event(self, raw: bytes) -> EventT:
        id_ = message_id(raw)
        decode = self._decoders.get(id_)
        if decode is None:
            raise MessageError(f"{id_} is not an event of this service", field="event.id")
        return decode(raw)

    def fileno(self) -> int:
        """A descriptor that polls readable while an event waits, like that of `votequorum_fd_get`.

        For other event loops: when it is readable, call `dispatch` with ALL or ONE_NONBLOCKING. It is also
        readable when the daemon is gone, and may be readable once more right after an event was taken. Do not
        read from it. Raises `BadHandle` when the handle was finalized.
        """
        return self._connection.fileno()

    # --- calls ---

    async def _call(
        self,
        request: Layout,
        response: Layout,
        /,
        *,
        response_size: int | None = None,
        deferred: bool = False,
        undo: Undo | None = None,
        **fields: Any,
    ) -> Any:
        """Send one request and return its decoded response. Raises the `CsError` that the daemon answered
        with."""
        raw = await self._connection.request(
            request.encode(**fields),
            response_size=response_size or response.fixed_size,
            deferred=deferred,
            undo=undo,
        )
        return self._decoded(request, response, raw, fields)

    async def _call_all(
        self,
        request: Layout,
        response: Layout,
        each: Sequence[Mapping[str, Any]],
        *,
        response_size: int | None = None,
    ) -> list[Any]:
        """Send the same request with several sets of fields, all together.

        Returns a decoded response for each, or in its place the `CsError` that `_call` would have raised.
        """
        answers = await self._connection.request_all(
            [request.encode(**fields) for fields in each],
            response_size=response_size or response.fixed_size,
        )
        results: list[Any] = []
        for fields, raw in zip(each, answers, strict=True):
            try:
                results.append(
                    raw if isinstance(raw, CsError) else self._decoded(request, response, raw, fields)
                )
            except CsError as error:
                results.append(error)
        return results

    def _decoded(self, request: Layout, response: Layout, raw: bytes, fields: Mapping[str, Any]) -> Any:
        error = reply_error(raw)
        if error != CsErrorCode.OK:
            raise error_from_code(error, self._explain(request, error, fields))
        return response.decode(raw)

    def _explain(self, request: Layout, error: int, fields: Mapping[str, Any]) -> str:
        try:
            code = CsErrorCode(error)
        except ValueError:
            return ""
        hint = self._hints.get((request.name, code))
        if hint is None:
            return f"{request.name} was answered with {code.name} ({code.value})"
        return f"{request.name}: {string.Formatter().vformat(hint, (), fields)}"


class _Events(AsyncIterator[EventT]):
    def __init__(self, handle: Handle[EventT]) -> None:
        self._handle = handle

    async def __anext__(self) -> EventT:
        handle = self._handle
        if not handle._events_started and not handle._finalized:
            raise BadOperation(f"no event will come: call {handle.STARTS_EVENTS} first")
        return await handle.next_event()
