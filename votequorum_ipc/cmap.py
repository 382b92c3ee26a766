"""The cmap service: read corosync's configuration and runtime keys, iterate over them, follow their changes.

Strategy: what node names, the quorum provider and a device's timeouts need, and no more; keys are not
written. Values come back as Python values of the type that cmap says. Sources: corosync's
include/corosync/cmap.h, man cmap_*(3), cmap_keys(7).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

from .errors import CsErrorCode, InvalidParam, MessageError, NoSections, NotExist, TryAgain
from .handle import Handle
from .ipc import Address, Connection, connect
from .types import OpenFlag, ValueType
from .wire import cmap as wire
from .wire import reply_error
from .wire.fields import encode_text

SERVICE: Final = "cmap"

Value = int | float | str | bytes
"""What a key holds."""

KEYNAME_MAXLEN: Final = 255
"""Bytes of a key's name (CMAP_KEYNAME_MAXLEN)."""

_MAX_MSG_SIZE: Final = 64 << 10
"""A change's message holds two values, of up to 16 KiB each (corosync's ICMAP_MAX_VALUE_LEN), and headers."""

_USUAL_ROOM: Final = 256
"""Bytes offered for a value at first; longer ones take a second question."""

_GET_ATTEMPTS: Final = 5
"""How often a value is asked for that outgrows the room which it was said to need."""

_HINTS: Final = {
    ("get", CsErrorCode.NOT_EXIST): "there is no key {key_name!r}",
}


_NUMBERS: Final = {
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


class TrackType(OpenFlag):
    """What `track_add` follows (CMAP_TRACK_* in cmap.h)."""

    DELETE = 1
    MODIFY = 2
    ADD = 4
    PREFIX = 8
    """All keys that begin with the name, not the one key."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key was added, modified or deleted; `old` or `new` is None where there was or is no value."""

    track: int
    """The number that `track_add` gave."""
    key: str
    change: TrackType
    old: Value | None
    new: Value | None


class Cmap(Handle[KeyChange]):
    """A handle on the cmap service of the daemon on this machine. Reads only."""

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
        notify: Callable[[KeyChange], Awaitable[None] | None] | None = None,
        address: Address = None,
        server_uids: Collection[int] | None = None,
    ) -> Cmap:
        """Connect to the service (cmap_initialize(3)). Arguments and errors are `Votequorum.initialize`'s."""
        connection = await connect(
            SERVICE, max_msg_size=_MAX_MSG_SIZE, address=address, server_uids=server_uids
        )
        return cls(connection, notify)

    async def get(self, key: str) -> Value:
        """The value of a key (cmap_get(3)).

        Raises `NotExist` when there is none, `TryAgain` for one that grows faster than it can be read.
        """
        room = _USUAL_ROOM
        for _ in range(_GET_ATTEMPTS):
            try:
                return await self._get(key, room)
            except InvalidParam:
                # Too little room is what the daemon calls that; asked with none, it tells the length.
                answer = await self._call(wire.GET, wire.GET_RESPONSE, key_name=_key_name(key), value_len=0)
                room = answer.value_len
        raise TryAgain(f"the value of {key!r} was longer each time than a moment before")

    async def _get(self, key: str, room: int) -> Value:
        answer = await self._call(
            wire.GET,
            wire.GET_RESPONSE,
            response_size=wire.GET_RESPONSE.least_size + room,
            key_name=_key_name(key),
            value_len=room,
        )
        # The answer is as long as the room that was offered.
        if answer.value_len > len(answer.value):
            raise MessageError(
                f"{answer.value_len}, but only {len(answer.value)} bytes are there",
                field="get response.value_len",
            )
        return decode_value(answer.type, answer.value[: answer.value_len])

    async def keys(self, prefix: str = "") -> list[str]:
        """The names of all keys that begin with `prefix`, in cmap's order (cmap_iter_init(3))."""
        started = await self._call(
            wire.ITER_INIT,
            wire.ITER_INIT_RESPONSE,
            undo=_finalize_iteration,
            prefix=_key_name(prefix, 0),
        )
        names: list[str] = []
        try:
            while True:
                answer = await self._call(
                    wire.ITER_NEXT,
                    wire.ITER_NEXT_RESPONSE,
                    iter_handle=started.iter_handle,
                )
                names.append(answer.key_name)
        except NoSections:
            return names
        finally:
            self._connection.post(
                wire.ITER_FINALIZE.encode(iter_handle=started.iter_handle),
                response_size=wire.ITER_FINALIZE_RESPONSE.fixed_size,
            )

    async def items(self, prefix: str = "") -> dict[str, Value]:
        """All keys that begin with `prefix`, with their values. A key deleted meanwhile is left out."""
        found: dict[str, Value] = {}
        for key in await self.keys(prefix):
            value = await self.get_or_none(key)
            if value is not None:
                found[key] = value
        return found

    async def get_or_none(self, key: str) -> Value | None:
        """The value of a key, or None when there is none."""
        try:
            return await self.get(key)
        except NotExist:
            return None

    async def track_add(self, key: str, changes: TrackType) -> int:
        """Have a `KeyChange` sent for each change of a key, or of all keys with a prefix (cmap_track_add(3)).

        Gives the number that the events carry and `track_delete` takes.
        """
        self._events_started = True
        number = next(self._numbers)
        answer = await self._call(
            wire.TRACK_ADD,
            wire.TRACK_ADD_RESPONSE,
            key_name=_key_name(key, 0),
            track_type=int(changes),
            track_inst_handle=number,
        )
        self._track_handles[number] = answer.track_handle
        return number

    async def track_delete(self, number: int) -> None:
        """End what `track_add` began (cmap_track_delete(3)). Raises `InvalidParam` for an unknown number."""
        if number not in self._track_handles:
            raise InvalidParam(f"track_add gave no number {number}, or it was deleted")
        handle = self._track_handles[number]
        await self._call(wire.TRACK_DELETE, wire.TRACK_DELETE_RESPONSE, track_handle=handle)
        del self._track_handles[number]


def _finalize_iteration(raw: bytes) -> bytes | None:
    """What gives the iterator back that an unwanted `ITER_INIT_RESPONSE` names."""
    if reply_error(raw) != CsErrorCode.OK:
        return None
    return wire.ITER_FINALIZE.encode(iter_handle=wire.ITER_INIT_RESPONSE.decode(raw).iter_handle)


def _key_name(key: str, shortest: int = 1) -> str:
    size = len(encode_text(key, "key"))
    if not shortest <= size <= KEYNAME_MAXLEN:
        raise InvalidParam(f"a key's name has {shortest} to {KEYNAME_MAXLEN} bytes: {key!r}")
    return key


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
    number = _NUMBERS[kind]
    if len(raw) != number.size:
        raise MessageError(f"{len(raw)} bytes for a value of {number.size}", field="cmap value.value_len")
    value: int | float = number.unpack(raw)[0]
    return value


def encode_value(kind: ValueType, value: Value) -> bytes:
    """The bytes of a cmap value, as `decode_value` reads them; a string has its NUL.

    Raises `InvalidParam` for a value that the type cannot hold.
    """
    try:
        if kind is ValueType.BINARY and isinstance(value, bytes):
            return value
        if kind is ValueType.STRING and isinstance(value, str):
            return encode_text(value, "cmap value") + b"\0"
        return _NUMBERS[kind].pack(value)
    except (KeyError, struct.error) as error:
        raise InvalidParam(f"{value!r} is no cmap value of type {kind.name}") from error


def _key_change(raw: bytes) -> KeyChange:
    event = wire.NOTIFY_CALLBACK.decode(raw)
    return KeyChange(
        track=event.track_inst_handle,
        key=event.key_name,
        change=TrackType(event.event),
        old=_value_or_none(event.old_value_type, event.old_value),
        new=_value_or_none(event.new_value_type, event.new_value),
    )


def _value_or_none(type_: int, raw: bytes) -> Value | None:
    return decode_value(type_, raw) if raw else None
