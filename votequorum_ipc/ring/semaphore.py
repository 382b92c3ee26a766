"""Counts in shared memory that both ends change: a ring's semaphore, and the socket transport's counters.

Strategy: a count must be raised and lowered atomically. With a trusted other end, the C library's `sem_post`
and `sem_trywait` do it in 0.14 us each. With any other they cannot be used: glibc aborts the process, or
waits for ever, if it finds noise in the words after the value, and accessing a truncated file raises SIGBUS.
There the kernel does it: `futex(FUTEX_WAKE_OP)` adds to the value and wakes a waiter in one call, looks at no
other word, and reports EFAULT for a truncated file, in 1.0 us. Lowering checks the value and then adds -1. It
needs no compare-and-swap, because only the reader lowers, and each count has one reader.

The kernel's way also works on counts that are not a `sem_t` (`lower`). And it also wakes a waiter with a
different C library: musl's `sem_post` raises the count of a glibc semaphore, but does not wake its waiter.

A futex operation is a full memory barrier, in the kernel's code of every architecture.

Sources: futex(2); glibc's nptl/sem_post.c; `protocol_specs/libqb-ipc.md`.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable
from typing import Final, Protocol

from ..errors import MessageError
from ..wire.setup import SEM_T_SIZE
from .memory import Memory
from .platform import futex_number

_FUTEX_WAKE_OP: Final = 5
_FUTEX_OP_ADD: Final = 1 << 28
"""From linux/futex.h. Besides the operation there are 12 bits for the number to add, a comparison, and the
number to compare with; if the last two are 0, the kernel compares the old value with 0."""

# PyDLL keeps the interpreter lock: the calls take less time than releasing it and taking it again.
_libc = ctypes.PyDLL(None)
_libc.sem_init.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint]
_libc.sem_getvalue.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
_libc.sem_post.argtypes = [ctypes.c_void_p]
_libc.sem_trywait.argtypes = [ctypes.c_void_p]
_libc.syscall.restype = ctypes.c_long

_VALUE_PATTERN: Final = 0x01020304


@functools.cache
def place_of_value() -> int:
    """The offset of the value in a `sem_t`: the first word, or with glibc on a big-endian machine the
    second."""
    semaphore = ctypes.create_string_buffer(SEM_T_SIZE)
    _libc.sem_init(semaphore, 1, _VALUE_PATTERN)
    # 32-bit C libraries shift the value, but `check_platform` refuses those.
    return max(semaphore.raw.find(struct.pack("=I", _VALUE_PATTERN)), 0)


class Semaphore(Protocol):
    """A process-shared `sem_t`."""

    def post(self) -> None:
        """Raise the count by one and wake a waiter. Raises `MessageError` if that is impossible."""

    def try_wait(self) -> bool:
        """Lower the count by one if it is above 0. Returns False if it is 0."""

    def value(self) -> int:
        """The current count."""


class TrustedSemaphore:
    """See `Semaphore`. The C library's operations, on a mapping that the other end neither truncates nor
    corrupts."""

    def __init__(self, memory: Memory, place: int) -> None:
        self._address = memory.address(place)
        self._post = functools.partial(_libc.sem_post, self._address)
        self._try_wait = functools.partial(_libc.sem_trywait, self._address)

    def post(self) -> None:
        if self._post():
            raise MessageError("it cannot be raised", field="ring header.posted_sem")

    def try_wait(self) -> bool:
        return not self._try_wait()

    def value(self) -> int:
        value = ctypes.c_int()
        _libc.sem_getvalue(self._address, ctypes.byref(value))
        return value.value


class GuardedSemaphore:
    """See `Semaphore`. The kernel's operations, which survive whatever the other end does to the memory."""

    def __init__(self, memory: Memory, place: int) -> None:
        self._memory = memory
        self._place = place + place_of_value()
        self._raise = _adding(memory, self._place, 1)
        self._lower = _adding(memory, self._place, -1)

    def post(self) -> None:
        self._raise()

    def try_wait(self) -> bool:
        if not self._memory.load(self._place):
            return False
        self._lower()
        return True

    def value(self) -> int:
        return self._memory.load(self._place)


def create_semaphore(memory: Memory, place: int) -> None:
    """Initialise a semaphore at 0, shared between processes, as this process's C library does."""
    semaphore = ctypes.create_string_buffer(SEM_T_SIZE)
    _libc.sem_init(semaphore, 1, 0)
    memory.write(place, semaphore.raw)


def lower(memory: Memory, place: int) -> Callable[[], None]:
    """A function that subtracts one from the int32 at this place, which the other end raises.

    The int32 may fall below 0 for a moment, when we have received a message that the other end has not
    counted yet. The function raises `MessageError` if the file was truncated.
    """
    return _adding(memory, place, -1)


def _adding(memory: Memory, place: int, amount: int) -> Callable[[], None]:
    address = memory.address(place)
    # Converted once: turning Python's numbers into C's takes as long as the call. A waiter that is woken for
    # nothing waits again.
    arguments = (
        futex_number(),
        address,
        _FUTEX_WAKE_OP,
        1,  # wake one waiter
        0,  # one more if the value was 0, as the operation's comparison says: there is no other
        address,
        _FUTEX_OP_ADD | (amount & 0xFFF) << 12,
    )
    call = functools.partial(_libc.syscall, *map(ctypes.c_long, arguments))

    def add() -> None:
        if call() < 0:
            raise MessageError("the kernel cannot change it: its file was truncated", field="shared count")

    return add
