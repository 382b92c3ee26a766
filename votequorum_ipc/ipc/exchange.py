"""The calls and events of a connection, moved between the transport and the tasks that wait.

Strategy: pure bookkeeping; nothing here waits or knows about event loops. Calls are sent in order, as many at
once as there is room for their responses, and are answered in order. Kinds of call differ as follows:

| call | when sent | its response |
|---|---|---|
| any | goes to `unanswered` | is matched with the first call there |
| `deferred`: the response waits for the cluster | nothing is sent behind it until it is answered | |
| `one_way`: the service does not answer it | is done | none comes |
| unwanted: cancelled, or made only for its effect | | is dropped, or undone if the call says how |

Events are taken from the daemon whenever a task looks, and kept here in order. If they stayed in the client's
ring and filled it, corosync would keep the rest in its own memory, without a limit, and would try again 20
times a second. Here they are kept up to a limit. If a program lets more gather, it gets the events that were
kept, and then an error.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import time
from collections.abc import Callable
from typing import Any, Final

from ..errors import CsError, Library, MessageError, QueueFull, TryAgain
from .transport import FLOW_CONTROL_TRY_AGAIN, Transport

MAX_UNREAD_EVENT_BYTES: Final = 8 << 20
"""Bytes of memory that one connection's queued events may take: about 35,000 membership changes of three
nodes."""

_EVENT_OVERHEAD: Final = 48
"""CPython's overhead in bytes for a `bytes` object and its place in a queue."""

LENGTH_CHECK_INTERVAL: Final = 200e-6
"""Seconds between checks of the shared files' lengths. Each check takes 2 to 3 us, so a busy connection
spends about 1 % of its time on them. An idle connection checks before each use."""


Undo = Callable[[bytes], bytes | None]
"""Maps a response that is no longer wanted to the request that undoes what the daemon did, or to None."""


class Waiter:
    """A task's wait for something that a connection delivers."""

    __slots__ = ("ready", "task")

    def __init__(self) -> None:
        self.ready = False
        self.task: Any = None
        """For the backend's use."""


class PendingCall(Waiter):
    """A request that has no response yet."""

    __slots__ = ("cost", "deferred", "error", "message", "one_way", "response", "undo", "wanted")

    def __init__(self, message: bytes, cost: int, deferred: bool = False, undo: Undo | None = None) -> None:
        self.ready = False
        self.task = None
        self.message = message
        self.cost = cost
        """How much of the transport's room the response takes."""
        self.deferred = deferred
        self.one_way = False
        self.wanted = True
        """Whether a task waits for the response."""
        self.undo = undo
        self.response = b""
        self.error: CsError | None = None


class EventWaiter(Waiter):
    """A task's wait for an event; its result is None if the connection ended instead."""

    __slots__ = ("event", "gone")

    def __init__(self) -> None:
        super().__init__()
        self.event: bytes | None = None
        self.gone = False
        """Whether it has stopped waiting because a signal handler raised; it may still be among the
        waiters."""


class Exchange:
    """The calls and events of one connection. A failure in moving them ends all of them."""

    def __init__(self, transport: Transport, wake: Callable[[Waiter], None]) -> None:
        """`wake` is called for each waiter that has become `ready`."""
        self._unsent: collections.OrderedDict[PendingCall, None] = collections.OrderedDict()
        """In the order of sending. Removing any of them is quick, even when thousands of tasks are
        cancelled."""
        self.unanswered: collections.deque[PendingCall] = collections.deque()
        self.events: collections.deque[bytes] = collections.deque()
        self._event_bytes = 0
        self._check_lengths_at = 0.0
        self.event_waiters: collections.deque[EventWaiter] = collections.deque()
        self.news_waiters: dict[Waiter, None] = {}
        """Waiters for an event or the end of the connection that take nothing."""
        self.error: CsError | None = None
        """Why this connection can no longer be used."""
        self._to_undo = 0
        """Unanswered calls that will be undone: nothing else is sent before that."""
        self._transport = transport
        self._wake = wake
        self._room = transport.response_room

    def add(self, call: PendingCall) -> None:
        """Queue a call. It is not sent yet."""
        self._unsent[call] = None

    def send(self) -> None:
        """Send what may be sent."""
        if self.error is None and self._unsent:
            self._guarded(self._send)

    def receive(self) -> None:
        """Take everything that has arrived, and give it to the tasks that wait for it."""
        if self.error is None:
            self._guarded(self._receive)

    def take_event(self) -> bytes:
        """Remove and return the first of `events`."""
        event = self.events.popleft()
        self._event_bytes -= len(event) + _EVENT_OVERHEAD
        return event

    def post(self, call: PendingCall) -> None:
        """Queue a call whose response will be dropped. It is not sent yet."""
        call.wanted = False
        self.add(call)

    def abandon(self, call: PendingCall) -> None:
        """The call's response is no longer wanted: its caller was cancelled."""
        call.wanted = False
        if call.ready:
            self._undo(call)
        elif call in self._unsent:
            del self._unsent[call]
        elif call.undo is not None:
            self._to_undo += 1

    def _undo(self, call: PendingCall) -> None:
        message = None
        if call.undo is not None and call.error is None:
            with contextlib.suppress(CsError):  # an answer that cannot be decoded names nothing to undo
                message = call.undo(call.response)
        if message is not None and self.error is None:
            undoing = PendingCall(message, call.cost)
            undoing.wanted = False
            self.add(undoing)
            self._unsent.move_to_end(undoing, last=False)

    def stop_waiting(self, waiter: EventWaiter) -> None:
        """The waiter is cancelled. An event that it has just been given goes to the next waiter."""
        if not waiter.ready:
            with contextlib.suppress(ValueError):  # a signal handler raised before it was added
                self.event_waiters.remove(waiter)
        elif waiter.event is not None:
            self.events.appendleft(waiter.event)
            self._event_bytes += len(waiter.event) + _EVENT_OVERHEAD
            self._hand_out_events()

    def fail(self, error: CsError) -> None:
        """End all waits, each with its own copy of the error."""
        self.error = error
        for call in (*self.unanswered, *self._unsent):
            call.error = copy.copy(error)
            self._finish(call)
        self.unanswered.clear()
        self._unsent.clear()
        self._hand_out_events()
        while self.event_waiters:
            self._finish(self.event_waiters.popleft())
        self._tell_news()

    def _guarded(self, move: Callable[[], None]) -> None:
        try:
            if time.perf_counter() < self._check_lengths_at or self._lengths_are_good():
                move()
        except QueueFull as error:
            self._break_off(error)
        except (CsError, OSError) as error:
            with contextlib.suppress(CsError, OSError):
                # Events that the daemon delivered before this are not lost.
                self._receive()
            self._break_off(_as_cs_error(error))
        except BaseException as error:
            # A signal handler has raised in here. Half a move is worse than none: the next answer could go to
            # the wrong call, and corosync blocks while it waits for the byte of a request that it has read.
            why = f"{type(error).__name__} was raised while a message was being sent or received"
            self._break_off(Library(f"{why}, so that this connection had to end: connect again"))
            raise

    def _lengths_are_good(self) -> bool:
        self._check_lengths_at = time.perf_counter() + LENGTH_CHECK_INTERVAL
        try:
            self._transport.check_lengths()
        except (CsError, OSError) as error:
            # The shared memory must not be touched any more, not even for events delivered before.
            self._break_off(_as_cs_error(error))
            return False
        return True

    def _break_off(self, error: CsError) -> None:
        self.fail(error)
        self._transport.hang_up()

    def _send(self) -> None:
        level = self._transport.flow_control()
        if level == FLOW_CONTROL_TRY_AGAIN:
            self._refuse_unsent()
            return
        unsent = self._unsent
        # The usual case, and quick: a single request is sent whatever the size of its response.
        alone = len(unsent) == 1 and not self.unanswered and self._transport.max_unanswered > 0
        batch = [next(iter(unsent)).message] if alone else self._sendable()
        if batch:
            for _ in range(self._transport.send(batch)):
                call, _ = unsent.popitem(last=False)
                if call.one_way:
                    self._transport.expect_no_answer()
                    self._finish(call)
                else:
                    self.unanswered.append(call)
                    self._room -= call.cost

    def _refuse_unsent(self) -> None:
        # A call without a waiter stays queued: no caller could try it again.
        for call in [call for call in self._unsent if call.wanted]:
            del self._unsent[call]
            call.error = TryAgain("the daemon's flow control is on: try again")
            self._finish(call)

    def _sendable(self) -> list[bytes]:
        """The messages at the head of the queue whose responses will find room."""
        batch: list[bytes] = []
        if self.unanswered and (self._to_undo or self.unanswered[-1].deferred):
            return batch
        room = self._room
        places = self._transport.max_unanswered - len(self.unanswered)
        idle = not self.unanswered
        for call in self._unsent:
            if len(batch) == places or (call.cost > room and not idle):
                break
            batch.append(call.message)
            if call.deferred:
                break
            room -= call.cost
            idle = False
        return batch

    def _receive(self) -> None:
        receive, unanswered = self._transport.receive, self.unanswered
        while (response := receive()) is not None:
            if not unanswered:
                raise MessageError("the daemon sent an answer without a request", field="response")
            call = unanswered.popleft()
            self._room += call.cost
            call.response = response
            call.ready = True
            self._wake(call)
            if not call.wanted and call.undo is not None:
                self._to_undo -= 1
                self._undo(call)
        receive = self._transport.receive_event
        while (event := receive()) is not None:
            self.events.append(event)
            self._event_bytes += len(event) + _EVENT_OVERHEAD
            if self._event_bytes > MAX_UNREAD_EVENT_BYTES:
                raise QueueFull(
                    f"untaken events exceeded {MAX_UNREAD_EVENT_BYTES} bytes: connect and track again"
                )
        self._transport.settle_doorbells()
        if self.events:
            self._hand_out_events()

    def _hand_out_events(self) -> None:
        while self.events and self.event_waiters:
            waiter = self.event_waiters.popleft()
            if not waiter.gone:
                waiter.event = self.take_event()
                self._finish(waiter)
        if self.events:
            self._tell_news()

    def _tell_news(self) -> None:
        while self.news_waiters:
            self._finish(self.news_waiters.popitem()[0])

    def _finish(self, waiter: Waiter) -> None:
        waiter.ready = True
        self._wake(waiter)


def _as_cs_error(error: CsError | OSError) -> CsError:
    """The error for callers. A failed system call is `Library`, not `TryAgain`, since it ends this
    connection."""
    if isinstance(error, CsError):
        return error
    return Library(f"a system call on the connection failed: {error.strerror}; connect again")
