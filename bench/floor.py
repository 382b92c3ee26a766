"""The least that a Python client pays, as a side: the rings and the doorbell alone, or with trio.

Nothing is encoded, decoded, checked or shared between tasks. `rings` is a plain loop that polls for a reply
and waits for events in `epoll`. `rings, trio` (with `--trio`) does the same in a trio program, and yields to
other tasks once in each call, as every call of a trio library must. The client's own cost is what it takes
beyond `rings, trio`. What `rings, trio` takes beyond the C library is the cost of Python and trio.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Awaitable, Callable
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
_TRACKSTART: Final = wire.TRACKSTART.encode(context=0, track_flags=TrackFlags.CHANGES)
_TRACKSTOP: Final = wire.TRACKSTOP.encode()


class _Rings:
    """A connection reduced to its rings, and to the doorbell of the setup socket."""

    def __init__(self) -> None:
        setup = trio.run(set_up, "votequorum", DEFAULT_MAX_MSG_SIZE, None)
        self.socket = setup.socket
        self.epoll = select.epoll()
        self._transport = ShmTransport(setup.socket, setup.response, self.epoll, trusted=True)

    def call(self, message: bytes) -> bytes:
        transport = self._transport
        transport.send([message])
        while (response := transport.receive()) is None:
            pass
        return response

    def event(self) -> bytes | None:
        event = self._transport.receive_event()
        self._transport.settle_doorbells()
        return event

    def wait_for_event(self) -> None:
        while self.event() is None:
            pass

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


async def _coded_in_trio(rings: _Rings, count: int) -> list[int]:
    numbers = []
    for _ in range(count):
        start = monotonic_ns()
        await trio.lowlevel.checkpoint_if_cancelled()
        answer = rings.call(wire.GETINFO.encode(nodeid=0))
        wire.GETINFO_RESPONSE.decode(answer)
        await trio.lowlevel.cancel_shielded_checkpoint()
        numbers.append(monotonic_ns() - start)
    return numbers


def _trackstart(rings: _Rings, count: int) -> list[int]:
    numbers = []
    for _ in range(count):
        start = monotonic_ns()
        rings.call(_TRACKSTART)
        rings.wait_for_event()
        numbers.append(monotonic_ns() - start)
        rings.wait_for_event()
        rings.call(_TRACKSTOP)
    return numbers


async def _trackstart_in_trio(rings: _Rings, count: int) -> list[int]:
    numbers = []
    for _ in range(count):
        start = monotonic_ns()
        await trio.lowlevel.checkpoint_if_cancelled()
        rings.call(_TRACKSTART)
        await trio.lowlevel.cancel_shielded_checkpoint()
        await trio.lowlevel.checkpoint_if_cancelled()
        rings.wait_for_event()
        await trio.lowlevel.cancel_shielded_checkpoint()
        numbers.append(monotonic_ns() - start)
        rings.wait_for_event()
        rings.call(_TRACKSTOP)
    return numbers


def _subscribe(rings: _Rings, _: int) -> list[int]:
    rings.call(_TRACKSTART)
    rings.wait_for_event()
    rings.wait_for_event()
    return []


def _unsubscribe(rings: _Rings, _: int) -> list[int]:
    rings.call(_TRACKSTOP)
    return []


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


_COMMANDS: Final[dict[str, Callable[[_Rings, int], list[int]]]] = {
    "getinfo": _getinfo,
    "trackstart": _trackstart,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "events": _events,
}
_IN_TRIO: Final[dict[str, Callable[[_Rings, int], Awaitable[list[int]]]]] = {
    "getinfo": _getinfo_in_trio,
    "coded": _coded_in_trio,
    "trackstart": _trackstart_in_trio,
    "events": _events_in_trio,
}


def main(*, within_trio: bool) -> None:
    """Carry out commands until input ends; the first is "open"."""
    next(commands())
    rings = _Rings()
    answer([1])
    for command, count in commands():
        if within_trio and command in _IN_TRIO:
            answer(trio.run(_IN_TRIO[command], rings, count))
        else:
            answer(_COMMANDS[command](rings, count))
    rings.close()


if __name__ == "__main__":
    main(within_trio="--trio" in sys.argv)
