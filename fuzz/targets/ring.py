"""Whatever the two ends of a ring do in turn, messages keep their order and content, and the semaphore
counts them.

Any sizes, from any place in the ring, so that everything that can wrap around does; a message is refused
exactly when libqb would refuse it. And whatever anybody writes into a ring's header, chunks, pointers or
semaphore, each step ends in a message, in "not now", or in a `CsError`; what was damaged never makes the
process fall.
"""

from __future__ import annotations

import collections
import contextlib
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

from fuzz.target import Target
from votequorum_ipc.errors import CsError
from votequorum_ipc.ring import WORD, Ring, chunk_words, ring_words
from votequorum_ipc.strategies.rings import (
    Fill,
    Publish,
    Put,
    Read,
    RingLie,
    RingScript,
    RingStep,
    Write,
    damaged_ring_scripts,
    ring_scripts,
)
from votequorum_ipc.wire.setup import RING_HEADER, offset_of

_WORD: Final = struct.Struct("=I")


class Model:
    """A ring as libqb describes it: what is in it, and how much room that leaves."""

    def __init__(self, words: int) -> None:
        self.words = words
        self.published: collections.deque[bytes] = collections.deque()
        self.put: collections.deque[bytes] = collections.deque()

    def room(self) -> int:
        """Bytes of the largest message that there is room for; negative where there is none for any.

        libqb keeps a word between the pointers free, and wants a word more than a chunk of whole words takes.
        """
        used = sum(chunk_words(len(message)) for message in (*self.published, *self.put))
        free = self.words - used - 1 if used else self.words
        return (free - 3) * WORD

    def write(self, message: bytes) -> bool:
        """Put a message, if there is room."""
        if len(message) > self.room():
            return False
        self.put.append(message)
        return True

    def publish(self) -> int:
        """Announce what was put; how many."""
        count = len(self.put)
        self.published.extend(self.put)
        self.put.clear()
        return count


class Rings:
    """A session: a directory in shared memory for one ring after the other."""

    def __init__(self, directory: Path) -> None:
        self.stem = str(directory / "ring")

    def check(self, case: RingScript) -> None:
        """Play the script on a new ring."""
        with contextlib.ExitStack() as stack:
            writer = Ring.create(self.stem, case.max_msg_size)
            stack.callback(writer.unlink)
            stack.callback(writer.close)
            self._poke_start(case)
            reader = Ring.open(self.stem, case.max_msg_size)
            stack.callback(reader.close)
            self._honest(case, writer, reader)
            for lie in case.lies:
                self._poke(lie)
            for step in case.after:
                with contextlib.suppress(CsError):
                    _play(step, writer, reader)

    def _honest(self, case: RingScript, writer: Ring, reader: Ring) -> None:
        model = Model(ring_words(case.max_msg_size))
        for step in case.steps:
            _play_beside(step, writer, reader, model)
            assert reader.queued() == len(model.published)
        if not case.lies:
            writer.publish(model.publish())
            while model.published:
                assert reader.read() == model.published.popleft()
            assert reader.read() is None

    def _poke_start(self, case: RingScript) -> None:
        start = case.start % ring_words(case.max_msg_size)
        for field in ("write_pt", "read_pt"):
            self._poke(RingLie("header", field, start))

    def _poke(self, lie: RingLie) -> None:
        offset = offset_of(RING_HEADER, lie.where) if isinstance(lie.where, str) else lie.where * WORD
        path = f"{self.stem}-{lie.part}"
        descriptor = os.open(path, os.O_RDWR)
        try:
            if offset + WORD <= os.fstat(descriptor).st_size:
                os.pwrite(descriptor, _WORD.pack(lie.value & 0xFFFFFFFF), offset)
        finally:
            os.close(descriptor)


def _play(step: RingStep, writer: Ring, reader: Ring) -> bytes | bool | None:
    match step:
        case Read():
            message = reader.read()
            assert message is None or len(message) <= reader.max_msg_size
            return message
        case Publish():
            writer.publish(1)
            return None
        case Fill():
            return writer.write(Write(abs(step.slack), step.fill).data)
        case Put():
            return writer.put(step.data)
    return writer.write(step.data)


def _play_beside(step: RingStep, writer: Ring, reader: Ring, model: Model) -> None:
    if isinstance(step, Fill):
        step = Write(max(0, model.room() - step.slack), step.fill)
    match step:
        case Read():
            expected = model.published.popleft() if model.published else None
            assert reader.read() == expected
        case Publish():
            writer.publish(model.publish())
        case _ if step.size > reader.max_msg_size:
            pass  # not for the ring to refuse: `request` does
        case Put():
            assert writer.put(step.data) == model.write(step.data)
        case Write():
            # `write` announces one message, so it is not for a writer that has others to announce.
            writer.publish(model.publish())
            assert writer.write(step.data) == model.write(step.data)
            model.publish()


@contextlib.contextmanager
def _session() -> Iterator[Rings]:
    with tempfile.TemporaryDirectory(prefix="fuzz-ring-", dir="/dev/shm") as directory:
        yield Rings(Path(directory))


TARGETS = [
    Target(
        name="ring",
        property=__doc__ or "",
        cases=st.one_of(ring_scripts(), damaged_ring_scripts()),
        session=_session,
        examples=200,
    )
]
