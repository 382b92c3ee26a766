"""However the daemon ends, and whatever a client is doing: every waiting call gets `Library`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import trio
import trio.testing

from tests.client.support import code_of, events_here, give_many_votes, nothing_left
from tests.conftest import StartDaemon
from tests.real.config import Config
from tests.real.daemon import Daemon
from tests.real.waiting import eventually, eventually_async
from votequorum_ipc import CsErrorCode, ExpectedVotesNotification, Library, TrackFlags, Votequorum
from votequorum_ipc.testing import SimulatedCluster, simulated_cluster

Transport = Literal["shm", "socket"]
LIBRARY = int(CsErrorCode.LIBRARY)


def crash(daemon: Daemon) -> None:
    """Make the daemon crash by a defect of its own; it writes its black box and dies."""
    daemon.signal(signal.SIGSEGV)
    daemon.signal(signal.SIGCONT)
    eventually(lambda: not daemon.alive, otherwise="the daemon crashes")


ENDS = {"killed": Daemon.kill, "stopped": Daemon.stop, "crashed": crash}


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> Transport:
    name: Transport = request.param
    return name


class Clients:
    """Three handles: one waits for events, one has 50 calls under way, one has events that no task took."""

    def __init__(self, idle: Votequorum, calling: Votequorum, tracking: Votequorum) -> None:
        self.idle, self.calling, self.tracking = idle, calling, tracking
        self.calls: list[int] = []
        self.waits: list[int] = []

    async def wait(self, nursery: trio.Nursery) -> None:
        for _ in range(3):
            nursery.start_soon(self._note, self.waits, self.idle.next_event)
        for _ in range(50):
            nursery.start_soon(self._note, self.calls, self.calling.getinfo)
        await trio.testing.wait_all_tasks_blocked()

    async def _note(self, codes: list[int], call: Callable[[], object]) -> None:
        codes.append(await code_of(call()))  # type: ignore[arg-type]

    def told(self) -> bool:
        return (len(self.waits), len(self.calls)) == (3, 50)

    async def expect_the_end(self) -> None:
        """Later calls get the error too."""
        for handle in (self.idle, self.calling, self.tracking):
            assert await code_of(handle.getinfo()) == LIBRARY
            assert await code_of(handle.next_event()) == LIBRARY

    async def close(self) -> None:
        for handle in (self.idle, self.calling, self.tracking):
            await handle.finalize()


@pytest.mark.parametrize("end", ENDS)
async def test_idle_in_mid_call_or_with_queued_events_the_daemons_end_is_library_and_leaves_nothing(
    start_daemon: StartDaemon, transport: Transport, end: str
) -> None:
    daemon = start_daemon(Config(transport=transport))
    pid = daemon.pid
    with nothing_left(), daemon.namespace():
        clients = Clients(*[await Votequorum.initialize() for _ in range(3)])
        await give_many_votes(clients.tracking)
        await clients.tracking.trackstart(7, TrackFlags.CHANGES_ONLY)
        for votes in (102, 103, 104):
            await clients.tracking.setexpected(votes)
        await events_here(clients.tracking, 3)
        async with trio.open_nursery() as nursery:
            daemon.signal(signal.SIGSTOP)
            await clients.wait(nursery)
            # A daemon that is asked to stop, or crashes, does so only when it runs again, and may answer
            # before.
            ENDS[end](daemon)
            await eventually_async(clients.told)
        assert clients.waits == [LIBRARY] * 3
        assert set(clients.calls) <= ({LIBRARY} if end == "killed" else {LIBRARY, int(CsErrorCode.OK)})
        delivered = [await clients.tracking.next_event() for _ in range(3)]
        assert delivered == [ExpectedVotesNotification(7, votes) for votes in (102, 103, 104)]
        await clients.expect_the_end()
        await clients.close()
        await eventually_async(lambda: not list(Path("/dev/shm").glob(f"qb-{pid}-{os.getpid()}-*")))


async def test_a_handle_forgotten_after_its_daemon_died_removes_the_daemons_files(
    start_daemon: StartDaemon, transport: Transport
) -> None:
    daemon = start_daemon(Config(transport=transport))
    with nothing_left(), daemon.namespace():
        forgotten = [await Votequorum.initialize()]
        daemon.kill()
        assert len(daemon.connections()) == 1
        with pytest.warns(ResourceWarning, match="unclosed"):
            forgotten.clear()
        assert daemon.connections() == []


async def test_a_call_to_a_frozen_daemon_ends_at_its_deadline(
    start_daemon: StartDaemon, transport: Transport
) -> None:
    daemon = start_daemon(Config(transport=transport))
    with daemon.namespace():
        async with await Votequorum.initialize() as handle:
            with daemon.frozen():
                for _ in range(5):
                    with trio.move_on_after(0.02) as scope:
                        await handle.setexpected(3)
                    assert scope.cancelled_caught
            # The late answers, which were refusals, are not taken as the answer to this call.
            assert (await handle.getinfo()).node_id == 1


# --- the embedded daemon ---


async def end_embedded(cluster: SimulatedCluster, end: str) -> None:
    {"killed": cluster.kill, "stopped": cluster.leave}[end](1)


@pytest.mark.parametrize("end", ["killed", "stopped"])
async def test_the_embedded_daemon_ends_in_the_same_way(transport: Transport, end: str) -> None:
    with nothing_left():
        async with simulated_cluster(1, transport=transport) as cluster:
            handles = [await cluster.connect(1) for _ in range(3)]
            clients = Clients(*handles)
            await clients.tracking.trackstart()
            await events_here(clients.tracking, 2)
            async with trio.open_nursery() as nursery:
                await clients.wait(nursery)
                await end_embedded(cluster, end)
                await eventually_async(clients.told)
            assert clients.waits == [LIBRARY] * 3
            await clients.tracking.next_event()
            await clients.tracking.next_event()
            await clients.expect_the_end()
            with pytest.raises(Library, match="nothing listens"):
                await cluster.connect(1)
            await clients.close()
