"""Every message: encoded messages decode, lies are named, and both implementations agree."""

from __future__ import annotations

import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import construct as c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol_specs.layouts import padding
from votequorum_ipc.errors import InvalidParam, MessageError
from votequorum_ipc.strategies.messages import MESSAGES, Frame, valid
from votequorum_ipc.strategies.values import RANGES, fields_of, named_fields
from votequorum_ipc.wire import Kind, Layout, cfg, message_id, reply_error, votequorum
from votequorum_ipc.wire.derive import derive_read
from votequorum_ipc.wire.fields import CharArray, CountedField, CountOf, ListOf, MarName, Tupled

LAYOUTS = list(MESSAGES.values())
NAMES = [f"{service}: {message}" for service, message in MESSAGES]

every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=NAMES)
few = settings(max_examples=25, deadline=None)
many = settings(max_examples=600, deadline=None)

SIZE = struct.Struct("=i")
SIZE_OFFSET = 8
LINK_SIZE = cfg.LINK_STATUS.sizeof()


def counts_of(layout: Layout) -> list[str]:
    """The count fields of a layout."""
    subcons = layout.construct.subcons
    return [f.name for f in subcons if isinstance(f, c.Renamed) and isinstance(f.subcon, CountOf)]


def plain(value: Any) -> Any:
    """A value without construct's types for structures and lists."""
    return tuple(value) if isinstance(value, list) and not hasattr(value, "_fields") else value


# --- valid values ---


@every_layout
@given(data=st.data())
@few
def test_an_encoded_message_decodes(layout: Layout, data: st.DataObject) -> None:
    fields = data.draw(fields_of(layout))
    message = layout.encode(**fields)
    assert layout.decode(message)._asdict() == fields
    assert message_id(message) == layout.id
    assert SIZE.unpack_from(message, SIZE_OFFSET) == (len(message),)


@given(raw=st.binary(min_size=LINK_SIZE, max_size=LINK_SIZE))
@few
def test_a_struct_within_a_message_is_read_as_construct_reads_it(raw: bytes) -> None:
    read = derive_read("link", cfg.LINK_STATUS)
    try:
        theirs = tuple(value for name, value in cfg.LINK_STATUS.parse(raw).items() if name != "_io")
    except MessageError:
        with pytest.raises(MessageError, match="no NUL"):
            read(raw)
    else:
        assert read(raw) == theirs


@pytest.mark.parametrize("size", [LINK_SIZE - 1, LINK_SIZE + 1])
def test_a_struct_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(struct.error):
        derive_read("link", cfg.LINK_STATUS)(bytes(size))


@every_layout
@given(data=st.data())
@few
def test_numbers_are_plain_whatever_the_values_layer_turns_them_into(
    layout: Layout, data: st.DataObject
) -> None:
    # An enumeration would keep each number without a name forever.
    decoded = layout.decode(layout.encode(**data.draw(fields_of(layout))))
    assert {type(number) for number in numbers_in(decoded)} <= {int}


def numbers_in(value: Any) -> Iterator[int]:
    """All numbers in a decoded message."""
    if isinstance(value, tuple):
        for item in value:
            yield from numbers_in(item)
    elif isinstance(value, int):
        yield value


@every_layout
@given(data=st.data())
@few
def test_construct_builds_the_same_bytes(layout: Layout, data: st.DataObject) -> None:
    fields = data.draw(fields_of(layout))
    message = layout.encode(**fields)
    header = {"id": layout.id, "size": len(message)}
    assert layout.construct.build({**header, **fields}) == message


@every_layout
@given(data=st.data())
@few
def test_construct_reads_the_same_values_whatever_the_padding_holds(
    layout: Layout, data: st.DataObject
) -> None:
    fields = data.draw(fields_of(layout))
    message = bytearray(layout.encode(**fields))
    for offset in padding(layout.construct, bytes(message)):
        message[offset] = data.draw(st.integers(0, 255)) if offset < 64 else 0xA5
    parsed = layout.construct.parse(bytes(message))
    assert {name: plain(parsed[name]) for name in fields} == fields
    assert layout.decode(bytes(message))._asdict() == fields


@every_layout
def test_a_response_reports_success_by_default(layout: Layout) -> None:
    if layout.kind is Kind.REQUEST:
        assert "error" not in layout.record._fields
        return
    empty = {name: empty_value(bare) for name, bare in named_fields(layout).items() if name != "error"}
    assert reply_error(layout.encode(**empty)) == 1


def empty_value(bare: c.Construct) -> Any:
    match bare:
        case c.FormatField():
            return 0
        case CharArray() | MarName():
            return ""
        case Tupled():
            return bare.record(*(empty_value(f.subcon) for f in bare.subcon.subcons if f.name))
        case ListOf():
            return ()
    return b""


# --- lies ---


@given(st.sampled_from(LAYOUTS), st.binary(max_size=400))
@many
def test_any_bytes_decode_or_are_a_message_error(layout: Layout, data: bytes) -> None:
    decode_or_complain(layout, data)


@given(valid(), st.data())
@many
def test_a_message_with_changed_bytes_decodes_or_is_a_message_error(
    message: Frame, data: st.DataObject
) -> None:
    raw = bytearray(message.data)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, min(len(raw), 80) - 1))] = data.draw(st.integers(0, 255))
    decode_or_complain(message.layout, bytes(raw))


def outcome(read: Callable[[bytes], Any], data: bytes) -> Any:
    """The result of reading: a value, or the `MessageError`."""
    try:
        return read(data)
    except MessageError as error:
        return error


def decode_or_complain(layout: Layout, data: bytes) -> None:
    """Decode; if that works, construct must read the same, and if not, the error must name a field."""
    decoded = outcome(layout.decode, data)
    if isinstance(decoded, MessageError):
        assert decoded.field, decoded
        assert decoded.field in str(decoded)
        return
    parsed = layout.construct.parse(data)
    assert {name: plain(parsed[name]) for name in layout.record._fields} == decoded._asdict()


@every_layout
@given(data=st.data(), said=st.integers(*RANGES["l"]))
@few
def test_a_wrong_size_is_named(layout: Layout, data: st.DataObject, said: int) -> None:
    message = bytearray(layout.encode(**data.draw(fields_of(layout))))
    if said == len(message):
        said += 1
    SIZE.pack_into(message, SIZE_OFFSET, said)
    with pytest.raises(MessageError) as caught:
        layout.decode(bytes(message))
    assert caught.value.field == f"{layout}.size"


@every_layout
@given(data=st.data())
@few
def test_a_truncated_message_is_named(layout: Layout, data: st.DataObject) -> None:
    message = layout.encode(**data.draw(fields_of(layout)))
    for truthful in (False, True):
        cut = bytearray(message[: data.draw(st.integers(0, len(message) - 1))])
        if truthful and len(cut) >= SIZE_OFFSET + SIZE.size:
            SIZE.pack_into(cut, SIZE_OFFSET, len(cut))
        if truthful and still_fits(layout, len(cut)):
            continue
        with pytest.raises(MessageError) as caught:
            layout.decode(bytes(cut))
        assert caught.value.field is not None
        assert caught.value.field.startswith(f"{layout}.")


def still_fits(layout: Layout, size: int) -> bool:
    """Whether a layout with a last field of variable length may have this size."""
    if layout.fixed_size is not None or counts_of(layout):
        return False
    return size >= len(layout.encode(**{n: empty_value(b) for n, b in named_fields(layout).items()}))


@every_layout
@given(data=st.data())
@few
def test_a_wrong_id_is_named(layout: Layout, data: st.DataObject) -> None:
    message = bytearray(layout.encode(**data.draw(fields_of(layout))))
    other = data.draw(st.integers(*RANGES["l"]).filter(lambda number: number != layout.id))
    SIZE.pack_into(message, 0, other)
    with pytest.raises(MessageError) as caught:
        layout.decode(bytes(message))
    assert caught.value.field == f"{layout}.id"


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if counts_of(layout)], ids=str)
@given(data=st.data())
@few
def test_a_wrong_count_is_named(layout: Layout, data: st.DataObject) -> None:
    message = bytearray(layout.encode(**data.draw(fields_of(layout))))
    count = data.draw(st.sampled_from(counts_of(layout)))
    offset, integer = place_of(layout, count)
    (truth,) = integer.unpack_from(message, offset)
    letter = integer.format[-1]
    integer.pack_into(message, offset, data.draw(st.integers(*RANGES[letter]).filter(lambda n: n != truth)))
    with pytest.raises(MessageError) as caught:
        layout.decode(bytes(message))
    assert caught.value.field == f"{layout}.{'/'.join(counts_of(layout))}"


def place_of(layout: Layout, name: str) -> tuple[int, struct.Struct]:
    """The offset of an integer field, and its format."""
    offset = 0
    for field in layout.construct.subcons:
        if field.name == name:
            return offset, struct.Struct(field.subcon.subcon.fmtstr)
        offset += field.sizeof()
    raise KeyError(name)


every_counted_field = pytest.mark.parametrize(
    ("layout", "name"),
    [(x, n) for x in LAYOUTS for n, bare in named_fields(x).items() if isinstance(bare, CountedField)],
    ids=str,
)


def of_length(layout: Layout, name: str, length: int) -> dict[str, Any]:
    """The fields of a message with this many items in one of them; the others are empty."""
    fields = {n: empty_value(bare) for n, bare in named_fields(layout).items()}
    item = named_fields(layout)[name]
    if not isinstance(item, ListOf):
        return fields | {name: bytes(length)}
    return fields | {name: (empty_value(item.subcon),) * length}


def beyond_the_limit(layout: Layout, name: str, excess: int) -> bytes:
    """A message with `excess` more items in a field than `encode` would write. Its size and counts are
    correct."""
    field = named_fields(layout)[name]
    full = layout.encode(**of_length(layout, name, field.most))
    message = bytearray(full + bytes(excess * field.width))
    SIZE.pack_into(message, SIZE_OFFSET, len(message))
    if field.count_field:
        offset, integer = place_of(layout, field.count_field)
        integer.pack_into(message, offset, field.most + excess)
    return bytes(message)


@every_counted_field
def test_a_field_holds_as_much_as_corosync_may_send(layout: Layout, name: str) -> None:
    fields = of_length(layout, name, named_fields(layout)[name].most)
    message = layout.encode(**fields)
    assert layout.decode(message)._asdict() == fields
    assert plain(layout.construct.parse(message)[name]) == fields[name]


@every_counted_field
def test_one_item_more_than_corosync_may_send_is_named(layout: Layout, name: str) -> None:
    message = beyond_the_limit(layout, name, 1)
    with pytest.raises(MessageError) as caught:
        layout.decode(message)
    assert caught.value.field == f"{layout}.{named_fields(layout)[name].count_field or name}"
    with pytest.raises(MessageError):
        layout.construct.parse(message)


@every_counted_field
def test_one_item_more_than_corosync_accepts_is_not_written(layout: Layout, name: str) -> None:
    fields = of_length(layout, name, named_fields(layout)[name].most + 1)
    with pytest.raises(InvalidParam, match=f"{layout}.{name}: at most {named_fields(layout)[name].most}"):
        layout.encode(**fields)


@every_counted_field
def test_an_impossible_count_costs_no_memory(layout: Layout, name: str) -> None:
    message = beyond_the_limit(layout, name, 200_000)
    decode = layout.decode  # make now what is made only once
    tracemalloc.start()
    try:
        with pytest.raises(MessageError):
            decode(message)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024


@pytest.mark.parametrize(
    ("layout", "name"),
    [(x, n) for x in LAYOUTS for n, bare in named_fields(x).items() if isinstance(bare, CharArray)],
    ids=lambda value: str(value),
)
def test_text_without_its_nul_is_named(layout: Layout, name: str) -> None:
    fields = {n: empty_value(bare) for n, bare in named_fields(layout).items()}
    length = named_fields(layout)[name].length
    message = bytearray(layout.encode(**{**fields, name: "x" * (length - 1)}))
    start = message.index(b"x")
    message[start : start + length] = b"x" * length
    with pytest.raises(MessageError) as caught:
        layout.decode(bytes(message))
    assert caught.value.field == f"{layout}.{name}"


@pytest.mark.parametrize("length", [257, 0xFFFF])
@pytest.mark.parametrize(
    ("layout", "name"),
    [(x, n) for x in LAYOUTS for n, bare in named_fields(x).items() if isinstance(bare, MarName)],
    ids=lambda value: str(value),
)
def test_a_name_longer_than_its_array_is_named(layout: Layout, name: str, length: int) -> None:
    fields = {n: empty_value(bare) for n, bare in named_fields(layout).items()}
    message = bytearray(layout.encode(**{**fields, name: "xyz"}))
    struct.pack_into("=H", message, message.index(b"xyz") - 8, length)
    with pytest.raises(MessageError) as caught:
        layout.decode(bytes(message))
    assert caught.value.field == f"{layout}.{name}"


@pytest.mark.parametrize(
    ("layout", "name"),
    [(x, n) for x in LAYOUTS for n, bare in named_fields(x).items() if isinstance(bare, MarName)],
    ids=lambda value: str(value),
)
@pytest.mark.parametrize(
    ("raw", "length", "text"),
    [
        (b"ab\0cd", 5, "ab"),
        (b"abcde", 256, "abcde"),
        (b"\0bcde", 5, ""),
        (b"abcde", 2, "ab"),
        (b"abcde", 0, ""),
    ],
)
def test_a_name_ends_at_its_length_or_at_a_nul_before(
    layout: Layout, name: str, raw: bytes, length: int, text: str
) -> None:
    fields = {n: empty_value(bare) for n, bare in named_fields(layout).items()}
    message = bytearray(layout.encode(**{**fields, name: "xyz"}))
    start = message.index(b"xyz")
    message[start : start + len(raw)] = raw
    struct.pack_into("=H", message, start - 8, length)
    assert getattr(layout.decode(bytes(message)), name) == text
    assert layout.construct.parse(bytes(message))[name] == text


@given(st.binary(max_size=60))
@many
def test_any_header_can_be_read_or_is_a_message_error(data: bytes) -> None:
    for read in (message_id, reply_error):
        found = outcome(read, data)
        assert isinstance(found, int) or found.field


# --- invalid values ---


def misfits(bare: c.Construct) -> list[Any]:
    """Values that a field cannot hold."""
    match bare:
        case c.FormatField():
            low, high = RANGES[bare.fmtstr[-1]]
            return [low - 1, high + 1, 1 << 80, None, "1", 1.0]
        case CharArray():
            return ["x" * bare.length, "a\0b", "\ud800", None, 7, b"bytes"]
        case MarName():
            return ["x" * 256, "a\0b", "\ud800", None, 7]
        case Tupled():
            return [(1,), (1, 2, 3), (-1, 0), (0, 1 << 64), None, 7]
        case ListOf() if isinstance(bare.subcon, Tupled):
            return [[(1,)], [(-1, 1)], [7], None, 7]
        case ListOf():
            return [[-1], [1 << 32], ["1"], None, 7]
    return [None, "text", 7]


@pytest.mark.parametrize(
    ("layout", "name", "value"),
    [
        pytest.param(layout, name, value, id=f"{layout}.{name}={value!r:.12}")
        for layout in LAYOUTS
        for name, bare in named_fields(layout).items()
        for value in misfits(bare)
    ],
)
def test_a_value_that_does_not_fit_is_an_invalid_param_that_names_its_field(
    layout: Layout, name: str, value: Any
) -> None:
    fields = {n: empty_value(bare) for n, bare in named_fields(layout).items()}
    with pytest.raises(InvalidParam) as caught:
        layout.encode(**{**fields, name: value})
    assert name in str(caught.value)
    assert layout.name in str(caught.value)


@every_layout
def test_a_missing_or_unknown_field_is_a_programming_error(layout: Layout) -> None:
    fields = {n: empty_value(bare) for n, bare in named_fields(layout).items()}
    with pytest.raises(TypeError):
        layout.encode(**fields, no_such_field=1)
    needed = [name for name in fields if name != "error"]
    if needed:
        with pytest.raises(TypeError):
            layout.encode(**{n: v for n, v in fields.items() if n != needed[0]})


# --- padding that `size` counts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "start", "data", "size"),
    [
        (votequorum.QDEVICE_GET_EXTRA_INFO_RESPONSE, 28, b"", 32),
        (votequorum.QDEVICE_GET_EXTRA_INFO_RESPONSE, 28, b"12345", 37),
        (votequorum.QDEVICE_SET_EXTRA_INFO, 20, b"", 24),
        (votequorum.QDEVICE_SET_EXTRA_INFO, 20, b"12345", 29),
    ],
)
def test_extra_info_begins_before_the_structs_end_and_size_counts_its_padding(
    layout: Layout, start: int, data: bytes, size: int
) -> None:
    # Sizes and offsets as sent by corosync main of 2026-08 and its C library.
    header = 16 if layout.kind is Kind.REQUEST else 24
    message = bytearray(size)
    struct.pack_into("=i4xi", message, 0, layout.id, size)
    if layout.kind is not Kind.REQUEST:
        struct.pack_into("=i", message, 16, 1)
    struct.pack_into("=I", message, header, len(data))
    message[start : start + len(data)] = data
    assert layout.encode(extra_info=data) == message
    message[start + len(data) :] = b"\xa5\xa5\xa5\xa5"
    assert layout.decode(bytes(message)).extra_info == data


# --- cost of an import ----------------------------------------------------------------------------------


COMPILED = """
import votequorum_ipc
from votequorum_ipc.wire import SERVICES

layouts = [layout for layouts in SERVICES.values() for layout in layouts]
print([str(layout) for layout in layouts if {"decode", "encode"} & vars(layout).keys()])
"""


def test_an_import_compiles_no_message() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
