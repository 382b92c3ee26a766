"""libqb's ring buffer in shared memory, and the semaphore that counts what is in it. No sockets.

Strategy: a ring is two files, `<stem>-header` and `<stem>-data`. One process writes chunks, one reads them;
the writer owns `write_pt`, the reader `read_pt`, both counted in 4-byte words. The semaphore is the only
synchronisation: `sem_post` after a chunk is complete publishes it, `sem_trywait` before one is read makes it
visible. Its value is also the queue length that the other side acts on, so it must be raised and lowered by
the C library's own atomic operations; nothing else here needs more than a plain load or store of a word.

Trust: whoever is at the other end can write anything into the ring at any time. Sizes are taken from the
files once and kept in our own memory; every pointer, length and magic is checked each time it is read. A
file that is truncated under its mapping turns a touch into a SIGBUS, which nothing in Python can catch: so
whoever is about to touch asks for the files' lengths before (`check_length`). What is cut off between the two
is fatal still.

Sources: libqb's lib/ringbuffer.c and lib/ringbuffer_int.h; `protocol_specs/libqb-ipc.md`.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import stat
import struct
import sys
from collections.abc import Iterator
from typing import Final

from .errors import Library, MessageError, NotSupported, error_from_errno
from .wire.setup import (
    CHUNK_COMMITTED,
    CHUNK_HEADER,
    CHUNK_RECLAIMED,
    PATH_MAX,
    RING_HEADER,
    SEM_T_SIZE,
    offset_of,
)

SHM_DIRECTORY: Final = "/dev/shm/"
"""Where libqb keeps rings on Linux. A path elsewhere is not used: it would be written to, and removed."""

_REAL_SHM_DIRECTORY: Final = os.path.realpath(SHM_DIRECTORY)

WORD: Final = 4

_HEADER_WORDS: Final = int(CHUNK_HEADER.sizeof()) // WORD
_MARGIN: Final = (_HEADER_WORDS + 1) * WORD
"""Bytes that must be free beyond a chunk's data: its header, and a word for data of odd size."""

_HEADER_FILE_SIZE: Final = int(RING_HEADER.sizeof())
_WRITE_PT: Final = offset_of(RING_HEADER, "write_pt") // WORD
_READ_PT: Final = offset_of(RING_HEADER, "read_pt") // WORD
_WORD_SIZE: Final = offset_of(RING_HEADER, "word_size") // WORD
_REF_COUNT: Final = offset_of(RING_HEADER, "ref_count") // WORD
_FLOW_CONTROL: Final = offset_of(RING_HEADER, "flow_control") // WORD
_SEM: Final = offset_of(RING_HEADER, "posted_sem")
_HDR_PATH: Final = offset_of(RING_HEADER, "hdr_path")
_DATA_PATH: Final = offset_of(RING_HEADER, "data_path")


def ring_words(max_msg_size: int) -> int:
    """The length of a ring in words: one largest message, its margin, a byte more, rounded up to a page."""
    needed = max_msg_size + _MARGIN + 1
    return -(-needed // mmap.PAGESIZE) * mmap.PAGESIZE // WORD


def chunk_words(size: int) -> int:
    """Words that a chunk of `size` bytes takes in a ring, its header included."""
    return _HEADER_WORDS + -(-size // WORD)


# PyDLL keeps the interpreter lock: the calls take less time than giving it up and taking it back.
_libc = ctypes.PyDLL(None)
_libc.sem_post.argtypes = [ctypes.c_void_p]
_libc.sem_trywait.argtypes = [ctypes.c_void_p]
_libc.sem_init.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint]
_libc.sem_getvalue.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
_sem_post: Final = _libc.sem_post
_sem_trywait: Final = _libc.sem_trywait


_SEM_COUNTS: Final = 8
"""Bytes of a `sem_t` that hold its value and who waits, in glibc and musl on 64 bits."""


def _shared_settings() -> bytes:
    """What `sem_init` puts behind them and nobody changes: how to wake who waits in another process."""
    semaphore = ctypes.create_string_buffer(SEM_T_SIZE)
    _libc.sem_init(semaphore, 1, 0)
    return semaphore.raw[_SEM_COUNTS : 2 * _SEM_COUNTS]


_SEM_SETTINGS: Final = _shared_settings()


class Semaphore:
    """A process-shared `sem_t` in a mapping of ours, worked on by the process's own C library."""

    def __init__(self, mapping: mmap.mmap, offset: int) -> None:
        # The export pins the mapping, so that its address stays good until `release`.
        pinned = (ctypes.c_char * SEM_T_SIZE).from_buffer(mapping, offset)
        self._pin: ctypes.Array[ctypes.c_char] | None = pinned
        self._address = ctypes.addressof(self._pin)

    def create(self) -> None:
        """Set it up, shared between processes, at 0."""
        _libc.sem_init(self._address, 1, 0)

    def post(self) -> bool:
        """Raise it by one. False when it is at its maximum, or no semaphore at all."""
        # The C library aborts the process, or waits for ever, when it finds other settings there, as whoever
        # shares the memory may have put there. What is put there after this still would do it.
        ctypes.memmove(self._address + _SEM_COUNTS, _SEM_SETTINGS, len(_SEM_SETTINGS))
        return bool(_sem_post(self._address) == 0)

    def try_wait(self) -> bool:
        """Lower it by one if it is above 0. False when it is 0."""
        return bool(_sem_trywait(self._address) == 0)

    def value(self) -> int:
        """What it stands at."""
        value = ctypes.c_int()
        _libc.sem_getvalue(self._address, ctypes.byref(value))
        return value.value

    def release(self) -> None:
        """Let go of the mapping. No other method may be called afterwards."""
        self._pin = None


class Count:
    """An aligned int32 in shared memory, with another one behind it, that the other side raises and we lower.

    To lower it atomically, the two words are a semaphore. To raise it they are not: sem_post would take the
    second word for the number of waiters, and wake them as the words behind that say.
    """

    def __init__(self, mapping: mmap.mmap, offset: int) -> None:
        self._pin: ctypes.Array[ctypes.c_char] | None = (ctypes.c_char * 8).from_buffer(mapping, offset)
        self._address = ctypes.addressof(self._pin)

    def try_wait(self) -> bool:
        """Lower it by one if it is above 0. False when it is 0."""
        return bool(_sem_trywait(self._address) == 0)

    def release(self) -> None:
        """Let go of the mapping. No other method may be called afterwards."""
        self._pin = None


class Ring:
    """One ring, opened or created. Either write to it or read from it, never both.

    `write` and `read` do not wait: they say that there is no room, or nothing to read.
    """

    def __init__(self, header: mmap.mmap, data: mmap.mmap, paths: tuple[str, str], max_msg_size: int) -> None:
        self.paths = paths
        """The header file and the data file."""
        self.max_msg_size = max_msg_size
        self.words = ring_words(max_msg_size)
        self._size = self.words * WORD
        self.closed = False
        self._maps = (header, data)
        self._header_length, self._data_length = header.size, data.size
        self._least_header, self._least_data = _least_length(header), _least_length(data)
        self._semaphore = Semaphore(header, _SEM)
        self._views = contextlib.ExitStack()
        self._header = self._view(header)
        self._data_words = self._view(data)
        self._data = self._views.enter_context(memoryview(data))

    def _view(self, mapping: mmap.mmap) -> memoryview:
        whole = self._views.enter_context(memoryview(mapping))
        return self._views.enter_context(whole.cast("I"))

    # --- opening and creating ---

    @classmethod
    def open(cls, stem: str, max_msg_size: int) -> Ring:
        """Map the ring that the other side made, and count ourselves in.

        `stem` is a path such as "/dev/shm/qb-1-2-3-abcdef/qb-request-votequorum". Raises `Library` when a
        file is missing, `Access` when it may not be opened, `MessageError` when it is no ring of this size.
        """
        check_platform()
        header_path = _checked_path(stem + "-header", "header path")
        with contextlib.ExitStack() as undo:
            header = undo.enter_context(_map_existing(header_path, _HEADER_FILE_SIZE))
            data_path = _checked_path(_path_at(header, _DATA_PATH), "data_path")
            words = ring_words(max_msg_size)
            data = undo.enter_context(_map_existing(data_path, words * WORD))
            ring = cls(header, data, (header_path, data_path), max_msg_size)
            undo.pop_all()
        if ring._header[_WORD_SIZE] != words:
            word_size = ring._header[_WORD_SIZE]
            ring.close()
            raise MessageError(f"{word_size} instead of {words}", field="ring header.word_size")
        ring.ref_count += 1
        return ring

    @classmethod
    def create(cls, stem: str, max_msg_size: int) -> Ring:
        """Make both files, mode 0600, as a server does. Raises `CsError` for what the system refuses."""
        check_platform()
        paths = (stem + "-header", stem + "-data")
        words = ring_words(max_msg_size)
        with contextlib.ExitStack() as undo:
            header = undo.enter_context(_map_new(paths[0], _HEADER_FILE_SIZE, undo))
            data = undo.enter_context(_map_new(paths[1], words * WORD, undo))
            ring = cls(header, data, paths, max_msg_size)
            undo.pop_all()
        ring._header[_WORD_SIZE] = words
        for offset, path in zip((_HDR_PATH, _DATA_PATH), paths, strict=True):
            raw = os.fsencode(path)
            header[offset : offset + len(raw)] = raw
        ring._semaphore.create()
        ring.ref_count = 1
        return ring

    # --- chunks ---

    def write(self, message: bytes) -> bool:
        """Add a chunk. False when there is no room for it now. Raises `MessageError` for a broken ring."""
        if not self.put(message):
            return False
        self.publish(1)
        return True

    def put(self, message: bytes) -> bool:
        """Add a chunk that the reader does not see before `publish`. Gives and raises what `write` does."""
        header, words, count = self._header, self._data_words, self.words
        size = len(message)
        write_pt = header[_WRITE_PT]
        read_pt = header[_READ_PT]
        if write_pt >= count or read_pt >= count:
            raise self._bad_pointer()
        used = (write_pt - read_pt) % count
        free = count - used - 1 if used else count
        if free * WORD < size + _MARGIN:
            return False
        start = (write_pt + _HEADER_WORDS) % count * WORD
        end = start + size
        if end <= self._size:
            self._data[start:end] = message
        else:
            room = self._size - start
            self._data[start:] = message[:room]
            self._data[: size - room] = message[room:]
        # The semaphore publishes all of this at once, so the order of these stores does not matter, and
        # libqb's "allocated" mark, which nobody can see, is left out.
        words[write_pt] = size
        words[(write_pt + 1) % count] = CHUNK_COMMITTED
        header[_WRITE_PT] = (write_pt + _HEADER_WORDS + -(-size // WORD)) % count
        return True

    def publish(self, count: int) -> None:
        """Let the reader see that many more chunks."""
        for _ in range(count):
            if not self._semaphore.post():
                raise MessageError("it cannot be raised", field="ring header.posted_sem")

    def read(self) -> bytes | None:
        """Take the next chunk; None when there is none. Raises `MessageError` for a broken ring."""
        if not self._semaphore.try_wait():
            return None
        header, words, count = self._header, self._data_words, self.words
        write_pt = header[_WRITE_PT]
        read_pt = header[_READ_PT]
        if write_pt >= count or read_pt >= count:
            raise self._bad_pointer()
        size = words[read_pt]
        magic = words[(read_pt + 1) % count]
        if magic != CHUNK_COMMITTED:
            raise MessageError(f"{magic:#x} instead of {CHUNK_COMMITTED:#x}", field="chunk.magic")
        taken = _HEADER_WORDS + -(-size // WORD)
        # Equal pointers with a chunk announced: the ring is full to the last word.
        used = (write_pt - read_pt) % count or count
        if size > self.max_msg_size or taken > used:
            raise MessageError(f"{size} bytes, where {used} words are in use", field="chunk.size")
        start = (read_pt + _HEADER_WORDS) % count * WORD
        end = start + size
        if end <= self._size:
            message = bytes(self._data[start:end])
        else:
            message = bytes(self._data[start:]) + bytes(self._data[: end - self._size])
        words[read_pt] = 0
        words[(read_pt + 1) % count] = CHUNK_RECLAIMED
        header[_READ_PT] = (read_pt + taken) % count
        return message

    def _bad_pointer(self) -> MessageError:
        field = "write_pt" if self._header[_WRITE_PT] >= self.words else "read_pt"
        return MessageError(f"beyond the ring's {self.words} words", field=f"ring header.{field}")

    def check_length(self) -> None:
        """Raises `MessageError` when a file behind this ring was truncated."""
        if self._header_length() < self._least_header or self._data_length() < self._least_data:
            lengths = f"{self._header_length()} and {self._data_length()} bytes"
            raise MessageError(f"its files were truncated to {lengths}", field="ring.size")

    def queued(self) -> int:
        """How many chunks wait to be read, as the semaphore says."""
        return self._semaphore.value()

    # --- what both sides tell each other besides chunks ---

    @property
    def ref_count(self) -> int:
        """1 when one side has it mapped, 2 when both have."""
        return self._header[_REF_COUNT]

    @ref_count.setter
    def ref_count(self, value: int) -> None:
        # No atomic operation fits its alignment. Both sides change it only as they come and go, and an
        # update lost between them costs nothing: it is compared with 2, and both are leaving.
        self._header[_REF_COUNT] = value & 0xFFFFFFFF

    @property
    def flow_control(self) -> int:
        """Of the request ring: 0 send, 1 try again later, 2 sent requests wait (qb/qbipcs.h)."""
        return self._header[_FLOW_CONTROL]

    @flow_control.setter
    def flow_control(self, value: int) -> None:
        self._header[_FLOW_CONTROL] = value & 0xFFFFFFFF

    def close(self, *, count_out: bool = True) -> None:
        """Count ourselves out and unmap. The files are their maker's to remove; see `unlink`.

        `count_out` False leaves the shared memory untouched. So does a file that was truncated.
        """
        if self.closed:
            return
        self.closed = True
        if count_out and self._header_length() >= self._least_header:
            self.ref_count -= 1
        self._semaphore.release()
        self._views.close()
        for mapping in self._maps:
            mapping.close()

    def unlink(self) -> None:
        """Remove both files, if they are still there."""
        for path in self.paths:
            remove_shared_file(path)


def _least_length(mapping: mmap.mmap) -> int:
    """How long a mapping's file must be for all of it to be there. Whole pages count, and libqb's own client
    cuts a header that has no user data to 8248 bytes."""
    return (len(mapping) - 1) // mmap.PAGESIZE * mmap.PAGESIZE + 1


def check_platform() -> None:
    """Raises `NotSupported` where the layouts of shared memory are not the ones written down here."""
    if sys.platform != "linux" or struct.calcsize("P") != 8:
        raise NotSupported(
            "shared memory is laid out for 64-bit Linux; elsewhere set qb_ipc_type: socket in corosync.conf",
        )


def _checked_path(path: str, field: str) -> str:
    if not path.startswith(SHM_DIRECTORY) or os.path.normpath(path) != path:
        raise MessageError(f"{path!r} is not below {SHM_DIRECTORY}", field=field)
    return path


def _path_at(header: mmap.mmap, offset: int) -> str:
    raw = header[offset : offset + PATH_MAX]
    end = raw.find(b"\0")
    if end < 0:
        raise MessageError("no NUL within its 4096 bytes", field="ring header.data_path")
    return os.fsdecode(raw[:end])


@contextlib.contextmanager
def open_shared_file(path: str, size: int) -> Iterator[int]:
    """A descriptor on a file of shared memory of exactly `size` bytes that the other side named.

    Raises `Library` when it is missing, `Access` when it may not be opened, `MessageError` when it is not a
    plain file of that size: mapping a shorter one would end in SIGBUS.
    """
    try:
        # Without O_NONBLOCK, whoever holds a lease on the file could make this wait for 45 seconds.
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Library(f"the daemon's shared memory is gone: {path}") from None
    except OSError as error:
        raise error_from_errno(error.errno or 0, f"cannot open {path}: {error.strerror}") from error
    try:
        _check_place(descriptor, path)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            raise MessageError(f"a file of {status.st_size} bytes instead of {size}", field=path)
        yield descriptor
    finally:
        os.close(descriptor)


def _check_place(descriptor: int, path: str) -> None:
    """Raises `MessageError` when what was opened is elsewhere: a directory on the way was a link."""
    place = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    if place != _REAL_SHM_DIRECTORY + path[len(SHM_DIRECTORY) - 1 :]:
        raise MessageError(f"{path!r} leads to {place!r}", field="shared file")


def remove_shared_file(path: str) -> None:
    """Remove a file of shared memory, unless its directory is elsewhere now or the system refuses."""
    directory, name = os.path.split(path)
    with contextlib.suppress(OSError, MessageError):
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _check_place(descriptor, directory)
            os.unlink(name, dir_fd=descriptor)
        finally:
            os.close(descriptor)


def map_shared(descriptor: int, size: int) -> mmap.mmap:
    """Map a shared file, readable and writable; a descriptor is kept, so that its `size()` can be asked."""
    try:
        return mmap.mmap(descriptor, size)
    except OSError as error:
        raise error_from_errno(error.errno or 0, f"cannot map shared memory: {error.strerror}") from error
    except ValueError as error:
        raise MessageError(f"cut to less than {size} bytes meanwhile", field="shared file") from error


def _map_existing(path: str, size: int) -> contextlib.closing[mmap.mmap]:
    with open_shared_file(path, size) as descriptor:
        return contextlib.closing(map_shared(descriptor, size))


def create_shared_file(path: str, size: int) -> int:
    """A descriptor on a new file of shared memory, zeroed, mode 0600, with its pages reserved."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # Without this a full /dev/shm would show as a SIGBUS at the first store.
        os.posix_fallocate(descriptor, 0, size)
    except BaseException:
        os.close(descriptor)
        os.unlink(path)  # noqa: PTH108
        raise
    return descriptor


def _map_new(path: str, size: int, undo: contextlib.ExitStack) -> contextlib.closing[mmap.mmap]:
    try:
        descriptor = create_shared_file(path, size)
    except OSError as error:
        raise error_from_errno(error.errno or 0, f"cannot create {path}: {error.strerror}") from error
    undo.callback(os.unlink, path)
    try:
        return contextlib.closing(map_shared(descriptor, size))
    finally:
        os.close(descriptor)
