"""A connection to a libqb service, shared by any number of tasks. It starts no tasks or threads.

Strategy: one of the waiting tasks drives: it does the I/O for all of them. It first lets the others add their
requests, sends all requests together, and looks for its response: for a few microseconds without waiting, if
that has paid off before, then by waiting for an edge of the connection's epoll descriptor. Each response and
event goes to the task that waits for it. When the driver has its result, or is cancelled, another waiting
task takes over. So a response wakes its caller directly, and nothing runs while no task waits.

A connection belongs to the thread and the process that made it. It refuses calls from other threads. After a
fork the child's copy is dead: it frees what it inherited and leaves everything shared alone.
"""

from __future__ import annotations

import atexit
import copy
import os
import select
import sys
import warnings
import weakref
from collections.abc import Collection, Iterable, Sequence
from threading import get_ident
from typing import Final

from ..errors import BadHandle, CsError, InvalidParam, Library, NotSupported, TooBig, error_from_errno
from ..ring import SharedFileMissing, check_platform
from ..sockets import Address
from ..types import TransportName
from ..wire.setup import TRANSPORT_SHM, TRANSPORT_SOCKET
from .backend import INFINITY, Backend, current
from .datagram import SocketTransport
from .diagnosis import shared_memory_missing
from .exchange import EventWaiter, Exchange, PendingCall, Undo, Waiter
from .handshake import Setup, set_up
from .readiness import Readiness
from .shm import ShmTransport
from .transport import ENDED, Transport
from .waiting import Spin, Waiting

DEFAULT_MAX_MSG_SIZE: Final = 8192
"""Large enough for every message of votequorum and quorum. The C clients ask for 1 MiB, for three rings."""

_LATER_FIRST_DELAY: Final = 0.0005
_LATER_MAX_DELAY: Final = 0.02
"""Seconds between looks for a response that comes without an edge: first, then doubled up to the last."""

_DEATH_CHECKS: Final = 3
_DEATH_CHECK_DELAY: Final = 0.01
"""How often, and at what interval in seconds, to check whether the server's process is gone, as libqb
does."""

_HANG_UP: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Connection:
    """An open connection to a libqb service: `request`, `next_event`, `aclose`. Made by `connect`.

    An async context manager. Any number of tasks may use it at once, all in the thread that made it. In
    another thread, and in a forked child, every method raises `BadHandle`. Events that no task takes are
    kept, up to `MAX_UNREAD_EVENT_BYTES`.
    """

    def __init__(self, setup: Setup, transport: Transport, epoll: select.epoll, backend: Backend) -> None:
        """Not public: use `connect`."""
        self.service = setup.service
        self.server_pid = setup.server.pid
        """The daemon's process id; 0 if it runs in a pid namespace that is not visible from here."""
        self.server_uid = setup.server.uid
        """The daemon's user, according to the kernel; 65534 also if this user namespace does not map that
        user."""
        self.max_msg_size = int(setup.response.max_msg_size)
        """The largest message in either direction, in bytes."""
        self._socket = setup.socket
        self._transport = transport
        self._epoll = epoll
        self._backend = backend
        self._waiting = Waiting(backend, epoll)
        self._exchange = Exchange(transport, self._waiting.wake)
        self._later_delay = _LATER_FIRST_DELAY
        self._spin = Spin()
        self._thread = get_ident()
        self._closed: CsError | None = None
        """What calls raise after the connection was closed."""
        self._server_had_time_to_end = False
        self._readiness: Readiness | None = None
        _open_here[self] = (setup.socket, transport)

    @property
    def transport(self) -> TransportName:
        """Which transport the daemon chose, as corosync.conf calls it in `system.qb_ipc_type`."""
        return self._transport.name

    # --- what callers do ---

    async def request(
        self,
        message: bytes,
        *,
        response_size: int | None = None,
        deferred: bool = False,
        undo: Undo | None = None,
    ) -> bytes:
        """Send one message, header included, and wait for the one that answers it.

        `response_size` is the size of the largest possible answer in bytes (`max_msg_size` by default): the
        smaller it is, the more requests can be under way at once. `deferred` says that the daemon may answer
        later requests first.

        Cancelling leaves the connection usable; the answer is dropped when it arrives. For a request that
        creates something in the daemon, such as an iterator, pass `undo`. It is called with the dropped
        answer, and returns the request that deletes the thing created, or None. That request is sent while a
        task waits on this connection. The end of the connection deletes everything too.

        Raises `TooBig` for a message larger than `max_msg_size`, `TryAgain` while the daemon's flow control
        is on, `Library` when the daemon is gone, `BadHandle` when the connection was closed here or belongs
        to another thread, process or way to wait, `QueueFull` when it ended because events were not taken.
        """
        try:
            await self._backend.checkpoint_if_cancelled()
        except RuntimeError as error:
            raise self._misplaced() from error
        exchange, waiting = self._exchange, self._waiting
        if exchange.error is not None or get_ident() != self._thread:
            self._check_usable()
        call = self._prepared(message, response_size, deferred, undo)
        try:
            exchange.add(call)
            self._send_unless_driven()
            # If no other task waits, drive at once, as `_wait` would.
            await (self._drive(call) if waiting.driver is None else self._wait(call))
        except BaseException:
            exchange.abandon(call)
            # The request that undoes it, in case it was answered just as it was cancelled.
            self._send_unless_driven()
            raise
        if call.error is not None:
            raise call.error
        return call.response

    async def request_all(
        self, messages: Iterable[bytes], *, response_size: int | None = None
    ) -> list[bytes | CsError]:
        """Send several messages together, wait for all answers, and return them in the order of the messages.

        Each result is an answer, or the error that `request` would have raised: `TryAgain` for messages that
        flow control held up, `Library` for those that were unanswered when the daemon went away. Errors that
        concern all of them are raised, as by `request`: `TooBig`, `BadHandle`, or `Library` when the
        connection had been lost before. If cancelled, all answers are dropped.
        """
        await self._checkpoint_if_cancelled()
        self._check_usable()
        calls = [self._prepared(message, response_size) for message in messages]
        if not calls:
            await self._backend.checkpoint()
            return []
        try:
            for call in calls:
                self._exchange.add(call)
            self._send_unless_driven()
            # In most cases the last answer comes last.
            await self._wait(calls[-1])
            for call in calls:
                if not call.ready:
                    await self._wait(call)
        except BaseException:
            for call in calls:
                self._exchange.abandon(call)
            raise
        return [call.response if call.error is None else call.error for call in calls]

    async def send(self, message: bytes) -> None:
        """Send a message, header included, that the service does not answer; return once it is sent.

        Do not use it for a request that is answered: all later answers would be mixed up. If cancelled, the
        message is not sent, unless the cancellation comes too late. Raises as `request` does.
        """
        await self._checkpoint_if_cancelled()
        self._check_usable()
        call = self._prepared(message, 0)
        call.one_way, call.cost = True, 0
        try:
            self._exchange.add(call)
            self._send_unless_driven()
            await self._wait(call)
        except BaseException:
            self._exchange.abandon(call)
            raise
        if call.error is not None:
            raise call.error

    def post(self, message: bytes, *, response_size: int | None = None) -> None:
        """Send a request as soon as there is room, and drop its answer. Does not wait.

        For cleaning up: later requests reach the daemon after this one. Raises only `TooBig`, since the end
        of a connection cleans up too.
        """
        call = self._prepared(message, response_size)
        if self._exchange.error is None and get_ident() == self._thread:
            self._exchange.post(call)
            self._send_unless_driven()

    def _prepared(
        self, message: bytes, response_size: int | None, deferred: bool = False, undo: Undo | None = None
    ) -> PendingCall:
        limit = self.max_msg_size
        if len(message) > limit:
            raise TooBig(f"{len(message)} bytes, but a message has at most {limit}")
        size = limit if response_size is None or response_size > limit else response_size
        return PendingCall(message, self._transport.cost(size), deferred, undo)

    def _send_unless_driven(self) -> None:
        # A driver that is not waiting for an edge is about to send everything queued.
        if self._waiting.driver is None or self._waiting.driver_waits:
            self._exchange.send()

    async def next_event(self) -> bytes:
        """Wait for the next event, header included. Each event goes to only one caller, in the daemon's
        order.

        Events that arrived before the daemon went away are returned first. Then it raises `Library`; or
        `QueueFull` when more than `MAX_UNREAD_EVENT_BYTES` had gathered, which ends the connection; or
        `BadHandle` when the connection was closed here or belongs to another thread or process.
        """
        await self._checkpoint_if_cancelled()
        if self._has_event():
            # Before an event is taken: a cancelled call must not lose one.
            await self._backend.checkpoint()
            event = self.next_event_nowait()
            if event is not None:
                return event
        waiter = EventWaiter()
        try:
            self._exchange.event_waiters.append(waiter)
            await self._wait(waiter)
        except BaseException:
            waiter.gone = True
            self._exchange.stop_waiting(waiter)
            self._note_readiness()
            raise
        if waiter.event is None:
            self._check_usable()
            raise AssertionError("woken without an event on a working connection")
        return waiter.event

    def next_event_nowait(self) -> bytes | None:
        """The next event if one has arrived, else None. Raises as `next_event` does."""
        if not self._has_event():
            return None
        event = self._exchange.take_event()
        self._note_readiness()
        return event

    def _has_event(self) -> bool:
        """Whether an event has arrived. Looks for new ones only if none is queued. Raises as `queued_events`
        does."""
        ours = self._closed is None and get_ident() == self._thread
        return bool(ours and self._exchange.events) or self.queued_events() > 0

    def queued_events(self) -> int:
        """How many events have arrived and wait to be taken. Raises as `next_event` does when none can
        come."""
        self._check_ours()
        self._look_beside_the_driver()
        events = len(self._exchange.events)
        if not events:
            self._check_usable()
        return events

    @property
    def epoll(self) -> select.epoll:
        """Not public: for `wait_for_any`."""
        return self._epoll

    def has_news(self) -> bool:
        """Whether an event has arrived or the connection has ended. Takes nothing and raises nothing."""
        if self._ended_here() or self._exchange.events:
            return True
        self._look_beside_the_driver()
        return bool(self._exchange.events) or self._exchange.error is not None

    async def wait_for_news(self) -> None:
        """Wait until an event has arrived or the connection has ended; take nothing. See `wait_for_any`."""
        await self._checkpoint_if_cancelled()
        if self.has_news():
            await self._backend.checkpoint()
            return
        waiter = Waiter()
        self._exchange.news_waiters[waiter] = None
        try:
            await self._wait(waiter)
        finally:
            self._exchange.news_waiters.pop(waiter, None)

    def fileno(self) -> int:
        """A descriptor that polls readable while an event waits, or when the daemon is gone.

        For other event loops, like `votequorum_fd_get`. Do not read from it. Raises `BadHandle` as `request`
        does, `Library` when no descriptors are left.
        """
        self._check_ours()
        if self._readiness is None:
            self._readiness = Readiness(self._transport.event_socket, self._socket)
            self._note_readiness()
        return self._readiness.fileno()

    async def aclose(self) -> None:
        """End the connection and free everything, even if cancelled. Tasks that wait on it get `BadHandle`.

        A second call does nothing. Raises `BadHandle` in another thread than the connection's own. If the
        daemon's process has died, this removes its files from /dev/shm, as libqb's client does.
        """
        if self._closed is None:
            self._check_ours()
            try:
                await let_servers_end([self])
            finally:
                self._close(server_dead=self._is_lost and self._server_is_dead())
        await self._backend.checkpoint()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # A constructor that failed leaves nothing to free; `_end_all` has dealt with the interpreter's end.
        if getattr(self, "_closed", self) is None and not sys.is_finalizing():
            self._forgotten()

    def _forgotten(self) -> None:
        """Warn that this connection was not closed, and free everything."""
        try:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)
        finally:
            # even if warnings are errors
            self._look()
            self._close(server_dead=self._is_lost and self._server_is_dead())

    def __repr__(self) -> str:
        state = "closed" if self._closed is not None else "lost" if self._exchange.error else "open"
        return f"<{state} connection to {self.service!r} over {self._transport.name}>"

    # --- waiting: one of the waiting tasks drives for all ---

    async def _wait(self, waiter: Waiter) -> None:
        if waiter.ready:
            await self._backend.give_way()
        while not waiter.ready:
            if self._waiting.driver is None:
                await self._drive(waiter)
            else:
                await self._waiting.park(waiter)
        # Between being chosen to drive and running, it may have been served by another task's look.
        self._waiting.wake_next_driver()

    async def _drive(self, waiter: Waiter) -> None:
        waiting, exchange = self._waiting, self._exchange
        waiting.driver = waiter
        try:
            # Lets the others add requests, and gives the daemon time.
            await self._backend.give_way()
            exchange.send()
            exchange.receive()
            if not waiter.ready and exchange.unanswered and not waiting.parked:
                self._spin.until_ready(waiter, exchange)
            while not waiter.ready:
                self._look()
                if not waiter.ready:
                    await waiting.wait_for_edge(self._delay_for_later())
        finally:
            # First, before any call in which a signal handler could raise: otherwise no task could ever drive
            # again.
            waiting.driver = None
            if self._readiness is not None:
                self._note_readiness()
            if waiting.parked:
                waiting.wake_next_driver()

    def _look(self) -> None:
        """Take everything that has arrived, and send whatever waited for room."""
        # Take the edges before looking at anything: an edge that comes later then ends the next wait.
        hung_up = False
        for descriptor, edges in self._epoll.poll(0):
            if edges & _HANG_UP and descriptor == self._socket.fileno():
                hung_up = True
        self._exchange.receive()
        if hung_up and self._exchange.error is None:
            self._exchange.fail(Library(f"the daemon closed the connection: {ENDED}"))
        self._exchange.send()
        self._note_readiness()

    def _look_beside_the_driver(self) -> None:
        """`_look`, for a task that does not drive."""
        self._look()
        if self._exchange.unanswered:
            # This may have taken the only edge for an answer still to come, so the driver must use a timer.
            self._waiting.have_driver_look()

    def _delay_for_later(self) -> float | None:
        """Seconds after which to look for a response that no edge will announce; None if one will.

        Once the daemon has read every request's byte, no edge will. It answers before it reads the byte, so a
        response that has already arrived still has an edge to come; any other response comes later.
        """
        if not self._exchange.unanswered:
            self._later_delay = _LATER_FIRST_DELAY
            return None
        if not self._transport.answered_later():
            return None
        delay = self._later_delay
        self._later_delay = min(delay * 2, _LATER_MAX_DELAY)
        return delay

    async def _checkpoint_if_cancelled(self) -> None:
        try:
            await self._backend.checkpoint_if_cancelled()
        except RuntimeError as error:
            raise self._misplaced() from error

    def _misplaced(self) -> BadHandle:
        return BadHandle(
            f"{self!r} was made under {self._backend.name}, which is not running here: "
            "use it there, or connect again here"
        )

    def _ended_here(self) -> bool:
        return self._closed is not None or get_ident() != self._thread

    def check_thread(self) -> None:
        """Raises `BadHandle` in another thread than the connection's own."""
        if self._closed is None and get_ident() != self._thread:
            raise BadHandle(f"{self!r} belongs to another thread: each thread needs its own")

    def _check_ours(self) -> None:
        if self._closed is not None:
            raise copy.copy(self._closed)
        self.check_thread()

    def _check_usable(self) -> None:
        self._check_ours()
        if self._exchange.error is not None:
            raise copy.copy(self._exchange.error)

    def _note_readiness(self) -> None:
        if self._readiness is not None:
            self._readiness.set(bool(self._exchange.events))

    # --- the end ---

    @property
    def _is_lost(self) -> bool:
        return isinstance(self._exchange.error, Library)

    @property
    def _server_may_be_ending(self) -> bool:
        return not self._server_had_time_to_end and self._is_lost and not self._server_is_dead()

    def _server_is_dead(self) -> bool:
        """Whether the daemon's process is gone, so that we must remove its files."""
        if not self.server_pid:
            # Without a pid, libqb's client removes the files whenever the connection was lost.
            return True
        try:
            os.kill(self.server_pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    def _close(self, server_dead: bool) -> None:
        if self._closed is not None:
            return
        self._closed = BadHandle("this handle was finalized")
        # This wakes every task, so that none waits on the descriptors closed next.
        self._exchange.fail(self._closed)
        self._waiting.close()
        self._epoll.close()
        if self._readiness is not None:
            self._readiness.close(self._backend)
            self._readiness = None
        # The socket first, as libqb's client does: the server then knows before the rings change.
        self._socket.close()
        self._transport.close(server_gone=server_dead)

    def _disown(self) -> None:
        """In a forked child: free the copies of the parent's descriptors and mappings, and do nothing else.

        No task is woken, and no event loop is informed. trio's own descriptors are shared with the parent
        too, so a child that continued its parent's run would disturb the parent.
        """
        self._closed = BadHandle(
            f"{self!r} belongs to the process that made it, not to this fork: connect again here"
        )
        self._exchange.error = self._closed
        self._epoll.close()
        if self._readiness is not None:
            self._readiness.disown()
            self._readiness = None
        self._socket.close()
        self._transport.disown()


_open_here: weakref.WeakKeyDictionary[Connection, object] = weakref.WeakKeyDictionary()
"""The connections of this process with everything that ending them needs: otherwise the garbage collector
would finalize the sockets of a forgotten connection before the connection."""


def _disown_all() -> None:
    for connection in [connection for connection in _open_here if connection._closed is None]:
        connection._disown()
    _open_here.clear()


os.register_at_fork(after_in_child=_disown_all)


def _end_all() -> None:
    """End all connections at the interpreter's exit, before it tears down its modules.

    Other threads may still be in a call; their connections are left to the kernel.
    """
    for connection in [connection for connection in _open_here if connection._closed is None]:
        if connection._thread == get_ident():
            try:
                connection._forgotten()
            except ResourceWarning as warning:
                sys.excepthook(type(warning), warning, warning.__traceback__)


atexit.register(_end_all)


async def wait_for_any(connections: Sequence[Connection], seconds: float = INFINITY) -> bool:
    """Wait until one of these connections has an event or has ended; False if none does within `seconds`.

    Takes no event: ask each connection afterwards. Uses no descriptors and leaves nothing running.
    """
    backend = current()
    if any(connection.has_news() for connection in connections):
        await backend.checkpoint()
        return True
    with backend.move_on_after(seconds):
        await backend.wait_for_any(connections)
    return any(connection.has_news() for connection in connections)


async def let_servers_end(connections: Sequence[Connection]) -> None:
    """Wait until the daemons of lost connections are gone, for at most 30 ms, so that `aclose` need not wait.

    For closing several connections to one daemon: they wait together. Shielded from cancellation.
    """
    ours = [connection for connection in connections if connection._closed is None]
    for connection in ours:
        connection._look()
    backend = current()
    with backend.move_on_after(INFINITY, shield=True):
        for _ in range(_DEATH_CHECKS):
            if not any(connection._server_may_be_ending for connection in ours):
                break
            await backend.sleep(_DEATH_CHECK_DELAY)
    for connection in ours:
        connection._server_had_time_to_end = True


async def connect(
    service: str,
    *,
    max_msg_size: int = DEFAULT_MAX_MSG_SIZE,
    address: Address = None,
    server_uids: Collection[int] | None = None,
) -> Connection:
    """Connect to any libqb service on this machine, such as "votequorum", "cmap" or Pacemaker's "cib_ro".

    `max_msg_size` is the size to ask for, in bytes. The server may grant more; `Connection.max_msg_size` says
    how much it granted. `address` is None for the service's own name, "@name" for another abstract socket, a
    path for a socket in the file system, or a connected stream socket, which then belongs to the connection.
    `server_uids` are the users whose server is trusted. By default, these are root and the caller's effective
    uid if `address` is None, and all users if the caller gives an address.

    Raises `Library` when nothing listens there, `Access` when this user may not use it, `Security` when the
    server's user is not trusted (nothing that it sent has been used), `TryAgain` while the daemon starts,
    `NotSupported` for an unknown transport, `MessageError` when the other end speaks another protocol, and
    other `CsError`s when the server refuses.
    """
    check_platform()
    if not service or not 0 < max_msg_size < 1 << 32:
        raise InvalidParam("a service has a name, and max_msg_size is a positive uint32")
    backend = current()
    setup = await set_up(service, max_msg_size, address, server_uids)
    kind = setup.response.connection_type
    trusted = setup.server.is_root
    epoll = None
    try:
        epoll = select.epoll()
        transport: Transport
        if kind == TRANSPORT_SHM:
            transport = ShmTransport(setup.socket, setup.response, epoll, trusted=trusted)
        elif kind == TRANSPORT_SOCKET:
            transport = SocketTransport(setup.socket, setup.response, epoll, trusted=trusted)
        else:
            raise NotSupported(f"{service!r} uses transport {kind}; supported are shared memory and sockets")
    except BaseException as error:
        if epoll is not None:
            epoll.close()
        missing = isinstance(error, SharedFileMissing) and shared_memory_missing(setup.socket, error.path)
        setup.socket.close()
        if missing:
            raise missing from None
        if isinstance(error, OSError):
            text = f"no descriptors for a connection to {service!r}: {error.strerror}"
            raise error_from_errno(error.errno or 0, text) from error
        raise
    return Connection(setup, transport, epoll, backend)
