"""The cmap service: read and write corosync's configuration, runtime keys and statistics, and follow them.

Strategy: each call of the C library is a method of its name. Values are read as Python values according to
their cmap type; writing a number needs its type, because cmap does not convert. A handle uses one of two maps
for its whole life. If a cancelled call has created something in the daemon, it is deleted as soon as the
daemon's answer names it. Sources: corosync's include/corosync/cmap.h, man cmap_*(3), cmap_keys(7).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from .errors import CsError, CsErrorCode, InvalidParam, MessageError, NoSections, NotExist, TryAgain
from .handle import Handle
from .ipc import Address, Connection, connect
from .types import ALL_TRACK_TYPES, KeyChange, MapName, TrackType, TypedValue, Value, ValueType
from .wire import cmap as wire
from .wire import reply_error
from .wire.cmap import decode_value, encode_value
from .wire.fields import encode_text

__all__ = [
    "KEYNAME_MAXLEN",
    "MAX_LISTED_KEYS",
    "SERVICE",
    "VALUE_MAXLEN",
    "Cmap",
    "KeyChange",
    "MapName",
    "TrackType",
    "TypedValue",
    "Value",
    "decode_value",
    "encode_value",
]

SERVICE: Final = "cmap"

KEYNAME_MAXLEN: Final = 255
"""Most bytes of a key's name (CMAP_KEYNAME_MAXLEN)."""

VALUE_MAXLEN: Final = wire.VALUE_MAXLEN
"""Most bytes of a value."""

MAX_LISTED_KEYS: Final = 1 << 18
"""The most keys that `Cmap.keys` accepts. corosync sets no limit; 384 nodes with 8 links each have about
130,000 statistics."""

_MAPS: Final[dict[str, int]] = {"cmap": wire.MAP_DEFAULT, "stats": wire.MAP_STATS}

_MAX_MSG_SIZE: Final = 64 << 10
"""A change's message holds two values, of up to 16 KiB each (corosync's ICMAP_MAX_VALUE_LEN), and headers."""

_USUAL_ROOM: Final = 256
"""Bytes offered for a value at first; a longer value needs a second request."""

_KEYS_AT_ONCE: Final = 32
"""How many names of keys are asked for together."""

_GET_ATTEMPTS: Final = 5
"""How often to ask again for a value that has outgrown the size reported for it."""

_NO_KEY: Final = "there is no key {key_name!r}"
_READ_ONLY: Final = "{key_name!r} is read-only while corosync runs: change corosync.conf"
_HINTS: Final = {
    ("get", CsErrorCode.NOT_EXIST): _NO_KEY,
    ("delete", CsErrorCode.NOT_EXIST): _NO_KEY,
    ("adjust_int", CsErrorCode.NOT_EXIST): _NO_KEY,
    ("adjust_int", CsErrorCode.INVALID_PARAM): "the value of {key_name!r} is not an integer",
    ("set", CsErrorCode.ACCESS): _READ_ONLY,
    ("delete", CsErrorCode.ACCESS): _READ_ONLY,
    ("adjust_int", CsErrorCode.ACCESS): _READ_ONLY,
    (
        "set",
        CsErrorCode.NAME_TOO_LONG,
    ): "{key_name!r} cannot be a key's name: 3 to 255 letters, digits, or any of . _ - / :",
    (
        "track_add",
        CsErrorCode.NOT_SUPPORTED,
    ): "for a prefix of the statistics, follow ADD and DELETE together, and nothing else",
}


class Cmap(Handle[KeyChange]):
    """A handle on the cmap service of the daemon on this machine.

    Every call raises, besides what it lists itself, what `Votequorum`'s calls do. The daemon does not answer
    while the nodes synchronise.
    """

    STARTS_EVENTS = "track_add"

    def __init__(
        self, connection: Connection, notify: Callable[[KeyChange], Awaitable[None] | None] | None
    ) -> None:
        """Not public: use `initialize`."""
        super().__init__(connection, {wire.NOTIFY_CALLBACK.id: _key_change}, {KeyChange: notify}, _HINTS)
        self._numbers = itertools.count(1)
        self._track_handles: dict[int, int] = {}

    @classmethod
    async def initialize(
        cls,
        *,
        map: MapName = "cmap",
        notify: Callable[[KeyChange], Awaitable[None] | None] | None = None,
        address: Address = None,
        server_uids: Collection[int] | None = None,
    ) -> Cmap:
        """Connect to one of the service's maps (cmap_initialize(3), cmap_initialize_map(3)).

        `notify` is what `dispatch` calls after `track_add`. Other arguments and errors are
        `Votequorum.initialize`'s; also `NotExist` if the daemon has no such map.
        """
        if map not in _MAPS:
            raise InvalidParam(f"there is no map {map!r}: the maps are 'cmap' and 'stats'")
        connection = await connect(
            SERVICE, max_msg_size=_MAX_MSG_SIZE, address=address, server_uids=server_uids
        )
        cmap = cls(connection, notify)
        if map != "cmap":
            try:
                await cmap._call(wire.SET_CURRENT_MAP, wire.SET_CURRENT_MAP_RESPONSE, map=_MAPS[map])
            except BaseException:
                await cmap._connection.aclose()
                raise
        return cmap

    # --- reading ---

    async def get(self, key: str) -> Value:
        """The value of a key (cmap_get(3)).

        Raises `NotExist` when there is no such key, `TryAgain` for a value that grows faster than it can be
        read.
        """
        return (await self.get_typed(key)).value

    async def get_typed(self, key: str) -> TypedValue:
        """The value of a key and its type. Raises as `get` does."""
        room = _USUAL_ROOM
        for _ in range(_GET_ATTEMPTS):
            try:
                return await self._get(key, room)
            except InvalidParam:
                # The daemon's error for too little room. Asked with no room at all, it answers with the
                # length.
                answer = await self._call(wire.GET, wire.GET_RESPONSE, key_name=_key_name(key), value_len=0)
                room = answer.value_len
        raise TryAgain(f"the value of {key!r} had grown each time it was read: try again")

    async def _get(self, key: str, room: int) -> TypedValue:
        answer = await self._call(
            wire.GET,
            wire.GET_RESPONSE,
            response_size=wire.GET_RESPONSE.least_size + room,
            key_name=_key_name(key),
            value_len=room,
        )
        return _typed_value(answer)

    async def keys(self, prefix: str = "") -> list[str]:
        """The names of all keys that begin with `prefix`, in cmap's order (cmap_iter_init(3)).

        Raises `MessageError` for more than `MAX_LISTED_KEYS` keys, or for a name without that prefix.
        """
        started = await self._call(
            wire.ITER_INIT, wire.ITER_INIT_RESPONSE, undo=_finalize_iteration, prefix=_key_name(prefix, 0)
        )
        handle = started.iter_handle
        names: list[str] = []
        try:
            while True:
                found = await self._next_keys(handle, prefix)
                names += found
                if len(names) > MAX_LISTED_KEYS:
                    text = f"more than {MAX_LISTED_KEYS} keys begin with {prefix!r}"
                    raise MessageError(text, field="iter_next response")
                if len(found) < _KEYS_AT_ONCE:
                    return names
        finally:
            self._connection.post(
                wire.ITER_FINALIZE.encode(iter_handle=handle),
                response_size=wire.ITER_FINALIZE_RESPONSE.fixed_size,
            )

    async def _next_keys(self, handle: int, prefix: str) -> list[str]:
        """The next `_KEYS_AT_ONCE` keys; fewer at the end, where the daemon repeats `NoSections`."""
        fields = [{"iter_handle": handle}] * _KEYS_AT_ONCE
        names: list[str] = []
        for answer in await self._call_all(wire.ITER_NEXT, wire.ITER_NEXT_RESPONSE, fields):
            if isinstance(answer, NoSections):
                break
            if isinstance(answer, CsError):
                raise answer
            if not answer.key_name.startswith(prefix):
                text = f"{answer.key_name!r}, where all keys begin with {prefix!r}"
                raise MessageError(text, field="iter_next response.key_name")
            names.append(answer.key_name)
        return names

    async def items(self, prefix: str = "") -> dict[str, Value]:
        """All keys that begin with `prefix`, with their values. A key that is deleted meanwhile is left
        out."""
        return await self.get_all(await self.keys(prefix))

    async def get_all(self, keys: Sequence[str]) -> dict[str, Value]:
        """`get` for several keys, sent together. Keys that do not exist are left out."""
        answers = await self._connection.request_all(
            map(_get_request, keys), response_size=wire.GET_RESPONSE.least_size + _USUAL_ROOM
        )
        found: dict[str, Value] = {}
        for key, raw in zip(keys, answers, strict=True):
            value = await self._value_in(key, raw)
            if value is not None:
                found[key] = value
        return found

    async def _value_in(self, key: str, raw: bytes | CsError) -> Value | None:
        """The value in the answer to `_get_request`, asked for again if needed; None if there is none."""
        try:
            if isinstance(raw, CsError):
                raise raw
            answer = self._decoded(wire.GET, wire.GET_RESPONSE, raw, {"key_name": key})
        except NotExist:
            return None
        except (InvalidParam, TryAgain):  # it needs more room, or flow control held it up
            return await self.get_or_none(key)
        return decode_value(answer.type, _value_bytes(answer))

    async def get_or_none(self, key: str) -> Value | None:
        """The value of a key, or None when there is none."""
        try:
            return await self.get(key)
        except NotExist:
            return None

    # --- writing ---

    async def set(self, key: str, value: Value, kind: ValueType | None = None) -> None:
        """Set a key, creating it if needed (cmap_set(3) and its variants).

        `kind` can be left out for text (STRING) and bytes (BINARY). Raises `InvalidParam` for a number
        without a type, a value that its type cannot hold, or one of more than `VALUE_MAXLEN` bytes, `Access`
        for a key that cannot be changed while corosync runs, `NameTooLong` for an invalid name. In the
        statistics only `stats.clear.*` can be set.
        """
        kind = _type_of(value, kind)
        raw = encode_value(kind, value)
        if len(raw) > VALUE_MAXLEN:
            raise InvalidParam(f"a value has at most {VALUE_MAXLEN} bytes; this has {len(raw)}")
        await self._call(wire.SET, wire.SET_RESPONSE, key_name=_key_name(key), type=int(kind), value=raw)

    async def delete(self, key: str) -> None:
        """Delete a key (cmap_delete(3)). Raises `NotExist` when there is no such key, `Access` as `set`
        does."""
        await self._call(wire.DELETE, wire.DELETE_RESPONSE, key_name=_key_name(key))

    async def adjust_int(self, key: str, step: int) -> None:
        """Add an int32 to an integer, which wraps around as in C (cmap_inc(3) with another step).

        Raises `NotExist` when there is no such key, `InvalidParam` when its value is not an integer or the
        step is not an int32, `Access` as `set` does.
        """
        if not -(1 << 31) <= step < 1 << 31:
            raise InvalidParam(f"a step is an int32, not {step}")
        await self._call(wire.ADJUST_INT, wire.ADJUST_INT_RESPONSE, key_name=_key_name(key), step=step)

    async def inc(self, key: str) -> None:
        """Add 1 to an integer (cmap_inc(3)). Raises as `adjust_int` does."""
        await self.adjust_int(key, 1)

    async def dec(self, key: str) -> None:
        """Subtract 1 from an integer (cmap_dec(3)). Raises as `adjust_int` does."""
        await self.adjust_int(key, -1)

    # --- following ---

    async def track_add(self, key: str, changes: TrackType) -> int:
        """Have a `KeyChange` sent for each change of a key, or of all keys with a prefix (cmap_track_add(3)).

        Returns the number that the events carry and `track_delete` takes. If cancelled, it leaves nothing in
        the daemon, but an event with that number may have come before. Raises `InvalidParam` for invalid
        `changes`, and `NotSupported` for a prefix of the statistics unless `changes` includes ADD and
        DELETE: for those corosync reports only that keys come and go.
        """
        self._events_started = True
        number = next(self._numbers)
        answer = await self._call(
            wire.TRACK_ADD,
            wire.TRACK_ADD_RESPONSE,
            undo=_delete_tracker,
            key_name=_key_name(key, 0),
            track_type=int(changes),
            track_inst_handle=number,
        )
        self._track_handles[number] = answer.track_handle
        return number

    async def track_delete(self, number: int) -> None:
        """End what `track_add` began (cmap_track_delete(3)). Raises `InvalidParam` for an unknown number."""
        if number not in self._track_handles:
            raise InvalidParam(f"track_add did not return the number {number}, or it has been deleted")
        handle = self._track_handles[number]
        await self._call(wire.TRACK_DELETE, wire.TRACK_DELETE_RESPONSE, track_handle=handle)
        del self._track_handles[number]


@functools.lru_cache(maxsize=4096)
def _get_request(key: str) -> bytes:
    """The request for a key's value. Readers of statistics ask for the same keys again and again."""
    return wire.GET.encode(key_name=_key_name(key), value_len=_USUAL_ROOM)


def _typed_value(answer: Any) -> TypedValue:
    return TypedValue(ValueType(answer.type), decode_value(answer.type, _value_bytes(answer)))


def _value_bytes(answer: Any) -> bytes:
    # The answer's length is that of the room that was offered.
    if answer.value_len > len(answer.value):
        raise MessageError(
            f"{answer.value_len}, but only {len(answer.value)} bytes are there",
            field="get response.value_len",
        )
    value: bytes = answer.value[: answer.value_len]
    return value


def _finalize_iteration(raw: bytes) -> bytes | None:
    """The request that ends the iterator of an unwanted `ITER_INIT_RESPONSE`."""
    if reply_error(raw) != CsErrorCode.OK:
        return None
    return wire.ITER_FINALIZE.encode(iter_handle=wire.ITER_INIT_RESPONSE.decode(raw).iter_handle)


def _delete_tracker(raw: bytes) -> bytes | None:
    """The request that deletes the tracker of an unwanted `TRACK_ADD_RESPONSE`."""
    if reply_error(raw) != CsErrorCode.OK:
        return None
    return wire.TRACK_DELETE.encode(track_handle=wire.TRACK_ADD_RESPONSE.decode(raw).track_handle)


def _type_of(value: Value, type_: ValueType | None) -> ValueType:
    if type_ is not None:
        return type_
    if isinstance(value, str):
        return ValueType.STRING
    if isinstance(value, bytes):
        return ValueType.BINARY
    raise InvalidParam(f"a number needs a type, such as ValueType.UINT32, to be written: {value!r}")


def _key_name(key: str, shortest: int = 1) -> str:
    size = len(encode_text(key, "key"))
    if not shortest <= size <= KEYNAME_MAXLEN:
        raise InvalidParam(f"a key's name has {shortest} to {KEYNAME_MAXLEN} bytes: {key!r}")
    return key


def _key_change(raw: bytes) -> KeyChange:
    event = wire.NOTIFY_CALLBACK.decode(raw)
    new = _value_or_none(event.new_value_type, event.new_value)
    old = _value_or_none(event.old_value_type, event.old_value)
    types = [(new, event.new_value_type), (old, event.old_value_type)]
    return KeyChange(
        track=event.track_inst_handle,
        key=event.key_name,
        change=TrackType(event.event & int(ALL_TRACK_TYPES)),
        old=old,
        new=new,
        type=next((ValueType(type_) for value, type_ in types if value is not None), None),
    )


def _value_or_none(type_: int, raw: bytes) -> Value | None:
    return decode_value(type_, raw) if raw else None
