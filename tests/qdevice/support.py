"""Shared by tests of quorum devices: devices on the nodes of a cluster, and corosync's view of them."""

from __future__ import annotations

import contextlib
import datetime
import re
import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import trio

from tests.conftest import cannot
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE
from votequorum_ipc import InfoFlags, NodeInfo, Quorum, QuorumV1Notification, TrackFlags, Votequorum
from votequorum_ipc.qdevice import QuorumDevice, View, Vote, run_qdevice

NONE = InfoFlags(0)
ALIVE = InfoFlags.QDEVICE_ALIVE
CAST = InfoFlags.QDEVICE_CAST_VOTE
REGISTERED = InfoFlags.QDEVICE_REGISTERED
MASTER_WINS = InfoFlags.QDEVICE_MASTER_WINS

_STAMP = re.compile(r"^(\w{3} \d{2} \d{2}:\d{2}:\d{2}\.\d{3})")


def need(program: str, package: str) -> None:
    """Skip unless a program is installed, or fail if REQUIRE_COROSYNC=1."""
    if shutil.which(program) is None:
        cannot(f"{program} is not installed (Debian's package {package})")


async def yes(_: View) -> bool:
    """The decision that is always True."""
    return True


async def no(_: View) -> bool:
    """The decision that is always False."""
    return False


@contextlib.asynccontextmanager
async def devices(*nodes: Daemon, vote: Callable[[Daemon], Vote], **options: Any) -> AsyncIterator[None]:
    """A device called "device" on each node, with the decision that `vote` returns for it."""
    async with trio.open_nursery() as nursery:
        for node in nodes:
            await start_device(nursery, node, vote(node), **options)
        yield
        nursery.cancel_scope.cancel()


async def start_device(
    nursery: trio.Nursery,
    node: Daemon,
    vote: Vote,
    interval: float = 0.2,
    **options: Any,
) -> QuorumDevice:
    """`run_qdevice` in a task; it connects in the node's namespace."""
    with node.namespace():
        started: QuorumDevice = await nursery.start(partial(run_qdevice, "device", vote, interval, **options))
    return started


class Watch:
    """A node's status, queried without blocking: its device may be another task of the same thread."""

    def __init__(self, node: Daemon, quorum: Quorum, votequorum: Votequorum) -> None:
        self.node = node
        self._quorum = quorum
        self._votequorum = votequorum

    async def info(self) -> NodeInfo:
        """The node's getinfo, which is answered even while the nodes synchronise."""
        return await self._votequorum.getinfo()

    async def settled(self, *members: int) -> bool:
        """Wait until the node is in a complete membership of these nodes; returns whether it was quorate
        then.
        """
        with trio.fail_after(DEADLINE):
            async for event in self._quorum.events():
                if isinstance(event, QuorumV1Notification) and event.members == members:
                    return event.quorate
        raise AssertionError("the events ended")

    async def quorate(self) -> bool:
        """Whether the node is quorate; the answer waits until the membership is complete."""
        with trio.fail_after(DEADLINE):
            return await self._quorum.getquorate()

    async def until_flags(self, set_: InfoFlags, unset: InfoFlags = NONE) -> NodeInfo:
        """Wait until the node has some of its flags set, and others not."""
        with trio.move_on_after(DEADLINE):
            while True:
                info = await self.info()
                if info.flags & (set_ | unset) == set_:
                    return info
                await trio.sleep(0.005)
        raise AssertionError(f"{set_!r} and not {unset!r}, but {await self.info()}{self.node.log_tail()}")


@contextlib.asynccontextmanager
async def watch(*nodes: Daemon) -> AsyncIterator[tuple[Watch, ...]]:
    """A `Watch` for each node."""
    async with contextlib.AsyncExitStack() as stack:
        watches = []
        for node in nodes:
            with node.namespace():
                quorum = await stack.enter_async_context(await Quorum.initialize())
                votequorum = await stack.enter_async_context(await Votequorum.initialize())
            await quorum.trackstart(TrackFlags.CHANGES_ONLY)
            watches.append(Watch(node, quorum, votequorum))
        yield tuple(watches)


def log_times(node: Daemon, text: str) -> list[float]:
    """The times of the log lines with this text, in seconds since the epoch."""
    return [_seconds(line) for line in node.log.read_text().splitlines() if text in line]


def _seconds(line: str) -> float:
    stamp = _STAMP.match(line)
    assert stamp, line
    now = datetime.datetime.now().astimezone()
    when = datetime.datetime.strptime(f"{now.year} {stamp[1]}", "%Y %b %d %H:%M:%S.%f").astimezone()
    return when.timestamp()
