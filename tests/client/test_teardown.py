"""The end of a connection, from either side: every waiting task gets an error, and nothing is left behind."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from pathlib import Path

import pytest

from tests.client.support import code_of, nothing_left
from tests.conftest import StartDaemon
from tests.real.config import Config
from tests.real.cref import CVotequorum
from tests.real.daemon import Daemon
from tests.real.waiting import eventually_async
from tests.ways import RUNNERS, TASKS, every_way, settled, task_group
from votequorum_ipc import (
    BadHandle,
    CsErrorCode,
    Library,
    NodelistNotification,
    Quorum,
    QuorumNotification,
    Votequorum,
)


@pytest.fixture(params=["shm", "socket"])
def mortal(request: pytest.FixtureRequest, start_daemon: StartDaemon) -> Daemon:
    """A daemon of each transport that the test may kill."""
    return start_daemon(Config(transport=request.param))


@every_way(without={"blocking": TASKS})
async def test_when_the_daemon_is_killed_every_waiting_task_gets_library(mortal: Daemon) -> None:
    with nothing_left():
        with mortal.namespace():
            handle = await Votequorum.initialize()
        codes: list[int] = []

        async def wait(call: object) -> None:
            codes.append(await code_of(call))  # type: ignore[arg-type]

        async with handle:
            with mortal.frozen():
                async with task_group() as group:
                    for _ in range(50):
                        group.start(wait, handle.getinfo())
                    for _ in range(3):
                        group.start(wait, handle.next_event())
                    await settled()
                    mortal.kill()
                    await eventually_async(lambda: len(codes) == 53)
            assert codes == [CsErrorCode.LIBRARY] * 53
            assert await code_of(handle.getinfo()) == CsErrorCode.LIBRARY
            assert await code_of(handle.next_event()) == CsErrorCode.LIBRARY
            assert mortal.connections() != []
        # The dead daemon cannot remove its files, so the client has done it.
        assert mortal.connections() == []


@every_way()
async def test_events_that_the_daemon_delivered_before_it_died_are_not_lost(mortal: Daemon) -> None:
    with mortal.namespace():
        handle = await Votequorum.initialize()
    async with handle:
        await handle.trackstart()
        mortal.kill()
        events = [type(await handle.next_event()) for _ in range(2)]
        assert events == [NodelistNotification, QuorumNotification]
        with pytest.raises(Library, match="corosync was stopped or died"):
            await handle.next_event()


@every_way()
async def test_a_daemon_that_stops_cleanly_removes_its_files_itself(mortal: Daemon) -> None:
    with mortal.namespace():
        handle = await Votequorum.initialize()
    async with handle:
        pid = mortal.pid
        mortal.stop()
        with pytest.raises(Library):
            await handle.getinfo()
    await eventually_async(lambda: list(Path("/dev/shm").glob(f"qb-{pid}-{os.getpid()}-*")) == [])


@every_way()
async def test_a_connection_to_a_hanging_daemon_leaves_the_same_as_the_c_library(
    mortal: Daemon,
) -> None:
    """Over shared memory the files, which the daemon removes later; over sockets nothing."""
    with mortal.namespace():
        theirs, ours = CVotequorum(), await Votequorum.initialize()
    with mortal.frozen():
        (first, second) = mortal.connections()
        theirs.finalize()
        left_by_theirs = len(mortal.connections()) - 1
        await ours.finalize()
        assert len(mortal.connections()) == 2 * left_by_theirs
        assert (first.exists() or second.exists()) == bool(left_by_theirs)


@pytest.mark.parametrize("way", RUNNERS)
def test_a_forgotten_connection_is_freed_even_if_its_warning_is_an_error(
    mortal: Daemon, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda complaint: complaints.append(complaint.exc_value))

    async def forget() -> None:
        handle = await Votequorum.initialize()
        handle.fileno()
        del handle
        gc.collect()

    with nothing_left(), mortal.namespace(), warnings.catch_warnings():
        warnings.simplefilter("error")
        RUNNERS[way](forget)
    assert [type(complaint) for complaint in complaints] == [ResourceWarning]


@every_way(without={"blocking": TASKS})
async def test_finalize_ends_waiting_calls_and_events_with_a_bad_handle(mortal: Daemon) -> None:
    with nothing_left():
        with mortal.namespace():
            handle = await Votequorum.initialize()
        ended: list[int] = []

        async def wait(call: object) -> None:
            ended.append(await code_of(call))  # type: ignore[arg-type]

        with mortal.frozen():
            async with task_group() as group:
                for call in (handle.getinfo(), handle.getinfo(), handle.next_event(), handle.next_event()):
                    group.start(wait, call)
                await settled()
                await handle.finalize()
        assert ended == [CsErrorCode.BAD_HANDLE] * 4
    await eventually_async(lambda: mortal.connections() == [])


@every_way()
async def test_leaving_the_block_after_finalize_is_fine_and_a_second_finalize_is_not(mortal: Daemon) -> None:
    with mortal.namespace():
        async with await Quorum.initialize() as handle:
            await handle.finalize()
            with pytest.raises(BadHandle):
                await handle.finalize()
    await eventually_async(lambda: mortal.connections() == [])


@every_way()
async def test_a_forgotten_handle_warns_and_is_freed(mortal: Daemon) -> None:
    with nothing_left():
        with mortal.namespace():
            handle = await Votequorum.initialize()
        await handle.getinfo()
        forgotten = [handle]
        del handle
        with pytest.warns(ResourceWarning, match="unclosed <open connection to 'votequorum'"):
            forgotten.clear()
    await eventually_async(lambda: mortal.connections() == [])
