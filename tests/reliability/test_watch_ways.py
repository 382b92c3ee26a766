"""`watch_quorum` and `cluster_status` under asyncio and without an event loop, on a real daemon."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.client.support import nothing_left
from tests.conftest import StartDaemon
from tests.real.config import Config, Node
from tests.real.cref import CS_OK, CVotequorum
from tests.real.waiting import DEADLINE
from tests.ways import LOOPS_IMPORTED, WATCH_IMPORTS
from votequorum_ipc import (
    Connected,
    ExpectedVotesChanged,
    Lost,
    QuorumState,
    QuorumView,
    Timeout,
    blocking,
    cluster_status,
    watch_quorum,
)

Ask = Callable[[], QuorumView]


@contextlib.contextmanager
def without_a_loop() -> Iterator[tuple[Ask, Ask]]:
    with blocking.watch_quorum() as watcher:
        yield lambda: watcher.next_view(timeout=DEADLINE), watcher.current


@contextlib.contextmanager
def under_asyncio() -> Iterator[tuple[Ask, Ask]]:
    with asyncio.Runner() as runner:
        watcher = watch_quorum()
        try:
            yield (
                lambda: runner.run(asyncio.wait_for(watcher.__anext__(), DEADLINE)),
                lambda: runner.run(watcher.current()),
            )
        finally:
            runner.run(watcher.aclose())


@pytest.mark.parametrize("watching", [without_a_loop, under_asyncio])
def test_a_watcher_reports_changes_and_the_daemons_end_and_return(
    start_daemon: StartDaemon, watching: Callable[[], contextlib.AbstractContextManager[tuple[Ask, Ask]]]
) -> None:
    daemon = start_daemon(Config(nodes=(Node(1, votes=5),)))
    with nothing_left(), daemon.namespace(), watching() as (next_view, current):
        first = next_view()
        assert (first.state, first.changes) == (QuorumState.QUORATE, (Connected(),))
        assert current().status == first.status
        with CVotequorum() as votequorum:
            assert votequorum.setexpected(6) == CS_OK
        assert next_view().changes[0] == ExpectedVotesChanged(6)
        daemon.kill()
        lost = next_view()
        assert (lost.state, [type(change) for change in lost.changes]) == (QuorumState.UNKNOWN, [Lost])
        assert current().state is QuorumState.UNKNOWN
        daemon.start()
        assert next_view().changes == (Connected(),)


def test_without_a_loop_a_query_that_timed_out_can_be_repeated(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config())
    with daemon.namespace(), blocking.watch_quorum() as watcher:
        assert next(watcher).state is QuorumState.QUORATE
        with pytest.raises(Timeout):
            watcher.next_view(timeout=0.05)
        with daemon.frozen(), pytest.raises(Timeout):
            blocking.cluster_status(timeout=0.05)
        assert blocking.cluster_status(timeout=DEADLINE).quorate
        assert watcher.current().state is QuorumState.QUORATE


def test_the_status_is_the_same_under_asyncio_and_without_a_loop(start_daemon: StartDaemon) -> None:
    with start_daemon(Config()).namespace():
        assert asyncio.run(cluster_status()) == blocking.cluster_status()


def test_following_without_a_loop_imports_neither_trio_nor_asyncio() -> None:
    code = f"{WATCH_IMPORTS}import votequorum_ipc.blocking.watch; print({LOOPS_IMPORTED})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
