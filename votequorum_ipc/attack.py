"""The steps that a hostile client takes, as values that can be drawn, shrunk and written down.

Strategy: a step is a frozen dataclass and does nothing by itself: `fuzz.attacker` in a checkout performs
steps on real connections, which it holds by number. A step on a connection that is not open does nothing, so
any part of a sequence is a valid sequence, and a failure can be shrunk. The `repr` of a sequence is the
program that performs it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HONEST_SIZE: Final = 8192
"""The `max_msg_size` of an honest connection: the smallest that corosync grants."""

WAYS: Final = ("request", "response", "event")
"""The three directions of a connection. Each has a ring, or a pair of counters in the control block."""


@dataclass(frozen=True)
class Connect:
    """Open a connection with an honest handshake. An open connection with the same number is closed first."""

    connection: int
    service: str
    max_msg_size: int = HONEST_SIZE

    @property
    def feature(self) -> str:
        if self.max_msg_size < HONEST_SIZE:
            return "a connection for small messages"
        return f"connect to {self.service}"


@dataclass(frozen=True)
class Handshake:
    """Send bytes instead of a connection request; then keep the socket open, or close it."""

    service: str
    data: bytes
    stay: bool = False

    @property
    def feature(self) -> str:
        return f"{'unfinished' if self.stay else 'broken off'} handshake with {self.service}"


@dataclass(frozen=True)
class Send:
    """Send a request, or something like it.

    Over shared memory: write it to the ring, put `chunk_size` into its chunk header unless that is None,
    raise the semaphore `posts` times, and send `bells` bytes on the setup socket. Over sockets: count `posts`
    messages and send one datagram.
    """

    connection: int
    data: bytes
    posts: int = 1
    bells: int = 1
    chunk_size: int | None = None
    about: str = "a request"
    """A description of the bytes, for people."""

    @property
    def feature(self) -> str:
        if self.posts > self.bells:
            return "fewer doorbells than chunks"
        if self.posts < self.bells:
            return "more doorbells than chunks"
        return self.about if self.chunk_size is None else "a false chunk size"

    def is_for(self, service: str) -> bool:
        """Whether the bytes are a message of this service. Each service numbers its messages from 0."""
        return self.about.startswith(f"{service} ")


@dataclass(frozen=True)
class Bell:
    """Send bytes on the setup socket that announce nothing."""

    connection: int
    times: int

    @property
    def feature(self) -> str:
        return "doorbells for nothing"


@dataclass(frozen=True)
class Post:
    """Announce messages that were not sent."""

    connection: int
    way: str
    times: int

    @property
    def feature(self) -> str:
        return f"{self.way} messages announced that are not there"


@dataclass(frozen=True)
class Poke:
    """Overwrite a word of a ring's header, or of the control block. Fields that the transport lacks are
    skipped."""

    connection: int
    way: str
    field: str
    value: int

    @property
    def feature(self) -> str:
        return f"{self.way} {self.field}"


@dataclass(frozen=True)
class PokeData:
    """Overwrite a word of a ring's data."""

    connection: int
    way: str
    word: int
    value: int

    @property
    def feature(self) -> str:
        return f"{self.way} ring's data"


@dataclass(frozen=True)
class Truncate:
    """Cut a file that both sides have mapped."""

    connection: int
    way: str
    part: str
    size: int

    @property
    def feature(self) -> str:
        return f"{self.way} {self.part} truncated"


@dataclass(frozen=True)
class Close:
    """Close a connection, even in the middle of an exchange."""

    connection: int

    @property
    def feature(self) -> str:
        return "close"


Step = Connect | Handshake | Send | Bell | Post | Poke | PokeData | Truncate | Close
"""One thing that a hostile client does. Its `feature` is the same text for all steps of its kind."""


def features(steps: Sequence[Step]) -> list[str]:
    """The feature of each step.

    A request that is sent to another service is named after that service, such as "cfg request 7".
    """
    services: dict[int, str] = {}
    found = []
    for step in steps:
        feature = step.feature
        if isinstance(step, Connect):
            services[step.connection] = step.service
        elif isinstance(step, Send) and feature == step.about:
            service = services.get(step.connection, "nobody")
            id_ = int.from_bytes(step.data[:4], sys.byteorder, signed=True)
            feature = feature if step.is_for(service) else f"{service} request {id_}"
        found.append(feature)
    return found
