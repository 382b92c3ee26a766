"""Other kinds of requests: several at once, those without an answer, and those that must be undone."""

from __future__ import annotations

import secrets
import struct
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from tests.ipc.test_connection import GETINFO, GETINFO_SIZE, set_flow_control
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE, eventually_async
from votequorum_ipc import Library, TooBig, TryAgain
from votequorum_ipc.daemon import ServerConnection, Service, TransportName, open_server
from votequorum_ipc.errors import BadHandle, CsErrorCode
from votequorum_ipc.ipc import Connection, connect
from votequorum_ipc.wire import message_id, reply_error, votequorum

UNKNOWN = votequorum.GETINFO.encode(nodeid=99)
SILENT, ECHO, MAKE, TAKE_BACK = 1, 2, 3, 4


def numbered(id_: int, number: int = 0) -> bytes:
    return struct.pack("=i4xi4xi4x", id_, 24, number)


def number_of(message: bytes) -> int:
    return int(struct.unpack("=i4xi4xi4x", message[:24])[2])


class Notes(Service):
    """Answers all requests but `SILENT`, and records them. `MAKE` is answered when `answer` is called."""

    name = "notes"

    def __init__(self) -> None:
        self.came: list[tuple[int, int]] = []
        self.held: list[tuple[ServerConnection, int]] = []

    def process(self, client: ServerConnection, message: bytes) -> None:
        id_, number = message_id(message), number_of(message)
        self.came.append((id_, number))
        if id_ == MAKE:
            self.held.append((client, number))
        elif id_ != SILENT:
            client.respond(numbered(id_, number))

    def answer(self) -> None:
        """Answer the oldest waiting `MAKE`."""
        client, number = self.held.pop(0)
        client.respond(numbered(MAKE, number))


@pytest.fixture(params=["shm", "socket"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Notes, Connection]]:
    """A service and a connection to it, over each transport in turn."""
    service, address = Notes(), f"@notes-{secrets.token_hex(8)}"
    transport: TransportName = request.param
    async with open_server(transport=transport) as server:
        server.listen(service, address)
        async with await connect("notes", address=address) as connection:
            yield service, connection


async def test_requests_sent_together_are_answered_in_their_order(daemon: Daemon) -> None:
    async with await connect("votequorum") as connection:
        messages = [GETINFO, UNKNOWN] * 200
        answers = await connection.request_all(messages, response_size=GETINFO_SIZE)
        codes = [reply_error(answer) for answer in answers if isinstance(answer, bytes)]
        assert codes == [CsErrorCode.OK, CsErrorCode.NOT_EXIST] * 200
        assert await connection.request_all([]) == []


async def test_delayed_requests_come_back_as_errors_in_their_places(daemon: Daemon) -> None:
    async with await connect("votequorum") as connection:
        set_flow_control(daemon, 1)
        answers = await connection.request_all([GETINFO] * 3)
        assert [type(answer) for answer in answers] == [TryAgain] * 3
        set_flow_control(daemon, 0)
        with pytest.raises(TooBig):
            await connection.request_all([GETINFO, bytes(8193)])
        assert len(await connection.request(GETINFO)) == GETINFO_SIZE


async def test_requests_that_the_end_leaves_unanswered_come_back_as_errors(
    served: tuple[Notes, Connection],
) -> None:
    service, connection = served
    results: list[object] = []

    async def ask() -> None:
        results.extend(await connection.request_all([numbered(ECHO, 1), numbered(ECHO, 2), numbered(MAKE)]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await eventually_async(lambda: service.held)
        service.held[0][0].close()
    assert results[:2] == [numbered(ECHO, 1), numbered(ECHO, 2)]
    assert [type(result) for result in results[2:]] == [Library]
    with pytest.raises(Library):
        await connection.request_all([numbered(ECHO)])
    await connection.aclose()
    with pytest.raises(BadHandle):
        await connection.request_all([numbered(ECHO)])


async def test_requests_sent_together_and_cancelled_leave_the_connection_usable(daemon: Daemon) -> None:
    async with await connect("votequorum") as connection:
        for _ in range(20):
            with daemon.frozen(), trio.move_on_after(0.001) as scope:
                await connection.request_all([UNKNOWN] * 300)
            assert scope.cancelled_caught
            assert reply_error(await connection.request(GETINFO)) == CsErrorCode.OK


async def test_one_way_messages_arrive_in_order_and_disturb_no_answer(
    served: tuple[Notes, Connection],
) -> None:
    service, connection = served
    with trio.fail_after(DEADLINE):
        for number in range(500):
            await connection.send(numbered(SILENT, number))
            if number % 7 == 0:
                assert number_of(await connection.request(numbered(ECHO, number))) == number
    await connection.request(numbered(ECHO, 500))
    assert service.came == [
        (id_, number)
        for number in range(501)
        for id_ in (SILENT, ECHO)
        if (id_ == ECHO and (number % 7 == 0 or number == 500)) or (id_ == SILENT and number < 500)
    ]


async def test_one_way_messages_from_many_tasks_arrive(served: tuple[Notes, Connection]) -> None:
    service, connection = served

    async def send(first: int) -> None:
        for number in range(first, first + 20):
            await connection.send(numbered(SILENT, number))

    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as nursery:
            for first in range(0, 1000, 20):
                nursery.start_soon(send, first)
        await eventually_async(lambda: len(service.came) == 1000)
    assert sorted(service.came) == [(SILENT, number) for number in range(1000)]


CPG_JOIN, CPG_MCAST, CPG_LOCAL_GET, CPG_DELIVER = 0, 2, 4, 5


async def test_corosyncs_cpg_delivers_each_one_way_message(daemon: Daemon) -> None:
    """cpg_mcast is corosync's only request without an answer (corosync's ipc_cpg.h)."""
    group = struct.pack("=I4x128s", 4, b"test")
    async with await connect("cpg", max_msg_size=1 << 20) as connection:
        body = group + struct.pack("=I4xI4x", 1, 0)
        join = struct.pack("=i4xi4x", CPG_JOIN, 16 + len(body)) + body
        assert reply_error(await connection.request(join)) == CsErrorCode.OK
        for number in range(300):
            header = struct.pack("=i4xi4xi4xI4xI4x", CPG_MCAST, 44, 0, 4, 4)
            await connection.send(header + struct.pack("=i", number))
        delivered: list[int] = []
        with trio.fail_after(DEADLINE):
            while len(delivered) < 300:
                event = await connection.next_event()
                if message_id(event) == CPG_DELIVER:
                    delivered.append(struct.unpack("=i", event[-4:])[0])
        assert delivered == list(range(300))
        answer = await connection.request(struct.pack("=i4xi4x", CPG_LOCAL_GET, 16))
        assert reply_error(answer) == CsErrorCode.OK


async def test_one_way_messages_to_a_corosync_that_does_not_read_do_not_block_it_forever(
    shm_daemon: Daemon,
) -> None:
    """corosync waits forever for the byte of each request that it has: no byte may be held back."""
    group = struct.pack("=I4x128s", 4, b"test")
    async with await connect("cpg", max_msg_size=1 << 20) as connection, await connect("votequorum") as other:
        body = group + struct.pack("=I4xI4x", 1, 0)
        await connection.request(struct.pack("=i4xi4x", CPG_JOIN, 16 + len(body)) + body)
        message = struct.pack("=i4xi4xi4xI4xI4x", CPG_MCAST, 40, 0, 4, 0)

        async def send() -> None:
            for _ in range(300):
                await connection.send(message)

        async with trio.open_nursery() as nursery:
            with shm_daemon.frozen():
                nursery.start_soon(send)
                await trio.testing.wait_all_tasks_blocked()
            # No task uses the connection any more.
            nursery.cancel_scope.cancel()
        with trio.fail_after(DEADLINE):
            await other.request(GETINFO)


@pytest.mark.parametrize("cancel_first", [False, True])
async def test_the_effect_of_a_cancelled_request_is_undone_before_anything_else_is_sent(
    served: tuple[Notes, Connection], cancel_first: bool
) -> None:
    service, connection = served

    def undo(answer: bytes) -> bytes:
        return numbered(TAKE_BACK, number_of(answer))

    async with trio.open_nursery() as nursery:

        async def make() -> None:
            await connection.request(numbered(MAKE, 7), undo=undo)

        nursery.start_soon(make)
        await eventually_async(lambda: service.held)
        if not cancel_first:
            service.answer()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.request, numbered(ECHO, 8))
        await trio.testing.wait_all_tasks_blocked()
        if cancel_first:
            assert service.came == [(MAKE, 7)]
            service.answer()
    assert service.came == [(MAKE, 7), (TAKE_BACK, 7), (ECHO, 8)]


async def test_a_request_whose_answer_is_not_needed_is_sent_before_later_ones(
    served: tuple[Notes, Connection],
) -> None:
    service, connection = served
    connection.post(numbered(ECHO, 1))
    assert number_of(await connection.request(numbered(ECHO, 2))) == 2
    assert service.came == [(ECHO, 1), (ECHO, 2)]
    await connection.aclose()
    connection.post(numbered(ECHO, 3))
