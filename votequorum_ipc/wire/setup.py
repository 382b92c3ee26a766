"""libqb's own layouts: the messages that set a connection up, and its shared memory.

Sources: libqb's lib/ipc_int.h (connection request and response), lib/ringbuffer_int.h (the header of a ring),
lib/ringbuffer.c (chunks), lib/ipc_socket.c (the control block). Sizes are those of 64-bit Linux.
"""

from __future__ import annotations

import construct as c

from .fields import CharArray
from .layout import request, response

PATH_MAX = 4096
"""Linux's; libqb's structures hold whole paths."""

SEM_T_SIZE = 32
"""sizeof(sem_t) on 64-bit glibc and on 64-bit musl."""

AUTHENTICATE = -1
"""QB_IPC_MSG_AUTHENTICATE: the id of both setup messages."""

TRANSPORT_SOCKET = 0
"""QB_IPC_SOCKET, as `connection_type`."""

TRANSPORT_SHM = 1
"""QB_IPC_SHM, as `connection_type`."""

CONNECTION_REQUEST = request(
    "connection",
    AUTHENTICATE,
    "qb_ipc_connection_request",
    "max_msg_size" / c.Int32un,
    c.Padding(4),
)
"""The first message on the setup socket. The server takes the larger of this size and its own."""

CONNECTION_RESPONSE = response(
    "connection",
    AUTHENTICATE,
    "qb_ipc_connection_response",
    "connection_type" / c.Int32sn,
    "max_msg_size" / c.Int32un,
    "connection" / c.Int64un,
    "request" / CharArray(PATH_MAX),
    "response" / CharArray(PATH_MAX),
    "event" / CharArray(PATH_MAX),
)
"""The answer. Here `error` is 0 or a negative errno, not a `cs_error_t`; `connection` means nothing to a
client."""

UCRED = c.Struct("pid" / c.Int32sn, "uid" / c.Int32un, "gid" / c.Int32un)
"""`struct ucred` of unix(7), which the kernel attaches to both setup messages."""

UCRED_SIZE = int(UCRED.sizeof())

DISCONNECT = -3
"""QB_IPC_MSG_DISCONNECT: a request with this id ends the connection."""

REFUSAL = response("refusal", 0, "qb_ipc_response_header")
"""Every service's answer to a request that it does not understand."""

RING_HEADER = c.Struct(
    "write_pt" / c.Int32un,
    "read_pt" / c.Int32un,
    "word_size" / c.Int32un,
    "hdr_path" / CharArray(PATH_MAX),
    "data_path" / CharArray(PATH_MAX),
    "ref_count" / c.Int32sn,
    "posted_sem" / c.Bytes(SEM_T_SIZE),
    "flow_control" / c.Int32sn,
    c.Padding(8),
)
"""`struct qb_ringbuffer_shared_s` and its user data: the content of the file `<stem>-header`.

The pointers count 4-byte words. `flow_control` is the user data; it matters only in the request ring.
"""

CHUNK_HEADER = c.Struct("size" / c.Int32un, "magic" / c.Int32un)
"""Two words before a chunk's data: its length in bytes, and its state."""

CHUNK_ALLOCATED = 0xA110CED0
CHUNK_COMMITTED = 0xA1A1A1A1
CHUNK_RECLAIMED = 0xD0D0D0D0

_CONTROL = c.Struct("sent" / c.Int32sn, "flow_control" / c.Int32sn)

CONTROL_BLOCK = c.Struct("request" / _CONTROL, "response" / _CONTROL, "event" / _CONTROL)
"""The control file of the socket transport: three `struct ipc_us_control`, 24 bytes in all."""

CONTROL_BLOCK_SIZE = int(CONTROL_BLOCK.sizeof())


def offset_of(declaration: c.Struct, *path: str) -> int:
    """Where a field of a declaration of fixed size begins, in bytes; `path` goes into nested structs."""
    offset = 0
    for field in declaration.subcons:
        if field.name == path[0]:
            return offset + (offset_of(field.subcon, *path[1:]) if path[1:] else 0)
        offset += field.sizeof()
    raise KeyError(path[0])
