"""The server's half of setting up a connection: one request in, one response out.

Strategy: the kernel attaches the client's credentials to the request (SO_PASSCRED), and nothing else
identifies the client. A refusal is a response with a negative errno and no further content. Sources: libqb's
lib/ipc_setup.c (`process_auth`, `handle_new_connection`).
"""

from __future__ import annotations

import socket

import trio

from ..errors import Library, MessageError
from ..wire.setup import CONNECTION_REQUEST, CONNECTION_RESPONSE, UCRED, UCRED_SIZE
from .admission import Credentials
from .limits import LEAST_GRANTED_MSG_SIZE, MOST_GRANTED_MSG_SIZE
from .transport import ServerTransport

_REQUEST_SIZE = CONNECTION_REQUEST.least_size


async def receive_request(sock: socket.socket) -> tuple[Credentials, int]:
    """Receive a client's request: who the client is, and its message size.

    Raises `Library` if it disconnects, `MessageError` if it sends anything else.
    """
    received = bytearray()
    client: Credentials | None = None
    while len(received) < _REQUEST_SIZE:
        try:
            data, ancillary, _, _ = sock.recvmsg(
                _REQUEST_SIZE - len(received),
                socket.CMSG_SPACE(UCRED_SIZE),
            )
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if not data:
            raise Library("the client went away during setup")
        received += data
        client = _credentials(ancillary)
    asked = CONNECTION_REQUEST.decode(bytes(received)).max_msg_size
    assert client is not None
    return client, min(max(asked, LEAST_GRANTED_MSG_SIZE), MOST_GRANTED_MSG_SIZE)


def _credentials(ancillary: list[tuple[int, int, bytes]]) -> Credentials:
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(value) == UCRED_SIZE:
            ucred = UCRED.parse(value)
            return Credentials(ucred.pid, ucred.uid, ucred.gid)
    raise MessageError("a request without credentials", field="SCM_CREDENTIALS")


def accepted(transport: ServerTransport) -> bytes:
    """The response that accepts a client and tells it how to go on."""
    return CONNECTION_RESPONSE.encode(
        error=0,
        connection_type=transport.connection_type,
        max_msg_size=transport.max_msg_size,
        # libqb puts a pointer there, which clients do not look at.
        connection=0,
        **transport.names(),
    )


def refused(errno: int) -> bytes:
    """The response that refuses a client, for a positive errno."""
    numbers = dict.fromkeys(("connection_type", "max_msg_size", "connection"), 0)
    texts = dict.fromkeys(("request", "response", "event"), "")
    return CONNECTION_RESPONSE.encode(error=-errno, **numbers, **texts)


async def send_response(sock: socket.socket, response: bytes) -> None:
    """Send all of it. Raises `Library` when the client is gone."""
    while response:
        try:
            response = response[sock.send(response, socket.MSG_NOSIGNAL) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
        except OSError as error:
            raise Library(f"the client went away during setup: {error.strerror}") from error
