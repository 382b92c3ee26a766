"""What a client that keeps to nothing does, step by step, as values that can be drawn, shrunk and written
down.

Strategy: a step is a frozen dataclass with a method that performs it on an `Attacker`, which holds the
connections by number. A step on a connection that is not there does nothing, so any part of a sequence is a
sequence too: that is what lets a failure shrink. The `repr` of a sequence is the program that performs it.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ..errors import CsError, CsErrorCode, error_from_code
from ..ipc import DEFAULT_MAX_MSG_SIZE
from ..wire import reply_error, votequorum
from .raw import RawConnection, open_socket

PATIENCE: Final = 0.5
"""Seconds that an attacker waits for a handshake: whether a daemon hangs is for another client to find out.
"""


class Attacker:
    """Performs steps against one daemon, and holds what they opened until `close`."""

    def __init__(self, address: str | None = None, before_cut: Callable[[], None] = lambda: None) -> None:
        """`address` as in `ipc.connect`: None for the daemon of this network namespace.

        `before_cut` is called each time before a file is cut that the daemon has mapped.
        """
        self.address = address
        self.before_cut = before_cut
        self.connections: dict[int, RawConnection] = {}
        self.sockets: list[socket.socket] = []

    def perform(self, steps: Sequence[Step]) -> None:
        """Take the steps in order. What the daemon refuses, or has closed, is no error."""
        for step in steps:
            with contextlib.suppress(OSError, CsError):
                step.perform(self)

    def on(self, number: int, act: Callable[[RawConnection], None]) -> None:
        """Do something with a connection, if it is there."""
        if number in self.connections:
            act(self.connections[number])

    def close(self) -> None:
        """Close all that is open, without another word."""
        for connection in self.connections.values():
            connection.close()
        for sock in self.sockets:
            sock.close()
        self.connections.clear()
        self.sockets.clear()


class Step(Protocol):
    """One thing that a client does."""

    def perform(self, attacker: Attacker) -> None:
        """Do it. Raises OSError or `CsError` where the daemon does not play along."""

    @property
    def feature(self) -> str:
        """What is particular about this step, in words that are the same for all steps of its kind."""


@dataclass(frozen=True)
class Connect:
    """Open a connection, with an honest handshake; one that had the number is closed."""

    connection: int
    service: str
    max_msg_size: int = DEFAULT_MAX_MSG_SIZE

    def perform(self, attacker: Attacker) -> None:
        Close(self.connection).perform(attacker)
        attacker.connections[self.connection] = RawConnection(
            self.service, attacker.address, max_msg_size=self.max_msg_size, deadline=PATIENCE
        )

    @property
    def feature(self) -> str:
        if self.max_msg_size < DEFAULT_MAX_MSG_SIZE:
            return "a connection for small messages"
        return f"connect to {self.service}"


@dataclass(frozen=True)
class Handshake:
    """Send bytes instead of a connection request, and stay or leave."""

    service: str
    data: bytes
    stay: bool = False

    def perform(self, attacker: Attacker) -> None:
        sock = open_socket(self.service, attacker.address)
        attacker.sockets.append(sock)
        sock.sendall(self.data)
        if not self.stay:
            sock.close()

    @property
    def feature(self) -> str:
        return f"{'unfinished' if self.stay else 'broken off'} handshake with {self.service}"


@dataclass(frozen=True)
class Send:
    """Send a request. See `RawConnection.send` for `posts`, `bells` and `chunk_size`."""

    connection: int
    data: bytes
    posts: int = 1
    bells: int = 1
    chunk_size: int | None = None
    about: str = "a request"
    """What the bytes are, for people."""

    def perform(self, attacker: Attacker) -> None:
        def send(connection: RawConnection) -> None:
            connection.send(self.data, posts=self.posts, bells=self.bells, chunk_size=self.chunk_size)

        attacker.on(self.connection, send)

    @property
    def feature(self) -> str:
        if self.posts > self.bells:
            return "fewer doorbells than chunks"
        if self.posts < self.bells:
            return "more doorbells than chunks"
        return self.about if self.chunk_size is None else "a false chunk size"

    def is_for(self, service: str) -> bool:
        """Whether the bytes are a message of this service; others' mean something else there."""
        return self.about.startswith(f"{service} ")


@dataclass(frozen=True)
class Bell:
    """Send bytes on the setup socket, for nothing."""

    connection: int
    times: int

    def perform(self, attacker: Attacker) -> None:
        attacker.on(self.connection, lambda connection: connection.bell(self.times))

    @property
    def feature(self) -> str:
        return "doorbells for nothing"


@dataclass(frozen=True)
class Post:
    """Announce messages that are not there."""

    connection: int
    way: str
    times: int

    def perform(self, attacker: Attacker) -> None:
        attacker.on(self.connection, lambda connection: connection.post(self.times, self.way))

    @property
    def feature(self) -> str:
        return f"{self.way} messages announced that are not there"


@dataclass(frozen=True)
class Poke:
    """Write over a word of a ring's header, or of the control block. A field that is not there is left."""

    connection: int
    way: str
    field: str
    value: int

    def perform(self, attacker: Attacker) -> None:
        def poke(connection: RawConnection) -> None:
            if self.field in connection.fields():
                connection.poke(self.way, self.field, self.value)

        attacker.on(self.connection, poke)

    @property
    def feature(self) -> str:
        return f"{self.way} {self.field}"


@dataclass(frozen=True)
class PokeData:
    """Write over a word of a ring's data."""

    connection: int
    way: str
    word: int
    value: int

    def perform(self, attacker: Attacker) -> None:
        attacker.on(self.connection, lambda c: c.poke_data(self.way, self.word, self.value))

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

    def perform(self, attacker: Attacker) -> None:
        attacker.before_cut()
        attacker.on(self.connection, lambda connection: connection.truncate(self.way, self.part, self.size))

    @property
    def feature(self) -> str:
        return f"{self.way} {self.part} truncated"


@dataclass(frozen=True)
class Close:
    """Close a connection, whatever is under way on it."""

    connection: int

    def perform(self, attacker: Attacker) -> None:
        if self.connection in attacker.connections:
            attacker.connections.pop(self.connection).close()

    @property
    def feature(self) -> str:
        return "close"


def features(steps: Sequence[Step]) -> list[str]:
    """The feature of each step; of a request that went to another service than it is made for, what it is
    there: "cfg request 7"."""
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


PROBE: Final = votequorum.GETINFO.encode(nodeid=0)


def is_served(address: str | None = None) -> Any:
    """Whether another client gets an answer: the decoded getinfo. Raises `CsError` or OSError otherwise.

    A daemon that says "try again", as it does while it synchronises, is asked again for as long as a call may
    take.
    """
    with RawConnection("votequorum", address) as connection:
        until = time.monotonic() + connection.deadline
        while (error := reply_error(answer := connection.call(PROBE))) != CsErrorCode.OK:
            if error != CsErrorCode.TRY_AGAIN or time.monotonic() > until:
                raise error_from_code(error)
            time.sleep(0.001)
        return votequorum.GETINFO_RESPONSE.decode(answer)
