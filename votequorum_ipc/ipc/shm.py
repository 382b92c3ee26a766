"""The shared-memory transport: three rings, with the setup socket as a doorbell.

Strategy: requests, responses and events each have a ring. After a request we send one byte on the setup
socket; for an event the server sends one. For a response it sends none, but it reads our byte after
answering. That frees buffer space at our end: an EPOLLOUT edge. So if an edge comes without a response,
either the byte is still unread, or corosync answers this request later. The kernel's count of unread bytes
tells which.

Sources: libqb's lib/ipc_shm.c and lib/ipcs.c; `protocol_specs/libqb-ipc.md`.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct
import termios
from collections.abc import Sequence
from typing import Any, Final, Literal

from ..errors import Library, MessageError
from ..ring import Ring, chunk_words, remove_shared
from .transport import EDGES, ENDED, hang_up

_RING_MAPPED_BY_BOTH: Final = 2

_BEING_FREED: Final = 1
"""What TIOCOUTQ counts for a byte that was read, until the kernel has freed it: `sock_wfree` keeps one unit
while it wakes the sender. Of a byte that is unread it counts the whole buffer, some hundred."""

_MAX_UNANSWERED: Final = 128
"""Far below the 277 one-byte messages that fit Linux's default socket buffer: the server waits for the byte
of each request that it finds in the ring, so a byte must never be held back."""


class ShmTransport:
    """See `Transport`."""

    name: Final[Literal["shm"]] = "shm"

    def __init__(
        self,
        setup_socket: socket.socket,
        response: Any,
        epoll: select.epoll,
        *,
        trusted: bool,
    ) -> None:
        """`response` is the decoded `CONNECTION_RESPONSE`; `trusted` says that the server is root's.

        Raises `CsError` for rings that cannot be used.
        """
        self._socket = setup_socket
        self.event_socket = setup_socket
        stems = (response.request, response.response, response.event)
        if len({stem.rpartition("/")[0] for stem in stems}) != 1:
            # libqb makes one directory for each connection. Any other belongs to another connection.
            raise MessageError(f"rings in several directories: {stems}", field="connection response")
        with contextlib.ExitStack() as undo:
            self._rings = []
            for stem in stems:
                self._rings.append(Ring.open(stem, response.max_msg_size, trusted=trusted))
                undo.callback(self._rings[-1].close)
            epoll.register(setup_socket, EDGES)
            undo.pop_all()
        self._request, self._response, self._event = self._rings
        # two words that the writer's check keeps free
        self.response_room = self._response.words - 2
        self.max_unanswered = _MAX_UNANSWERED
        """Without those sent one-way whose byte the server may not have read."""
        self._bytes_to_send = 0
        self._bytes_to_take = 0
        self.cost = chunk_words
        self.receive = self._response.read

    def check_lengths(self) -> None:
        for ring in self._rings:
            ring.check_length()

    def flow_control(self) -> int:
        if self._request.ref_count != _RING_MAPPED_BY_BOTH:
            raise Library(f"the daemon has ended this connection: {ENDED}")
        return self._request.flow_control

    def send(self, messages: Sequence[bytes]) -> int:
        put = self._request.put
        count = 0
        for message in messages:
            if not put(message):
                break
            count += 1
        # Published only now, so that the server, when it sees them, does not wait long for their bytes.
        if count:
            self._request.publish(count)
            self._bytes_to_send += count
            self._ring_doorbell()
        return count

    def expect_no_answer(self) -> None:
        self.max_unanswered -= 1

    def receive_event(self) -> bytes | None:
        event = self._event.read()
        if event is not None:
            # The event's byte may still be on its way: the server sends it after the event.
            self._bytes_to_take += 1
        return event

    def settle_doorbells(self) -> None:
        if self._bytes_to_send:
            self._ring_doorbell()
        if self.max_unanswered < _MAX_UNANSWERED and self.answered_later():
            self.max_unanswered = _MAX_UNANSWERED
        if self._bytes_to_take:
            # The connection's epoll reports errors and the end.
            with contextlib.suppress(OSError):
                self._bytes_to_take -= len(self._socket.recv(self._bytes_to_take))

    def _ring_doorbell(self) -> None:
        try:
            self._bytes_to_send -= self._socket.send(bytes(self._bytes_to_send))
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            # The server is gone, which epoll reports; what it has written is still in the rings.
            self._bytes_to_send = 0

    def answered_later(self) -> bool:
        try:
            (unread,) = struct.unpack("=i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)))
        except OSError:
            # If the kernel does not say, the connection looks for a response now and then.
            return True
        # The edge of a byte that is being freed has come already: to wait for it would be to wait for ever.
        return bool(unread <= _BEING_FREED)

    def hang_up(self) -> None:
        hang_up(self._socket)

    def disown(self) -> None:
        for ring in self._rings:
            ring.close(count_out=False)

    def close(self, *, server_gone: bool) -> None:
        for ring in self._rings:
            ring.close()
        if server_gone:
            remove_shared(*(path for ring in self._rings for path in ring.paths))
