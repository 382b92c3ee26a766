"""Performs the steps of `votequorum_ipc.attack` on real connections.

Strategy: an `Attacker` holds its connections by number. Errors that the daemon causes are part of the game:
it may refuse, hang up or die. Whether it still serves others is a question for another client, `is_served`.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from votequorum_ipc.attack import (
    Bell,
    Close,
    Connect,
    Handshake,
    Poke,
    PokeData,
    Post,
    Send,
    Step,
    Truncate,
)
from votequorum_ipc.errors import CsError, CsErrorCode, error_from_code
from votequorum_ipc.wire import reply_error, votequorum

from .raw import RawConnection, open_socket

PATIENCE: Final = 0.5
"""Seconds that an attacker waits for a handshake. Another client finds out whether the daemon hangs."""

PROBE: Final = votequorum.GETINFO.encode(nodeid=0)


class Attacker:
    """Performs steps against one daemon, and holds the connections that they open until `close`."""

    def __init__(self, address: str | None = None, before_cut: Callable[[], None] = lambda: None) -> None:
        """`address` as in `ipc.connect`: None means the corosync of this network namespace.

        `before_cut` is called before each cut of a file that the daemon has mapped.
        """
        self.address = address
        self.before_cut = before_cut
        self.connections: dict[int, RawConnection] = {}
        self.sockets: list[socket.socket] = []

    def perform(self, steps: Sequence[Step]) -> None:
        """Take the steps in order. A daemon that refuses or hangs up is no error."""
        for step in steps:
            with contextlib.suppress(OSError, CsError):
                self.take(step)

    @functools.singledispatchmethod
    def take(self, step: Any) -> None:
        """Take one step. Raises OSError or `CsError` if the daemon refuses, TypeError if it is not a step."""
        raise TypeError(f"{step!r} is not a step")

    @take.register
    def _(self, step: Connect) -> None:
        self.take(Close(step.connection))
        self.connections[step.connection] = RawConnection(
            step.service, self.address, max_msg_size=step.max_msg_size, deadline=PATIENCE
        )

    @take.register
    def _(self, step: Handshake) -> None:
        sock = open_socket(step.service, self.address)
        self.sockets.append(sock)
        sock.sendall(step.data)
        if not step.stay:
            sock.close()

    @take.register
    def _(self, step: Send) -> None:
        if connection := self.connections.get(step.connection):
            connection.send(step.data, posts=step.posts, bells=step.bells, chunk_size=step.chunk_size)

    @take.register
    def _(self, step: Bell) -> None:
        if connection := self.connections.get(step.connection):
            connection.bell(step.times)

    @take.register
    def _(self, step: Post) -> None:
        if connection := self.connections.get(step.connection):
            connection.post(step.times, step.way)

    @take.register
    def _(self, step: Poke) -> None:
        connection = self.connections.get(step.connection)
        if connection and step.field in connection.fields():
            connection.poke(step.way, step.field, step.value)

    @take.register
    def _(self, step: PokeData) -> None:
        if connection := self.connections.get(step.connection):
            connection.poke_data(step.way, step.word, step.value)

    @take.register
    def _(self, step: Truncate) -> None:
        self.before_cut()
        if connection := self.connections.get(step.connection):
            connection.truncate(step.way, step.part, step.size)

    @take.register
    def _(self, step: Close) -> None:
        if connection := self.connections.pop(step.connection, None):
            connection.close()

    def close(self) -> None:
        """Close everything that is open, without another word."""
        for connection in self.connections.values():
            connection.close()
        for sock in self.sockets:
            sock.close()
        self.connections.clear()
        self.sockets.clear()


def is_served(address: str | None = None) -> Any:
    """The decoded getinfo that another client gets. Raises `CsError` or OSError if it gets none.

    A daemon that synchronises answers "try again". It is asked again for as long as one call may take.
    """
    with RawConnection("votequorum", address) as connection:
        until = time.monotonic() + connection.deadline
        while (error := reply_error(answer := connection.call(PROBE))) != CsErrorCode.OK:
            if error != CsErrorCode.TRY_AGAIN or time.monotonic() > until:
                raise error_from_code(error)
            time.sleep(0.001)
        return votequorum.GETINFO_RESPONSE.decode(answer)
