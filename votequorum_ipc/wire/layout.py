"""Each message is declared once, in construct; everything else about it is derived from that declaration.

Strategy: `Layout` holds a construct `Struct` that reads like the C header it mirrors, paddings included.
`fields` has the field types. `derive` compiles `decode` and `encode` from the declaration when a message is
first used, so an import does not pay for messages that a program never sees. No offset is written by hand:
the specification's tables are printed from the same declaration.

Trust: before anything else, `size` is compared with the number of bytes received. Each count is compared with
`size` and with its limit before it is used. Anything wrong raises a `MessageError` that names the field.
"""

from __future__ import annotations

import enum
import functools
import struct
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import construct as c

from ..errors import MessageError
from .derive import derive_decode, derive_encode
from .fields import CountOf, bare, fixed_size, names, struct_format


class Kind(enum.Enum):
    """Which way a message goes, which decides its header."""

    REQUEST = "request"
    RESPONSE = "response"
    EVENT = "event"


REQUEST_HEADER = ("id" / c.Int32sn, c.Padding(4), "size" / c.Int32sn, c.Padding(4))
"""`struct qb_ipc_request_header`: 16 bytes (qb/qbipc_common.h)."""

RESPONSE_HEADER = (*REQUEST_HEADER, "error" / c.Int32sn, c.Padding(4))
"""`struct qb_ipc_response_header`: 24 bytes, `error` being a `cs_error_t` (qb/qbipc_common.h)."""

CS_OK = 1


@dataclass(frozen=True, eq=False)
class Layout:
    """One message: what the specification says about it, and how its bytes are read and written.

    `decode(data)` returns a named tuple of the fields, without `id`, `size` and the counts.
    `encode(**fields)` returns bytes with zero padding. A response's `error` is CS_OK by default.
    """

    name: str
    """The C API's name, such as "getinfo"."""
    kind: Kind
    id: int
    c_name: str
    """The C struct, such as "res_lib_votequorum_getinfo"."""
    construct: c.Struct
    """The one authority for this message's layout, header included."""
    since: str = ""
    """The corosync release that introduced it, unless it has always been there."""

    def __str__(self) -> str:
        return f"{self.name} {self.kind.value}"

    @functools.cached_property
    def fields(self) -> list[str]:
        """The names of the values that `encode` takes and `decode` gives."""
        counts = {field.name for field in self.construct.subcons if isinstance(bare(field), CountOf)}
        return [name for name in names(self.construct) if name not in {"id", "size"} | counts]

    @functools.cached_property
    def record(self) -> Any:
        """The named tuple that `decode` returns."""
        return namedtuple("_".join((self.name, self.kind.value)).replace(" ", "_"), self.fields)

    @functools.cached_property
    def fixed_size(self) -> int | None:
        """The message's `size`, or None when it depends on a count."""
        return fixed_size(self.construct)

    @functools.cached_property
    def least_size(self) -> int:
        """The message's `size` when all its lists are empty."""
        return sum(fixed_size(field) or 0 for field in self.construct.subcons)

    @functools.cached_property
    def decode(self) -> Callable[[bytes], Any]:
        """Bytes to a named tuple.

        Raises `MessageError` for anything that is not exactly this message, to the last byte. A response with
        an error has noise after its header: look at `reply_error` first.
        """
        return derive_decode(str(self), self.construct, self.id, self.record)

    @functools.cached_property
    def encode(self) -> Callable[..., bytes]:
        """Fields, by keyword, to bytes. Raises `InvalidParam` for a value that its field cannot hold."""
        defaults = {} if self.kind is Kind.REQUEST else {"error": CS_OK}
        return derive_encode(str(self), self.construct, self.id, self.fields, defaults)


_RESPONSE_HEADER_STRUCT = struct.Struct("=" + struct_format(c.Struct(*RESPONSE_HEADER)))
_unpack_response_header = _RESPONSE_HEADER_STRUCT.unpack_from


def reply_error(data: bytes) -> int:
    """The `cs_error_t` of any response or event. Raises `MessageError` if the bytes cannot be one.

    Look at it before the id: the daemon answers a request that it rejects with a bare header of id 0.
    """
    try:
        _, size, error = _unpack_response_header(data)
    except struct.error:
        needed = _RESPONSE_HEADER_STRUCT.size
        raise MessageError(
            f"{len(data)} bytes cannot hold a header of {needed}", field="response.size"
        ) from None
    if size != len(data):
        raise MessageError(f"says {size}, but the message has {len(data)} bytes", field="response.size")
    code: int = error
    return code


_MESSAGE_ID_STRUCT = struct.Struct("=" + struct_format(REQUEST_HEADER[0]))


def message_id(data: bytes) -> int:
    """The id of any message. Raises `MessageError` if it is too short to have one."""
    if len(data) < _MESSAGE_ID_STRUCT.size:
        raise MessageError(f"{len(data)} bytes cannot hold an id", field="message.id")
    return int(_MESSAGE_ID_STRUCT.unpack_from(data)[0])


def request(name: str, id_: int, c_name: str, *body: c.Construct, since: str = "") -> Layout:
    """Declare a request: its header, then `body`."""
    return Layout(name, Kind.REQUEST, id_, c_name, c.Struct(*REQUEST_HEADER, *body), since)


def response(name: str, id_: int, c_name: str, *body: c.Construct, since: str = "") -> Layout:
    """Declare a response: its header, then `body`."""
    return Layout(name, Kind.RESPONSE, id_, c_name, c.Struct(*RESPONSE_HEADER, *body), since)


def event(name: str, id_: int, c_name: str, *body: c.Construct, since: str = "") -> Layout:
    """Declare an event, which has a response's header, then `body`."""
    return Layout(name, Kind.EVENT, id_, c_name, c.Struct(*RESPONSE_HEADER, *body), since)
