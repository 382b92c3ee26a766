"""However a connection ends, nothing remains of it: no descriptor, no mapping, no file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import trio

from tests.real.waiting import DEADLINE, eventually_async
from votequorum_ipc import Cmap, Quorum, TrackFlags, Votequorum
from votequorum_ipc.cfg import Cfg
from votequorum_ipc.ipc.handshake import set_up
from votequorum_ipc.testing import SimulatedCluster, simulated_cluster

Transport = Literal["shm", "socket"]


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> Transport:
    name: Transport = request.param
    return name


def held() -> tuple[int, int, list[str]]:
    """Descriptors, mappings of shared files, and files of this process's connections."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    mappings = Path("/proc/self/maps").read_text().count("/dev/shm/qb-")
    return descriptors, mappings, [path.name for path in Path("/dev/shm").glob(f"qb-{os.getpid()}-*")]


async def connects(cluster: SimulatedCluster) -> None:
    for client in (Votequorum, Quorum, Cmap, Cfg):
        make: Any = client
        async with await make.initialize(address=cluster.address(1)):
            pass


async def tracks_and_goes(cluster: SimulatedCluster) -> None:
    async with await Votequorum.initialize(address=cluster.address(1)) as vq:
        await vq.trackstart(flags=TrackFlags.CHANGES)


async def shakes_hands_only(cluster: SimulatedCluster) -> None:
    (await set_up("votequorum", 8192, cluster.address(1))).socket.close()


async def loses_its_node(cluster: SimulatedCluster) -> None:
    async with await Votequorum.initialize(address=cluster.address(2)):
        cluster.kill(2)
    cluster.up(2)


async def is_cancelled(cluster: SimulatedCluster) -> None:
    with trio.move_on_after(0):
        await Votequorum.initialize(address=cluster.address(1))


ENDS: list[Callable[[SimulatedCluster], Awaitable[None]]] = [
    connects,
    tracks_and_goes,
    shakes_hands_only,
    loses_its_node,
    is_cancelled,
]


@pytest.mark.parametrize("end", ENDS)
async def test_nothing_remains_of_connections(
    transport: Transport, end: Callable[[SimulatedCluster], Awaitable[None]]
) -> None:
    # A killed process with the same id may have left files.
    old_files = held()[2]
    async with simulated_cluster(3, transport=transport) as cluster:
        await end(cluster)
        await trio.testing.wait_all_tasks_blocked(0.01)
        before = held()
        for _ in range(10):
            await end(cluster)
            # The server's own task closes the server's end.
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert held() == before
        assert before[2] == old_files


async def test_nothing_remains_of_a_cluster(transport: Transport) -> None:
    before = held()
    for _ in range(5):
        async with simulated_cluster(3, transport=transport) as cluster:
            await (await cluster.connect(1)).trackstart()
            bare = await set_up("cmap", 8192, cluster.address(2))
        bare.socket.close()
    assert held() == before


async def test_nothing_remains_of_a_cancelled_cluster(transport: Transport) -> None:
    before = held()
    with trio.CancelScope() as scope:
        async with simulated_cluster(3, transport=transport) as cluster:
            await cluster.connect(1)
            scope.cancel()
            await trio.sleep_forever()
    assert held() == before


CLIENT = """
import sys, trio
from votequorum_ipc import Votequorum
async def main():
    async with await Votequorum.initialize(address=sys.argv[1]) as vq:
        await vq.trackstart()
        print("connected", flush=True)
        while True:
            await vq.getinfo()
trio.run(main)
"""


def started(address: str) -> subprocess.Popen[bytes]:
    """Start a client. Not with trio, whose threads may be in the network namespace of an earlier test."""
    command = [sys.executable, "-c", CLIENT, address]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])


async def test_nothing_remains_of_killed_clients(transport: Transport) -> None:
    async with simulated_cluster(3, transport=transport) as cluster:
        before = held()
        for _ in range(3):
            with started(cluster.address(1)) as process:
                assert process.stdout
                try:
                    with trio.fail_after(DEADLINE):
                        await trio.lowlevel.wait_readable(process.stdout)
                    assert process.stdout.read(1) == b"c"
                    cluster.partition({1}, {2, 3})
                finally:
                    process.kill()
            cluster.heal()
            await eventually_async(lambda: cluster.server.admission.connections == 0)
        assert held() == before


async def test_nothing_remains_of_clients_that_could_not_be_accepted(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system has no room for their files."""
    from votequorum_ipc import CsError

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    async with simulated_cluster(1, transport=transport) as cluster:
        before = held()
        monkeypatch.setattr(os, "posix_fallocate", refuse)
        for _ in range(3):
            with pytest.raises(CsError):
                await cluster.connect(1)
        monkeypatch.undo()
        assert held() == before
        assert (await (await cluster.connect(1)).getinfo()).node_id == 1
