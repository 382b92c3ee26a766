"""Our client as a side: a program as a user would write it. See `rivals/c_client.c` for the commands.

It runs under trio, or with `--asyncio` under asyncio. `blocking_client` is the program without an event loop.

Two more commands: `request N` makes N calls of `Connection.request`, without the codec; `tasks:K N` makes N
calls from K tasks on one connection and answers with the total time. Reading a command blocks the event loop,
which does no harm: between rounds it has nothing to do.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable
from time import monotonic_ns
from typing import Final

import trio

from bench.answering import answer, commands
from votequorum_ipc import ExpectedVotesNotification, TrackFlags, Votequorum
from votequorum_ipc.wire import votequorum as wire

_handles: list[Votequorum] = []


async def _open(count: int) -> list[int]:
    for _ in range(count):
        _handles.append(await Votequorum.initialize())
    return [count]


async def _getinfo(count: int) -> list[int]:
    handle, numbers = _handles[0], []
    for _ in range(count):
        start = monotonic_ns()
        await handle.getinfo()
        numbers.append(monotonic_ns() - start)
    return numbers


async def _request(count: int) -> list[int]:
    connection, numbers = _handles[0].connection, []
    message, size = wire.GETINFO.encode(nodeid=0), wire.GETINFO_RESPONSE.fixed_size
    for _ in range(count):
        start = monotonic_ns()
        await connection.request(message, response_size=size)
        numbers.append(monotonic_ns() - start)
    return numbers


async def _calls(count: int) -> None:
    handle = _handles[0]
    for _ in range(count):
        await handle.getinfo()


async def _total(count: int) -> list[int]:
    start = monotonic_ns()
    await _calls(count)
    return [monotonic_ns() - start]


async def _tasks(count: int, tasks: int) -> list[int]:
    start = monotonic_ns()
    counts = [count * (task + 1) // tasks - count * task // tasks for task in range(tasks)]
    if "--asyncio" in sys.argv:
        async with asyncio.TaskGroup() as group:
            for each in counts:
                group.create_task(_calls(each))
    else:
        async with trio.open_nursery() as nursery:
            for each in counts:
                nursery.start_soon(_calls, each)
    return [monotonic_ns() - start]


async def _session(count: int) -> list[int]:
    numbers = []
    for _ in range(count):
        start = monotonic_ns()
        handle = await Votequorum.initialize()
        await handle.finalize()
        numbers.append(monotonic_ns() - start)
    return numbers


async def _trackstart(count: int) -> list[int]:
    handle, numbers = _handles[0], []
    for _ in range(count):
        start = monotonic_ns()
        await handle.trackstart(flags=TrackFlags.CHANGES)
        await handle.next_event()
        numbers.append(monotonic_ns() - start)
        await handle.next_event()
        await handle.trackstop()
    return numbers


async def _subscribe(_: int) -> list[int]:
    await _handles[0].trackstart(flags=TrackFlags.CHANGES)
    await _handles[0].next_event()
    await _handles[0].next_event()
    return []


async def _unsubscribe(_: int) -> list[int]:
    await _handles[0].trackstop()
    return []


async def _events(count: int) -> list[int]:
    numbers: list[int] = []
    if not count:
        return numbers
    async for event in _handles[0].events():
        if isinstance(event, ExpectedVotesNotification):
            numbers.append(monotonic_ns())
            if len(numbers) == count:
                break
    return numbers


_COMMANDS: Final[dict[str, Callable[..., Awaitable[list[int]]]]] = {
    "open": _open,
    "getinfo": _getinfo,
    "request": _request,
    "total": _total,
    "tasks": _tasks,
    "session": _session,
    "trackstart": _trackstart,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "events": _events,
}


async def _main() -> None:
    try:
        for command, count in commands():
            name, *arguments = command.split(":")
            answer(await _COMMANDS[name](count, *map(int, arguments)))
    finally:
        for handle in _handles:
            await handle.finalize()


if __name__ == "__main__":
    # A connection holds up to eight descriptors, and one benchmark opens a thousand.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if "--asyncio" in sys.argv:
        asyncio.run(_main())
    else:
        trio.run(_main)
