"""libqb's server half alone, with a service that echoes every request."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import trio
import trio.testing

from tests.real.waiting import DEADLINE
from votequorum_ipc import Busy, InvalidParam, Library, NotExist, TryAgain
from votequorum_ipc.daemon import (
    AccessRule,
    Credentials,
    Server,
    ServerConnection,
    Service,
    limits,
    open_server,
)
from votequorum_ipc.daemon.service import REFUSED
from votequorum_ipc.ipc import connect
from votequorum_ipc.ipc.handshake import set_up
from votequorum_ipc.ring import Ring
from votequorum_ipc.sockets import abstract
from votequorum_ipc.wire import quorum as wire
from votequorum_ipc.wire.setup import CONNECTION_REQUEST, CONNECTION_RESPONSE

Transport = Literal["shm", "socket"]

ADDRESS = f"@daemon-test-{os.getpid()}-{{service}}"


class Echo(Service):
    """Answers each request with itself."""

    name = "echo"

    def __init__(self) -> None:
        self.clients: list[ServerConnection] = []

    def connected(self, client: ServerConnection) -> None:
        self.clients.append(client)

    def disconnected(self, client: ServerConnection) -> None:
        self.clients.remove(client)

    def process(self, client: ServerConnection, message: bytes) -> None:
        client.respond(message)


def message(size: int, fill: int = 0) -> bytes:
    """A well-formed message of this size."""
    header = struct.pack("=i4xi4xi4x", 3, size, 1)
    return header + bytes([fill]) * (size - len(header))


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> Transport:
    name: Transport = request.param
    return name


@pytest.fixture
async def server(transport: Transport) -> AsyncIterator[Server]:
    async with open_server(transport=transport) as server:
        yield server


@pytest.fixture
def echo(server: Server) -> Echo:
    service = Echo()
    server.listen(service, ADDRESS)
    return service


async def test_every_size_of_message_goes_through(echo: Echo, transport: Transport) -> None:
    async with await connect("echo", address=ADDRESS, max_msg_size=100_000) as connection:
        assert connection.transport == transport
        for size in (24, 25, 4095, 8192, 8193, 50_000, 100_000, 24):
            assert await connection.request(message(size, size % 251)) == message(size, size % 251)


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (1, 8192),
        (8192, 8192),
        (8193, 8193),
        (1 << 20, 1 << 20),
        ((1 << 20) + 1, 1 << 20),
        (0xFFFFFFFF, 1 << 20),
    ],
)
async def test_a_message_size_is_granted_within_limits(echo: Echo, asked: int, granted: int) -> None:
    async with await connect("echo", address=ADDRESS, max_msg_size=asked) as connection:
        assert connection.max_msg_size == granted


async def test_a_client_is_known_by_its_credentials(echo: Echo) -> None:
    async with await connect("echo", address=ADDRESS) as connection:
        assert connection.server_pid == os.getpid()
        (client,) = echo.clients
        assert client.credentials == Credentials(os.getpid(), os.getuid(), os.getgid())


async def test_events_wait_for_a_client_that_does_not_read_and_keep_their_order(echo: Echo) -> None:
    async with await connect("echo", address=ADDRESS) as connection:
        sent = [message(4000, number) for number in range(200)]
        for event in sent:
            echo.clients[0].notify(event)
        assert await connection.request(message(24)) == message(24)
        with trio.fail_after(DEADLINE):
            assert [await connection.next_event() for _ in sent] == sent


async def test_the_doorbells_of_events_come_when_the_client_takes_them_one_by_one() -> None:
    """As C clients do: a byte, then an event, and never a read of the ring without a byte. The socket holds
    the bytes of about 300 events, the ring many more."""
    number = 400
    async with open_server(transport="shm") as server:
        service = Echo()
        server.listen(service, ADDRESS)
        setup = await set_up("echo", limits.MOST_GRANTED_MSG_SIZE, ADDRESS)
        ring = Ring.open(setup.response.event, setup.response.max_msg_size)
        try:
            for _ in range(number):
                service.clients[0].notify(message(24))
            assert ring.queued() == number
            with trio.fail_after(DEADLINE):
                for _ in range(number):
                    await trio.lowlevel.wait_readable(setup.socket)
                    assert setup.socket.recv(1)
                    assert ring.read() == message(24)
        finally:
            ring.close()
            setup.socket.close()


async def test_only_a_client_with_too_many_unread_events_is_dropped(echo: Echo) -> None:
    async with (
        await connect("echo", address=ADDRESS) as lazy,
        await connect("echo", address=ADDRESS) as other,
    ):
        for _ in range(limits.MAX_OUTBOX_BYTES // 8000 + 200):
            echo.clients[0].notify(message(8000))
            if len(echo.clients) == 1:
                break
        with pytest.raises(Library):
            await lazy.request(message(24))
        assert await other.request(message(24)) == message(24)


async def test_a_flood_from_one_client_lets_another_through(echo: Echo) -> None:
    async with (
        await connect("echo", address=ADDRESS) as busy,
        await connect("echo", address=ADDRESS) as other,
    ):
        flooding = True

        async def flood() -> None:
            while flooding:
                await busy.request(message(24), response_size=24)

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(flood)
            for _ in range(100):
                await other.request(message(24))
            flooding = False


async def test_unknown_and_malformed_requests_get_corosyncs_refusal(server: Server) -> None:
    class Nothing(Service):
        name = "nothing"

    server.listen(Nothing(), ADDRESS)
    refusal = struct.pack("=i4xi4xi4x", 0, 24, 7)
    async with await connect("nothing", address=ADDRESS) as connection:
        for request in (message(24), wire.GETTYPE.encode(), b"\1", b"\0" * 16, b"\xff" * 8192):
            assert await connection.request(request) == refusal


async def test_a_response_waits_until_there_is_room_for_it(echo: Echo) -> None:
    class Flood(Echo):
        name = "flood"

        def process(self, client: ServerConnection, request: bytes) -> None:
            client.respond(message(8000, 1))
            # The client did not expect these, so it keeps no room for them.
            for _ in range(100):
                client.notify(message(8000, 2))

    async with open_server(transport="shm") as server:
        server.listen(Flood(), ADDRESS)
        async with await connect("flood", address=ADDRESS) as connection:
            for _ in range(3):
                assert await connection.request(message(24)) == message(8000, 1)
                with trio.fail_after(DEADLINE):
                    assert [await connection.next_event() for _ in range(100)] == [message(8000, 2)] * 100


# --- access ---


async def test_while_the_server_starts_clients_are_told_to_try_again(server: Server, echo: Echo) -> None:
    server.admission.ready = False
    with pytest.raises(TryAgain):
        await connect("echo", address=ADDRESS)
    server.admission.ready = True
    async with await connect("echo", address=ADDRESS):
        pass


async def test_beyond_the_limit_clients_are_refused(server: Server, echo: Echo) -> None:
    server.admission.connections = limits.MAX_CONNECTIONS
    with pytest.raises(Library, match="descriptors"):
        await connect("echo", address=ADDRESS)
    server.admission.connections = 0
    async with await connect("echo", address=ADDRESS):
        assert server.admission.connections == 1


@pytest.mark.parametrize(
    ("credentials", "allowed"),
    [
        (Credentials(1, 0, 5), True),
        (Credentials(1, 5, 0), True),
        (Credentials(1, 7, 5), True),
        (Credentials(1, 5, 8), True),
        (Credentials(1, 5, 5), False),
        (Credentials(1, 8, 7), False),
    ],
)
def test_the_access_rule_is_corosyncs(credentials: Credentials, allowed: bool) -> None:
    assert AccessRule(frozenset([7]), frozenset([8])).allows(credentials) is allowed


# --- addresses ---


async def test_a_service_at_a_path_works_and_the_socket_is_removed_at_the_end(
    transport: Transport, tmp_path: Path
) -> None:
    address = f"{tmp_path}/{{service}}"
    async with open_server(transport=transport) as server:
        server.listen(Echo(), address)
        async with await connect("echo", address=address) as connection:
            assert await connection.request(message(24)) == message(24)
    assert list(tmp_path.iterdir()) == []


async def test_the_socket_of_a_dead_server_is_replaced(server: Server, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "echo"))
    server.listen(Echo(), tmp_path / "echo")
    async with await connect("echo", address=tmp_path / "echo"):
        pass


async def test_an_address_in_use_is_a_clear_error(server: Server, tmp_path: Path) -> None:
    for address in (ADDRESS, f"{tmp_path}/{{service}}"):
        server.listen(Echo(), address)
        with pytest.raises(Busy, match="in use: is corosync"):
            server.listen(Echo(), address)
        async with await connect("echo", address=address):
            pass


async def test_a_file_in_the_way_is_not_removed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "echo").write_text("precious")
    with pytest.raises(Busy):
        server.listen(Echo(), tmp_path / "echo")
    assert (tmp_path / "echo").read_text() == "precious"


async def test_an_invalid_address_is_an_error(server: Server) -> None:
    with pytest.raises(InvalidParam):
        server.listen(Echo(), "@" + "x" * 200)
    with pytest.raises(NotExist):
        server.listen(Echo(), "/no/such/directory/{service}")


async def test_a_withdrawn_service_is_gone_at_once(server: Server) -> None:
    listener = server.listen(Echo(), ADDRESS)
    async with await connect("echo", address=ADDRESS) as connection:
        server.withdraw(listener)
        with pytest.raises(Library):
            await connection.request(message(24))
    with pytest.raises(Library):
        await connect("echo", address=ADDRESS)


# --- copies of the server's sockets ---


@contextlib.contextmanager
def forked(end: Callable[[], object] = lambda: None) -> Iterator[None]:
    """A forked child that calls `end` and then lives as long as the block."""
    done, child_done = os.pipe()
    parent_lives, parent = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(parent)
        with contextlib.suppress(BaseException):
            end()
            os.write(child_done, b"\0")
        os.read(parent_lives, 1)
        os._exit(0)
    os.close(child_done)
    try:
        assert os.read(done, 1)
        yield
    finally:
        for descriptor in (done, parent, parent_lives):
            os.close(descriptor)
        os.waitpid(pid, 0)


async def test_a_forked_child_keeps_neither_the_clients_nor_the_address(server: Server) -> None:
    listener = server.listen(Echo(), ADDRESS)
    async with await connect("echo", address=ADDRESS) as connection:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as undecided:
            undecided.connect(abstract(ADDRESS[1:].format(service="echo")))
            await trio.testing.wait_all_tasks_blocked()
            with forked(), trio.fail_after(DEADLINE):
                server.withdraw(listener)
                with pytest.raises(Library):
                    await connection.next_event()
                await trio.lowlevel.wait_readable(undecided)
                assert undecided.recv(1) == b""
                server.listen(Echo(), ADDRESS)
                async with await connect("echo", address=ADDRESS) as again:
                    assert await again.request(message(24)) == message(24)


async def test_closing_in_a_forked_child_does_not_affect_the_parent(server: Server, tmp_path: Path) -> None:
    server.listen(Echo(), tmp_path / "echo")
    async with await connect("echo", address=tmp_path / "echo") as connection:
        before = connections_files()
        with forked(server.close):
            assert connections_files() == before
            assert await connection.request(message(24)) == message(24)
            async with await connect("echo", address=tmp_path / "echo") as another:
                assert await another.request(message(24)) == message(24)


def connections_files() -> set[Path]:
    return set(Path("/dev/shm").glob(f"qb-{os.getpid()}-*/*"))


async def test_a_client_notices_the_end_even_if_a_copy_of_its_socket_exists(echo: Echo) -> None:
    """A child that C code forked would hold such a copy."""
    async with await connect("echo", address=ADDRESS) as connection:
        with echo.clients[0]._setup.dup(), trio.fail_after(DEADLINE):
            echo.clients[0].close()
            with pytest.raises(Library):
                await connection.next_event()


# --- what a C client would see ---


def test_the_refusal_of_a_connection_is_zero_after_its_header() -> None:
    from votequorum_ipc.daemon.handshake import refused

    raw = refused(13)
    assert len(raw) == 12328
    assert struct.unpack_from("=i4xi4xi", raw) == (-1, 12328, -13)
    assert not any(raw[20:])


async def test_the_files_of_a_connection_are_where_libqb_puts_them(echo: Echo, transport: Transport) -> None:
    """Names, modes and sizes of all files of a connection in /dev/shm."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(abstract(ADDRESS[1:].format(service="echo")))
        sock.sendall(CONNECTION_REQUEST.encode(max_msg_size=8192))
        raw = await trio.to_thread.run_sync(sock.recv, 12328, socket.MSG_WAITALL)
        response = CONNECTION_RESPONSE.decode(raw)
        directory = Path(response.request).parent
        assert directory.name.startswith(f"qb-{os.getpid()}-{os.getpid()}-")
        assert directory.stat().st_mode & 0o7777 == 0o770
        sizes = {path.name: path.stat().st_size for path in directory.iterdir()}
        assert all(path.stat().st_mode & 0o7777 == 0o600 for path in directory.iterdir())
    if transport == "shm":
        ways = ("request", "response", "event")
        assert sizes == {f"qb-{way}-echo-header": 8252 for way in ways} | {
            f"qb-{way}-echo-data": 12288 for way in ways
        }
    else:
        assert sizes == {"qb-control-echo": 24}
        assert response.response == f"{directory}/qb-echo"


class Greeter(Service):
    """Sends each client an event as soon as it is connected."""

    name = "greeter"

    def connected(self, client: ServerConnection) -> None:
        client.notify(message(64, 7))


async def test_an_event_sent_when_a_client_connects_reaches_it(server: Server) -> None:
    """libqb calls connection_created after sending the setup response."""
    server.listen(Greeter(), ADDRESS)
    async with await connect("greeter", address=ADDRESS) as connection:
        with trio.fail_after(DEADLINE):
            assert await connection.next_event() == message(64, 7)
            assert await connection.request(message(24)) == REFUSED


class Register(Service):
    """Records what it is told about its clients."""

    name = "register"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def connected(self, client: ServerConnection) -> None:
        self.heard.append("connected")

    def disconnected(self, client: ServerConnection) -> None:
        self.heard.append("disconnected")


async def test_a_client_that_goes_away_during_the_setup_is_never_connected(server: Server) -> None:
    """A service is told only about clients that got their setup response, and about their end."""
    service = Register()
    server.listen(service, ADDRESS)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(abstract(ADDRESS[1:].format(service="register")))
        client.sendall(CONNECTION_REQUEST.encode(max_msg_size=8192))
    async with await connect("register", address=ADDRESS) as connection:
        assert await connection.request(message(24)) == REFUSED
    server.close()
    assert service.heard == ["connected", "disconnected"]
