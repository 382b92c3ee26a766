"""One node's user of the package: callers, trackers, a watcher and maybe a quorum device, in one process.

Commands are lines on standard input: "check" closes all connections, reports what is still held, and starts
again. End of file does the same and then ends the process. With the argument "asyncio" everything runs under
asyncio, otherwise under trio. Reports are lines of JSON on standard output: "check", "history", "watched",
"too few", "violation".
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.ways import task_group
from votequorum_ipc import (
    Change,
    Connected,
    CsError,
    InfoFlags,
    Lost,
    MembershipChanged,
    NodelistNotification,
    Quorum,
    QuorumChanged,
    QuorumNodelistNotification,
    QuorumV1Notification,
    QuorumView,
    TrackFlags,
    Votequorum,
    watch_quorum,
)
from votequorum_ipc.ipc.backend import current, in_thread, move_on_after, sleep

FEWEST_QUORATE = 2
"""With three nodes of one vote, and maybe a device with one, a quorate partition has two nodes or more.
"""

DEVICE = "soak"
POLL_INTERVAL = 1.0


def report(kind: str, **values: Any) -> None:
    """Report to the process that started this one."""
    print(json.dumps({"kind": kind, **values}), flush=True)


class Client:
    """Everything that runs at once, until it is cancelled."""

    def __init__(self, *, device: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self._too_few: dict[str, Any] = {}
        """The answers since the last good one that were quorate with too few votes."""
        self._roles: list[Callable[[], Awaitable[None]]] = [
            *[self._call] * 3,
            *[self._track] * 2,
            self._watch,
            *([self._be_device] if device else []),
        ]

    async def run(self) -> None:
        async with task_group() as group:
            for role in self._roles:
                group.start(self._again_and_again, role)

    async def _again_and_again(self, role: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await role()
            except CsError as error:
                self.counts[f"{type(error).__name__}"] += 1
            await sleep(random.uniform(0.01, 0.2))

    # --- calls ---

    async def _call(self) -> None:
        async with await Votequorum.initialize() as votequorum, await Quorum.initialize() as quorum:
            while True:
                async with task_group() as group:
                    for _ in range(random.randrange(1, 6)):
                        group.start(self._one_call, partial(self._getinfo, votequorum))
                    group.start(self._one_call, quorum.getquorate)
                # A call may have ended because the daemon is gone: let the connection find out.
                votequorum.connection.queued_events()
                await sleep(random.uniform(0, 0.1))

    async def _one_call(self, call: Callable[[], Awaitable[Any]]) -> None:
        start = time.perf_counter()
        with move_on_after(random.choice([0.0005, 0.005, 5])) as scope, contextlib.suppress(CsError):
            await call()
            self.counts["calls answered"] += 1
            self.slowest = max(self.slowest, time.perf_counter() - start)
        if scope.cancelled_caught:
            self.counts["calls cancelled"] += 1

    async def _getinfo(self, votequorum: Votequorum) -> None:
        sent = time.time()
        info = await votequorum.getinfo()
        if InfoFlags.QUORATE in info.flags and info.total_votes < info.quorum:
            # While nodes synchronise, the votes are the new membership's and the flag is the old one's.
            self.counts["answers during a synchronisation"] += 1
            first = {"pid": votequorum.connection.server_pid, "since": time.time(), "info": str(info)}
            self._too_few = (self._too_few or first) | {"until": sent}
        elif self._too_few:
            report("too few", **self._too_few)
            self._too_few = {}

    # --- trackers ---

    async def _track(self) -> None:
        async with await Quorum.initialize() as quorum:
            history: list[Any] = []
            since = time.time()
            lost = "closed"
            try:
                await quorum.trackstart()
                async for event in quorum.events():
                    history.append(self._noted(event))
            except CsError as error:
                lost = type(error).__name__
                raise
            finally:
                until = time.time()
                # Events that came before the end and were not taken yet belong to the history.
                with contextlib.suppress(CsError):
                    while (raw := quorum.connection.next_event_nowait()) is not None:
                        history.append(self._noted(quorum._decode_event(raw)))
                pid = quorum.connection.server_pid
                report("history", pid=pid, since=since, until=until, ended=lost, events=history)

    def _noted(self, event: object) -> list[Any]:
        self.counts["events"] += 1
        if isinstance(event, QuorumV1Notification):
            if event.quorate and len(event.members) < FEWEST_QUORATE:
                report("violation", text=f"quorate alone: {event}")
            return ["quorum", str(event.ring_id), event.quorate, sorted(event.members)]
        assert isinstance(event, QuorumNodelistNotification)
        lists = [sorted(nodes) for nodes in (event.members, event.joined, event.left)]
        return ["nodelist", str(event.ring_id), *lists]

    async def _watch(self) -> None:
        history: list[Any] = []
        async with watch_quorum() as watcher:
            try:
                async for view in watcher:
                    self.counts["views"] += 1
                    if view.state and len(view.members) < FEWEST_QUORATE:
                        report("violation", text=f"a view is quorate alone: {view}")
                    if view.dropped:
                        report("violation", text=f"{view.dropped} changes were dropped")
                    for change in view.changes:
                        self._watched(history, change, view)
            finally:
                # Changes that came before the end and were not taken yet belong to the history.
                with contextlib.suppress(CsError):
                    if watcher._follower is not None:
                        watcher._follower.drain()
                for change in watcher._changes:
                    self._watched(history, change, None)
                self._report_watched(history, "closed")

    def _watched(self, history: list[Any], change: Change, view: QuorumView | None) -> None:
        match change:
            case Connected():
                assert view is not None
                history[:] = [["connected", str(view.ring_id), bool(view.state)]]
            case Lost():
                self._report_watched(history, "lost")
                history.clear()
            case MembershipChanged(ring_id, members, joined, left):
                lists = [sorted(nodes) for nodes in (members, joined, left)]
                history.append(["nodelist", str(ring_id), *lists])
            case QuorumChanged(quorate):
                history.append(["turn", quorate])

    def _report_watched(self, history: list[Any], ended: str) -> None:
        if history:
            report("watched", until=time.time(), ended=ended, events=history)

    # --- a quorum device ---

    async def _be_device(self) -> None:
        async with await Votequorum.initialize() as votequorum:
            await votequorum.qdevice_register(DEVICE)
            await votequorum.trackstart(flags=TrackFlags.CHANGES)
            ring_id = None
            while True:
                with move_on_after(POLL_INTERVAL):
                    event = await votequorum.next_event()
                    if isinstance(event, NodelistNotification):
                        ring_id = event.ring_id
                if ring_id is not None:
                    await votequorum.qdevice_poll(DEVICE, True, ring_id)
                    self.counts["polls"] += 1


def living_tasks() -> int:
    """The number of tasks in the running loop."""
    if current().name == "asyncio":
        return len(asyncio.all_tasks())
    return trio.lowlevel.current_statistics().tasks_living


def holdings() -> dict[str, int]:
    """What this process holds while it has no connection."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    rss = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "mappings": Path("/proc/self/maps").read_text().count("/dev/shm/qb-"),
        "tasks": living_tasks(),
        "kilobytes": int(rss.split()[1]),
    }


async def files_gone() -> bool:
    """Whether the daemons remove this process's files in time."""
    for _ in range(200):
        if not list(Path("/dev/shm").glob(f"qb-*-{os.getpid()}-*")):
            return True
        await sleep(0.05)
    return False


async def main(device: bool) -> None:
    """Serve commands until input ends."""
    client = Client(device=device)
    order = b"begin"
    report("began", pid=os.getpid())
    while order:
        async with task_group() as group:
            group.start(client.run)
            order = await in_thread(os.read, 0, 4096)
            group.cancel()
        gone = await files_gone()
        report("check", files_gone=gone, counts=client.counts, slowest=client.slowest, **holdings())
        client.counts.clear()


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)
    if "asyncio" in sys.argv:
        asyncio.run(main("device" in sys.argv))
    else:
        trio.run(main, "device" in sys.argv)
