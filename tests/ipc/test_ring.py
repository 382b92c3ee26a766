"""A ring keeps order and content through any wrap-around, and names what is wrong with a broken one."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from votequorum_ipc.errors import Library, MessageError
from votequorum_ipc.ring import Ring, chunk_words, ring_words
from votequorum_ipc.wire.setup import CHUNK_COMMITTED, RING_HEADER, offset_of

MESSAGE_SIZE = 8192


@pytest.fixture
def stem() -> Iterator[str]:
    """A path where a test may make a ring."""
    directory = tempfile.mkdtemp(prefix="qb-test-", dir="/dev/shm")
    yield f"{directory}/ring"
    shutil.rmtree(directory)


@pytest.fixture(params=[False, True], ids=["guarded", "trusted"])
def ends(request: pytest.FixtureRequest, stem: str) -> Iterator[tuple[Ring, Ring]]:
    """Both ends of a ring: the creator writes, the other reads, through system calls or through a mapping."""
    writer = Ring.create(stem, MESSAGE_SIZE)
    reader = Ring.open(stem, MESSAGE_SIZE, trusted=request.param)
    yield writer, reader
    reader.close()
    writer.close()
    writer.unlink()


def poke(stem: str, field: str, value: int) -> None:
    """Write a word of the ring's header, as the other side could at any time."""
    with Path(stem + "-header").open("r+b") as header:
        header.seek(offset_of(RING_HEADER, field))
        header.write(struct.pack("=I", value))


def test_messages_of_all_sizes_keep_order_and_content_through_many_wraps(ends: tuple[Ring, Ring]) -> None:
    writer, reader = ends
    chance = random.Random(1)
    queued: deque[bytes] = deque()
    for _ in range(20_000):
        message = os.urandom(chance.choice([0, 1, 2, 3, 4, 5, 24, 320, 4093, MESSAGE_SIZE]))
        if writer.write(message):
            queued.append(message)
        else:
            assert reader.read() == queued.popleft()
        if chance.random() < 0.4 and queued:
            assert reader.read() == queued.popleft()
        assert reader.queued() == len(queued)
    while queued:
        assert reader.read() == queued.popleft()
    assert reader.read() is None


def test_a_full_ring_takes_a_message_again_after_one_was_read(
    ends: tuple[Ring, Ring],
) -> None:
    writer, reader = ends
    message = b"m" * 320
    count = 0
    while writer.write(message):
        count += 1
    # libqb keeps one word free between the pointers, and needs one word more than the chunk takes.
    assert count == (writer.words - 2) // chunk_words(len(message))
    assert reader.read() == message
    assert writer.write(message)
    assert not writer.write(message)


def test_a_ring_is_as_long_as_libqb_makes_it() -> None:
    assert ring_words(8192) == 3072
    assert ring_words(1 << 20) * 4 == (1 << 20) + 4096


def test_both_ends_are_counted(stem: str) -> None:
    writer = Ring.create(stem, MESSAGE_SIZE)
    assert writer.ref_count == 1
    reader = Ring.open(stem, MESSAGE_SIZE)
    assert writer.ref_count == 2
    reader.close()
    assert writer.ref_count == 1
    writer.close()
    writer.unlink()
    assert list(Path(stem).parent.iterdir()) == []


def test_closing_twice_and_unlinking_twice_do_nothing(stem: str) -> None:
    ring = Ring.create(stem, MESSAGE_SIZE)
    for _ in range(2):
        ring.close()
        ring.unlink()


@pytest.mark.parametrize("field", ["write_pt", "read_pt"])
@pytest.mark.parametrize("value", [3072, 0xFFFFFFFF])
def test_a_pointer_beyond_the_ring_is_named(
    ends: tuple[Ring, Ring], stem: str, field: str, value: int
) -> None:
    writer, reader = ends
    assert writer.write(b"message")
    poke(stem, field, value)
    with pytest.raises(MessageError, match=field):
        reader.read()
    with pytest.raises(MessageError, match=field):
        writer.write(b"message")


def test_a_chunk_that_was_announced_but_not_written_is_named(ends: tuple[Ring, Ring], stem: str) -> None:
    writer, reader = ends
    assert writer.write(b"message")
    with Path(stem + "-data").open("r+b") as data:
        data.seek(4)
        data.write(struct.pack("=I", 0xA110CED0))
    with pytest.raises(MessageError, match=r"chunk\.magic: 0xa110ced0 instead of 0xa1a1a1a1"):
        reader.read()


@pytest.mark.parametrize("size", [8, MESSAGE_SIZE + 1, 0xFFFFFFFF])
def test_a_chunk_longer_than_the_rings_content_is_named(
    ends: tuple[Ring, Ring], stem: str, size: int
) -> None:
    writer, reader = ends
    assert writer.write(b"mess")
    with Path(stem + "-data").open("r+b") as data:
        data.write(struct.pack("=II", size, CHUNK_COMMITTED))
    with pytest.raises(MessageError, match=r"chunk\.size"):
        reader.read()


def test_a_semaphore_raised_without_a_chunk_is_an_error_and_gives_no_old_message(
    ends: tuple[Ring, Ring],
) -> None:
    writer, reader = ends
    assert writer.write(b"message")
    assert reader.read() == b"message"
    writer._semaphore.post()
    with pytest.raises(MessageError, match="it announces a chunk, but the ring is empty"):
        reader.read()


def test_a_reader_stores_nothing_into_the_chunks_that_it_reads(ends: tuple[Ring, Ring], stem: str) -> None:
    """Nothing reads libqb's "reclaimed" mark, and on aarch64 it could overwrite the writer's next chunk."""
    writer, reader = ends
    for size in (0, 5, 4000, 4000):
        assert writer.write(b"m" * size)
    before = Path(stem + "-data").read_bytes()
    while reader.read() is not None:
        pass
    assert Path(stem + "-data").read_bytes() == before


def test_a_chunk_is_released_only_after_it_was_copied(ends: tuple[Ring, Ring], stem: str) -> None:
    """No x86 shows the other order, so this checks the place of the barrier."""
    writer, reader = ends
    assert writer.write(b"message")
    given_back = []

    class Barrier:
        def release(self) -> None:
            given_back.append(reader._header.load(offset_of(RING_HEADER, "read_pt")))

        def acquire(self) -> None:
            self.release()

    reader._loads = Barrier()  # type: ignore[assignment]
    assert reader.read() == b"message"
    assert given_back == [0, 0]
    assert reader._header.load(offset_of(RING_HEADER, "read_pt")) == chunk_words(7)


CUT = """
import os, sys
from votequorum_ipc import MessageError
from votequorum_ipc.ring import Ring
stem, part, step = sys.argv[1:]
ring = Ring.open(stem, 8192)
os.truncate(f"{stem}-{part}", 0)
steps = {
    "read": ring.read,
    "write": lambda: ring.write(b"message"),
    "publish": lambda: ring.publish(1),
    "queued": ring.queued,
    "ref_count": lambda: ring.ref_count,
    "flow_control": lambda: ring.flow_control,
}
try:
    print(steps[step]())
except MessageError as error:
    print("MessageError", error)
ring.close()
"""


@pytest.mark.parametrize(
    ("part", "steps"),
    [
        ("header", ["read", "write", "publish", "queued", "ref_count", "flow_control"]),
        ("data", ["read", "write"]),
    ],
)
def test_truncating_a_file_under_an_untrusting_end_is_an_error_and_no_sigbus(
    stem: str, part: str, steps: list[str]
) -> None:
    for step in steps:
        writer = Ring.create(stem, MESSAGE_SIZE)
        assert writer.write(b"message")
        argv = [sys.executable, "-c", CUT, stem, part, step]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout[:12], done.stderr) == (0, "MessageError", ""), (step, done)
        writer.close()
        writer.unlink()


def test_a_ring_of_another_size_is_refused(stem: str) -> None:
    ring = Ring.create(stem, MESSAGE_SIZE)
    with pytest.raises(MessageError, match="a file of 12288 bytes"):
        Ring.open(stem, 1 << 20)
    poke(stem, "word_size", 1024)
    with pytest.raises(MessageError, match=r"word_size: 1024 instead of 3072"):
        Ring.open(stem, MESSAGE_SIZE)
    ring.close()
    ring.unlink()


def test_a_missing_file_a_link_and_a_directory_are_refused(stem: str) -> None:
    with pytest.raises(Library, match="shared memory is gone"):
        Ring.open(stem, MESSAGE_SIZE)
    Path(stem + "-header").symlink_to("/etc/passwd")
    with pytest.raises(Library, match="cannot open"):
        Ring.open(stem, MESSAGE_SIZE)
    Path(stem + "-header").unlink()
    Path(stem + "-header").mkdir()
    with pytest.raises(Library, match="cannot open"):
        Ring.open(stem, MESSAGE_SIZE)


@pytest.mark.parametrize("path", ["/etc/ring", "ring", "/dev/shm/../etc/ring", "/dev/shm//ring", ""])
def test_a_ring_outside_shared_memory_is_not_opened(path: str) -> None:
    with pytest.raises(MessageError, match="is not below /dev/shm"):
        Ring.open(path, MESSAGE_SIZE)


def test_a_data_file_in_another_directory_than_the_header_is_not_opened(stem: str) -> None:
    """It would be another connection's; requests would be written to it, and it would be removed."""
    ring = Ring.create(stem, MESSAGE_SIZE)
    with tempfile.TemporaryDirectory(prefix="qb-test-", dir="/dev/shm") as elsewhere:
        foreign = shutil.copy(stem + "-data", elsewhere)
        with Path(stem + "-header").open("r+b") as header:
            header.seek(offset_of(RING_HEADER, "data_path"))
            header.write(os.fsencode(foreign) + b"\0")
        with pytest.raises(MessageError, match="data_path"):
            Ring.open(stem, MESSAGE_SIZE)
    ring.close()


@pytest.mark.parametrize("data_path", [b"/etc/passwd\0", b"\0", b"x" * 4096])
def test_a_data_file_outside_shared_memory_is_not_opened(stem: str, data_path: bytes) -> None:
    ring = Ring.create(stem, MESSAGE_SIZE)
    with Path(stem + "-header").open("r+b") as header:
        header.seek(offset_of(RING_HEADER, "data_path"))
        header.write(data_path)
    with pytest.raises(MessageError, match="data_path"):
        Ring.open(stem, MESSAGE_SIZE)
    ring.close()
    ring.unlink()


def test_a_ring_that_cannot_be_made_leaves_no_file(stem: str) -> None:
    Path(stem + "-data").touch()
    with pytest.raises(Exception, match="cannot create"):
        Ring.create(stem, MESSAGE_SIZE)
    assert [path.name for path in Path(stem).parent.iterdir()] == ["ring-data"]
