"""The two ways to access a shared file: through a mapping, or through system calls.

Strategy: a mapping is fast, but when its file is truncated, an access raises SIGBUS, which Python cannot
catch. `MappedMemory` is therefore only for files of a server that root runs: root can kill this process
anyway. `GuardedMemory` is for all others. It uses pread and pwrite, which merely return less when a file was
truncated, and maps the file only to have an address for the kernel's futex calls, which report EFAULT. No
instruction of ours accesses that mapping, so nothing that the other end does to a file can kill this process.

A pread or pwrite takes 0.6 to 0.8 us, an access to a mapping 0.04 us.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from typing import Final, Protocol

from ..errors import MessageError, error_from_errno

WORD: Final = 4
_ONE: Final = struct.Struct("=I")
_TWO: Final = struct.Struct("=II")


class Memory(Protocol):
    """One shared file. Numbers are unsigned words; places (offsets) and sizes are in bytes.

    Each method raises `MessageError` if it finds the file truncated.
    """

    def load(self, place: int) -> int:
        """The word at this place."""

    def load_two(self, place: int) -> tuple[int, int]:
        """The two words that begin at this place."""

    def store(self, place: int, value: int) -> None:
        """Set a word."""

    def read(self, place: int, size: int) -> bytes:
        """A copy of `size` bytes."""

    def write(self, place: int, data: bytes) -> None:
        """Overwrite the bytes from this place on."""

    def check_length(self) -> None:
        """Raises `MessageError` if the file was truncated."""

    def address(self, place: int) -> int:
        """The address of this place for system calls, valid until `close`."""

    def close(self) -> None:
        """Free everything. No other method may be called afterwards."""


class MappedMemory:
    """See `Memory`."""

    def __init__(self, descriptor: int, size: int) -> None:
        """Map the file. The descriptor remains the caller's."""
        self._mapping = map_shared(descriptor, size)
        self._pin = _Pin(self._mapping)
        self._view = memoryview(self._mapping)
        words = self._view[: size - size % WORD]
        self._words = words.cast("I")
        words.release()
        self._least = _least_length(size)
        self._length = self._mapping.size

    def load(self, place: int) -> int:
        return self._words[place >> 2]

    def load_two(self, place: int) -> tuple[int, int]:
        words = self._words
        place >>= 2
        return words[place], words[place + 1]

    def store(self, place: int, value: int) -> None:
        self._words[place >> 2] = value

    def read(self, place: int, size: int) -> bytes:
        return self._mapping[place : place + size]

    def write(self, place: int, data: bytes) -> None:
        self._view[place : place + len(data)] = data

    def check_length(self) -> None:
        length = self._length()
        if length < self._least:
            raise _cut(length)

    def address(self, place: int) -> int:
        return self._pin.address + place

    def close(self) -> None:
        self._words.release()
        self._view.release()
        self._pin.release()
        self._mapping.close()


class GuardedMemory:
    """See `Memory`."""

    def __init__(self, descriptor: int, size: int, *, has_counts: bool) -> None:
        """Duplicates the descriptor. `has_counts` says that `address` will be needed."""
        self._least = _least_length(size)
        self._descriptor = os.dup(descriptor)
        self._mapping: mmap.mmap | None = None
        self._pin: _Pin | None = None
        if has_counts:
            try:
                self._mapping = map_shared(descriptor, size)
            except BaseException:
                os.close(self._descriptor)
                raise
            self._pin = _Pin(self._mapping)

    def load(self, place: int) -> int:
        return int(_ONE.unpack(self.read(place, WORD))[0])

    def load_two(self, place: int) -> tuple[int, int]:
        first, second = _TWO.unpack(self.read(place, 2 * WORD))
        return first, second

    def store(self, place: int, value: int) -> None:
        self._pwrite(place, _ONE.pack(value))

    def read(self, place: int, size: int) -> bytes:
        data = os.pread(self._descriptor, size, place)
        if len(data) != size:
            raise _cut(place + len(data))
        return data

    def write(self, place: int, data: bytes) -> None:
        # Writing would make a truncated file longer again, and the other end would get a message of zeros.
        self.check_length()
        self._pwrite(place, data)

    def _pwrite(self, place: int, data: bytes) -> None:
        try:
            os.pwrite(self._descriptor, data, place)
        except OSError as error:
            # This cannot happen with a complete file, because its pages are reserved.
            raise MessageError(
                f"it can no longer be written: {error.strerror}", field="shared file"
            ) from error

    def check_length(self) -> None:
        length = os.fstat(self._descriptor).st_size
        if length < self._least:
            raise _cut(length)

    def address(self, place: int) -> int:
        assert self._pin is not None
        return self._pin.address + place

    def close(self) -> None:
        os.close(self._descriptor)
        if self._mapping is not None and self._pin is not None:
            self._pin.release()
            self._mapping.close()


def _least_length(size: int) -> int:
    """How long a file must be for all of its pages to exist. libqb's client truncates the header of a ring
    that has no user data to 8248 bytes."""
    return (size - 1) // mmap.PAGESIZE * mmap.PAGESIZE + 1


class _Pin:
    """The address of a mapping; the mapping stays until `release`."""

    def __init__(self, mapping: mmap.mmap) -> None:
        self._export: ctypes.Array[ctypes.c_char] | None = (ctypes.c_char * 1).from_buffer(mapping)
        self.address = ctypes.addressof(self._export)

    def release(self) -> None:
        self._export = None


def map_shared(descriptor: int, size: int) -> mmap.mmap:
    """Map a shared file, readable and writable. Raises `CsError` if the system refuses."""
    try:
        return mmap.mmap(descriptor, size)
    except OSError as error:
        raise error_from_errno(error.errno or 0, f"cannot map shared memory: {error.strerror}") from error
    except ValueError as error:
        raise MessageError(f"truncated to less than {size} bytes meanwhile", field="shared file") from error


def _cut(length: int) -> MessageError:
    return MessageError(f"it was truncated to {length} bytes", field="shared file")
