"""The socket transport: one datagram for each message, and a small control block in shared memory.

Strategy: requests and responses share one pair of connected datagram sockets; events have another. The setup
socket only shows when the server is gone. The control block counts messages that were sent and not yet
received. Only the peer can send to a connected datagram socket (others get EPERM), and our sockets are
connected before they get a name.

For each message received, the kernel subtracts one from its count, as an atomic operation on that word alone.
The server counts a message after sending it, so a count may be -1 for a moment, as with libqb's client. The
count of requests is not raised for each request. While no request is unanswered, no other process touches it.
So it is set then, for the first request, and not changed for later ones. The server uses the count as the
length of its queue, and reads the other requests one by one. If the count were too high, the server would
wait in vain.

Sources: libqb's lib/ipc_socket.c; `protocol_specs/libqb-ipc.md`.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Sequence
from typing import Any, Final, Literal

from ..errors import Library, MessageError, error_from_errno
from ..ring import GuardedMemory, MappedMemory, Memory, checked_path, lower, open_shared_file, remove_shared
from ..sockets import abstract
from ..wire.setup import CONTROL_BLOCK, CONTROL_BLOCK_SIZE, offset_of
from .transport import EDGES, ENDED, hang_up

_REQUEST_SENT: Final = offset_of(CONTROL_BLOCK, "request", "sent")
_REQUEST_FLOW_CONTROL: Final = offset_of(CONTROL_BLOCK, "request", "flow_control")

_DATAGRAM_OVERHEAD: Final = 1024
"""The kernel's overhead for a small datagram in a socket's buffer, generously rounded."""


class SocketTransport:
    """See `Transport`."""

    name: Final[Literal["socket"]] = "socket"
    max_unanswered: Final = 128

    def __init__(
        self,
        setup_socket: socket.socket,
        response: Any,
        epoll: select.epoll,
        *,
        trusted: bool,
    ) -> None:
        """`response` is the decoded `CONNECTION_RESPONSE`; `trusted` says that root runs the server.

        Raises `CsError` for sockets that do not work.
        """
        self._setup_socket = setup_socket
        self._max_msg_size = int(response.max_msg_size)
        self._control_path = checked_path(response.request, "connection response.request")
        base = checked_path(response.response, "connection response.response")
        with contextlib.ExitStack() as undo:
            self._control = _opened_control(self._control_path, trusted=trusted)
            undo.callback(self._control.close)
            self._socket = _connected(f"{base}-response", f"{base}-request", self._max_msg_size)
            undo.callback(self._socket.close)
            self.event_socket = _connected(f"{base}-event", f"{base}-event-tx", self._max_msg_size)
            undo.callback(self.event_socket.close)
            for sock in (self._socket, self.event_socket, setup_socket):
                epoll.register(sock, EDGES)
            undo.pop_all()
        self._count_response = lower(self._control, offset_of(CONTROL_BLOCK, "response", "sent"))
        self._count_event = lower(self._control, offset_of(CONTROL_BLOCK, "event", "sent"))
        self._unanswered = 0
        # The server drops a response that does not fit its socket, whose buffer has the same size as ours.
        self.response_room = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2

    def cost(self, response_size: int) -> int:
        return response_size + _DATAGRAM_OVERHEAD

    def check_lengths(self) -> None:
        self._control.check_length()

    def flow_control(self) -> int:
        return self._control.load(_REQUEST_FLOW_CONTROL)

    def send(self, messages: Sequence[bytes]) -> int:
        for count, message in enumerate(messages):
            if not self._send(message):
                return count
        return len(messages)

    def _send(self, message: bytes) -> bool:
        first = not self._unanswered
        if first:
            self._control.store(_REQUEST_SENT, 1)
        try:
            self._socket.send(message)
        except OSError as error:
            if first:
                self._control.store(_REQUEST_SENT, 0)
            if isinstance(error, BlockingIOError):
                return False
            raise Library(f"the daemon has ended this connection: {error.strerror}; {ENDED}") from error
        self._unanswered += 1
        return True

    def expect_no_answer(self) -> None:
        self._unanswered -= 1

    def receive(self) -> bytes | None:
        response = self._receive(self._socket)
        if response is not None:
            self._unanswered -= 1
            self._count_response()
        return response

    def receive_event(self) -> bytes | None:
        event = self._receive(self.event_socket)
        if event is not None:
            self._count_event()
        return event

    def _receive(self, sock: socket.socket) -> bytes | None:
        try:
            message = sock.recv(self._max_msg_size + 1)
        except (BlockingIOError, ConnectionError):
            # Nothing has arrived, or the daemon is gone; the setup socket shows which.
            return None
        if len(message) > self._max_msg_size:
            raise MessageError(f"more than {self._max_msg_size} bytes", field="datagram.size")
        return message

    def settle_doorbells(self) -> None:
        """This transport has none."""

    def answered_later(self) -> bool:
        # Each response brings its own edge.
        return False

    def hang_up(self) -> None:
        hang_up(self._setup_socket)

    def disown(self) -> None:
        self._control.close()
        self._socket.close()
        self.event_socket.close()

    def close(self, *, server_gone: bool) -> None:
        self.disown()
        # Whether or not the server is alive, libqb's client removes the control file, and the directory if it
        # is empty; they are not opened again.
        remove_shared(self._control_path)


def _opened_control(path: str, *, trusted: bool) -> Memory:
    with open_shared_file(path, CONTROL_BLOCK_SIZE) as descriptor:
        if trusted:
            return MappedMemory(descriptor, CONTROL_BLOCK_SIZE)
        return GuardedMemory(descriptor, CONTROL_BLOCK_SIZE, has_counts=True)


def _connected(local: str, remote: str, max_msg_size: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # libqb treats a name that begins with "/" as abstract, even with filesystem sockets. If we bound
        # first, a stranger who waits for the name could send before the connect.
        sock.connect(abstract(remote))
        sock.bind(abstract(local))
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            if sock.getsockopt(socket.SOL_SOCKET, option) <= max_msg_size:
                sock.setsockopt(socket.SOL_SOCKET, option, max_msg_size)
    except OSError as error:
        sock.close()
        raise error_from_errno(error.errno or 0, f"cannot connect {remote}: {error.strerror}") from error
    except BaseException:
        sock.close()
        raise
    return sock
