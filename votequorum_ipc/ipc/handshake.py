"""Sets up a connection: the socket, the credentials, and the two setup messages.

Strategy: everything goes over one stream socket that stays open afterwards; when it closes, each side learns
that the other is gone. SO_PASSCRED makes the kernel attach the server's pid, uid and gid to the response. It
is set before the connect, so that no server can send without credentials, and `identity` judges them before
the response is read. Sources: libqb's lib/ipc_setup.c; `protocol_specs/libqb-ipc.md`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from ..errors import CsError, Library, MessageError, TooBig, error_from_errno
from ..sockets import Address, locate
from ..wire.setup import CONNECTION_REQUEST, CONNECTION_RESPONSE, UCRED, UCRED_SIZE
from .backend import Backend, current
from .diagnosis import lost, refusal, unreachable
from .identity import ServerProcess, check_listener, check_server, unknown_server

MOST_ACCEPTED_MSG_SIZE: Final = 1 << 24
"""The largest message size accepted from a server. corosync's own limit is 1 MiB."""


@dataclass(frozen=True)
class Setup:
    """The result of a handshake."""

    service: str
    socket: socket.socket
    server: ServerProcess
    response: Any
    """The decoded `CONNECTION_RESPONSE`."""


async def set_up(
    service: str,
    max_msg_size: int,
    address: Address,
    server_uids: Collection[int] | None = None,
) -> Setup:
    """Connect to a service and shake hands. The caller owns the returned socket.

    Raises `Library` when nothing listens there, `Access` when this user may not connect, `Security` for a
    server whose user is not trusted (see `identity`), `TryAgain` while the daemon starts, `NotSupported`,
    `NoResources` and so on when the server refuses, `MessageError` for an invalid response.
    """
    if isinstance(address, socket.socket):
        sock, where = address, "the given socket"
    else:
        sock, where = _open(service, address)
    try:
        backend = current()
        await backend.checkpoint()
        sock.setblocking(False)
        sock.set_inheritable(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        await _send_all(backend, sock, CONNECTION_REQUEST.encode(max_msg_size=max_msg_size))

        def check(server: ServerProcess) -> None:
            check_server(server, where, server_uids, is_default_address=address is None)
            if not isinstance(address, socket.socket):  # else it may have no listener
                check_listener(_listener(sock), where, server_uids, is_default_address=address is None)

        raw, server = await _receive_response(backend, sock, service, where, check)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        response = CONNECTION_RESPONSE.decode(raw)
        if response.error:
            raise refusal(service, where, -response.error)
        if not 0 < response.max_msg_size <= MOST_ACCEPTED_MSG_SIZE:
            raise TooBig(f"{where} wants messages of {response.max_msg_size} bytes")
    except OSError as error:
        sock.close()
        raise lost(where, error) from error
    except BaseException:
        sock.close()
        raise
    return Setup(service, sock, server, response)


def _open(service: str, address: str | os.PathLike[str] | None) -> tuple[socket.socket, str]:
    target, where = locate(service, address)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:
        raise error_from_errno(error.errno or 0, f"cannot open a socket: {error.strerror}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # A connect on a Unix socket never finishes later: it succeeds, is refused, or fails with EAGAIN for a
        # full backlog.
        sock.connect(target)
    except OSError as error:
        sock.close()
        raise unreachable(service, address, where, error) from error
    return sock, where


async def _send_all(backend: Backend, sock: socket.socket, data: bytes) -> None:
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            await backend.wait_writable(sock)


async def _receive_response(
    backend: Backend,
    sock: socket.socket,
    service: str,
    where: str,
    check: Callable[[ServerProcess], None],
) -> tuple[bytes, ServerProcess]:
    """The setup response and its sender. `check` judges the sender of each piece before it is used."""
    size = CONNECTION_RESPONSE.fixed_size or 0
    received = bytearray()
    server = unknown_server()
    while len(received) < size:
        try:
            data, ancillary, _, _ = sock.recvmsg(
                size - len(received),
                socket.CMSG_SPACE(UCRED_SIZE),
            )
        except BlockingIOError:
            await backend.wait_readable(sock)
            continue
        if not data:
            raise Library(
                f"{where} closed the connection before it answered: it is stopping, or it is not a libqb "
                f"service like {service!r}",
            )
        server = _sender(ancillary)
        check(server)
        received += data
    return bytes(received), server


def _listener(sock: socket.socket) -> ServerProcess:
    """The process that called listen(2) on the other end (SO_PEERCRED in unix(7))."""
    ucred = UCRED.parse(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED_SIZE))
    return ServerProcess(ucred.pid, ucred.uid)


def _sender(ancillary: list[tuple[int, int, bytes]]) -> ServerProcess:
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            if len(value) != UCRED_SIZE:
                raise MessageError(f"{len(value)} bytes", field="SCM_CREDENTIALS")
            ucred = UCRED.parse(value)
            return ServerProcess(ucred.pid, ucred.uid)
    return unknown_server()


def nothing_listens(error: CsError) -> bool:
    """Whether connecting failed because there is no such service, rather than for a temporary reason."""
    return isinstance(error.__cause__, ConnectionRefusedError | FileNotFoundError)
