"""The server's half of the shared-memory transport: three rings, with the setup socket as a doorbell.

Strategy: the client sends one byte for each request. We read it only after the response is in the ring: that
frees space in the client's socket buffer, which wakes the client (see `votequorum_ipc.ipc.shm`). After
reading bytes we look at the ring once more, so a client whose bytes and requests do not match harms only
itself. For each event we send a byte. When the client takes it, space in our buffer is freed, which shows
that the ring has room again. Nothing announces room in the response ring.

Trust: the client can write to the rings and even truncate them. They are opened as untrusted, so whatever a
client does to them is a `MessageError` here.

Sources: libqb's lib/ipc_shm.c and lib/ipcs.c.
"""

from __future__ import annotations

import select
import socket
from pathlib import PurePath
from typing import Final

from ..errors import Library
from ..ring import Ring
from ..wire.setup import TRANSPORT_SHM
from .admission import Credentials
from .directory import Directory
from .transport import ARRIVALS, ROOM, STRAY_BYTES


class ServerShm:
    """See `ServerTransport`."""

    connection_type: Final = TRANSPORT_SHM

    def __init__(self, setup: socket.socket, service: str, client: Credentials, max_msg_size: int) -> None:
        """Make the rings. Raises OSError or `CsError` if the system refuses."""
        self.max_msg_size = max_msg_size
        self._setup = setup
        self._rings: list[Ring] = []
        self._bytes_to_take = 0
        self._bytes_to_send = 0
        self._directory = Directory(client, setup.fileno())
        try:
            for way in ("request", "response", "event"):
                stem = self._directory.file(f"qb-{way}-{service}")
                self._rings.append(Ring.create(stem, max_msg_size))
            self._directory.hand_over()
        except BaseException:
            self.close()
            raise
        self._request, self._response, self._event = self._rings

    def names(self) -> dict[str, str]:
        stems = (ring.paths[0].removesuffix("-header") for ring in self._rings)
        return dict(zip(("request", "response", "event"), stems, strict=True))

    def register(self, epoll: select.epoll) -> None:
        epoll.register(self._setup, ARRIVALS)

    def watch_room(self, epoll: select.epoll, wanted: bool) -> None:
        epoll.modify(self._setup, ARRIVALS | (ROOM if wanted else 0))

    def check(self) -> None:
        for ring in self._rings:
            ring.check_length()

    def receive(self) -> bytes | None:
        return self._request.read()

    def respond(self, message: bytes) -> bool:
        return self._response.write(message)

    def notify(self, message: bytes) -> bool:
        if not self._event.write(message):
            return False
        self._bytes_to_send += 1
        self._ring_doorbell()
        return True

    def settle(self, answered: int) -> bool:
        self._ring_doorbell()
        self._bytes_to_take += answered
        taken = self._take_bytes(self._bytes_to_take) if self._bytes_to_take else 0
        self._bytes_to_take -= taken
        return taken > 0

    def discard(self) -> bool:
        return not self._bytes_to_take and self._take_bytes(STRAY_BYTES) > 0

    def _take_bytes(self, most: int) -> int:
        try:
            taken = len(self._setup.recv(most))
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Library(f"the client is gone: {error.strerror}") from error
        if not taken:
            raise Library("the client is gone")
        return taken

    def _ring_doorbell(self) -> None:
        while self._bytes_to_send:
            try:
                # One at a time: the kernel frees, and reports, only whole packets.
                self._setup.send(b"\0", socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError as error:
                raise Library(f"the client is gone: {error.strerror}") from error
            self._bytes_to_send -= 1

    def needs_room(self) -> bool:
        return self._bytes_to_send > 0

    def must_poll(self, *, response: bool) -> bool:
        return response

    def set_flow_control(self, level: int) -> None:
        self._request.flow_control = level

    def close(self) -> None:
        for ring in self._rings:
            ring.close()
        self._directory.remove([PurePath(path).name for ring in self._rings for path in ring.paths])
