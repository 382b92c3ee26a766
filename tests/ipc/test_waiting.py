"""Every waiting task is served, whether it drives or is parked, and even if another task reads meanwhile."""

from __future__ import annotations

import secrets
import signal
import socket
import struct
import threading
from collections.abc import Callable
from typing import Literal

import pytest
import trio
import trio.testing

from tests.ipc import served as elsewhere
from tests.real.waiting import DEADLINE, eventually, eventually_async
from tests.ways import TASKS, every_way, settled, task_group
from votequorum_ipc import BadHandle, Library
from votequorum_ipc.daemon import ServerConnection, Service, open_server
from votequorum_ipc.ipc import Connection, blocking_backend, connect, wait_for_any
from votequorum_ipc.wire import message_id

Transport = Literal["shm", "socket"]

AT_ONCE, LATER, EVENT = 1, 2, 3


def request(id_: int) -> bytes:
    return struct.pack("=i4xi4x", id_, 16)


def response(id_: int) -> bytes:
    return struct.pack("=i4xi4xi4x", id_, 24, 1)


class Held(Service):
    """Answers `AT_ONCE` at once, and `LATER` on command."""

    name = "held"

    def __init__(self) -> None:
        self.clients: list[ServerConnection] = []
        self.held: list[ServerConnection] = []

    def connected(self, client: ServerConnection) -> None:
        self.clients.append(client)

    def process(self, client: ServerConnection, message: bytes) -> None:
        if message_id(message) == LATER:
            self.held.append(client)
        else:
            client.respond(response(AT_ONCE))

    def answer(self) -> None:
        """Answer the oldest waiting request."""
        self.held.pop(0).respond(response(LATER))

    def announce(self) -> None:
        """Send an event to every client."""
        for client in self.clients:
            client.notify(response(EVENT))


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_a_task_chosen_to_drive_that_is_served_before_it_runs_wakes_the_next(
    transport: Transport,
) -> None:
    service, address = Held(), f"@held-{secrets.token_hex(8)}"
    done: list[str] = []
    async with open_server(transport=transport) as server:
        server.listen(service, address)
        async with await connect("held", address=address) as connection, trio.open_nursery() as nursery:

            async def driving() -> None:
                await connection.request(request(LATER), response_size=24)
                # The next driver has been chosen, but has not run.
                service.answer()
                connection.queued_events()
                done.append("first")

            async def chosen() -> None:
                await connection.request(request(LATER), response_size=24)
                done.append("second")

            async def parked() -> None:
                await connection.next_event()
                done.append("event")

            for task in (driving, chosen, parked):
                nursery.start_soon(task)
                await trio.testing.wait_all_tasks_blocked()
            await eventually_async(lambda: len(service.held) == 2)
            service.answer()
            await eventually_async(lambda: len(done) == 2)
            service.announce()
            await eventually_async(lambda: len(done) == 3)
    assert done == ["first", "second", "event"]


@pytest.mark.parametrize("look", [Connection.queued_events, Connection.has_news])
async def test_a_late_answer_whose_edge_another_task_took_is_still_found(
    look: Callable[[Connection], object],
) -> None:
    service, address = Held(), f"@held-{secrets.token_hex(8)}"
    answered = trio.Event()
    with elsewhere.serving_in_thread(service, address) as there:
        async with await connect("held", address=address) as connection, trio.open_nursery() as nursery:

            async def late() -> None:
                await connection.request(request(LATER), deferred=True)
                answered.set()

            nursery.start_soon(connection.next_event)  # drives, and expects no answer
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(late)
            await trio.testing.wait_all_tasks_blocked()
            # This loop blocks while the server takes the request's byte, so that its edge reaches this task.
            eventually(connection._transport.answered_later)
            look(connection)
            await trio.testing.wait_all_tasks_blocked()
            there.run_sync_soon(service.answer)
            with trio.fail_after(DEADLINE):
                await answered.wait()
            nursery.cancel_scope.cancel()


async def test_a_waiter_cancelled_as_the_connection_ends_touches_no_closed_descriptor() -> None:
    service, address = Held(), f"@held-{secrets.token_hex(8)}"
    async with open_server(transport="shm") as server:
        server.listen(service, address)
        connection: Connection = await connect("held", address=address)
        connection.fileno()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.next_event)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            # It receives an event at the moment of its cancellation, and gives it back after the end.
            service.announce()
            connection.queued_events()
            await connection.aclose()


@pytest.mark.parametrize("closed_before", [False, True])
async def test_a_given_socket_is_closed_when_connecting_is_cancelled_or_fails(closed_before: bool) -> None:
    given, other = socket.socketpair()
    with other, trio.CancelScope() as scope:
        if closed_before:
            given.close()
            with pytest.raises(Library, match="Bad file descriptor"):
                await connect("held", address=given)
        else:
            scope.cancel()
            await connect("held", address=given)
    assert given.fileno() == -1


@pytest.mark.parametrize("transport", ["shm", "socket"])
@every_way(without={"blocking": TASKS}, uvloop=True)
async def test_a_cancelled_driver_hands_over_to_a_task_that_only_waits_for_an_event(
    transport: Transport,
) -> None:
    with elsewhere.served_elsewhere(transport) as there:
        async with await connect("held", address=there.address) as connection, task_group() as waiting:
            waiting.start(connection.next_event)
            async with task_group() as driving:
                driving.start(connection.request, elsewhere.request(elsewhere.LATER))
                await settled()
                driving.cancel()
            there.do(there.service.announce)
    with elsewhere.served_elsewhere(transport) as there:
        async with await connect("held", address=there.address) as connection, task_group() as waiting:
            async with task_group() as driving:
                driving.start(connection.request, elsewhere.request(elsewhere.LATER))
                await settled()
                waiting.start(connection.next_event)
                await settled()
                driving.cancel()
            there.do(there.service.announce)


def test_another_thread_gets_no_event_even_if_one_is_queued() -> None:
    errors: list[BadHandle] = []

    async def main() -> None:
        with elsewhere.served_elsewhere("shm") as there:
            async with await connect("held", address=there.address) as connection:
                there.do(there.service.announce)
                eventually(connection.queued_events)

                def take() -> None:
                    for call in (connection.next_event_nowait, connection.queued_events, connection.fileno):
                        try:
                            call()
                        except BadHandle as error:
                            errors.append(error)

                thread = threading.Thread(target=take)
                thread.start()
                thread.join()
                assert connection.queued_events() == 1

    blocking_backend.run_blocking(main())
    assert ["belongs to another thread" in str(error) for error in errors] == [True] * 3


def test_ctrl_c_ends_a_wait_for_several_connections_without_an_exception_group() -> None:
    async def press_when_all_wait() -> None:
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        async with await connect("held", address=there.address) as connection:
            trio.lowlevel.spawn_system_task(press_when_all_wait)
            await wait_for_any([connection], DEADLINE)

    with elsewhere.served_elsewhere("shm") as there, pytest.raises(KeyboardInterrupt):
        trio.run(main)
