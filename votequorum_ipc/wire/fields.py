"""The field types of messages. Each says once how it is declared, read, written and described.

Strategy: a field type is a construct class. Its `subcon` declares the bytes. `reader` returns the function
that makes a value of what the struct module unpacked from those bytes, `writer` returns the function that
does the opposite, and `description` is the type as the specification prints it. construct calls these two
functions when it interprets a declaration, and `derive` when it compiles one, so a field type is implemented
once for both.

There are two kinds. A `FixedField` always has the same size. A `CountedField` holds as many items as another
field says, and never more than the declaration allows: no memory is spent on a count before it is known to be
possible. Integers and padding are construct's own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import construct as c

from ..errors import InvalidParam, MessageError
from ..types import RingId

_INTEGERS = {
    "B": "uint8", "b": "int8", "H": "uint16", "h": "int16",
    "L": "uint32", "l": "int32", "Q": "uint64", "q": "int64",
}  # fmt: skip


# --- Properties of declarations -------------------------------------------------------------------------


def bare(subcon: c.Construct) -> c.Construct:
    """A field's type, without the name that the declaration gives it."""
    return subcon.subcon if isinstance(subcon, c.Renamed) else subcon


def names(declaration: c.Struct) -> list[str]:
    """The names of a struct's fields, in order."""
    return [field.name for field in declaration.subcons if field.name]


def fixed_size(subcon: c.Construct) -> int | None:
    """How many bytes a declaration takes; None if that depends on a count."""
    try:
        return int(subcon.sizeof())
    except c.SizeofError:
        return None


def struct_format(subcon: c.Construct) -> str:
    """A declaration of fixed size in the struct module's letters, without a byte order."""
    match subcon:
        case c.FormatField():
            return str(subcon.fmtstr[-1])
        case c.Bytes():
            return f"{subcon.length}s"
        case c.Padded():
            return f"{subcon.sizeof()}x"
        case c.Struct():
            return "".join(struct_format(field) for field in subcon.subcons)
    return struct_format(subcon.subcon)


def part_names(subcon: c.Construct) -> list[str]:
    """The parts that the struct module unpacks a declaration to: its named fields, or [""] for a single
    value."""
    inner = subcon.subcon if isinstance(subcon, FixedField) else subcon
    return names(inner) if isinstance(inner, c.Struct) else [""]


def description(subcon: c.Construct) -> str:
    """A field's type as the specification prints it: "uint32", "char[255]", "uint32[node_list_entries]"."""
    match subcon:
        case c.FormatField():
            return _INTEGERS[subcon.fmtstr[-1]]
        case CountOf():
            return description(subcon.subcon)
        case FixedField() | CountedField():
            return subcon.description
        case c.Bytes():
            return f"bytes[{subcon.length}]"
    raise TypeError(f"no field type of a message: {subcon!r}")


# --- Fields of fixed size -------------------------------------------------------------------------------


class FixedField(c.Adapter):  # type: ignore[misc]
    """A field whose value is made from the parts that the struct module unpacks from `subcon`."""

    description: str

    def reader(self, where: str) -> Callable[..., Any]:
        """A function from the unpacked parts to the value. It raises `MessageError` for the field `where`."""
        raise NotImplementedError

    def writer(self, where: str) -> Callable[[Any], tuple[Any, ...]]:
        """A function from the value to the parts to pack. It raises `InvalidParam` for the field `where`."""
        raise NotImplementedError

    def _decode(self, obj: Any, context: Any, path: str) -> Any:
        parts = [obj[name] if name else obj for name in part_names(self)]
        return self.reader(path)(*parts)

    def _encode(self, obj: Any, context: Any, path: str) -> Any:
        parts = dict(zip(part_names(self), self.writer(path)(obj), strict=True))
        # The struct module fills arrays with NULs by itself; construct wants them filled.
        for name, length in self._array_lengths():
            parts[name] = parts[name].ljust(length, b"\0")
        return parts.get("", parts)

    def _array_lengths(self) -> Iterator[tuple[str, int]]:
        fields = self.subcon.subcons if isinstance(self.subcon, c.Struct) else [self.subcon]
        for field in fields:
            if isinstance(bare(field), c.Bytes):
                yield field.name or "", bare(field).length


class CharArray(FixedField):
    """`char name[length]`: text that a NUL ends within the array. Bytes after the NUL are ignored."""

    def __init__(self, length: int) -> None:
        super().__init__(c.Bytes(length))
        self.length = length
        self.description = f"char[{length}]"

    def reader(self, where: str) -> Callable[[bytes], str]:
        length = self.length

        def read(raw: bytes) -> str:
            end = raw.find(b"\0")
            if end < 0:
                raise MessageError(f"no NUL within its {length} bytes", field=where)
            return raw[:end].decode("utf-8", "surrogateescape")

        return read

    def writer(self, where: str) -> Callable[[str], tuple[bytes]]:
        length = self.length
        return lambda text: (_terminated_text(text, length, where),)


class MarName(FixedField):
    """`mar_name_t` (corosync/mar_gen.h): uint16 length @0, 256 bytes @8; 264 bytes.

    In the C code of both sides a NUL ends the text, even if the length says more. The daemon checks only that
    the length is not 0. The C library's cmap_iter_next uses the length, so a text that the length cuts short
    is cut short here too.
    """

    LENGTH = 256
    description = "mar_name_t"

    def __init__(self) -> None:
        super().__init__(c.Struct("length" / c.Int16un, c.Padding(6), "value" / c.Bytes(self.LENGTH)))

    def reader(self, where: str) -> Callable[[int, bytes], str]:
        most = self.LENGTH

        def read(length: int, value: bytes) -> str:
            if length > most:
                raise MessageError(f"a length of {length} in an array of {most}", field=where)
            return value[:length].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")

        return read

    def writer(self, where: str) -> Callable[[str], tuple[int, bytes]]:
        def write(text: str) -> tuple[int, bytes]:
            raw = _terminated_text(text, self.LENGTH, where)
            return len(raw), raw

        return write


class Tupled(FixedField):
    """A nested C struct of integers that becomes a named tuple with the same fields."""

    def __init__(self, record: Any, subcon: c.Struct) -> None:
        super().__init__(subcon)
        self.record = record
        nested = (f"{description(bare(field))} {field.name}" for field in subcon.subcons if field.name)
        self.description = "{" + ", ".join(nested) + "}"

    def reader(self, where: str) -> Callable[..., Any]:
        record: Callable[..., Any] = self.record
        return record

    def writer(self, where: str) -> Callable[[Any], tuple[Any, ...]]:
        # The whole item, so that one value too many is an error, just as one too few.
        return tuple


class CountOf(c.Rebuild):  # type: ignore[misc]
    """An integer that counts the items or bytes of the later field `of`. It does not appear as a value
    itself."""

    def __init__(self, integer: c.FormatField, of: str) -> None:
        super().__init__(integer, c.len_(c.this[of]))
        self.of = of


RING_ID = Tupled(RingId, c.Struct("nodeid" / c.Int32un, c.Padding(4), "seq" / c.Int64un))
"""`struct mar_votequorum_ring_id` and `mar_quorum_ring_id_t`: 16 bytes."""


# --- Fields that another field counts -------------------------------------------------------------------


class CountedField(c.Construct):  # type: ignore[misc]
    """A field with a varying number of items of `width` bytes, at most `most` of them."""

    count_field: str | None = None
    """The field that counts the items; None if they reach to the end of the message."""
    most: int
    width: int = 1
    description: str

    def reader(self) -> Callable[[bytes, int, int], Any]:
        """A function from a message, an offset in it and a count to the value."""
        raise NotImplementedError

    def writer(self, where: str) -> Callable[[Any], bytes]:
        """A function from the value to its bytes. Raises `InvalidParam` for too many items in `where`."""
        raise NotImplementedError

    def too_many(self, count: int, where: str) -> MessageError:
        """The error for a count that corosync never sends."""
        return MessageError(f"{count}, where corosync has at most {self.most}", field=where)

    def check(self, items: Any, where: str) -> None:
        """Raise `InvalidParam` for a value that corosync never accepts."""
        if len(items) > self.most:
            raise InvalidParam(f"{where}: at most {self.most}, but this has {len(items)}")

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        if self.count_field and context[self.count_field] > self.most:
            raise self.too_many(context[self.count_field], path)
        value = super()._parse(stream, context, path)
        if len(value) > self.most:
            raise self.too_many(len(value), path)
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        self.check(obj, path)
        return super()._build(obj, stream, context, path)


class ListOf(CountedField, c.Array):  # type: ignore[misc]
    """As many items as the field `count` says, in a tuple. An item is an integer or `Tupled`."""

    def __init__(self, count: str, item: c.Construct, *, most: int) -> None:
        c.Array.__init__(self, c.this[count], item)
        self.count_field = count
        self.most = most
        self.width = int(item.sizeof())
        self.description = f"{description(item)}[{count}]"

    def reader(self) -> Callable[[bytes, int, int], tuple[Any, ...]]:
        letters, width = struct_format(self.subcon), self.width
        if not isinstance(self.subcon, Tupled):
            return lambda data, start, count: struct.unpack_from(f"={count}{letters}", data, start)
        items = struct.Struct("=" + letters)
        # Plain tuples, which equal the named tuples. Making hundreds of named ones takes longer than all the
        # rest.
        return lambda data, start, count: tuple(items.iter_unpack(data[start : start + count * width]))

    def writer(self, where: str) -> Callable[[Any], bytes]:
        letters = struct_format(self.subcon)
        pack = struct.Struct("=" + letters).pack

        def write_all(items: Any) -> bytes:
            self.check(items, where)
            return struct.pack(f"={len(items)}{letters}", *items)

        def write_each(items: Any) -> bytes:
            self.check(items, where)
            return b"".join([pack(*item) for item in items])

        return write_each if isinstance(self.subcon, Tupled) else write_all


class BytesOf(CountedField, c.Bytes):  # type: ignore[misc]
    """As many bytes as the field `count` says."""

    def __init__(self, count: str, *, most: int) -> None:
        c.Bytes.__init__(self, c.this[count])
        self.count_field = count
        self.most = most
        self.description = f"bytes[{count}]"

    def reader(self) -> Callable[[bytes, int, int], bytes]:
        return _slice

    def writer(self, where: str) -> Callable[[Any], bytes]:
        return _bytes_writer(self, where)


class RestOfMessage(CountedField, c.Subconstruct):  # type: ignore[misc]
    """All bytes up to `size`."""

    description = "bytes up to size"

    def __init__(self, *, most: int) -> None:
        c.Subconstruct.__init__(self, c.GreedyBytes)
        self.most = most

    def reader(self) -> Callable[[bytes, int, int], bytes]:
        return _slice

    def writer(self, where: str) -> Callable[[Any], bytes]:
        return _bytes_writer(self, where)


def _slice(data: bytes, start: int, count: int) -> bytes:
    return data[start : start + count]


def _bytes_writer(field: CountedField, where: str) -> Callable[[Any], bytes]:
    def write(value: Any) -> bytes:
        field.check(value, where)
        return bytes(value)

    return write


# --- Text -----------------------------------------------------------------------------------------------


def encode_text(text: str, where: str) -> bytes:
    """The bytes of a text. Raises `InvalidParam` if UTF-8 cannot encode it, such as half a surrogate pair."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidParam(f"{where}: {error}") from None


def _terminated_text(text: str, length: int, where: str) -> bytes:
    """The bytes of a text that must leave room for a NUL among `length` bytes."""
    raw = encode_text(text, where)
    if len(raw) >= length or b"\0" in raw:
        raise InvalidParam(f"{where}: at most {length - 1} bytes and no NUL; this has {len(raw)} bytes")
    return raw
