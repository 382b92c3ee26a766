"""libqb's ring buffer.

Strategy: a ring is two files, `<stem>-header` and `<stem>-data`. One process writes chunks, another reads
them; the writer owns `write_pt`, the reader owns `read_pt`, and both count 4-byte words. The semaphore
publishes a chunk and counts the chunks that wait; the other end uses that count as its queue's length.

Trust: the other end can write anything into the ring at any time, and can truncate its files. Sizes are read
from the files once and kept in our own memory; every pointer, length and magic is checked each time it is
read. How the files are touched depends on who is at the other end; see `memory` and `semaphore`. A ring that
is opened as `trusted` is mapped, and checks its files' lengths only in `check_length`; truncating a file
between that check and an access is fatal. A ring that is not trusted survives everything.

Order: raising and lowering the semaphore are the barriers between the two ends. But the reader's last step,
the store of `read_pt`, comes after both. It gives the chunk's space back to the writer, so the copy must be
complete by then. A processor such as aarch64 may make that store visible before the loads of the copy; see
`_finish_loads`. libqb's reader also clears the chunk's size and marks it reclaimed. Nothing ever reads these:
a writer decides by the pointers alone, and a reader here checks the pointers before it looks at the magic. So
these two stores, which would need the same order, are left out.

Sources: libqb's lib/ringbuffer.c and lib/ringbuffer_int.h; `protocol_specs/libqb-ipc.md`.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import threading
from typing import Final

from ..errors import MessageError, error_from_errno
from ..wire.setup import CHUNK_COMMITTED, CHUNK_HEADER, PATH_MAX, RING_HEADER, offset_of
from .files import checked_path, create_shared_file, open_shared_file, remove_shared_file
from .memory import WORD, GuardedMemory, MappedMemory, Memory
from .platform import check_platform
from .semaphore import GuardedSemaphore, Semaphore, TrustedSemaphore, create_semaphore

_HEADER_SIZE: Final = int(CHUNK_HEADER.sizeof())
_HEADER_WORDS: Final = _HEADER_SIZE // WORD
_CHUNK: Final = struct.Struct("=II")
_MARGIN: Final = (_HEADER_WORDS + 1) * WORD
"""Bytes that must be free beyond a chunk's data: its header, and a word to round the data up to whole
words."""

_HEADER_FILE_SIZE: Final = int(RING_HEADER.sizeof())
_POINTERS: Final = offset_of(RING_HEADER, "write_pt")
_WRITE_PT: Final = offset_of(RING_HEADER, "write_pt")
_READ_PT: Final = offset_of(RING_HEADER, "read_pt")
_WORD_SIZE: Final = offset_of(RING_HEADER, "word_size")
_REF_COUNT: Final = offset_of(RING_HEADER, "ref_count")
_FLOW_CONTROL: Final = offset_of(RING_HEADER, "flow_control")
_SEM: Final = offset_of(RING_HEADER, "posted_sem")
_HDR_PATH: Final = offset_of(RING_HEADER, "hdr_path")
_DATA_PATH: Final = offset_of(RING_HEADER, "data_path")


def ring_words(max_msg_size: int) -> int:
    """The length of a ring in words: one largest message, its margin, a byte more, rounded up to a page."""
    needed = max_msg_size + _MARGIN + 1
    return -(-needed // mmap.PAGESIZE) * mmap.PAGESIZE // WORD


def chunk_words(size: int) -> int:
    """Words that a chunk of `size` bytes takes in a ring, including its header."""
    return _HEADER_WORDS + -(-size // WORD)


class Ring:
    """One ring, opened or created. Either write to it or read from it, never both.

    `write` and `read` do not wait: they report that there is no room or nothing to read. Each method raises
    `MessageError` for a broken ring.
    """

    def __init__(
        self,
        header: Memory,
        data: Memory,
        semaphore: Semaphore,
        paths: tuple[str, str],
        max_msg_size: int,
    ) -> None:
        """Not public: use `open` or `create`."""
        self.paths = paths
        """The header file and the data file."""
        self.max_msg_size = max_msg_size
        self.words = ring_words(max_msg_size)
        self.closed = False
        self._size = self.words * WORD
        self._header = header
        self._data = data
        self._semaphore = semaphore
        self._loads = threading.Lock()
        self._loads.acquire()

    # --- opening and creating ---

    @classmethod
    def open(cls, stem: str, max_msg_size: int, *, trusted: bool = False) -> Ring:
        """Open a ring that the other end has created, and add this process to its reference count.

        `stem` is a path such as "/dev/shm/qb-1-2-3-abcdef/qb-request-votequorum". `trusted` says that root
        runs the other end. Raises `Library` when a file is missing, `Access` when it may not be opened,
        `MessageError` if this is not a ring of that size.
        """
        check_platform()
        header_path = checked_path(stem + "-header", "header path")
        words = ring_words(max_msg_size)
        with contextlib.ExitStack() as undo:
            with open_shared_file(header_path, _HEADER_FILE_SIZE) as descriptor:
                header = _memory(descriptor, _HEADER_FILE_SIZE, trusted=trusted, has_counts=True)
            undo.callback(header.close)
            data_path = checked_path(_text_at(header, _DATA_PATH), "data_path")
            if data_path.rpartition("/")[0] != header_path.rpartition("/")[0]:
                raise MessageError(f"{data_path!r} is not beside {header_path!r}", field="data_path")
            with open_shared_file(data_path, words * WORD) as descriptor:
                data = _memory(descriptor, words * WORD, trusted=trusted)
            undo.callback(data.close)
            word_size = header.load(_WORD_SIZE)
            if word_size != words:
                raise MessageError(f"{word_size} instead of {words}", field="ring header.word_size")
            ring = cls(header, data, _semaphore(header, trusted), (header_path, data_path), max_msg_size)
            ring.ref_count += 1
            undo.pop_all()
        return ring

    @classmethod
    def create(cls, stem: str, max_msg_size: int) -> Ring:
        """Create both files, mode 0600, as a server does for a client that is not trusted.

        Raises `CsError` if the system refuses.
        """
        check_platform()
        paths = (stem + "-header", stem + "-data")
        words = ring_words(max_msg_size)
        with contextlib.ExitStack() as undo:
            header = _created(paths[0], _HEADER_FILE_SIZE, undo, has_counts=True)
            data = _created(paths[1], words * WORD, undo)
            header.store(_WORD_SIZE, words)
            for place, path in zip((_HDR_PATH, _DATA_PATH), paths, strict=True):
                header.write(place, os.fsencode(path))
            create_semaphore(header, _SEM)
            ring = cls(header, data, _semaphore(header, trusted=False), paths, max_msg_size)
            ring.ref_count = 1
            undo.pop_all()
        return ring

    # --- chunks ---

    def write(self, message: bytes) -> bool:
        """Add a chunk. False when there is no room for it now."""
        if not self.put(message):
            return False
        self.publish(1)
        return True

    def put(self, message: bytes) -> bool:
        """Add a chunk that the reader does not see before `publish`. False when there is no room for it."""
        count = self.words
        size = len(message)
        write_pt, read_pt = self._header.load_two(_POINTERS)
        if write_pt >= count or read_pt >= count:
            raise self._bad_pointer(write_pt)
        used = (write_pt - read_pt) % count
        free = count - used - 1 if used else count
        if free * WORD < size + _MARGIN:
            return False
        # The semaphore publishes all of this at once. So the order of these stores does not matter, and
        # libqb's "allocated" mark, which no reader can see, is left out.
        chunk = _CHUNK.pack(size, CHUNK_COMMITTED) + message
        start = write_pt * WORD
        room = self._size - start
        if len(chunk) <= room:
            self._data.write(start, chunk)
        else:
            self._data.write(start, chunk[:room])
            self._data.write(0, chunk[room:])
        self._header.store(_WRITE_PT, (write_pt + chunk_words(size)) % count)
        return True

    def publish(self, count: int) -> None:
        """Let the reader see `count` more chunks."""
        for _ in range(count):
            self._semaphore.post()

    def read(self) -> bytes | None:
        """Take the next chunk; None if the ring is empty."""
        if not self._semaphore.try_wait():
            return None
        count = self.words
        write_pt, read_pt = self._header.load_two(_POINTERS)
        if write_pt >= count or read_pt >= count:
            raise self._bad_pointer(write_pt)
        # Never 0: a writer keeps two words between the pointers of a full ring free.
        used = (write_pt - read_pt) % count
        if not used:
            raise MessageError("it announces a chunk, but the ring is empty", field="ring header.posted_sem")
        start = read_pt * WORD
        if read_pt + 1 < count:
            size, magic = self._data.load_two(start)
        else:
            size, magic = self._data.load(start), self._data.load(0)
        if magic != CHUNK_COMMITTED:
            raise MessageError(f"{magic:#x} instead of {CHUNK_COMMITTED:#x}", field="chunk.magic")
        taken = chunk_words(size)
        if size > self.max_msg_size or taken > used:
            raise MessageError(f"{size} bytes, but only {used} words are in use", field="chunk.size")
        message = self._circular((read_pt + _HEADER_WORDS) % count * WORD, size)
        self._finish_loads()
        self._header.store(_READ_PT, (read_pt + taken) % count)
        return message

    def _circular(self, start: int, size: int) -> bytes:
        """A copy of bytes of the ring, which may wrap around to its beginning."""
        room = self._size - start
        if size <= room:
            return self._data.read(start, size)
        return self._data.read(start, room) + self._data.read(0, size - room)

    def _finish_loads(self) -> None:
        """Complete all earlier loads before any later store.

        Releasing a lock is a store-release, which waits for the loads before it. Taking a lock is a
        load-acquire, which later stores wait for. And aarch64 keeps a load-acquire after an earlier
        store-release. Python's locks are the C library's semaphores, or (3.13) its own atomics. This takes
        0.1 us; x86 does not need it.
        """
        self._loads.release()
        self._loads.acquire()

    def _bad_pointer(self, write_pt: int) -> MessageError:
        field = "write_pt" if write_pt >= self.words else "read_pt"
        return MessageError(f"beyond the ring's {self.words} words", field=f"ring header.{field}")

    def check_length(self) -> None:
        """Raises `MessageError` if a file of a trusted ring was truncated, so that an access could be
        fatal."""
        self._header.check_length()
        self._data.check_length()

    def queued(self) -> int:
        """How many chunks wait to be read, according to the semaphore."""
        return self._semaphore.value()

    # --- what both ends share besides chunks ---

    @property
    def ref_count(self) -> int:
        """1 when one end has it open, 2 when both have."""
        return self._header.load(_REF_COUNT)

    @ref_count.setter
    def ref_count(self, value: int) -> None:
        # Not atomic. Each end changes it only when it opens or closes the ring, and a lost update does no
        # harm: the count is compared only with 2, and both ends are leaving.
        self._header.store(_REF_COUNT, value & 0xFFFFFFFF)

    @property
    def flow_control(self) -> int:
        """For the request ring: 0 send, 1 try again later, 2 requests are accepted but wait (qb/qbipcs.h)."""
        return self._header.load(_FLOW_CONTROL)

    @flow_control.setter
    def flow_control(self, value: int) -> None:
        self._header.store(_FLOW_CONTROL, value & 0xFFFFFFFF)

    def close(self, *, count_out: bool = True) -> None:
        """Leave the reference count and unmap the ring. The server, which created the files, removes them;
        see `unlink`.

        With `count_out` False the shared memory is left untouched, and also if a file was truncated or the
        kernel does not tell its length.
        """
        if self.closed:
            return
        self.closed = True
        if count_out:
            with contextlib.suppress(MessageError, OSError):
                self._header.check_length()
                self.ref_count -= 1
        self._header.close()
        self._data.close()

    def unlink(self) -> None:
        """Remove both files, if they are still there."""
        for path in self.paths:
            remove_shared_file(path)


def _memory(descriptor: int, size: int, *, trusted: bool, has_counts: bool = False) -> Memory:
    if trusted:
        return MappedMemory(descriptor, size)
    return GuardedMemory(descriptor, size, has_counts=has_counts)


def _semaphore(header: Memory, trusted: bool) -> Semaphore:
    return TrustedSemaphore(header, _SEM) if trusted else GuardedSemaphore(header, _SEM)


def _text_at(header: Memory, place: int) -> str:
    raw = header.read(place, PATH_MAX)
    end = raw.find(b"\0")
    if end < 0:
        raise MessageError("no NUL within its 4096 bytes", field="ring header.data_path")
    return os.fsdecode(raw[:end])


def _created(path: str, size: int, undo: contextlib.ExitStack, *, has_counts: bool = False) -> Memory:
    try:
        descriptor = create_shared_file(path, size)
    except OSError as error:
        raise error_from_errno(error.errno or 0, f"cannot create {path}: {error.strerror}") from error
    undo.callback(os.unlink, path)
    try:
        memory = GuardedMemory(descriptor, size, has_counts=has_counts)
    finally:
        os.close(descriptor)
    undo.callback(memory.close)
    return memory
