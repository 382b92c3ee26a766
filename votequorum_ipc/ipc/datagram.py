"""The socket transport: a datagram a message, and a small control block in shared memory.

Strategy: requests and responses share one pair of connected datagram sockets, events have another; the setup
socket only tells when the server is gone. The control block counts what was sent and not yet received. To
a connected datagram socket the kernel lets nobody but its peer send (EPERM for all others), and ours are
connected before they have a name.

What came is counted down as the C library lowers a semaphore: a count and the flow control level beside it
are laid out as a `sem_t` begins. What is sent cannot be counted up that way, because raising one may go on to
use what stands behind it, which is another count here. But nobody else touches the count of requests while
none is unanswered, so it is set then, for the first request, and left alone for those behind it: the server,
which takes it for its queue length, then reads those one by one. Too high a count would make it wait in vain.

Sources: libqb's lib/ipc_socket.c; `protocol_specs/libqb-ipc.md`.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Sequence
from typing import Any, Final, Literal

from ..errors import Library, MessageError, error_from_errno
from ..ring import (
    SHM_DIRECTORY,
    Count,
    check_platform,
    map_shared,
    open_shared_file,
    remove_shared_file,
)
from ..wire.setup import CONTROL_BLOCK, offset_of, word_of
from .address import abstract
from .transport import EDGES, ENDED, hang_up

_CONTROL_SIZE: Final = int(CONTROL_BLOCK.sizeof())
_WORD: Final = word_of(CONTROL_BLOCK.request.subcon, "sent")
"""Every word of the control block is like this one."""
_REQUEST_SENT: Final = offset_of(CONTROL_BLOCK, "request", "sent")
_REQUEST_FLOW_CONTROL: Final = offset_of(CONTROL_BLOCK, "request", "flow_control")

_DATAGRAM_OVERHEAD: Final = 1024
"""What the kernel charges a socket's buffer for a small datagram besides its bytes, with some to spare."""


class SocketTransport:
    """See `Transport`."""

    name: Final[Literal["socket"]] = "socket"
    max_unanswered: Final = 128

    def __init__(self, setup_socket: socket.socket, response: Any, epoll: select.epoll) -> None:
        """`response` is the decoded `CONNECTION_RESPONSE`. Raises `CsError` for sockets that do not work."""
        check_platform()
        self._setup_socket = setup_socket
        self._max_msg_size = int(response.max_msg_size)
        self._control_path = response.request
        base = response.response
        for path in (self._control_path, base):
            if not path.startswith(SHM_DIRECTORY) or os.path.normpath(path) != path:
                raise MessageError(f"{path!r} is not below {SHM_DIRECTORY}", field="connection response")
        with contextlib.ExitStack() as undo:
            with open_shared_file(self._control_path, _CONTROL_SIZE) as descriptor:
                self._mapping = map_shared(descriptor, _CONTROL_SIZE)
            undo.callback(self._mapping.close)
            self._socket = _connected(f"{base}-response", f"{base}-request", self._max_msg_size)
            undo.callback(self._socket.close)
            self.event_socket = _connected(f"{base}-event", f"{base}-event-tx", self._max_msg_size)
            undo.callback(self.event_socket.close)
            for sock in (self._socket, self.event_socket, setup_socket):
                epoll.register(sock, EDGES)
            undo.pop_all()
        self._counts = [
            Count(self._mapping, offset_of(CONTROL_BLOCK, way, "sent")) for way in ("response", "event")
        ]
        self._uncounted = [0, 0]
        """Messages received before the server had counted them."""
        self._unanswered = 0
        # The server drops a response that its socket cannot hold; its buffer is of the same size as ours.
        self.response_room = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2

    def cost(self, response_size: int) -> int:
        return response_size + _DATAGRAM_OVERHEAD

    def check_lengths(self) -> None:
        if not self._mapping.size():
            raise MessageError("it was truncated", field="control file")

    def flow_control(self) -> int:
        return int(_WORD.unpack_from(self._mapping, _REQUEST_FLOW_CONTROL)[0])

    def send(self, messages: Sequence[bytes]) -> int:
        for count, message in enumerate(messages):
            if not self._send(message):
                return count
        return len(messages)

    def _send(self, message: bytes) -> bool:
        first = not self._unanswered
        if first:
            _WORD.pack_into(self._mapping, _REQUEST_SENT, 1)
        try:
            self._socket.send(message)
        except OSError as error:
            if first:
                _WORD.pack_into(self._mapping, _REQUEST_SENT, 0)
            if isinstance(error, BlockingIOError):
                return False
            raise Library(f"the daemon has ended this connection: {error.strerror}; {ENDED}") from error
        self._unanswered += 1
        return True

    def expect_no_answer(self) -> None:
        self._unanswered -= 1

    def receive(self) -> bytes | None:
        response = self._receive(0, self._socket)
        if response is not None:
            self._unanswered -= 1
        return response

    def receive_event(self) -> bytes | None:
        return self._receive(1, self.event_socket)

    def _receive(self, way: int, sock: socket.socket) -> bytes | None:
        try:
            message = sock.recv(self._max_msg_size + 1)
        except OSError:
            # EAGAIN, or the daemon is gone, which the setup socket tells for certain.
            return None
        if len(message) > self._max_msg_size:
            raise MessageError(f"more than {self._max_msg_size} bytes", field="datagram.size")
        self._uncounted[way] += 1
        while self._uncounted[way] and self._counts[way].try_wait():
            self._uncounted[way] -= 1
        return message

    def settle_doorbells(self) -> None:
        """This transport has none."""

    def answered_later(self) -> bool:
        # Each response comes with an edge of its own.
        return False

    def hang_up(self) -> None:
        hang_up(self._setup_socket)

    def disown(self) -> None:
        for count in self._counts:
            count.release()
        self._mapping.close()
        self._socket.close()
        self.event_socket.close()

    def close(self, *, server_gone: bool) -> None:
        self.disown()
        # libqb's client removes the control file whether or not the server lives; nobody opens it again.
        remove_shared_file(self._control_path)
        # And the directory, which succeeds when the server has left nothing there.
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(self._control_path))  # noqa: PTH106, PTH120


def _connected(local: str, remote: str, max_msg_size: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # libqb takes a name that begins with "/" for an abstract one, with filesystem sockets as well.
        # Bound first, a stranger who waits for the name could send before the connect.
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
