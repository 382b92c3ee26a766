"""A service at an address: accepts or refuses clients, and knows those that are connected.

Strategy: the socket listens as soon as the listener is made, so a client can connect right away. The task
`run` accepts. Each client has its own task, first for the handshake, then for its connection. `close` ends
everything at once, without waiting for any task. In a forked child the copies of the sockets are closed,
because a single open copy would keep the address in use and all clients waiting. Sources: libqb's
lib/ipc_setup.c (`qb_ipcs_us_publish`, `qb_ipcs_us_connection_acceptor`).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from ..errors import Busy, CsError, error_from_errno
from ..ring import check_platform
from ..sockets import locate
from .admission import Admission, Credentials
from .connection import ServerConnection
from .handshake import accepted, receive_request, refused, send_response
from .limits import BACKLOG, HANDSHAKE_SECONDS, MAX_HANDSHAKES
from .service import Service
from .transport import ServerTransport

_NO_DESCRIPTORS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
_NO_DESCRIPTORS_PAUSE: Final = 0.1
"""Seconds until the next attempt to accept when the system has no descriptors or memory left."""

_IN_USE: Final = (
    "is in use: is corosync or another simulated cluster running? End it, or use other names with "
    "votequorum-ipc serve --prefix NAME"
)

_log = logging.getLogger(__name__)

MakeTransport = Callable[[socket.socket, str, Credentials, int], ServerTransport]


class Listener:
    """A service that clients can connect to, until `close`."""

    def __init__(
        self,
        service: Service,
        address: str | os.PathLike[str] | None,
        admission: Admission,
        make_transport: MakeTransport,
    ) -> None:
        """Listen at once. Raises `Busy` when the address is in use, `NotSupported` if no client could be
        served, another `CsError` for an invalid address."""
        check_platform()
        self.service = service
        self.closed = False
        self._admission = admission
        self._make_transport = make_transport
        self._clients: dict[ServerConnection, bool] = {}
        """The clients that were accepted, and whether the service knows of them yet."""
        self._handshakes: dict[trio.CancelScope, None] = {}
        self._accepted: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        target, where = locate(service.name, address)
        self._path = target if isinstance(target, str) else None
        self._socket = _bound(target, where)
        _open_here.add(self)

    # --- for callers ---

    def wake(self) -> None:
        """Make all connections look again, for example after `Service.paused` changed."""
        for client in list(self._clients):
            client.wake()

    def close(self) -> None:
        """End all connections, and accept no more. Closing again does nothing."""
        if self.closed:
            return
        self.closed = True
        with contextlib.suppress(RuntimeError):
            trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                Path(self._path).unlink()
        for scope in list(self._handshakes):
            scope.cancel()
        for client in list(self._clients):
            client.close()

    def _disown(self) -> None:
        """In a forked child: close the copies, and leave the parent's resources alone."""
        self.closed = True
        for client in self._clients:
            client.disown()
        for sock in (self._socket, *self._accepted):
            sock.close()

    # --- tasks ---

    async def run(self) -> None:
        """Accept clients until the listener is closed; cancelling closes it."""
        try:
            async with trio.open_nursery() as nursery:
                while not self.closed:
                    sock = await self._accept()
                    if sock is not None:
                        nursery.start_soon(self._serve, sock)
        finally:
            self.close()

    async def _accept(self) -> socket.socket | None:
        try:
            await trio.lowlevel.wait_readable(self._socket)
            sock, _ = self._socket.accept()
        except trio.ClosedResourceError:
            return None
        except OSError as error:
            if error.errno in _NO_DESCRIPTORS:
                await trio.sleep(_NO_DESCRIPTORS_PAUSE)
            return None
        self._accepted.add(sock)
        sock.setblocking(False)
        return sock

    async def _serve(self, sock: socket.socket) -> None:
        connection = None
        with sock, trio.move_on_after(HANDSHAKE_SECONDS) as scope:
            self._note_handshake(scope)
            try:
                connection = await self._shake_hands(sock)
            except (CsError, OSError) as error:
                _log.debug("%s: a client was refused: %s", self.service.name, error)
            finally:
                del self._handshakes[scope]
            if connection is not None:
                scope.deadline = float("inf")
                await connection.run()

    def _note_handshake(self, scope: trio.CancelScope) -> None:
        if self.closed:
            scope.cancel()
        if len(self._handshakes) >= MAX_HANDSHAKES:
            next(iter(self._handshakes)).cancel()
        self._handshakes[scope] = None

    async def _shake_hands(self, sock: socket.socket) -> ServerConnection | None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        client, max_msg_size = await receive_request(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        number = self._admission.objection(client, self.service.name)
        if number:
            await send_response(sock, refused(number))
            return None
        try:
            transport = self._make_transport(sock, self.service.name, client, max_msg_size)
        except (CsError, OSError) as error:
            await send_response(sock, refused(_errno_of(error)))
            raise
        return await self._let_in(sock, transport, client)

    async def _let_in(
        self, sock: socket.socket, transport: ServerTransport, client: Credentials
    ) -> ServerConnection:
        connection = self._connection(sock, transport, client)
        try:
            await send_response(sock, accepted(transport))
            self._introduce(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connection(
        self, sock: socket.socket, transport: ServerTransport, client: Credentials
    ) -> ServerConnection:
        try:
            connection = ServerConnection(
                sock,
                transport,
                client,
                process=self.service.process,
                is_paused=lambda: self.service.paused,
                on_close=self._forget,
            )
        except BaseException:
            transport.close()
            raise
        self._clients[connection] = False
        self._admission.connections += 1
        return connection

    def _introduce(self, connection: ServerConnection) -> None:
        """Introduce a client to the service once it has the setup response: no event may come before that."""
        if not connection.closed:
            self._clients[connection] = True
            self.service.connected(connection)

    def _forget(self, connection: ServerConnection) -> None:
        introduced = self._clients.pop(connection)
        self._admission.connections -= 1
        if introduced:
            self.service.disconnected(connection)


_open_here: weakref.WeakSet[Listener] = weakref.WeakSet()
"""The listeners of this process."""


def _disown_all() -> None:
    for listener in _open_here:
        listener._disown()
    _open_here.clear()


os.register_at_fork(after_in_child=_disown_all)


def _errno_of(error: CsError | OSError) -> int:
    """The errno for a client when no transport could be made."""
    number = error.errno if isinstance(error, OSError) else None
    return number or errno.ENOMEM


def _bound(target: bytes | str, where: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if isinstance(target, str):
            _clear_away(target, where)
        sock.bind(target)
        if isinstance(target, str):
            # The client's credentials decide, not the file's mode; libqb does the same.
            Path(target).chmod(0o777)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise Busy(f"{where} {_IN_USE}") from error
        raise error_from_errno(error.errno or 0, f"cannot listen on {where}: {error.strerror}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _clear_away(path: str, where: str) -> None:
    """Remove the socket of a server that is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if Path(path).is_socket():
                Path(path).unlink()
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass
    raise Busy(f"{where} {_IN_USE}")
