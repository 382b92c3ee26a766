"""Following quorum: how soon a view follows the daemon's notification, and what a watcher requests and holds.

Strategy: the cluster runs in a separate process. A second handle tracks beside the watcher. When that handle
has its event, the watcher's has arrived or is about to. The time counts from there to the view: the watcher
takes its events, asks about every member, and checks that the answers agree.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator
from typing import Final
from unittest import mock

import trio

from tests.client.support import holdings
from votequorum_ipc import QuorumWatcher, Votequorum, watch_quorum
from votequorum_ipc.ipc import Connection
from votequorum_ipc.testing import simulated_cluster_in_process

from ..measure import absolute
from ..registry import benchmark
from ..rows import Result, Row, at_most
from ..stage import Stage

_NODES: Final = 16

_PREFIX: Final = f"{_NODES} nodes:"


@benchmark(
    Row("watch.view", f"{_PREFIX} from the daemon's notification to the view", "us", at_most(2000)),
    Row("watch.requests", f"{_PREFIX} requests for the view of a change", "", at_most(_NODES + 4)),
    Row("watch.connections", "connections of a watcher", "", at_most(3)),
    Row("watch.descriptors", "descriptors of a watcher", "", at_most(24)),
)
def watching(stage: Stage) -> Iterator[Result]:
    """The time from the notification of new expected votes to the watcher's view of them."""
    with simulated_cluster_in_process(_NODES) as cluster:
        changes = stage.scale.part(5)
        measured = trio.run(functools.partial(_measure, cluster.address(), changes))
    for name, (numbers, unit) in measured.items():
        yield absolute(f"watch.{name}", {"ours": numbers}, unit)


async def _measure(address: str, changes: int) -> dict[str, tuple[list[float], str]]:
    """The numbers of each figure, and their unit. Times and requests have one number per change."""
    times: list[float] = []
    requests: list[float] = []
    async with await Votequorum.initialize(address=address) as handle, watch_quorum(address) as watcher:
        await handle.trackstart()
        await handle.getinfo()
        before = holdings()
        with _counted() as made:
            await anext(watcher)
        held = holdings()
        connections = {connection for connection in made if connection is not handle.connection}
        for number in range(changes):
            while handle.next_event_nowait() is not None:
                pass
            taken, asked = await _view_of_change(handle, watcher, _NODES + 1 + number % 2)
            times.append(taken)
            requests.append(asked)
    return {
        "view": (times, "us"),
        "requests": (requests, ""),
        "connections": ([len(connections)], ""),
        "descriptors": ([held.descriptors - before.descriptors], ""),
    }


async def _view_of_change(
    handle: Votequorum, watcher: QuorumWatcher, expected_votes: int
) -> tuple[float, float]:
    """Microseconds from the notification to the view, and the requests for it."""
    await handle.setexpected(expected_votes)
    while handle.next_event_nowait() is None:
        pass
    with _counted() as made:
        start = time.perf_counter()
        view = await anext(watcher)
        taken = (time.perf_counter() - start) * 1e6
    assert view.expected_votes == expected_votes
    return taken, len(made)


@contextlib.contextmanager
def _counted() -> Iterator[list[Connection]]:
    """Collect the connection of each request made in the block."""
    made: list[Connection] = []
    prepared = Connection._prepared

    def counted(connection: Connection, *args: object) -> object:
        made.append(connection)
        return prepared(connection, *args)  # type: ignore[arg-type]

    with mock.patch.object(Connection, "_prepared", counted):
        yield made
