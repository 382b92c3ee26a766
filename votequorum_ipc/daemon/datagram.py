"""The server's half of the socket transport: one datagram for each message, and a small control file.

Strategy: we bind one socket for requests and responses, and one for events. The client binds the other ends
once it has our names, so we connect ours when there is something to send. The setup socket only shows when
the client is gone. In the control file we use only the flow control levels. The counts beside them are for
servers that read only announced messages, and clients never look at them.

Trust: any user of the machine may send to an abstract address. So for each request the kernel is asked
whether the client's user sent it.

Source: libqb's lib/ipc_socket.c.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from pathlib import PurePath
from typing import Final

from ..errors import Library, MessageError
from ..ring import GuardedMemory, check_platform, create_shared_file
from ..sockets import abstract
from ..wire.setup import CONTROL_BLOCK, CONTROL_BLOCK_SIZE, TRANSPORT_SOCKET, UCRED, UCRED_SIZE, offset_of
from .admission import Credentials
from .directory import Directory
from .limits import MAX_BATCH
from .transport import ARRIVALS, ROOM, STRAY_BYTES

_FLOW_CONTROL_OFFSET: Final = offset_of(CONTROL_BLOCK, "request", "flow_control")


class ServerDatagram:
    """See `ServerTransport`."""

    connection_type: Final = TRANSPORT_SOCKET

    def __init__(self, setup: socket.socket, service: str, client: Credentials, max_msg_size: int) -> None:
        """Make the control file and the sockets. Raises OSError or `CsError` if the system refuses."""
        check_platform()
        self.max_msg_size = max_msg_size
        self._setup = setup
        self._client = client
        self._connected: set[socket.socket] = set()
        self._has_asked = False
        self._may_have_more = False
        """Whether messages from strangers have used up the client's turn."""
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            directory = Directory(client, setup.fileno())
            self._control_path = directory.file(f"qb-control-{service}")
            self._base = directory.file(f"qb-{service}")
            undo.callback(directory.remove, [PurePath(self._control_path).name])
            descriptor = create_shared_file(self._control_path, CONTROL_BLOCK_SIZE)
            try:
                self._control = GuardedMemory(descriptor, CONTROL_BLOCK_SIZE, has_counts=False)
            finally:
                os.close(descriptor)
            undo.callback(self._control.close)
            self._requests = undo.enter_context(_bound(f"{self._base}-request", max_msg_size))
            self._requests.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._events = undo.enter_context(_bound(f"{self._base}-event-tx", max_msg_size))
            directory.hand_over()
            self._undo = undo.pop_all()

    def names(self) -> dict[str, str]:
        return {"request": self._control_path, "response": self._base, "event": ""}

    def register(self, epoll: select.epoll) -> None:
        epoll.register(self._setup, ARRIVALS)
        epoll.register(self._requests, ARRIVALS)
        # No mask excludes EPOLLERR, which would wake us again and again if it were not edge-triggered; see
        # `watch_room`.
        epoll.register(self._events, select.EPOLLET)

    def watch_room(self, epoll: select.epoll, wanted: bool) -> None:
        room = ROOM if wanted else 0
        epoll.modify(self._requests, ARRIVALS | room)
        epoll.modify(self._events, select.EPOLLET | room)

    def check(self) -> None:
        self._control.check_length()

    def receive(self) -> bytes | None:
        for _ in range(MAX_BATCH):
            try:
                message, ancillary, _, _ = self._requests.recvmsg(
                    self.max_msg_size + 1,
                    socket.CMSG_SPACE(UCRED_SIZE),
                )
            except OSError:
                # Nothing has arrived, or the client is gone; the setup socket shows which.
                return None
            if self._is_clients(ancillary):
                self._has_asked = True
                return self._checked(message)
        self._may_have_more = True
        return None

    def _checked(self, message: bytes) -> bytes:
        if not 0 < len(message) <= self.max_msg_size:
            raise MessageError(f"not within 1 to {self.max_msg_size} bytes", field="datagram.size")
        return message

    def _is_clients(self, ancillary: list[tuple[int, int, bytes]]) -> bool:
        return any(
            (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS)
            and len(value) == UCRED_SIZE
            and UCRED.parse(value).uid == self._client.uid
            for level, kind, value in ancillary
        )

    def respond(self, message: bytes) -> bool:
        return self._send(self._requests, "response", message)

    def notify(self, message: bytes) -> bool:
        self.check()
        return self._send(self._events, "event", message)

    def _send(self, sock: socket.socket, way: str, message: bytes) -> bool:
        try:
            if not self._connect(sock, way):
                return False
            sock.send(message, socket.MSG_NOSIGNAL)
        except OSError as error:
            if isinstance(error, BlockingIOError):
                return False
            raise Library(f"the client is gone: {error.strerror}") from error
        return True

    def _connect(self, sock: socket.socket, way: str) -> bool:
        """Connect to the client's end. Returns False if it does not exist yet, as before its first
        request."""
        if sock not in self._connected:
            try:
                sock.connect(abstract(f"{self._base}-{way}"))
            except ConnectionRefusedError:
                if self._has_asked:
                    raise
                return False
            self._connected.add(sock)
        return True

    def settle(self, answered: int) -> bool:
        again, self._may_have_more = self._may_have_more, False
        return again

    def discard(self) -> bool:
        try:
            taken = self._setup.recv(STRAY_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            raise Library(f"the client is gone: {error.strerror}") from error
        if not taken:
            raise Library("the client is gone")
        return True

    def needs_room(self) -> bool:
        return False

    def must_poll(self, *, response: bool) -> bool:
        return (self._requests if response else self._events) not in self._connected

    def set_flow_control(self, level: int) -> None:
        self.check()
        self._control.store(_FLOW_CONTROL_OFFSET, level)

    def close(self) -> None:
        self._undo.close()


def _bound(name: str, max_msg_size: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # libqb treats a name that begins with "/" as abstract, even with filesystem sockets.
        sock.bind(abstract(name))
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            if sock.getsockopt(socket.SOL_SOCKET, option) <= max_msg_size:
                sock.setsockopt(socket.SOL_SOCKET, option, max_msg_size)
    except BaseException:
        sock.close()
        raise
    return sock
