"""libcmap, as far as quorum tools use it (cmap.h, and the man pages cmap_*(3))."""

from __future__ import annotations

import ctypes

from .library import CS_OK, CHandle

Value = int | float | str | bytes

_NUMBERS: dict[int, type[ctypes._SimpleCData[int]] | type[ctypes._SimpleCData[float]]] = {
    1: ctypes.c_int8,
    2: ctypes.c_uint8,
    3: ctypes.c_int16,
    4: ctypes.c_uint16,
    5: ctypes.c_int32,
    6: ctypes.c_uint32,
    7: ctypes.c_int64,
    8: ctypes.c_uint64,
    9: ctypes.c_float,
    10: ctypes.c_double,
}
_STRING = 11
_KEYNAME_SIZE = 256


class CMap(CHandle):
    """A cmap handle."""

    library = "cmap"

    def _open(self) -> int:
        return int(self._library.cmap_initialize(ctypes.byref(self._handle)))

    def get(self, key: str) -> tuple[int, Value | None]:
        """The value as a Python object; None on an error."""
        error, size, kind = self._describe(key)
        if error != CS_OK:
            return error, None
        buffer, length = ctypes.create_string_buffer(size), ctypes.c_size_t(size)
        error = self.call("get", key.encode(), buffer, ctypes.byref(length), ctypes.byref(ctypes.c_int(kind)))
        return error, _plain(kind, buffer.raw) if error == CS_OK else None

    def set(self, key: str, value: str) -> int:
        """Set a string."""
        raw = value.encode() + b"\0"
        return self.call("set", key.encode(), raw, ctypes.c_size_t(len(raw)), ctypes.c_int(_STRING))

    def items(self, prefix: str = "") -> tuple[int, dict[str, tuple[int, int]]]:
        """The result of iterating over a prefix: each name, with the value's type and length."""
        iterator, found = ctypes.c_uint64(), {}
        error = self.call("iter_init", prefix.encode() or None, ctypes.byref(iterator))
        if error != CS_OK:
            return error, {}
        name, length, kind = ctypes.create_string_buffer(_KEYNAME_SIZE), ctypes.c_size_t(), ctypes.c_int()
        while self._next(iterator, name, length, kind) == CS_OK:
            found[name.value.decode()] = (kind.value, length.value)
        return self.call("iter_finalize", iterator), found

    def _next(
        self,
        iterator: ctypes.c_uint64,
        name: ctypes.Array[ctypes.c_char],
        length: ctypes.c_size_t,
        kind: ctypes.c_int,
    ) -> int:
        return self.call("iter_next", iterator, name, ctypes.byref(length), ctypes.byref(kind))

    def _describe(self, key: str) -> tuple[int, int, int]:
        """Error, length and type of a value."""
        length, kind = ctypes.c_size_t(), ctypes.c_int()
        error = self.call("get", key.encode(), None, ctypes.byref(length), ctypes.byref(kind))
        return error, length.value, kind.value


def _plain(kind: int, raw: bytes) -> Value:
    if kind in _NUMBERS:
        return _NUMBERS[kind].from_buffer_copy(raw).value
    return raw.split(b"\0", 1)[0].decode() if kind == _STRING else raw
