"""The libqb client half alone, against services of a real corosync."""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.client.support import holdings, nothing_left
from tests.real.daemon import Daemon
from tests.real.waiting import eventually_async
from tests.ways import TASKS, Recipe, every_way, settled, task_group
from votequorum_ipc import DispatchFlags, NodelistNotification, QuorumNotification, TrackFlags
from votequorum_ipc.errors import CsErrorCode, InvalidParam, Library, TooBig, TryAgain
from votequorum_ipc.ipc import Connection, connect
from votequorum_ipc.ipc.backend import move_on_after
from votequorum_ipc.testing import simulated_cluster
from votequorum_ipc.wire import quorum, reply_error, votequorum
from votequorum_ipc.wire.setup import CONTROL_BLOCK, RING_HEADER, offset_of

GETINFO = votequorum.GETINFO.encode(nodeid=1)
GETINFO_SIZE = votequorum.GETINFO_RESPONSE.fixed_size


@contextlib.asynccontextmanager
async def _connection() -> AsyncIterator[Connection]:
    async with await connect("votequorum") as connection:
        yield connection


@pytest.fixture
def connection(daemon: Daemon) -> Recipe:
    """A connection to the votequorum service, over each transport in turn."""
    return Recipe(_connection)


def set_flow_control(daemon: Daemon, level: int) -> None:
    """Write a flow control level where clients look for it, as the daemon does when it wants no requests."""
    [directory] = daemon.connections()
    for path in directory.iterdir():
        if path.name == "qb-request-votequorum-header":
            offset = offset_of(RING_HEADER, "flow_control")
        elif path.name == "qb-control-votequorum":
            offset = offset_of(CONTROL_BLOCK, "request", "flow_control")
        else:
            continue
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(struct.pack("=i", level))


@every_way()
async def test_any_service_answers_raw_messages(daemon: Daemon) -> None:
    for service in ("votequorum", "quorum", "cmap", "cfg", "cpg"):
        async with await connect(service) as connection:
            assert connection.server_pid == daemon.pid
            assert connection.transport == daemon.config.transport
            assert connection.max_msg_size == 8192
            answer = await connection.request(struct.pack("=i4xi4x", 1000, 16))
            assert reply_error(answer) == CsErrorCode.INVALID_PARAM


@every_way()
async def test_larger_messages_may_be_requested(daemon: Daemon) -> None:
    async with await connect("quorum", max_msg_size=1 << 20) as connection:
        assert connection.max_msg_size == 1 << 20
        answer = await connection.request(quorum.GETQUORATE.encode())
        assert quorum.GETQUORATE_RESPONSE.decode(answer).quorate == 1


@pytest.mark.parametrize("size", [0, -1, 1 << 32])
@every_way()
async def test_an_invalid_message_size_is_an_invalid_parameter(size: int) -> None:
    with pytest.raises(InvalidParam, match="max_msg_size"):
        await connect("quorum", max_msg_size=size)


@every_way()
async def test_a_message_over_the_size_is_too_big_and_not_sent(connection: Connection) -> None:
    with pytest.raises(TooBig, match="8193 bytes"):
        await connection.request(bytes(8193))
    assert len(await connection.request(GETINFO)) == GETINFO_SIZE


@every_way(without={"blocking": TASKS})
async def test_requests_are_sent_ahead_only_while_there_is_room_for_their_answers(
    connection: Connection, daemon: Daemon
) -> None:
    # corosync drops an answer that finds no room, and its caller would wait forever.
    answers: list[int] = []

    async def ask(response_size: int | None) -> None:
        answers.append(len(await connection.request(GETINFO, response_size=response_size)))

    for response_size in (GETINFO_SIZE, None):
        async with task_group() as group:
            with daemon.frozen():
                for _ in range(300):
                    group.start(ask, response_size)
                await settled()
    assert answers == [GETINFO_SIZE] * 600


@every_way(without={"blocking": TASKS})
async def test_each_of_many_requests_gets_its_own_answer(connection: Connection) -> None:
    unknown = votequorum.GETINFO.encode(nodeid=99)
    wrong: list[int] = []

    async def ask(number: int) -> None:
        message, error = ((GETINFO, CsErrorCode.OK), (unknown, CsErrorCode.NOT_EXIST))[number % 2]
        for _ in range(50):
            answer = await connection.request(message, response_size=GETINFO_SIZE)
            if reply_error(answer) != error:
                wrong.append(number)

    async with task_group() as group:
        for number in range(40):
            group.start(ask, number)
    assert wrong == []


@every_way(without={"blocking": TASKS})
async def test_a_late_answer_is_not_mixed_up_with_others(
    connection: Connection,
) -> None:
    register = votequorum.QDEVICE_REGISTER.encode(name="device")
    unregister = votequorum.QDEVICE_UNREGISTER.encode(name="device")
    sizes: dict[str, set[int]] = {"register": set(), "getinfo": set()}

    async def ask(kind: str, message: bytes, deferred: bool) -> None:
        answer = await connection.request(message, response_size=GETINFO_SIZE, deferred=deferred)
        assert reply_error(answer) == CsErrorCode.OK
        sizes[kind].add(len(answer))

    for _ in range(20):
        async with task_group() as group:
            group.start(ask, "getinfo", GETINFO, False)
            group.start(ask, "register", register, True)
            for _ in range(5):
                group.start(ask, "getinfo", GETINFO, False)
        await connection.request(unregister)
    assert sizes == {"register": {24}, "getinfo": {GETINFO_SIZE}}


@every_way()
async def test_a_cancelled_deferred_call_does_not_disturb_the_next(connection: Connection) -> None:
    register = votequorum.QDEVICE_REGISTER.encode(name="device")
    for _ in range(20):
        with move_on_after(0.0001):
            await connection.request(register, deferred=True)
        assert len(await connection.request(GETINFO)) == GETINFO_SIZE
        await connection.request(votequorum.QDEVICE_UNREGISTER.encode(name="device"))


@every_way()
async def test_flow_control_level_1_means_try_again_and_level_2_means_send(
    connection: Connection, daemon: Daemon
) -> None:
    set_flow_control(daemon, 1)
    with pytest.raises(TryAgain, match="flow control"):
        await connection.request(GETINFO)
    for level in (2, 0):
        set_flow_control(daemon, level)
        assert len(await connection.request(GETINFO)) == GETINFO_SIZE


@pytest.mark.parametrize("noise", [1, 3, 4, 128, -1])
@every_way()
async def test_requests_are_sent_whatever_is_next_to_their_count(socket_daemon: Daemon, noise: int) -> None:
    # A semaphore operation on the count would take the flow control level for waiters. It would take the
    # count of responses for a command to wait or to abort.
    async with await connect("votequorum") as connection:
        [directory] = socket_daemon.connections()
        block = {"sent": 0, "flow_control": 2}
        others = {"sent": noise, "flow_control": noise}
        raw = CONTROL_BLOCK.build({"request": block, "response": others, "event": others})
        (directory / "qb-control-votequorum").write_bytes(raw)
        for _ in range(20):
            assert len(await connection.request(GETINFO)) == GETINFO_SIZE


@every_way()
async def test_the_daemons_counts_stay_right_over_many_requests_and_events(
    connection: Connection, daemon: Daemon
) -> None:
    start = votequorum.TRACKSTART.encode(context=1, track_flags=1)
    for _ in range(300):
        await connection.request(start)
        for _ in range(2):
            await connection.next_event()
    [directory] = daemon.connections()
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    if daemon.config.transport == "socket":
        block = CONTROL_BLOCK.parse(files["qb-control-votequorum"])
        # An answer may arrive before the daemon has counted it.
        assert [block.request.sent, block.request.flow_control] == [0, 0]
        assert block.response.sent in (0, 1)
        assert block.event.sent in (0, 1)
    else:
        for ring in ("request", "response", "event"):
            header = RING_HEADER.parse(files[f"qb-{ring}-votequorum-header"])
            assert int.from_bytes(header.posted_sem[:4], "little") == 0


@every_way(without=dict.fromkeys(["asyncio", "blocking"], "trio counts its tasks' steps"))
async def test_waiting_for_events_starts_no_thread_and_runs_nothing(
    daemon: Daemon, connection: Connection
) -> None:
    threads = {path.name for path in Path("/proc/self/task").iterdir()}
    ticks = []

    class Count(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            ticks.append(task.name)

    async with await connect("votequorum") as busy, trio.open_nursery() as nursery:
        nursery.start_soon(connection.next_event)
        await trio.testing.wait_all_tasks_blocked()
        # No deadline is set at which something would run by itself,
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
        instrument = Count()
        trio.lowlevel.add_instrument(instrument)
        # and nothing runs while other clients use the same daemon.
        for _ in range(100):
            await busy.request(GETINFO, response_size=GETINFO_SIZE)
        trio.lowlevel.remove_instrument(instrument)
        nursery.cancel_scope.cancel()
    assert ticks
    assert [name for name in ticks if "next_event" in name] == []
    assert {path.name for path in Path("/proc/self/task").iterdir()} == threads


@every_way()
async def test_100_connections_open_and_close_without_a_trace(daemon: Daemon) -> None:
    with nothing_left():
        for _ in range(10):
            connections = [await connect("quorum") for _ in range(10)]
            for connection in connections:
                await connection.request(quorum.GETQUORATE.encode())
                await connection.aclose()
    await eventually_async(lambda: daemon.connections() == [])
    assert not holdings().files


@every_way()
async def test_a_connection_that_the_daemon_has_closed_is_noticed_before_anything_is_sent(
    shm_daemon: Daemon,
) -> None:
    async with await connect("votequorum") as connection:
        [directory] = shm_daemon.connections()
        with (directory / "qb-request-votequorum-header").open("r+b") as header:
            header.seek(offset_of(RING_HEADER, "ref_count"))
            header.write(struct.pack("=i", 1))
        with pytest.raises(Library, match="has ended this connection"):
            await connection.request(GETINFO)


async def test_an_event_that_comes_as_its_waiter_is_cancelled_is_not_lost() -> None:
    """Another task takes it from the daemon between the cancellation and its effect."""
    async with simulated_cluster(nodes=2) as cluster:
        handle = await cluster.connect(1)
        connection = handle.connection
        await handle.trackstart(flags=TrackFlags.CHANGES_ONLY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.next_event)
            await trio.testing.wait_all_tasks_blocked()
            cluster.partition({1}, {2})
            nursery.cancel_scope.cancel()
            assert connection.queued_events() == 1
        assert connection.queued_events() == 2
        assert isinstance(await handle.next_event(), NodelistNotification)
        assert isinstance(await handle.next_event(), QuorumNotification)


async def test_a_dispatch_that_is_cancelled_at_once_takes_no_event() -> None:
    async with simulated_cluster(nodes=2) as cluster:
        handle = await cluster.connect(1)
        await handle.trackstart(flags=TrackFlags.CHANGES_ONLY)
        cluster.partition({1}, {2})
        assert handle.connection.queued_events() == 2
        with trio.CancelScope() as scope:
            scope.cancel()
            await handle.dispatch(DispatchFlags.ALL)
        assert handle.connection.queued_events() == 2
