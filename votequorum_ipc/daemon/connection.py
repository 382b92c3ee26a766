"""One client's connection: a task that answers its requests, and a way to send it events at any time.

Strategy: only `run` waits. It waits for edges of the connection's epoll descriptor, and answers requests, at
most one batch before other clients have their turn. Events go to the transport as they happen. If there is no
room, they wait in an outbox until the client has made room. While a response waits for room, no further
request is read, so no response is ever lost. Whatever a client breaks, only its own connection ends.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import select
import socket
from collections.abc import Callable
from typing import Final

import trio

from ..errors import CsError, Library, MessageError, QueueFull
from ..wire import message_id
from ..wire.setup import DISCONNECT
from .admission import Credentials
from .limits import MAX_BATCH, MAX_OUTBOX_BYTES
from .transport import HANG_UP, ServerTransport

_FLOW_OPEN: Final = 0
_FLOW_PAUSED: Final = 2
"""Flow control levels (QB_IPCS_RATE_NORMAL's and QB_IPCS_RATE_OFF_2's): with 2 the client may send on."""

_ROOM_FIRST_DELAY: Final = 0.001
_ROOM_MAX_DELAY: Final = 0.1
"""Seconds between looks for room that no edge will announce: first, then doubled up to the last."""

_log = logging.getLogger(__name__)


class Outbox:
    """A queue in front of a function that sends or reports that there is no room."""

    def __init__(self, send: Callable[[bytes], bool]) -> None:
        self._send = send
        self._waiting: collections.deque[bytes] = collections.deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: bytes) -> None:
        """Send now, or as soon as there is room. Raises `QueueFull` beyond the limit."""
        if not self._waiting and self._send(message):
            return
        self._bytes += len(message)
        if self._bytes > MAX_OUTBOX_BYTES:
            raise QueueFull(f"a client has left more than {MAX_OUTBOX_BYTES} bytes unread")
        self._waiting.append(message)

    def flush(self) -> None:
        """Send what there is room for."""
        while self._waiting and self._send(self._waiting[0]):
            self._bytes -= len(self._waiting.popleft())


class ServerConnection:
    """An accepted client. Only `run` waits; once the client is gone, the methods do nothing.

    A service uses `respond`, `notify` and `close`, `credentials` (who the client is) and `max_msg_size`
    (bytes of the largest response that the client can take).
    """

    def __init__(
        self,
        setup: socket.socket,
        transport: ServerTransport,
        credentials: Credentials,
        *,
        process: Callable[[ServerConnection, bytes], None],
        is_paused: Callable[[], bool],
        on_close: Callable[[ServerConnection], None],
    ) -> None:
        """Takes over the socket and the transport.

        `process` handles one request, `is_paused` says whether requests stay unread for now, and `on_close`
        is called at the end.
        """
        self.credentials = credentials
        self.max_msg_size = transport.max_msg_size
        self.closed = False
        self.counts: collections.Counter[str] = collections.Counter()
        """Messages so far: "requests", "responses" and "dispatched", which are events."""
        self._setup = setup
        self._transport = transport
        self._process = process
        self._is_paused = is_paused
        self._on_close = on_close
        self._responses = Outbox(transport.respond)
        self._events = Outbox(transport.notify)
        self._flow_control = _FLOW_OPEN
        self._watches_room = False
        self._room_delay = _ROOM_FIRST_DELAY
        self._arrived = False
        self._epoll = select.epoll()
        try:
            transport.register(self._epoll)
        except BaseException:
            self._epoll.close()
            raise

    def __repr__(self) -> str:
        return f"<client, pid {self.credentials.pid}, uid {self.credentials.uid}>"

    # --- what services do ---

    def respond(self, message: bytes) -> None:
        """Send the response to the oldest unanswered request, now or when there is room."""
        if self.closed:
            return
        self.counts["responses"] += 1
        try:
            self._responses.put(message)
        except CsError as error:
            self._end(error)

    def notify(self, message: bytes) -> None:
        """Send an event, now or when there is room; a client that makes no room is dropped."""
        if self.closed:
            return
        self.counts["dispatched"] += 1
        try:
            self._events.put(message)
        except CsError as error:
            self._end(error)
        else:
            if (self._events or self._transport.needs_room()) and not self._watches_room:
                # The task must learn what it now waits for: room for the event, or only for its doorbell.
                self.wake()

    def wake(self) -> None:
        """Make the task look again, although nothing has arrived."""
        with contextlib.suppress(RuntimeError):
            # Outside a trio run there is no task to wake.
            trio.lowlevel.notify_closing(self._epoll)

    def close(self) -> None:
        """End the connection and free everything. Doing it again does nothing."""
        if self.closed:
            return
        self.closed = True
        self.wake()
        self._epoll.close()
        # The socket first, as libqb does: the client then knows before the rings change. Shut down, it knows
        # also where another process has a copy of the socket.
        with contextlib.suppress(OSError):
            self._setup.shutdown(socket.SHUT_RDWR)
        self._setup.close()
        self._transport.close()
        self._on_close(self)

    def disown(self) -> None:
        """In a forked child: close the copies, and leave the client and its files to the parent."""
        self.closed = True
        self._epoll.close()
        self._setup.close()

    def _end(self, error: CsError) -> None:
        """A failure ends this connection and nothing else."""
        _log.debug("%r: %s", self, error)
        self.close()

    # --- the task ---

    async def run(self) -> None:
        """Serve the client until it or the connection is gone."""
        try:
            while not self.closed:
                try:
                    again = self._work()
                except CsError as error:
                    self._end(error)
                    return
                if again:
                    await self._give_way()
                elif not self.closed:
                    await self._wait()
        finally:
            self.close()

    async def _give_way(self) -> None:
        """Let others run before the next batch."""
        await trio.lowlevel.checkpoint()

    def _work(self) -> bool:
        """Send what waits and answer a batch. Returns whether there may be more to do at once."""
        self._transport.check()
        self._responses.flush()
        self._events.flush()
        self._set_flow_control(_FLOW_PAUSED if self._is_paused() else _FLOW_OPEN)
        answered, again = self._answer_batch()
        if self.closed:
            return False
        stray = self._arrived and not (again or answered or self._is_paused() or self._responses)
        # One read takes only some of them, and no edge announces the rest.
        self._arrived = stray and self._transport.discard()
        again = again or self._arrived
        self._watch_room(bool(self._responses or self._events) or self._transport.needs_room())
        return again

    def _answer_batch(self) -> tuple[int, bool]:
        """Answer requests. Returns their number, and whether there may be more."""
        total = 0
        while True:
            answered = self._answer(MAX_BATCH - total)
            if self.closed:
                return total, False
            again = self._transport.settle(answered)
            total += answered
            if not answered or total == MAX_BATCH:
                return total, again or answered > 0

    def _answer(self, most: int) -> int:
        answered = 0
        while answered < most and not (self.closed or self._is_paused() or self._responses):
            request = self._transport.receive()
            if request is None:
                break
            answered += 1
            if _is_farewell(request):
                raise Library("the client says goodbye")
            self.counts["requests"] += 1
            self._process(self, request)
        return answered

    def _set_flow_control(self, level: int) -> None:
        if level != self._flow_control:
            self._transport.set_flow_control(level)
            self._flow_control = level

    def _watch_room(self, wanted: bool) -> None:
        if wanted != self._watches_room:
            self._transport.watch_room(self._epoll, wanted)
            self._watches_room = wanted
        if not self._must_poll():
            self._room_delay = _ROOM_FIRST_DELAY

    async def _wait(self) -> None:
        try:
            if self._must_poll():
                with trio.move_on_after(self._room_delay):
                    self._room_delay = min(self._room_delay * 2, _ROOM_MAX_DELAY)
                    await trio.lowlevel.wait_readable(self._epoll)
            else:
                await trio.lowlevel.wait_readable(self._epoll)
        except trio.ClosedResourceError:
            pass  # woken by `wake`
        if not self.closed:
            self._take_edges()

    def _must_poll(self) -> bool:
        """Whether something waits for room that no edge will announce."""
        waiting = (self._responses, True), (self._events, False)
        return any(box and self._transport.must_poll(response=response) for box, response in waiting)

    def _take_edges(self) -> None:
        setup = self._setup.fileno()
        for descriptor, edges in self._epoll.poll(0):
            if descriptor == setup and edges & HANG_UP:
                self.close()
                return
            self._arrived = self._arrived or bool(edges & select.EPOLLIN)


def _is_farewell(request: bytes) -> bool:
    try:
        return message_id(request) == DISCONNECT
    except MessageError:
        return False
