"""Counting in memory that the other end may write to: whatever it writes there, this process survives.

A failure of the C library's semaphores ends a process, or stops it forever with the interpreter lock held. So
those cases run in separate processes.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.waiting import eventually
from votequorum_ipc import MessageError
from votequorum_ipc.ring import GuardedMemory, create_shared_file, lower
from votequorum_ipc.ring.platform import futex_number
from votequorum_ipc.ring.semaphore import GuardedSemaphore, create_semaphore, place_of_value
from votequorum_ipc.wire.setup import CONTROL_BLOCK, offset_of

SIZE = 4096


@pytest.fixture
def path() -> Iterator[str]:
    """A file of shared memory with a semaphore at its start."""
    path = f"/dev/shm/qb-test-{os.getpid()}-counts"
    os.close(create_shared_file(path, SIZE))
    yield path
    Path(path).unlink()


@pytest.fixture
def memory(path: str) -> Iterator[GuardedMemory]:
    descriptor = os.open(path, os.O_RDWR)
    memory = GuardedMemory(descriptor, SIZE, has_counts=True)
    os.close(descriptor)
    create_semaphore(memory, 0)
    yield memory
    memory.close()


COUNT_IN_NOISE = """
import os, struct, sys
from votequorum_ipc.ring import GuardedMemory
from votequorum_ipc.ring.platform import futex_number
from votequorum_ipc.ring.semaphore import GuardedSemaphore, place_of_value
descriptor = os.open(sys.argv[1], os.O_RDWR)
memory = GuardedMemory(descriptor, 4096, has_counts=True)
memory.write(0, struct.pack("=8I", *[int(sys.argv[2])] * 8))
memory.store(place_of_value(), 4)
semaphore = GuardedSemaphore(memory, 0)
semaphore.post()
print(semaphore.value(), semaphore.try_wait(), semaphore.value())
"""


@pytest.mark.parametrize("noise", [0, 1, 3, 4, 0x80, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_semaphore_counts_whatever_the_other_end_writes_to_its_other_words(path: str, noise: int) -> None:
    argv = [sys.executable, "-c", COUNT_IN_NOISE, path, str(noise)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout + done.stderr == "5 True 4\n"


def test_counting_touches_the_value_and_nothing_else(memory: GuardedMemory, path: str) -> None:
    """glibc's own operations also write the number of waiters; the kernel's do not, so noise there has no
    effect.
    """
    noise = os.urandom(SIZE)
    memory.write(0, noise)
    place = place_of_value()
    memory.store(place, 7)
    semaphore = GuardedSemaphore(memory, 0)
    semaphore.post()
    assert semaphore.try_wait()
    semaphore.post()
    assert Path(path).read_bytes() == noise[:place] + struct.pack("=I", 8) + noise[place + 4 :]


WAIT = """
import ctypes, mmap, os, sys
memory = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
print(os.getpid(), flush=True)
ctypes.CDLL(None).sem_wait(ctypes.c_void_p(address))
print("woken", flush=True)
"""


def _sleeps_on_a_futex(pid: int) -> bool:
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] == str(futex_number())


def test_a_post_wakes_a_waiter_of_the_c_library_whatever_the_count_of_waiters_says(
    memory: GuardedMemory, path: str
) -> None:
    """A C library that does not see the waiter, as musl's does not see glibc's, would not wake it."""
    with subprocess.Popen([sys.executable, "-c", WAIT, path], stdout=subprocess.PIPE, text=True) as waiter:
        try:
            assert waiter.stdout
            pid = int(waiter.stdout.readline())
            eventually(lambda: _sleeps_on_a_futex(pid), otherwise="it waits")
            memory.store(4 - place_of_value(), 0)  # the number of waiters is the other word
            GuardedSemaphore(memory, 0).post()
            assert waiter.stdout.readline() == "woken\n"
        finally:
            waiter.kill()


def test_a_count_of_the_control_block_is_lowered_alone_and_below_zero(memory: GuardedMemory) -> None:
    """As on a big-endian machine, where the two words of a pair are not a semaphore: `sent` comes first
    everywhere.
    """
    place = offset_of(CONTROL_BLOCK, "response", "sent")
    words = struct.Struct("=6i")
    memory.write(0, words.pack(1, 2, 1, 2, 1, 2))
    count = lower(memory, place)
    count()
    count()
    assert words.unpack(memory.read(0, words.size)) == (1, 2, -1, 2, 1, 2)


def test_a_count_in_a_truncated_file_is_an_error(memory: GuardedMemory, path: str) -> None:
    semaphore = GuardedSemaphore(memory, 0)
    os.truncate(path, 0)
    for step in (semaphore.post, semaphore.try_wait, semaphore.value, lower(memory, 0)):
        with pytest.raises(MessageError, match="truncated"):
            step()
