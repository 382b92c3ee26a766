"""Whatever a server writes into messages and rings, the client gives a value or a `CsError`, and comes back.

It allocates no more than the bytes that are there are worth, and keeps none of it.

A case is a burst of a thousand variants of one message or one ring, and each variant counts as a state. So
`python -m fuzz client --cases 10000` is a campaign of ten million. Messages go through everything that a
handle does with an answer or an event. Rings are read and written to as a connection does. The files of a
ring are not cut here: `hostile-server` does that, with whole connections and a hundred times slower.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import mmap
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from fuzz.target import Target
from votequorum_ipc import quorum, votequorum
from votequorum_ipc.errors import CsError, CsErrorCode
from votequorum_ipc.ring import WORD, Ring
from votequorum_ipc.strategies.bursts import FrameBurst, RingBurst, frame_bursts, ring_bursts
from votequorum_ipc.wire import SERVICES, Kind, Layout, message_id, reply_error
from votequorum_ipc.wire.setup import RING_HEADER, offset_of

MEMORY: Final = 64 * 1024
"""Bytes that a state may take whatever its size: an error with its traceback, a tuple, a copy of a chunk."""

MEMORY_A_BYTE: Final = 130
"""Bytes of Python objects that a byte of a message may turn into. A member of 8 bytes takes some 120."""

KEPT: Final = 64 * 1024
"""Bytes that may be left when a burst is over: what the interpreter itself keeps ready."""

READS: Final = 4
"""Chunks that are taken from a ring in one state, at most."""

_SEMAPHORE: Final = offset_of(RING_HEADER, "posted_sem")

EVENT_DECODERS: Final[dict[str, dict[int, Callable[[bytes], Any]]]] = {
    "votequorum": dict(votequorum.EVENT_DECODERS),
    "quorum": dict(quorum.EVENT_DECODERS),
}
"""What handles do with the events of a service, by the event's id."""


class ClientFailed(AssertionError):
    """The client did not stand a state."""


class ClientEnd:
    """A session."""

    def __init__(self, directory: Path) -> None:
        self._stem = str(directory / "ring")
        self.counts: collections.Counter[str] = collections.Counter()
        """How many states came to what: "frames read", "frames: MessageError"..."""
        self.most_memory = 0
        self.longest = 0.0

    def check(self, case: FrameBurst | RingBurst) -> None:
        """Go through all states of a burst. Raises `ClientFailed` for the first that does not hold."""
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            if isinstance(case, FrameBurst):
                self._frames(case)
            else:
                with contextlib.ExitStack() as stack:
                    self._rings(case, stack)
            gc.collect()
            kept = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        if kept > KEPT:
            raise ClientFailed(f"{kept} bytes are still allocated after the burst")

    def _state(self, kind: str, act: Callable[[], object], size: int, state: object) -> None:
        """Let the client act in one state, and look at what came of it."""
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        start = time.perf_counter()
        try:
            outcome = act()
            told = "nothing" if outcome is None else "read"
        except CsError as error:
            told = type(error).__name__
        except Exception as error:
            raise ClientFailed(f"{type(error).__name__}: {error}, from {state!r}") from error
        self.longest = max(self.longest, time.perf_counter() - start)
        memory = tracemalloc.get_traced_memory()[1] - before
        self.most_memory = max(self.most_memory, memory)
        self.counts[f"{kind}: {told}"] += 1
        if memory > MEMORY + MEMORY_A_BYTE * size:
            raise ClientFailed(f"{memory} bytes were allocated for {size} bytes, from {state!r}")

    # --- messages ---

    def _frames(self, case: FrameBurst) -> None:
        read = receiver(case.frame.service, case.frame.layout)
        with contextlib.suppress(CsError):
            read(case.frame.data)  # what is compiled on first use is compiled now
        for data in case.variants():
            self._state("frames", functools.partial(read, data), len(data), data)

    # --- rings ---

    def _rings(self, case: RingBurst, stack: contextlib.ExitStack) -> None:
        server = Ring.create(self._stem, case.max_msg_size)
        stack.callback(server.unlink)
        stack.callback(server.close)
        client = Ring.open(self._stem, case.max_msg_size)
        stack.callback(client.close)
        for size in case.sizes:
            server.write(bytes(size))
        shared = {
            part: _map(stack, path) for part, path in zip(("header", "data"), server.paths, strict=True)
        }
        honest = {part: bytes(mapping) for part, mapping in shared.items()}
        for lies in case.variants(client.words):
            for part, mapping in shared.items():
                mapping[:] = honest[part]
            for lie in lies:
                _overwrite(shared, lie)
            self._state("rings", functools.partial(use, client), client.max_msg_size, lies)
        for part, mapping in shared.items():
            mapping[:] = honest[part]

    def summary(self) -> str:
        """How many states there were, what came of them, and what they cost."""
        kinds: collections.Counter[str] = collections.Counter()
        for outcome, count in self.counts.items():
            kinds[outcome.partition(":")[0]] += count
        outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(self.counts.items()))
        return (
            f"{kinds.total():,} states: {kinds['frames']:,} frames and {kinds['rings']:,} rings\n"
            f"{outcomes}\n"
            f"at most {self.most_memory:,} bytes for a state; the longest took {self.longest * 1000:.1f} ms"
        )


def receiver(service: str, layout: Layout) -> Callable[[bytes], Any]:
    """What a handle does with bytes that come where this message is expected."""
    if service == "setup":
        return layout.decode
    if layout.kind is not Kind.EVENT:
        return lambda data: layout.decode(data) if reply_error(data) == CsErrorCode.OK else None
    events = (other for other in SERVICES[service] if other.kind is Kind.EVENT)
    decoders = {other.id: other.decode for other in events} | EVENT_DECODERS.get(service, {})

    def event(data: bytes) -> Any:
        decode = decoders.get(message_id(data))
        return decode(data) if decode else None

    return event


def use(ring: Ring) -> bytes | None:
    """What a connection does with a ring."""
    ring.check_length()
    ring.queued()
    last = None
    for _ in range(READS):
        message = ring.read()
        if message is None:
            break
        assert len(message) <= ring.max_msg_size
        last = message
    ring.put(b"x" * min(24, ring.max_msg_size))
    return last


def _map(stack: contextlib.ExitStack, path: str) -> mmap.mmap:
    with Path(path).open("r+b") as file:
        return stack.enter_context(contextlib.closing(mmap.mmap(file.fileno(), 0)))


def _overwrite(shared: dict[str, mmap.mmap], lie: tuple[str, int, int]) -> None:
    part, word, value = lie
    start = word * WORD
    if part == "semaphore":
        part, start = "header", _SEMAPHORE + word * WORD
    shared[part][start : start + WORD] = value.to_bytes(WORD, sys.byteorder)


@contextlib.contextmanager
def _session() -> Iterator[ClientEnd]:
    gc.freeze()  # so that a collection looks at what a burst has made, and at nothing else
    with tempfile.TemporaryDirectory(prefix="fuzz-client-", dir="/dev/shm") as directory:
        yield ClientEnd(Path(directory))
    gc.unfreeze()


TARGETS = [
    Target(
        name="client",
        property=__doc__ or "",
        cases=st.one_of(frame_bursts(), ring_bursts()),
        session=_session,
        examples=10,
    )
]
