"""Processes, threads and interpreter exit: a handle belongs to the thread that made it. Other threads and
processes can neither use nor damage it.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.client.support import holdings, nothing_left
from tests.conftest import StartDaemon
from tests.real.config import Config
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE, eventually, eventually_async
from tests.reliability.programs import run
from votequorum_ipc import (
    BadHandle,
    DispatchFlags,
    NodelistNotification,
    Quorum,
    QuorumNotification,
    Votequorum,
)


def in_child(check: Callable[[], None]) -> None:
    """Fork; the child's `check` must not fail. Both continue, the child to its end."""
    pid = os.fork()
    if pid == 0:
        try:
            check()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def in_thread(check: Callable[[], object]) -> None:
    """Run `check` in another thread; its exception is raised here."""
    errors: list[BaseException] = []

    def note() -> None:
        try:
            check()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=note)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def refused(handle: Votequorum, reason: str) -> None:
    """Every use of the handle, each in a new trio run, is refused for that reason."""
    calls: list[Callable[[], Awaitable[object]]] = [
        handle.getinfo,
        handle.next_event,
        lambda: handle.dispatch(DispatchFlags.ALL),
        lambda: handle.dispatch(DispatchFlags.ONE),
    ]

    async def call(made: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(BadHandle, match=reason):
            await made()

    for made in calls:
        trio.run(call, made)
    with pytest.raises(BadHandle, match=reason):
        handle.fileno()


# --- fork ---


async def test_in_a_forked_child_calls_are_refused_and_the_parents_connection_is_untouched(
    daemon: Daemon,
) -> None:
    def child() -> None:
        # Nothing of the connection is left here, so the child cannot touch it.
        assert (holdings().descriptors, holdings().mappings) == before
        in_thread(lambda: refused(handle, "belongs to the process that made it"))
        in_thread(lambda: trio.run(handle.finalize))
        del forgotten[:]
        gc.collect()

    before = (holdings().descriptors, holdings().mappings)
    async with await Votequorum.initialize() as handle, await Quorum.initialize() as quorum:
        handle.fileno()
        forgotten = [quorum]
        await handle.trackstart()
        files = holdings().files
        for _ in range(3):
            in_child(child)
            assert holdings().files == files
            assert (await handle.getinfo()).node_id == 1
            assert await quorum.getquorate()
        events = [type(await handle.next_event()) for _ in range(2)]
        assert events == [NodelistNotification, QuorumNotification]


async def test_a_child_forked_in_mid_call_disturbs_neither_the_call_nor_waiting_tasks(daemon: Daemon) -> None:
    answers: list[object] = []

    async def note(call: Callable[[], Awaitable[object]]) -> None:
        answers.append(type(await call()).__name__)

    async with await Votequorum.initialize() as handle, trio.open_nursery() as nursery:
        nursery.start_soon(note, handle.next_event)
        with daemon.frozen():
            for _ in range(50):
                nursery.start_soon(note, handle.getinfo)
            await trio.testing.wait_all_tasks_blocked()
            in_child(lambda: in_thread(lambda: refused(handle, "not to this fork")))
        await eventually_async(lambda: len(answers) == 50)
        await handle.trackstart()
    assert answers == ["NodeInfo"] * 50 + ["NodelistNotification"]


async def test_the_daemon_sees_the_parent_finalize_even_if_a_forked_child_lives(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config())
    with daemon.namespace():
        handle = await Votequorum.initialize()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        await handle.finalize()
        await eventually_async(lambda: daemon.connections() == [])
    finally:
        os.close(writer)
        os.close(reader)
        os.waitpid(pid, 0)  # noqa: ASYNC222 - it has read the end by now


# --- threads ---


async def test_another_thread_cannot_use_a_handle_and_it_stays_usable_in_its_own(daemon: Daemon) -> None:
    async with await Votequorum.initialize() as handle:

        async def finalize() -> None:
            with pytest.raises(BadHandle, match="another thread"):
                await handle.connection.aclose()
            with pytest.raises(BadHandle, match="another thread"):
                await handle.finalize()

        in_thread(lambda: refused(handle, "belongs to another thread"))
        in_thread(lambda: trio.run(finalize))
        assert (await handle.getinfo()).node_id == 1
        await handle.trackstart()
        await handle.next_event()
        # The refusal in the other thread does not affect this one.
        await handle.finalize()


def test_threads_each_with_an_event_loop_and_a_handle_do_not_affect_one_another(daemon: Daemon) -> None:
    answers: list[int] = []

    async def ask() -> None:
        async with await Votequorum.initialize() as handle:
            await handle.trackstart()
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(ask_often, handle)
            await handle.next_event()

    async def ask_often(handle: Votequorum) -> None:
        for _ in range(100):
            answers.append((await handle.getinfo()).node_id)

    def visit() -> None:
        with daemon.namespace():
            trio.run(ask)

    with nothing_left():
        threads = [threading.Thread(target=visit) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    assert answers == [1] * 2000


def test_a_handle_outlives_the_event_loop_it_was_made_in(daemon: Daemon) -> None:
    handle = trio.run(Votequorum.initialize)
    for _ in range(2):
        assert trio.run(handle.getinfo).node_id == 1
    trio.run(handle.finalize)


# --- forgotten handles ---


class Knot:
    """Refers to itself and to a handle: only the garbage collector can free it."""

    def __init__(self, handle: object) -> None:
        self.handle = handle
        self.itself = self


async def test_a_handle_forgotten_in_a_cycle_is_freed_with_a_warning(daemon: Daemon) -> None:
    with nothing_left():
        knot = Knot(await Votequorum.initialize())
        knot.handle.fileno()  # type: ignore[attr-defined]
        del knot
        with pytest.warns(ResourceWarning, match="unclosed <open connection to 'votequorum'"):
            gc.collect()
    await eventually_async(lambda: not holdings().files, otherwise="the daemon has removed its files")


async def test_a_handle_collected_by_another_thread_is_freed_there(daemon: Daemon) -> None:
    with nothing_left():
        knot = Knot(await Votequorum.initialize())
        del knot
        with pytest.warns(ResourceWarning, match="unclosed"):
            in_thread(gc.collect)
    await eventually_async(lambda: not holdings().files)


# --- interpreter exit ---

OPEN = """
import os, sys, trio
from votequorum_ipc import Votequorum
handle = trio.run(Votequorum.initialize)
trio.run(handle.trackstart)
handle.fileno()
print(os.getpid())
"""

ENDINGS = {
    "with an open handle": "",
    "with a handle in a cycle": "cycle = [handle]; cycle.append(cycle); del handle",
    "by sys.exit within a run": """
async def main():
    async with await Votequorum.initialize() as inner:
        handle.inner = inner
        sys.exit(0)
trio.run(main)
""",
    "with a waiting thread": """
import threading, time
ready = threading.Event()
async def wait():
    async with await Votequorum.initialize() as inner:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inner.next_event)
            await inner.getinfo()
            ready.set()
            await trio.sleep_forever()
threading.Thread(target=trio.run, args=(wait,), daemon=True).start()
ready.wait()
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_interpreter_ends_quietly(daemon: Daemon, ending: str) -> None:
    done = run(daemon, OPEN + ENDINGS[ending])
    assert (done.returncode, done.stderr) == (0, "")
    pid = int(done.stdout.split()[0])
    eventually(lambda: not list(Path("/dev/shm").glob(f"qb-{daemon.pid}-{pid}-*")))


def test_the_interpreter_warns_of_an_open_handle_if_warnings_are_on(daemon: Daemon) -> None:
    done = run(daemon, OPEN, "-Wdefault")
    assert done.returncode == 0
    assert "ResourceWarning: unclosed <open connection to 'votequorum'" in done.stderr
    assert "Traceback" not in done.stderr
