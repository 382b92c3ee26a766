"""The least that a Python client pays, as a side: the rings and the doorbell alone, or those and trio.

Nothing is encoded or decoded, checked or shared between tasks. `rings` is a plain loop that looks for a reply
until it is there, and waits for events in `epoll`. `rings, trio` (with `--trio`) does the same within a trio
program, and gives way to other tasks once in each call, as every call of a trio library must. What the client
costs beyond the latter is its own; what that costs beyond the C library is Python's and trio's.
"""

from __future__ import annotations

import select
import sys
from time import monotonic_ns
from typing import Final

import trio

from bench.answering import answer, commands
from votequorum_ipc import TrackFlags
from votequorum_ipc.ipc.connection import DEFAULT_MAX_MSG_SIZE
from votequorum_ipc.ipc.handshake import set_up
from votequorum_ipc.ipc.shm import ShmTransport
from votequorum_ipc.wire import message_id
from votequorum_ipc.wire import votequorum as wire

_GETINFO: Final = wire.GETINFO.encode(nodeid=0)


class _Rings:
    """A connection of which only the rings are used, and of the setup socket the doorbell."""

    def __init__(self) -> None:
        setup = trio.run(set_up, "votequorum", DEFAULT_MAX_MSG_SIZE, None)
        self.socket = setup.socket
        self.epoll = select.epoll()
        self._transport = ShmTransport(setup.socket, setup.response, self.epoll)

    def call(self, message: bytes) -> None:
        transport = self._transport
        transport.send([message])
        while transport.receive() is None:
            pass

    def event(self) -> bytes | None:
        event = self._transport.receive_event()
        self._transport.settle_doorbells()
        return event

    def subscribe(self) -> None:
        self.call(wire.TRACKSTART.encode(context=0, track_flags=TrackFlags.CHANGES))
        for _ in range(2):
            while self.event() is None:
                pass

    def unsubscribe(self) -> None:
        self.call(wire.TRACKSTOP.encode())

    def close(self) -> None:
        self._transport.close(server_gone=False)
        self.epoll.close()
        self.socket.close()


def _getinfo(rings: _Rings, count: int) -> list[int]:
    numbers = []
    for _ in range(count):
        start = monotonic_ns()
        rings.call(_GETINFO)
        numbers.append(monotonic_ns() - start)
    return numbers


async def _getinfo_in_trio(rings: _Rings, count: int) -> list[int]:
    numbers = []
    for _ in range(count):
        start = monotonic_ns()
        await trio.lowlevel.checkpoint_if_cancelled()
        rings.call(_GETINFO)
        await trio.lowlevel.cancel_shielded_checkpoint()
        numbers.append(monotonic_ns() - start)
    return numbers


def _events(rings: _Rings, count: int) -> list[int]:
    numbers: list[int] = []
    while len(numbers) < count:
        rings.epoll.poll()
        _take(rings, numbers)
    return numbers


async def _events_in_trio(rings: _Rings, count: int) -> list[int]:
    numbers: list[int] = []
    while len(numbers) < count:
        await trio.lowlevel.wait_readable(rings.socket)
        _take(rings, numbers)
    return numbers


def _take(rings: _Rings, numbers: list[int]) -> None:
    while (event := rings.event()) is not None:
        if message_id(event) == wire.EXPECTEDVOTES_NOTIFICATION.id:
            numbers.append(monotonic_ns())


def main(*, within_trio: bool) -> None:
    """Carry out commands until there are no more."""
    rings = None
    for command, count in commands():
        if rings is None:
            rings = _Rings()
        numbers: list[int] = []
        if command == "subscribe":
            rings.subscribe()
        elif command == "unsubscribe":
            rings.unsubscribe()
        elif command != "open":
            measure = {"getinfo": _getinfo, "events": _events}
            in_trio = {"getinfo": _getinfo_in_trio, "events": _events_in_trio}
            if within_trio:
                numbers = trio.run(in_trio[command], rings, count)
            else:
                numbers = measure[command](rings, count)
        answer(numbers)
    if rings is not None:
        rings.close()


if __name__ == "__main__":
    main(within_trio="--trio" in sys.argv)
