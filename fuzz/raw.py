"""One connection to a libqb service, by plain blocking calls, on which everything can be done wrong.

Strategy: it shakes hands honestly and maps what the server names, as the client in `ipc` does. After that
each part can be used alone: a chunk without a doorbell, a doorbell without a chunk, any word of the rings'
headers, any file cut short. Nothing here protects the caller or the server. Programs use `ipc`.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from votequorum_ipc.attack import HONEST_SIZE, WAYS
from votequorum_ipc.errors import CsError, Library, Timeout, error_from_errno
from votequorum_ipc.ring import WORD, Ring
from votequorum_ipc.sockets import abstract, locate
from votequorum_ipc.wire.setup import (
    CONNECTION_REQUEST,
    CONNECTION_RESPONSE,
    CONTROL_BLOCK,
    RING_HEADER,
    TRANSPORT_SHM,
    offset_of,
)

_LOOK_AGAIN: Final = 0.0002
"""Seconds between looks for a response: shared memory has nothing to block on that is worth its price here.
"""


class RawConnection:
    """An open connection. A context manager; `close` may come at any time."""

    def __init__(
        self,
        service: str,
        address: str | None = None,
        *,
        max_msg_size: int = HONEST_SIZE,
        deadline: float = 5.0,
    ) -> None:
        """Shake hands. `address` as in `ipc.connect`; `deadline` is how many seconds the handshake, and each
        call, may take. Raises `CsError` for a refusal or what cannot be mapped, `Timeout` when no answer
        comes in time, OSError where nothing listens.
        """
        self.service = service
        self.deadline = deadline
        self.socket = open_socket(service, address)
        self._stack = contextlib.ExitStack()
        self._stack.callback(self.socket.close)
        try:
            self.socket.sendall(CONNECTION_REQUEST.encode(max_msg_size=max_msg_size))
            self.response: Any = CONNECTION_RESPONSE.decode(self._receive_exactly())
            if self.response.error:
                raise error_from_errno(-self.response.error)
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def _receive_exactly(self) -> bytes:
        self.socket.settimeout(self.deadline)
        received = b""
        try:
            while len(received) < (CONNECTION_RESPONSE.fixed_size or 0):
                more = self.socket.recv((CONNECTION_RESPONSE.fixed_size or 0) - len(received))
                if not more:
                    raise Library("the server closed the connection before it answered")
                received += more
        except TimeoutError:
            raise Timeout("no answer to the connection request") from None
        self.socket.setblocking(False)
        return received

    def _open(self) -> None:
        self.over_shm = self.response.connection_type == TRANSPORT_SHM
        """Whether the server chose shared memory."""
        self.rings: dict[str, Ring] = {}
        self._datagrams: dict[str, socket.socket] = {}
        self._is_cut = False
        if self.over_shm:
            for way in WAYS:
                ring = Ring.open(getattr(self.response, way), self.response.max_msg_size)
                self._stack.callback(ring.close, count_out=False)
                self.rings[way] = ring
            return
        base = self.response.response
        for way, local, remote in (("response", "response", "request"), ("event", "event", "event-tx")):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._stack.callback(sock.close)
            sock.setblocking(False)
            sock.bind(abstract(f"{base}-{local}"))
            sock.connect(abstract(f"{base}-{remote}"))
            self._datagrams[way] = sock

    # --- honest use ---

    def call(self, request: bytes) -> bytes:
        """Send a request and wait for the response. Raises `Timeout` after `deadline` seconds, `Library` when
        the server is gone."""
        self.send(request)
        return self._wait_for(self.receive)

    def _wait_for(self, receive: Callable[[], bytes | None]) -> bytes:
        until = time.monotonic() + self.deadline
        while (message := receive()) is None:
            if self.hung_up():
                raise Library("the server closed the connection")
            if time.monotonic() > until:
                raise Timeout(f"no response within {self.deadline} seconds")
            time.sleep(_LOOK_AGAIN)
        return message

    def receive(self) -> bytes | None:
        """The next response, if one is here."""
        return self._take("response")

    def receive_event(self) -> bytes | None:
        """The next event, if one is here."""
        return self._take("event")

    def _take(self, way: str) -> bytes | None:
        if self._is_cut:
            return None
        if self.over_shm:
            return self.rings[way].read()
        try:
            message = self._datagrams[way].recv(self.response.max_msg_size)
        except OSError:
            return None
        self.poke(way, "sent", self.peek(way, "sent") - 1)
        return message

    def hung_up(self) -> bool:
        """Whether the server has closed the connection."""
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    # --- use as one likes ---

    def send(self, message: bytes, *, posts: int = 1, bells: int = 1, chunk_size: int | None = None) -> None:
        """Send a request, or something like it.

        Over shared memory: put it into the ring, say in its chunk header that it has `chunk_size` bytes,
        raise the semaphore `posts` times and send `bells` bytes on the setup socket. Over sockets: count
        `posts` messages and send this one as a datagram. What finds no room is dropped.
        """
        if self.over_shm:
            self._put(message, chunk_size)
            self.post(posts)
            self.bell(bells)
            return
        self.post(posts)
        with contextlib.suppress(OSError):
            self._datagrams["response"].send(message)

    def _put(self, message: bytes, chunk_size: int | None) -> None:
        if self._is_cut:
            return
        with contextlib.suppress(CsError, IndexError):
            where = self.peek("request", "write_pt")
            if self.rings["request"].put(message) and chunk_size is not None:
                self.poke_data("request", where, chunk_size)

    def post(self, times: int, way: str = "request") -> None:
        """Announce `times` more messages in a direction."""
        if self._is_cut:
            return
        if not self.over_shm:
            self.poke(way, "sent", self.peek(way, "sent") + times)
            return
        with contextlib.suppress(CsError):
            self.rings[way].publish(times)

    def bell(self, times: int) -> None:
        """Send `times` bytes on the setup socket, as far as it takes them."""
        with contextlib.suppress(OSError):
            self.socket.send(bytes(times))

    def file(self, way: str, part: str = "header") -> str:
        """The path of a ring's "header" or "data"; over sockets, of the one control file."""
        return f"{getattr(self.response, way)}-{part}" if self.over_shm else str(self.response.request)

    def fields(self) -> list[str]:
        """The words of the header, or of the control block, that `poke` can write."""
        struct_ = RING_HEADER if self.over_shm else CONTROL_BLOCK.request.subcon
        return [field.name for field in struct_.subcons if field.name and field.sizeof() == WORD]

    def poke(self, way: str, field: str, value: int) -> None:
        """Write over a word of a ring's header, or of the control block, as the mapping would let us."""
        with _descriptor(self.file(way)) as descriptor:
            os.pwrite(descriptor, _WORD.pack(value & 0xFFFFFFFF), self._offset(way, field))

    def peek(self, way: str, field: str) -> int:
        """Read such a word."""
        with _descriptor(self.file(way)) as descriptor:
            raw = os.pread(descriptor, _WORD.size, self._offset(way, field))
        return int(_WORD.unpack(raw)[0])

    def _offset(self, way: str, field: str) -> int:
        return offset_of(RING_HEADER, field) if self.over_shm else offset_of(CONTROL_BLOCK, way, field)

    def poke_data(self, way: str, word: int, value: int) -> None:
        """Write over a word of a ring's data. Over sockets there is none, and nothing happens."""
        if self.over_shm:
            with _descriptor(self.file(way, "data")) as descriptor:
                os.pwrite(descriptor, _WORD.pack(value & 0xFFFFFFFF), word * WORD)

    def truncate(self, way: str, part: str, size: int) -> None:
        """Cut a file, or make it longer with zeros. From then on this end leaves all files alone."""
        self._is_cut = True
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self.file(way, part), size)

    def close(self) -> None:
        """Close everything, without another word to the server."""
        self._stack.close()

    def leave_no_files(self) -> None:
        """Remove what a server that died has left of this connection."""
        directory = Path(self.response.request).parent
        for path in directory.glob("qb-*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            directory.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


_WORD: Final = struct.Struct("=I")


@contextlib.contextmanager
def _descriptor(path: str) -> Any:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_socket(service: str, address: str | None) -> socket.socket:
    """A stream socket, connected to a service's setup socket. Raises OSError where nothing listens."""
    target, _ = locate(service, address) if address else (abstract(service), service)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # Without it the server may see nobody's credentials: see unix(7).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        sock.connect(target)
    except BaseException:
        sock.close()
        raise
    return sock
