"""A connection to a libqb service, shared by any number of tasks, with no task or thread of its own.

Strategy: requests are queued, sent as far ahead as the responses to them will find room, and answered in
order. Of the tasks that wait, for a response or for an event, one drives: it waits for an edge of the
connection's epoll descriptor, then moves everything that has come to whoever waits for it. When the driver
has what it wanted, or is cancelled, another waiting task takes over. So a response wakes its caller directly,
and nothing runs when nobody waits.

A cancelled call that was already sent stays in the list of unanswered ones, so that its response, when it
comes, is taken off and dropped. A request that the daemon answers later than others that follow it (its
response waits for the cluster) is marked `deferred`: nothing is sent behind it until it is answered.

Events are taken from the daemon as soon as anybody drives and kept here in order, because corosync burns a
CPU retrying while a client's event ring is full.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import os
import select
import warnings
from typing import Final, Literal

import trio

from ..errors import BadHandle, CsError, InvalidParam, Library, MessageError, NotSupported, TooBig, TryAgain
from ..wire.setup import TRANSPORT_SHM, TRANSPORT_SOCKET
from .address import Address
from .datagram import SocketTransport
from .handshake import Setup, set_up
from .shm import ShmTransport
from .transport import FLOW_CONTROL_TRY_AGAIN, Transport

DEFAULT_MAX_MSG_SIZE: Final = 8192
"""Carries every message of votequorum and quorum; the C clients ask for 1 MiB, three times over."""

_LATER_FIRST_DELAY: Final = 0.0005
_LATER_MAX_DELAY: Final = 0.02
"""Seconds between looks for a response that comes without an edge: doubled from the first to the last."""

_DEATH_CHECKS: Final = 3
_DEATH_CHECK_DELAY: Final = 0.01
"""How often, and at what interval in seconds, to look whether the server's process is gone, as libqb does."""


_HANG_UP: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class _Waiter:
    """A task that waits for something this connection brings."""

    __slots__ = ("ready", "task")

    def __init__(self) -> None:
        self.ready = False
        self.task: trio.lowlevel.Task | None = None


class _Call(_Waiter):
    """A request on its way to its response."""

    __slots__ = ("abandoned", "cost", "deferred", "error", "message", "response")

    def __init__(self, message: bytes, cost: int, deferred: bool) -> None:
        super().__init__()
        self.message = message
        self.cost = cost
        self.deferred = deferred
        self.abandoned = False
        self.response = b""
        self.error: CsError | None = None


class _EventWaiter(_Waiter):
    """A task that waits for an event; None when the connection ended instead."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        super().__init__()
        self.event: bytes | None = None


class Connection:
    """An open connection to a libqb service: `request`, `next_event`, `aclose`. Made by `connect`.

    An async context manager. Any number of tasks of one trio run may use it at once.
    """

    def __init__(self, setup: Setup, transport: Transport, epoll: select.epoll) -> None:
        """Not public: use `connect`."""
        self.service = setup.service
        self.server_pid = setup.server_pid
        """The daemon's process id; 0 when it runs in a pid namespace that cannot be seen from here."""
        self.max_msg_size = int(setup.response.max_msg_size)
        """Bytes of the largest message either way."""
        self._socket = setup.socket
        self._transport = transport
        self._epoll = epoll
        self._unsent: collections.deque[_Call] = collections.deque()
        self._unanswered: collections.deque[_Call] = collections.deque()
        self._room = transport.response_room
        self._later_delay = _LATER_FIRST_DELAY
        self._events: collections.deque[bytes] = collections.deque()
        self._event_waiters: collections.deque[_EventWaiter] = collections.deque()
        self._parked: dict[_Waiter, None] = {}
        self._driver: _Waiter | None = None
        self._driver_waits = False
        self._error: CsError | None = None
        self._closed = False
        self._readiness: _Readiness | None = None

    @property
    def transport(self) -> Literal["shm", "socket"]:
        """Which transport the daemon chose, as corosync.conf calls it in `system.qb_ipc_type`."""
        return self._transport.name

    # --- what callers do ---

    async def request(
        self,
        message: bytes,
        *,
        response_size: int | None = None,
        deferred: bool = False,
    ) -> bytes:
        """Send one message, header included, and wait for the one that answers it.

        `response_size` is the largest answer that can come, in bytes (`max_msg_size` if left out): the
        smaller, the more requests can be under way at once. `deferred` says that the daemon may answer it
        after it has answered later requests. Cancelling leaves the connection good.

        Raises `TooBig` for a message larger than `max_msg_size`, `TryAgain` while the daemon's flow control
        is on, `Library` when the daemon is gone, `BadHandle` when the connection is closed here.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_usable()
        if len(message) > self.max_msg_size:
            raise TooBig(f"{len(message)} bytes, where a message has at most {self.max_msg_size}")
        expected = self.max_msg_size if response_size is None else min(response_size, self.max_msg_size)
        call = _Call(message, self._transport.cost(expected), deferred)
        self._unsent.append(call)
        self._guarded(self._flush)
        try:
            await self._wait(call)
        finally:
            if not call.ready:
                self._abandon(call)
        if call.error is not None:
            raise call.error
        return call.response

    async def next_event(self) -> bytes:
        """Wait for the next event, header included. Each goes to one caller only, in the daemon's order.

        What the daemon delivered before it went is given out first. Then raises `Library`; or `BadHandle`
        when the connection is closed here.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        event = self.next_event_nowait()
        if event is not None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return event
        waiter = _EventWaiter()
        self._event_waiters.append(waiter)
        try:
            await self._wait(waiter)
        finally:
            if not waiter.ready:
                self._event_waiters.remove(waiter)
        if waiter.event is None:
            self._check_usable()
            raise AssertionError("woken without an event on a good connection")
        return waiter.event

    def next_event_nowait(self) -> bytes | None:
        """The next event if one is here, else None. Raises as `next_event` does."""
        if self._closed:
            raise _closed()
        if not self._events:
            self._guarded(self._pump)
        if self._events:
            event = self._events.popleft()
            self._note_readiness()
            return event
        self._check_usable()
        return None

    def queued_events(self) -> int:
        """How many events are here and wait to be taken. Raises as `next_event` does when none can come."""
        self._guarded(self._pump)
        if not self._events:
            self._check_usable()
        return len(self._events)

    def fileno(self) -> int:
        """A descriptor that polls readable while an event waits, or when the daemon is gone.

        For other event loops, like `votequorum_fd_get`. Nothing must be read from it.
        """
        if self._closed:
            raise _closed()
        if self._readiness is None:
            self._readiness = _Readiness(self._transport, self._socket.fileno())
            self._note_readiness()
        return self._readiness.fileno()

    async def aclose(self) -> None:
        """End the connection and free everything. Whoever waits on it gets `BadHandle`. Always frees, also
        when cancelled; doing it again does nothing.

        Where the daemon's process has died, its files in /dev/shm are removed, as libqb's client does.
        """
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._guarded(self._pump)
        server_dead = isinstance(self._error, Library) and self._server_is_dead()
        if isinstance(self._error, Library) and not server_dead:
            with trio.CancelScope(shield=True):
                server_dead = await self._watch_server_die()
        self._close(server_dead)
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if getattr(self, "_closed", True):
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)
        self._close(server_dead=False)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "lost" if self._error else "open"
        return f"<{state} connection to {self.service!r} over {self._transport.name}>"

    # --- waiting: one of the waiting tasks drives for all ---

    async def _wait(self, waiter: _Waiter) -> None:
        if waiter.ready:
            await trio.lowlevel.cancel_shielded_checkpoint()
        while not waiter.ready:
            if self._driver is None:
                await self._drive(waiter)
            else:
                await self._park(waiter)

    async def _park(self, waiter: _Waiter) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            del self._parked[waiter]
            return trio.lowlevel.Abort.SUCCEEDED

        waiter.task = trio.lowlevel.current_task()
        self._parked[waiter] = None
        await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake(self, waiter: _Waiter) -> None:
        if waiter in self._parked:
            del self._parked[waiter]
            assert waiter.task is not None
            trio.lowlevel.reschedule(waiter.task)
        elif waiter is self._driver and self._driver_waits:
            # Another task took the edge that the driver waits for, and what came with it.
            trio.lowlevel.notify_closing(self._epoll)

    async def _drive(self, waiter: _Waiter) -> None:
        self._driver = waiter
        waited = False
        try:
            while not waiter.ready:
                delay = self._delay_for_later()
                if not waiter.ready:
                    await self._wait_for_edge(delay)
                    waited = True
                    self._guarded(self._pump)
        finally:
            self._driver = None
            if self._parked:
                self._wake(next(iter(self._parked)))
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _wait_for_edge(self, delay: float | None) -> None:
        self._driver_waits = True
        try:
            if delay is None:
                await trio.lowlevel.wait_readable(self._epoll)
            else:
                with trio.move_on_after(delay):
                    await trio.lowlevel.wait_readable(self._epoll)
        except trio.ClosedResourceError:
            pass  # woken by `_wake`: what this task waits for is here, or will not come
        finally:
            self._driver_waits = False

    def _delay_for_later(self) -> float | None:
        """Seconds after which to look for a response that no edge will announce; None when one will.

        No edge will when the daemon has read every request's byte: then all responses are here, except those
        that it gives later.
        """
        if not self._unanswered or not self._transport.answered_later():
            return None
        self._guarded(self._pump)
        if not self._unanswered:
            return None
        delay = self._later_delay
        self._later_delay = min(delay * 2, _LATER_MAX_DELAY)
        return delay

    # --- moving messages; nothing below waits ---

    def _guarded(self, move: collections.abc.Callable[[], None]) -> None:
        """Run `move`; a failure in it is the connection's end, not the current caller's alone."""
        if self._error is not None or self._closed:
            return
        try:
            move()
        except CsError as error:
            with contextlib.suppress(CsError):
                # What the daemon delivered before this is not lost.
                self._receive()
            self._fail(error)

    def _flush(self) -> None:
        """Send what may be sent: as far as responses have room, and nothing behind a deferred call."""
        while self._unsent:
            call = self._unsent[0]
            if self._unanswered and self._unanswered[-1].deferred:
                return
            if self._unanswered and call.cost > self._room:
                return
            if len(self._unanswered) >= self._transport.max_unanswered:
                return
            if self._transport.flow_control() == FLOW_CONTROL_TRY_AGAIN:
                call.error = TryAgain("the daemon's flow control is on: try again")
                self._unsent.popleft()
                self._finish(call)
                continue
            if not self._transport.send(call.message):
                return
            self._unsent.popleft()
            self._unanswered.append(call)
            self._room -= call.cost
            self._later_delay = _LATER_FIRST_DELAY

    def _pump(self) -> None:
        """Take everything that has come, hand it to whoever waits for it, and send what waited for room."""
        # Edges are taken off before anything is looked at: one that comes later wakes the next wait.
        setup_socket = self._socket.fileno()
        for descriptor, edges in self._epoll.poll(0):
            if descriptor == setup_socket and edges & _HANG_UP:
                raise Library("the daemon closed the connection: corosync was stopped, or died")
        self._receive()
        self._flush()

    def _receive(self) -> None:
        while (response := self._transport.receive()) is not None:
            self._answer(response)
        while (event := self._transport.receive_event()) is not None:
            self._events.append(event)
        self._transport.settle_doorbells()
        self._hand_out_events()

    def _answer(self, response: bytes) -> None:
        if not self._unanswered:
            raise MessageError("the daemon answered a request that was not made", field="response")
        call = self._unanswered.popleft()
        self._room += call.cost
        call.response = response
        self._finish(call)

    def _hand_out_events(self) -> None:
        while self._events and self._event_waiters:
            waiter = self._event_waiters.popleft()
            waiter.event = self._events.popleft()
            self._finish(waiter)
        self._note_readiness()

    def _finish(self, waiter: _Waiter) -> None:
        waiter.ready = True
        self._wake(waiter)

    def _abandon(self, call: _Call) -> None:
        if call in self._unsent:
            self._unsent.remove(call)
        else:
            call.abandoned = True

    def _fail(self, error: CsError) -> None:
        """End everything that waits; a copy of the error for each."""
        self._error = error
        for call in (*self._unanswered, *self._unsent):
            call.error = copy.copy(error)
            self._finish(call)
        self._unanswered.clear()
        self._unsent.clear()
        while self._event_waiters:
            self._finish(self._event_waiters.popleft())

    def _check_usable(self) -> None:
        if self._closed:
            raise _closed()
        if self._error is not None:
            raise copy.copy(self._error)

    def _note_readiness(self) -> None:
        if self._readiness is not None:
            self._readiness.set(bool(self._events))

    # --- the end ---

    def _server_is_dead(self) -> bool:
        """Whether the daemon's process is gone, so that its files are ours to remove."""
        if not self.server_pid:
            # Without a pid libqb's client removes the files whenever the connection was lost.
            return True
        try:
            os.kill(self.server_pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    async def _watch_server_die(self) -> bool:
        for _ in range(_DEATH_CHECKS):
            await trio.sleep(_DEATH_CHECK_DELAY)
            if self._server_is_dead():
                return True
        return False

    def _close(self, server_dead: bool) -> None:
        if self._closed:
            return
        self._closed = True
        # This wakes everybody, so that nobody waits on the descriptors that are closed next.
        self._fail(_closed())
        self._epoll.close()
        if self._readiness is not None:
            self._readiness.close()
        # The socket first, as libqb's client does: the server then knows before the rings change.
        self._socket.close()
        self._transport.close(server_gone=server_dead)


class _Readiness:
    """One descriptor that polls readable while the kernel or this process holds an event."""

    def __init__(self, transport: Transport, setup_socket: int) -> None:
        self._held = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_set = False
        self._epoll = select.epoll()
        self._epoll.register(self._held, select.EPOLLIN)
        self._epoll.register(transport.event_socket, select.EPOLLIN | select.EPOLLRDHUP)
        if transport.event_socket.fileno() != setup_socket:
            self._epoll.register(setup_socket, select.EPOLLRDHUP)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def set(self, held: bool) -> None:
        if held == self._is_set:
            return
        self._is_set = held
        if held:
            os.eventfd_write(self._held, 1)
        else:
            os.eventfd_read(self._held)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            trio.lowlevel.notify_closing(self._epoll)
        self._epoll.close()
        os.close(self._held)


def _closed() -> BadHandle:
    return BadHandle("this handle was finalized")


async def connect(
    service: str,
    *,
    max_msg_size: int = DEFAULT_MAX_MSG_SIZE,
    address: Address = None,
) -> Connection:
    """Connect to any libqb service of this machine, such as "votequorum", "cmap" or Pacemaker's "cib_ro".

    `max_msg_size` is what to ask for, in bytes; the server may grant more, and `Connection.max_msg_size`
    says what it granted. `address` is None for the service's own name, "@name" for another abstract socket,
    a path for one in the file system, or a connected stream socket, which then belongs to the connection.

    Raises `Library` when nothing listens there, `Access` when this user may not use it, `TryAgain` while
    the daemon starts, `NotSupported` for a transport that is unknown here, `MessageError` when the other
    end speaks something else, and other `CsError` as the server refuses.
    """
    if not service or not 0 < max_msg_size < 1 << 32:
        raise InvalidParam("a service has a name, and max_msg_size is a positive uint32")
    setup = await set_up(service, max_msg_size, address)
    kind = setup.response.connection_type
    epoll = None
    try:
        epoll = select.epoll()
        transport: Transport
        if kind == TRANSPORT_SHM:
            transport = ShmTransport(setup.socket, setup.response, epoll)
        elif kind == TRANSPORT_SOCKET:
            transport = SocketTransport(setup.socket, setup.response, epoll)
        else:
            raise NotSupported(f"{service!r} uses transport {kind}; known are shared memory and sockets")
    except BaseException:
        if epoll is not None:
            epoll.close()
        setup.socket.close()
        raise
    return Connection(setup, transport, epoll)
