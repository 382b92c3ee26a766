"""Records a C client's conversation: what it and the daemon write into the rings of one connection, as
frames.

Strategy: over shared memory, a payload that was read stays in the ring's data file until the ring wraps
around. The C libraries ask for rings of 1 MiB, so a whole conversation can be read from them afterwards.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.real.daemon import Daemon
from tests.real.waiting import eventually
from votequorum_ipc.wire import SERVICES, Kind, message_id
from votequorum_ipc.wire.setup import CHUNK_COMMITTED, CHUNK_HEADER, CHUNK_RECLAIMED

from .frames import REFUSAL, Frame

Step = tuple[str, str, str]
"""A case, its context in words, and the client with its call; see `Frame`."""

_WORD: Final = 4
_HEADER: Final = struct.Struct("=i4xi4x")

_WAYS: Final = {"request": Kind.REQUEST, "response": Kind.RESPONSE, "event": Kind.EVENT}


class RingReader:
    """The chunks of one ring in the order in which they were written, read or not."""

    def __init__(self, data_file: Path) -> None:
        self._path = data_file
        self._word = 0

    def take(self) -> list[bytes]:
        """The payloads since the last call."""
        data = self._path.read_bytes()
        found = []
        while (chunk := self._chunk(data)) is not None:
            found.append(chunk)
            self._word += int(CHUNK_HEADER.sizeof()) // _WORD + -(-len(chunk) // _WORD)
        return found

    def _chunk(self, data: bytes) -> bytes | None:
        start = self._word * _WORD
        header = CHUNK_HEADER.parse(data[start : start + CHUNK_HEADER.sizeof()])
        payload = start + int(CHUNK_HEADER.sizeof())
        if header.magic not in (CHUNK_COMMITTED, CHUNK_RECLAIMED):
            return None
        # The reader of a chunk clears its length; the message contains its size.
        size = header.size or _HEADER.unpack_from(data, payload)[1]
        return data[payload : payload + size]


class Tape:
    """The conversation of a C client and the daemon on one connection, as frames."""

    def __init__(self, daemon: Daemon, directory: Path, service: str) -> None:
        self._service = service
        self._daemon = daemon
        self.directory = directory
        self._rings = {
            way: RingReader(directory / f"qb-{way}-{service}-data")
            for way in ("request", "response", "event")
        }
        self.frames: list[Frame] = []

    def step(
        self,
        case: str,
        context: str,
        client: str,
        act: Callable[[], Any],
        *,
        events: int = 0,
        refused: bool = False,
    ) -> Any:
        """Do something and keep the resulting messages, until at least this many events have come.

        `refused`: the daemon has no such message, so a bare header answers it.
        """
        result = act()
        said: dict[str, list[bytes]] = {way: [] for way in self._rings}

        def enough() -> bool:
            for way, ring in self._rings.items():
                said[way] += ring.take()
            return len(said["event"]) >= events

        eventually(enough, otherwise=lambda: f"{case}: {events} events came{self._daemon.log_tail()}")
        for way, messages in said.items():
            names = [self._message(way, data, refused) for data in messages]
            for number, (name, data) in enumerate(zip(names, messages, strict=True)):
                # If a message came more than once, the case is about the last one.
                later = names[number + 1 :].count(name)
                numbered = f"{case}, {later} before that" if later else case
                self.frames.append(Frame(name, numbered, context, client, "shm", data))
        return result

    def skip(self) -> None:
        """Drop the messages since the last step."""
        for ring in self._rings.values():
            ring.take()

    def _message(self, way: str, data: bytes, refused: bool) -> str:
        if refused and way == "response":
            return REFUSAL
        for layout in SERVICES[self._service]:
            if layout.kind is _WAYS[way] and layout.id == message_id(data):
                return str(layout)
        raise LookupError(f"{self._service} has no {way} {message_id(data)}")


@contextlib.contextmanager
def taped(daemon: Daemon, service: str, open_client: Callable[[], Any], opening: Step) -> Iterator[Any]:
    """A C client on the daemon, and the tape of its connection."""
    before = set(daemon.connections())
    with daemon.namespace():
        client = open_client()
    with client:
        (directory,) = set(daemon.connections()) - before
        tape = Tape(daemon, directory, service)
        tape.step(*opening, lambda: None)
        yield client, tape
    eventually(lambda: directory not in daemon.connections(), otherwise="the connection has ended")
