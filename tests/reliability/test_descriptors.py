"""Descriptors run out, at each place that needs one: an error, and nothing left behind."""

from __future__ import annotations

import contextlib
import fcntl
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
import trio

from tests.client.support import give_many_votes, nothing_left
from tests.real.config import MANY_VOTES
from tests.real.daemon import Daemon
from tests.real.host import ROOT
from tests.real.waiting import DEADLINE
from votequorum_ipc import CsError, Library, Quorum, QuorumState, Votequorum, blocking, watch_quorum
from votequorum_ipc.links import LinkWatcher
from votequorum_ipc.overview import read_moment
from votequorum_ipc.testing import simulated_cluster, simulated_cluster_in_process
from votequorum_ipc.types import ConfiguredNode, Connected


def descriptors_here() -> set[int]:
    """The numbers of this process's descriptors, without the one used to list them."""
    numbers = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    return {number for number in numbers if Path(f"/proc/self/fd/{number}").exists()}


@contextlib.contextmanager
def room_for(descriptors: int) -> Iterator[None]:
    """Within the block the process can open this many more descriptors."""
    used = descriptors_here()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The limit applies to the number, and the lowest free number is used.
    free = [number for number in range(max(used) + descriptors + 2) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[descriptors], limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_connecting_fails_cleanly_for_every_number_of_descriptors_that_is_too_small(
    daemon: Daemon,
) -> None:
    async with await Votequorum.initialize() as handle:
        await handle.getinfo()  # imports on first use need descriptors too
    refusals = 0
    while await is_refused(room_for(refusals)):
        refusals += 1
    # With sockets: the setup socket, an epoll, a mapping, and one socket each for messages and events.
    assert refusals >= {"shm": 8, "socket": 5}[daemon.config.transport]


async def is_refused(limit: contextlib.AbstractContextManager[None]) -> bool:
    """Whether connecting under a limit fails, as it should. If not, it must work."""
    with nothing_left(), limit:
        try:
            async with await Votequorum.initialize() as handle:
                return (await handle.getinfo()).node_id != 1
        except Library as error:
            return "Too many open files" in str(error)


def test_without_a_loop_connecting_fails_for_every_number_of_descriptors_that_is_too_small(
    daemon: Daemon,
) -> None:
    with blocking.Votequorum.initialize() as handle:
        handle.getinfo()
        refusals = 0
        while refused_without_a_loop(refusals):
            refusals += 1
            # A handle that already existed still works.
            assert handle.getinfo(timeout=DEADLINE).node_id == 1
    assert refusals >= {"shm": 8, "socket": 5}[daemon.config.transport]


def refused_without_a_loop(descriptors: int) -> bool:
    """Whether connecting with this many descriptors fails, as it should. If not, it must work."""
    with nothing_left(), room_for(descriptors):
        try:
            with blocking.Votequorum.initialize(timeout=DEADLINE) as handle:
                return handle.getinfo(timeout=DEADLINE).node_id != 1
        except Library as error:
            return "Too many open files" in str(error)


def test_without_a_loop_and_without_descriptors_status_and_watcher_find_no_daemon(daemon: Daemon) -> None:
    with nothing_left(), blocking.watch_quorum() as watcher:
        assert blocking.cluster_status(timeout=DEADLINE).quorate
        with room_for(0):
            with pytest.raises(Library, match="Too many open files"):
                blocking.cluster_status(timeout=DEADLINE)
            view = watcher.next_view(timeout=DEADLINE)
            assert view.state is QuorumState.UNKNOWN
            assert "Too many open files" in str(view.error)
        assert watcher.next_view(timeout=DEADLINE).state is QuorumState.QUORATE


FIRST_CALLS = """
import sys, {loop}
from tests.reliability.test_descriptors import room_for
from votequorum_ipc import CsError, cluster_status, watch_quorum

async def status(address):
    return (await cluster_status(address)).quorate

async def watch(address):
    async with watch_quorum(address) as watcher:
        return (await anext(watcher)).state.name

async def main(address):
    for call in (status, watch):
        with room_for(0):
            try:
                print(await call(address))
            except CsError as error:
                print(type(error).__name__, error)
    print(await status(address), await watch(address))

{run}(main{argument})
"""
"""The first calls of a process, without a descriptor to import what they need; then again with enough."""


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_first_calls_without_descriptors_are_cs_errors_and_later_ones_work(loop: str) -> None:
    with simulated_cluster_in_process(1) as cluster:
        argument = {"trio": ", sys.argv[1]", "asyncio": "(sys.argv[1])"}[loop]
        code = FIRST_CALLS.format(loop=loop, run=f"{loop}.run", argument=argument)
        argv = [sys.executable, "-c", code, cluster.address()]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False)
    refused = f"Library the {loop} backend cannot be imported: Too many open files"
    assert (done.stdout.splitlines(), done.stderr) == ([refused, refused, "True QUORATE"], "")


async def test_fileno_without_a_free_descriptor_is_an_error_and_leaves_the_handle_usable(
    daemon: Daemon,
) -> None:
    with nothing_left():
        async with await Votequorum.initialize() as handle:
            for descriptors in (0, 1):
                with room_for(descriptors), pytest.raises(CsError, match="Too many open files"):
                    handle.fileno()
            assert handle.fileno() >= 0
            await handle.trackstart()
            await handle.next_event()


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_the_embedded_daemon_without_descriptors_keeps_serving(transport: str) -> None:
    async with simulated_cluster(1, transport=transport) as cluster:  # type: ignore[arg-type]
        served = await cluster.connect(1)
        for descriptors in range(1, 8):
            # Client and daemon share one process here, and so its descriptors.
            with room_for(descriptors), trio.move_on_after(0.05), contextlib.suppress(CsError):
                await cluster.connect(1)
            assert (await served.getinfo()).node_id == 1
        assert (await (await cluster.connect(1)).getinfo()).node_id == 1


LIST = """
import os

for name in os.listdir("/proc/self/fd"):
    try:
        print(os.readlink(f"/proc/self/fd/{name}"))
    except OSError:
        pass  # the listing's own
"""


async def test_every_descriptor_is_closed_on_exec(daemon: Daemon) -> None:
    before = descriptors_here()
    given = daemon.connect("quorum")
    given.set_inheritable(True)
    async with await Votequorum.initialize() as handle, await Quorum.initialize(address=given):
        handle.fileno()
        ours = descriptors_here() - before
        assert len(ours) >= 10
        assert [one for one in ours if not fcntl.fcntl(one, fcntl.F_GETFD) & fcntl.FD_CLOEXEC] == []
        child = await trio.run_process([sys.executable, "-c", LIST], capture_stdout=True, close_fds=False)
        assert b"/dev/shm" not in child.stdout
        assert b"eventpoll" not in child.stdout
        assert b"socket:" not in child.stdout


async def test_a_watcher_without_descriptors_finds_no_daemon_and_never_shows_a_partial_state(
    daemon: Daemon,
) -> None:
    """For every number of descriptors: either the daemon is lost, or every change is reported."""
    losses = 0
    while True:
        async with await Votequorum.initialize() as other, watch_quorum() as watcher:
            with room_for(losses):
                with trio.fail_after(DEADLINE):
                    view = await anext(watcher)
                if view.error is not None:
                    losses += 1
                    assert "Too many open files" in str(view.error)
                    continue
            assert view.changes == (Connected(),)
            await give_many_votes(other)
            with trio.fail_after(DEADLINE):
                while view.expected_votes != MANY_VOTES:
                    view = await anext(watcher)
            break
    # Three connections. Over shared memory each holds 8, and takes one more while it opens the last file.
    assert losses == {"shm": 25, "socket": 15}[daemon.config.transport]


async def test_cancelling_read_moment_frees_its_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = LinkWatcher.read

    async def read_and_stay(watcher: LinkWatcher, nodes: Sequence[ConfiguredNode]) -> NoReturn:
        await read(watcher, nodes)
        scope.cancel()
        await trio.sleep_forever()

    with simulated_cluster_in_process(nodes=2) as cluster:
        await read_moment(cluster.address(1))  # imports on first use
        monkeypatch.setattr(LinkWatcher, "read", read_and_stay)
        with nothing_left(), trio.CancelScope() as scope:
            await read_moment(cluster.address(1))
        assert scope.cancelled_caught
