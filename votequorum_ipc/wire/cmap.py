"""Every message of the `cmap` service: reading, iterating, tracking and writing keys.

Source: corosync's include/corosync/ipc_cmap.h.
"""

from __future__ import annotations

import struct
from typing import Final

import construct as c

from ..errors import InvalidParam, MessageError
from ..types import Value, ValueType
from .fields import BytesOf, CountOf, MarName, RestOfMessage, encode_text
from .layout import event, request, response

_KEY = MarName()

VALUE_MAXLEN = 16 * 1024
"""ICMAP_MAX_VALUE_LEN of icmap.c: the most bytes of a value."""

SET = request(
    "set",
    0,
    "req_lib_cmap_set",
    "key_name" / _KEY,
    "value_len" / CountOf(c.Int64un, "value"),
    "type" / c.Int8un,
    c.Padding(7),
    "value" / BytesOf("value_len", most=VALUE_MAXLEN),
)

DELETE = request("delete", 1, "req_lib_cmap_delete", "key_name" / _KEY)

GET = request("get", 2, "req_lib_cmap_get", "key_name" / _KEY, "value_len" / c.Int64un)
"""`value_len` is the caller's room for the value; 0 asks only for type and length."""

ADJUST_INT = request(
    "adjust_int",
    3,
    "req_lib_cmap_adjust_int",
    "key_name" / _KEY,
    "step" / c.Int32sn,
    c.Padding(4),
)

ITER_INIT = request("iter_init", 4, "req_lib_cmap_iter_init", "prefix" / _KEY)

ITER_NEXT = request("iter_next", 5, "req_lib_cmap_iter_next", "iter_handle" / c.Int64un)

ITER_FINALIZE = request("iter_finalize", 6, "req_lib_cmap_iter_finalize", "iter_handle" / c.Int64un)

TRACK_ADD = request(
    "track_add",
    7,
    "req_lib_cmap_track_add",
    "key_name" / _KEY,
    "track_type" / c.Int32sn,
    c.Padding(4),
    "track_inst_handle" / c.Int64un,
)

TRACK_DELETE = request("track_delete", 8, "req_lib_cmap_track_delete", "track_handle" / c.Int64un)

SET_CURRENT_MAP = request(
    "set_current_map",
    9,
    "req_lib_cmap_set_current_map",
    "map" / c.Int32sn,
    c.Padding(4),
)
"""`map` is `MAP_DEFAULT` or `MAP_STATS`."""

MAP_DEFAULT = 0
"""CMAP_SETMAP_DEFAULT."""

MAP_STATS = 1
"""CMAP_SETMAP_STATS: corosync's statistics."""

SET_RESPONSE = response("set", 0, "res_lib_cmap_set")

DELETE_RESPONSE = response("delete", 1, "res_lib_cmap_delete")

GET_RESPONSE = response(
    "get",
    2,
    "res_lib_cmap_get",
    "value_len" / c.Int64un,
    "type" / c.Int8un,
    c.Padding(7),
    "value" / RestOfMessage(most=VALUE_MAXLEN),
)
"""`value` is empty when the request's `value_len` was 0."""

ADJUST_INT_RESPONSE = response("adjust_int", 3, "res_lib_cmap_adjust_int")

ITER_INIT_RESPONSE = response("iter_init", 4, "res_lib_cmap_iter_init", "iter_handle" / c.Int64un)

ITER_NEXT_RESPONSE = response(
    "iter_next",
    5,
    "res_lib_cmap_iter_next",
    "key_name" / _KEY,
    "value_len" / c.Int64un,
    "type" / c.Int8un,
    c.Padding(7),
)

ITER_FINALIZE_RESPONSE = response("iter_finalize", 6, "res_lib_cmap_iter_finalize")

TRACK_ADD_RESPONSE = response("track_add", 7, "res_lib_cmap_track_add", "track_handle" / c.Int64un)

TRACK_DELETE_RESPONSE = response(
    "track_delete",
    8,
    "res_lib_cmap_track_delete",
    "track_inst_handle" / c.Int64un,
)

SET_CURRENT_MAP_RESPONSE = response("set_current_map", 10, "qb_ipc_response_header")

NOTIFY_CALLBACK = event(
    "notify_callback",
    9,
    "res_lib_cmap_notify_callback",
    "track_inst_handle" / c.Int64un,
    "key_name" / _KEY,
    "event" / c.Int32sn,
    c.Padding(4),
    "new_value_type" / c.Int8un,
    c.Padding(7),
    "old_value_type" / c.Int8un,
    c.Padding(7),
    "new_value_len" / CountOf(c.Int64un, "new_value"),
    "old_value_len" / CountOf(c.Int64un, "old_value"),
    "new_value" / BytesOf("new_value_len", most=VALUE_MAXLEN),
    "old_value" / BytesOf("old_value_len", most=VALUE_MAXLEN),
)

MESSAGES = (
    SET,
    DELETE,
    GET,
    ADJUST_INT,
    ITER_INIT,
    ITER_NEXT,
    ITER_FINALIZE,
    TRACK_ADD,
    TRACK_DELETE,
    SET_CURRENT_MAP,
    SET_RESPONSE,
    DELETE_RESPONSE,
    GET_RESPONSE,
    ADJUST_INT_RESPONSE,
    ITER_INIT_RESPONSE,
    ITER_NEXT_RESPONSE,
    ITER_FINALIZE_RESPONSE,
    TRACK_ADD_RESPONSE,
    TRACK_DELETE_RESPONSE,
    SET_CURRENT_MAP_RESPONSE,
    NOTIFY_CALLBACK,
)

# --- The bytes of a value ---

NUMBERS: Final = {
    ValueType.INT8: struct.Struct("=b"),
    ValueType.UINT8: struct.Struct("=B"),
    ValueType.INT16: struct.Struct("=h"),
    ValueType.UINT16: struct.Struct("=H"),
    ValueType.INT32: struct.Struct("=i"),
    ValueType.UINT32: struct.Struct("=I"),
    ValueType.INT64: struct.Struct("=q"),
    ValueType.UINT64: struct.Struct("=Q"),
    ValueType.FLOAT: struct.Struct("=f"),
    ValueType.DOUBLE: struct.Struct("=d"),
}
"""The types whose values have a fixed size."""


def decode_value(type_: int, raw: bytes) -> Value:
    """A cmap value of type `type_` (CMAP_VALUETYPE_*) as a Python value. Raises `MessageError`."""
    try:
        kind = ValueType(type_)
    except ValueError:
        raise MessageError(f"{type_} is unknown", field="cmap value.type") from None
    if kind is ValueType.BINARY:
        return raw
    if kind is ValueType.STRING:
        return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
    number = NUMBERS[kind]
    if len(raw) != number.size:
        raise MessageError(f"{len(raw)} bytes for a value of {number.size}", field="cmap value.value_len")
    value: int | float = number.unpack(raw)[0]
    return value


def encode_value(kind: ValueType, value: Value) -> bytes:
    """The bytes of a cmap value, as `decode_value` reads them; a string includes its NUL.

    Raises `InvalidParam` for a value that the type cannot hold.
    """
    try:
        if kind is ValueType.BINARY and isinstance(value, bytes):
            return value
        if kind is ValueType.STRING and isinstance(value, str):
            return encode_text(value, "cmap value") + b"\0"
        return NUMBERS[kind].pack(value)
    except (KeyError, struct.error) as error:
        raise InvalidParam(f"{value!r} is not a cmap value of type {kind.name}") from error
