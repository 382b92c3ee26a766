"""A message is declared once, in construct; everything else about it is derived from that declaration.

Strategy: `Layout` holds a construct `Struct` that reads like the C header it mirrors, paddings included. From
its fields it derives, the first time it is used, two small functions on top of the `struct` module: `decode`
(bytes to a named tuple) and `encode`. They exist because construct's interpreter takes some twenty times
longer; a property test holds both implementations equal. Nobody writes an offset down: the specification's
tables are printed from the same declaration.

Trust: `size` is compared with the bytes that are there before anything else, each count with `size` before
it is believed. Whatever is wrong is a `MessageError` that names the field.
"""

from __future__ import annotations

import enum
import functools
import struct
from collections import namedtuple
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import construct as c

from ..errors import InvalidParam, MessageError
from ..types import RingId


class Kind(enum.Enum):
    """Which way a message goes, and so which header it has."""

    REQUEST = "request"
    RESPONSE = "response"
    EVENT = "event"


REQUEST_HEADER = ("id" / c.Int32sn, c.Padding(4), "size" / c.Int32sn, c.Padding(4))
"""`struct qb_ipc_request_header`: 16 bytes (qb/qbipc_common.h)."""

RESPONSE_HEADER = (*REQUEST_HEADER, "error" / c.Int32sn, c.Padding(4))
"""`struct qb_ipc_response_header`: 24 bytes, `error` being a `cs_error_t` (qb/qbipc_common.h)."""

CS_OK = 1


# --- Field types that the C headers use and construct lacks ---------------------------------------------


class CharArray(c.Adapter):  # type: ignore[misc]
    """`char name[length]`: text ended by a NUL within the array. Bytes behind the NUL are ignored."""

    def __init__(self, length: int) -> None:
        super().__init__(c.Bytes(length))
        self.length = length

    def _decode(self, obj: bytes, context: Any, path: str) -> str:
        return text_from_array(obj, path)

    def _encode(self, obj: str, context: Any, path: str) -> bytes:
        return text_to_array(obj, self.length, path).ljust(self.length, b"\0")


class MarName(c.Adapter):  # type: ignore[misc]
    """`mar_name_t` (corosync/mar_gen.h): uint16 length @0, 256 bytes @8; 264 bytes.

    To C on both sides a NUL ends it, also where the length counts on. The daemon does not look at the length,
    but for 0; the C library's cmap_iter_next does, so that a text which is cut short by it is so here.
    """

    LENGTH = 256

    def __init__(self) -> None:
        super().__init__(
            c.Struct("length" / c.Int16un, c.Padding(6), "value" / c.Bytes(self.LENGTH)),
        )

    def _decode(self, obj: Any, context: Any, path: str) -> str:
        return name_from_mar(obj.length, obj.value, path)

    def _encode(self, obj: str, context: Any, path: str) -> dict[str, Any]:
        value = name_to_mar(obj, path)
        return {"length": len(value), "value": value.ljust(self.LENGTH, b"\0")}


class Tupled(c.Adapter):  # type: ignore[misc]
    """A nested C struct that decodes to a named tuple of the same fields."""

    def __init__(self, record: Any, subcon: c.Struct) -> None:
        super().__init__(subcon)
        self.record = record

    def _decode(self, obj: Any, context: Any, path: str) -> Any:
        return self.record(*(obj[name] for name in _names(self.subcon)))

    def _encode(self, obj: Any, context: Any, path: str) -> dict[str, Any]:
        return dict(zip(_names(self.subcon), obj, strict=True))


class CountOf(c.Rebuild):  # type: ignore[misc]
    """An integer that counts the items (or the bytes) of the field `of` further on."""

    def __init__(self, integer: c.FormatField, of: str) -> None:
        super().__init__(integer, c.len_(c.this[of]))
        self.of = of


class ListOf(c.Array):  # type: ignore[misc]
    """As many items as the field `count` said; a tuple of them."""

    def __init__(self, count: str, item: c.Construct) -> None:
        super().__init__(c.this[count], item)
        self.count_field = count


class BytesOf(c.Bytes):  # type: ignore[misc]
    """As many bytes as the field `count` said."""

    def __init__(self, count: str) -> None:
        super().__init__(c.this[count])
        self.count_field = count


class RestOfMessage(c.Subconstruct):  # type: ignore[misc]
    """All bytes up to `size`."""

    def __init__(self) -> None:
        super().__init__(c.GreedyBytes)


RING_ID = Tupled(RingId, c.Struct("nodeid" / c.Int32un, c.Padding(4), "seq" / c.Int64un))
"""`struct mar_votequorum_ring_id` and `mar_quorum_ring_id_t`: 16 bytes."""


def encode_text(text: str, field: str) -> bytes:
    """The bytes of a text. Raises `InvalidParam` for what UTF-8 cannot write, such as half a surrogate."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidParam(f"{field}: {error}") from None


def text_from_array(raw: bytes, field: str) -> str:
    """The text of a `char[]` up to its NUL; a missing NUL is a `MessageError`."""
    end = raw.find(b"\0")
    if end < 0:
        raise MessageError(f"no NUL within its {len(raw)} bytes", field=field)
    return raw[:end].decode("utf-8", "surrogateescape")


def text_to_array(text: str, length: int, field: str) -> bytes:
    """The bytes of a text for a `char[length]`, which must leave room for the NUL."""
    raw = encode_text(text, field)
    if len(raw) >= length or b"\0" in raw:
        raise InvalidParam(f"{field}: at most {length - 1} bytes and no NUL; this has {len(raw)} bytes")
    return raw


def name_from_mar(length: int, value: bytes, field: str) -> str:
    """The text of a `mar_name_t` up to its length or a NUL; a length beyond its array is a `MessageError`."""
    if length > MarName.LENGTH:
        raise MessageError(f"a length of {length} in an array of {MarName.LENGTH}", field=field)
    return value[:length].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def name_to_mar(text: str, field: str) -> bytes:
    """The bytes of a text for a `mar_name_t`."""
    return text_to_array(text, MarName.LENGTH, field)


# --- Walking a declaration ------------------------------------------------------------------------------


def _bare(subcon: c.Construct) -> c.Construct:
    return subcon.subcon if isinstance(subcon, c.Renamed) else subcon


def _names(subcon: c.Struct) -> list[str]:
    return [field.name for field in subcon.subcons if field.name]


def fixed_size(subcon: c.Construct) -> int | None:
    """Bytes that a declaration always takes; None for one that depends on a count."""
    try:
        return int(subcon.sizeof())
    except c.SizeofError:
        return None


def struct_format(fields: Iterable[c.Construct]) -> str:
    """Integers and padding in the struct module's letters, without a byte order."""
    return "".join(field.subcon.fmtstr[-1] if field.name else f"{field.sizeof()}x" for field in fields)


_INTEGERS = {
    "B": "uint8", "b": "int8", "H": "uint16", "h": "int16",
    "L": "uint32", "l": "int32", "Q": "uint64", "q": "int64",
}  # fmt: skip


def type_name(subcon: c.Construct) -> str:
    """A field's type as the specification writes it: "uint32", "char[255]", "uint32[node_list_entries]"."""
    match subcon:
        case c.FormatField():
            return _INTEGERS[subcon.fmtstr[-1]]
        case CountOf():
            return type_name(subcon.subcon)
        case CharArray():
            return f"char[{subcon.length}]"
        case MarName():
            return "mar_name_t"
        case ListOf():
            return f"{type_name(subcon.subcon)}[{subcon.count_field}]"
        case Tupled():
            nested = (f"{type_name(f.subcon)} {f.name}" for f in subcon.subcon.subcons if f.name)
            return "{" + ", ".join(nested) + "}"
        case BytesOf():
            return f"bytes[{subcon.count_field}]"
        case RestOfMessage():
            return "bytes up to size"
        case c.Bytes():
            return f"bytes[{subcon.length}]"
    raise TypeError(f"no field type of a message: {subcon!r}")


# --- Messages -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Layout:
    """One message: what the specification says of it, and how its bytes are read and written.

    `decode(data)` gives a named tuple of the fields (without `id`, `size` and the counts, which the lengths
    tell); `encode(**fields)` gives bytes with zero padding. A response's `error` may be left out: CS_OK.
    """

    name: str
    """As the C API calls it, such as "getinfo"."""
    kind: Kind
    id: int
    c_name: str
    """The C struct, such as "res_lib_votequorum_getinfo"."""
    construct: c.Struct
    """The one authority for this message's layout, header included."""
    since: str = ""
    """The corosync release that brought it, where it was not always there."""

    def __str__(self) -> str:
        return f"{self.name} {self.kind.value}"

    @functools.cached_property
    def record(self) -> Any:
        """The named tuple that `decode` gives."""
        left_out = {"id", "size"} | {f.name for f in self.construct.subcons if isinstance(_bare(f), CountOf)}
        names = [name for name in _names(self.construct) if name not in left_out]
        return namedtuple("_".join((self.name, self.kind.value)).replace(" ", "_"), names)

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

        Raises `MessageError` for anything that is not this message to the last byte. A response with an
        error has noise behind its header: look at `reply_error` first.
        """
        from .derive import derive_decode

        return derive_decode(self)

    @functools.cached_property
    def encode(self) -> Callable[..., bytes]:
        """Fields, by keyword, to bytes. Raises `InvalidParam` for a value that its field cannot hold."""
        from .derive import derive_encode

        return derive_encode(self)


_RESPONSE_HEADER_STRUCT = struct.Struct("=" + struct_format(RESPONSE_HEADER))


def reply_error(data: bytes) -> int:
    """The `cs_error_t` of a response or event of any kind; `MessageError` when it is no response at all.

    It counts before the id: what the daemon did not accept is answered with a bare header of id 0.
    """
    if len(data) < _RESPONSE_HEADER_STRUCT.size:
        size = _RESPONSE_HEADER_STRUCT.size
        raise MessageError(f"{len(data)} bytes cannot hold a header of {size}", field="response.size")
    _, size, error = _RESPONSE_HEADER_STRUCT.unpack_from(data)
    if size != len(data):
        raise MessageError(f"says {size}, but {len(data)} bytes are there", field="response.size")
    return int(error)


_MESSAGE_ID_STRUCT = struct.Struct("=" + struct_format(REQUEST_HEADER[:1]))


def message_id(data: bytes) -> int:
    """The id of a message of any kind; `MessageError` when there is not even an id."""
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
