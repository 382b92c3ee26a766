"""Our client without an event loop as a side; see `rivals/c_client.c` for the commands."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Final

from bench.answering import answer, commands
from votequorum_ipc import ExpectedVotesNotification, TrackFlags
from votequorum_ipc.blocking import Votequorum

_handles: list[Votequorum] = []


def _open(count: int) -> list[int]:
    _handles.extend(Votequorum.initialize() for _ in range(count))
    return [count]


def _getinfo(count: int) -> list[int]:
    handle, numbers = _handles[0], []
    for _ in range(count):
        start = monotonic_ns()
        handle.getinfo()
        numbers.append(monotonic_ns() - start)
    return numbers


def _trackstart(count: int) -> list[int]:
    handle, numbers = _handles[0], []
    for _ in range(count):
        start = monotonic_ns()
        handle.trackstart(flags=TrackFlags.CHANGES)
        handle.next_event()
        numbers.append(monotonic_ns() - start)
        handle.next_event()
        handle.trackstop()
    return numbers


def _subscribe(_: int) -> list[int]:
    _handles[0].trackstart(flags=TrackFlags.CHANGES)
    _handles[0].next_event()
    _handles[0].next_event()
    return []


def _unsubscribe(_: int) -> list[int]:
    _handles[0].trackstop()
    return []


def _events(count: int) -> list[int]:
    numbers: list[int] = []
    if not count:
        return numbers
    for event in _handles[0].events():
        if isinstance(event, ExpectedVotesNotification):
            numbers.append(monotonic_ns())
            if len(numbers) == count:
                break
    return numbers


_COMMANDS: Final[dict[str, Callable[[int], list[int]]]] = {
    "open": _open,
    "getinfo": _getinfo,
    "trackstart": _trackstart,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "events": _events,
}


if __name__ == "__main__":
    for command, count in commands():
        answer(_COMMANDS[command](count))
    for handle in _handles:
        handle.finalize()
