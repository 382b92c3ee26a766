"""Clients that lie in every field that they can reach. Such a client loses its answer or its connection. The
client beside it is served throughout, and nothing of the liar remains."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import termios
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.real.waiting import DEADLINE, eventually_async
from votequorum_ipc import CsError, Votequorum
from votequorum_ipc.daemon import limits
from votequorum_ipc.ipc import Connection, connect
from votequorum_ipc.ipc.handshake import Setup, set_up
from votequorum_ipc.ring import Ring, ring_words
from votequorum_ipc.sockets import abstract
from votequorum_ipc.testing import SimulatedCluster, simulated_cluster
from votequorum_ipc.wire import SERVICES, Kind
from votequorum_ipc.wire import quorum as quorum_wire
from votequorum_ipc.wire import votequorum as wire
from votequorum_ipc.wire.setup import CONNECTION_REQUEST, DISCONNECT, RING_HEADER, UCRED, offset_of

Transport = Literal["shm", "socket"]

FAREWELL = struct.pack("=i4xi4x", DISCONNECT, 16)
REFUSAL = struct.pack("=i4xi4xi4x", 0, 24, 7)
GETINFO = wire.GETINFO.encode(nodeid=0)
WORD = struct.Struct("=I")
WORDS = ring_words(8192)


class Liar:
    """A client that completes the handshake honestly, and then misuses its files and its socket."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.socket = setup.socket
        self.response = setup.response

    @classmethod
    async def of(cls, cluster: SimulatedCluster, service: str = "votequorum") -> Liar:
        return cls(await set_up(service, 8192, cluster.address(1)))

    @property
    def directory(self) -> Path:
        return Path(self.response.request).parent

    def file(self, way: str, part: str = "header") -> str:
        return f"{getattr(self.response, way)}-{part}"

    def poke(self, way: str, field: str, value: bytes) -> Liar:
        """Overwrite a field of a ring's header, without mapping it."""
        self.write(self.file(way), offset_of(RING_HEADER, field), value)
        return self

    def write(self, path: str, offset: int, value: bytes) -> None:
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.pwrite(descriptor, value, offset)
        finally:
            os.close(descriptor)

    def ask(self, request: bytes = GETINFO) -> Liar:
        """Put a valid request into the ring, and ring the doorbell."""
        ring = Ring.open(self.response.request, self.response.max_msg_size)
        try:
            assert ring.write(request)
        finally:
            ring.close()
        self.ring()
        return self

    def ring(self, times: int = 1) -> None:
        self.socket.send(bytes(times))

    async def ended(self) -> None:
        """Wait until the server has closed the connection, and check that nothing is left of it."""
        with trio.fail_after(DEADLINE):
            while await self._more():
                pass
        assert not self.directory.exists()

    async def _more(self) -> bytes:
        await trio.lowlevel.wait_readable(self.socket)
        try:
            return self.socket.recv(4096)
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
async def cluster() -> AsyncIterator[SimulatedCluster]:
    async with simulated_cluster(3) as cluster:
        yield cluster


@pytest.fixture
async def honest(cluster: SimulatedCluster) -> Votequorum:
    """The client beside the liar."""
    return await cluster.connect(1)


@pytest.fixture
async def liar(cluster: SimulatedCluster) -> AsyncIterator[Liar]:
    liar = await Liar.of(cluster)
    yield liar
    liar.close()
    await trio.testing.wait_all_tasks_blocked(0.01)
    # If a liar has added a file, its directory stays, as with libqb.
    shutil.rmtree(liar.directory, ignore_errors=True)


async def is_served(vq: Votequorum) -> None:
    for _ in range(5):
        assert (await vq.getinfo()).node_id == 1


def words(*values: int) -> bytes:
    return b"".join(map(WORD.pack, values))


def announce(liar: Liar, size: int, magic: int = 0xA1A1A1A1) -> None:
    """Write the header of a chunk with this length and magic at the start of the ring, by hand."""
    liar.write(liar.file("request", "data"), 0, words(size, magic))
    liar.poke("request", "write_pt", words(8))
    liar.poke("request", "posted_sem", words(1))


LIES: dict[str, Callable[[Liar], Any]] = {
    "write pointer beyond the ring": lambda liar: liar.ask().poke(
        "request", "write_pt", words(ring_words(8192))
    ),
    "read pointer beyond the ring": lambda liar: liar.ask().poke("request", "read_pt", words(0xFFFFFFFF)),
    "response ring's write pointer": lambda liar: liar.poke("response", "write_pt", words(0x7FFFFFFF)).ask(),
    "response ring's read pointer": lambda liar: liar.poke("response", "read_pt", words(0x80000000)).ask(),
    "a chunk that was never committed": lambda liar: announce(liar, 24, 0xA110CED0),
    "a chunk without a magic": lambda liar: announce(liar, 24, 0),
    "a chunk longer than a message": lambda liar: announce(liar, 8193),
    "a chunk longer than the ring": lambda liar: announce(liar, 0xFFFFFFFF),
    "a chunk longer than what is in use": lambda liar: announce(liar, 400),
    "a semaphore that counts missing chunks": lambda liar: liar.poke("request", "posted_sem", words(9)),
    "a semaphore of noise": lambda liar: liar.poke("request", "posted_sem", b"\xfe\x7f" * 16),
    "a farewell": lambda liar: liar.ask(struct.pack("=i4xi4x", -3, 16)),
    "the request header truncated": lambda liar: os.truncate(liar.file("request"), 0),
    "the request data truncated": lambda liar: os.truncate(liar.file("request", "data"), 100),
    "the response header truncated": lambda liar: os.truncate(liar.file("response"), 4096),
    "the response data truncated": lambda liar: os.truncate(liar.file("response", "data"), 0),
    "the event header truncated": lambda liar: os.truncate(liar.file("event"), 8192),
    "the event data truncated": lambda liar: os.truncate(liar.file("event", "data"), 0),
}
"""Lies that end a connection as soon as the doorbell rings."""


@pytest.mark.parametrize("lie", LIES)
async def test_a_lying_ring_ends_only_its_own_connection(honest: Votequorum, liar: Liar, lie: str) -> None:
    await is_served(honest)
    LIES[lie](liar)
    liar.ring()
    await liar.ended()
    await is_served(honest)


WHIMS: dict[str, Callable[[Liar], Any]] = {
    "another word size": lambda liar: liar.poke("request", "word_size", words(1)),
    "false waiters, and an impossible way to wake them": lambda liar: liar.poke(
        "response", "posted_sem", words(0, 1, 0x7FFFFFFF, 0x7FFFFFFF)
    ),
    "a response semaphore at its maximum": lambda liar: liar.poke(
        "response", "posted_sem", words(0x7FFFFFFF)
    ),
    "a response semaphore of noise": lambda liar: liar.poke("response", "posted_sem", b"\xfe\x7f" * 16),
    "other paths": lambda liar: liar.poke("request", "data_path", b"/etc/passwd\0"),
    "changed flow control": lambda liar: liar.poke("request", "flow_control", words(1)),
    "a changed reference count": lambda liar: liar.poke("response", "ref_count", words(0xFFFFFFFF)),
    "doorbells without requests": lambda liar: liar.ring(200),
    "extra files": lambda liar: (liar.directory / "mine").write_bytes(b""),
    "a file removed": lambda liar: Path(liar.file("event")).unlink(),
    "a file replaced": lambda liar: Path(liar.file("event")).rename(liar.file("request")),
    "a longer file": lambda liar: os.truncate(liar.file("request", "data"), 1 << 20),
}
"""Changes by a client that do no harm, not even to itself."""


@pytest.mark.parametrize("whim", WHIMS)
async def test_a_harmless_change_has_no_effect(honest: Votequorum, liar: Liar, whim: str) -> None:
    ring = Ring.open(liar.response.request, 8192)
    responses = Ring.open(liar.response.response, 8192)
    try:
        WHIMS[whim](liar)
        for _ in range(3):
            assert ring.write(GETINFO)
            liar.ring()
            await is_served(honest)
            assert wire.GETINFO_RESPONSE.decode(responses.read() or b"").nodeid == 1
    finally:
        ring.close()
        responses.close()


async def test_requests_without_a_doorbell_are_answered_at_the_next_one(
    liar: Liar, honest: Votequorum
) -> None:
    ring = Ring.open(liar.response.request, 8192)
    responses = Ring.open(liar.response.response, 8192)
    try:
        for _ in range(60):
            assert ring.write(GETINFO)
        liar.ring()
        await is_served(honest)
        with trio.fail_after(DEADLINE):
            answers = 0
            while answers < 60:
                await trio.lowlevel.checkpoint()
                answers += responses.read() is not None
        assert responses.read() is None
    finally:
        ring.close()
        responses.close()


async def test_responses_that_are_not_taken_are_given_later(liar: Liar, honest: Votequorum) -> None:
    """There is no signal for room in the response ring, so the server checks from time to time."""
    ring = Ring.open(liar.response.request, 8192)
    responses = Ring.open(liar.response.response, 8192)
    asked = answered = 0
    try:
        while ring.write(GETINFO):
            asked += 1
            liar.ring()
            if asked == 100:
                break
        await is_served(honest)
        with trio.fail_after(DEADLINE):
            while answered < asked:
                await trio.sleep(0.001)
                while responses.read() is not None:
                    answered += 1
    finally:
        ring.close()
        responses.close()


async def test_events_into_a_truncated_ring_end_only_its_own_connection(
    cluster: SimulatedCluster, honest: Votequorum, liar: Liar
) -> None:
    await honest.trackstart()
    liar.ask(wire.TRACKSTART.encode(context=0, track_flags=2))
    await is_served(honest)
    os.truncate(liar.file("event", "data"), 0)
    cluster.kill(3)
    await liar.ended()
    assert [type(await honest.next_event()).__name__ for _ in range(4)][2:] == [
        "NodelistNotification",
        "QuorumNotification",
    ]


async def test_a_client_may_leave_in_mid_request(cluster: SimulatedCluster, honest: Votequorum) -> None:
    for _ in range(20):
        liar = await Liar.of(cluster)
        liar.ask(wire.TRACKSTART.encode(context=0, track_flags=2))
        liar.close()
    cluster.kill(3)
    await is_served(honest)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert cluster.server.admission.connections == 1


# --- before the handshake is over ---


HANDSHAKES = {
    "nothing": b"",
    "half": CONNECTION_REQUEST.encode(max_msg_size=8192)[:12],
    "another id": b"\0" * 24,
    "another size": struct.pack("=i4xi4xI4x", -1, 25, 8192),
    "noise": b"\xff" * 24,
    "too much": CONNECTION_REQUEST.encode(max_msg_size=8192) + b"x" * 5000,
}


@pytest.mark.parametrize("opening", HANDSHAKES)
async def test_an_invalid_handshake_does_not_affect_other_clients(
    cluster: SimulatedCluster, honest: Votequorum, opening: str
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(abstract(cluster.address(1)[1:].format(service="votequorum")))
        sock.send(HANDSHAKES[opening])
        await is_served(honest)
    await is_served(honest)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert cluster.server.admission.connections == 1


async def test_silent_clients_keep_no_other_client_out(cluster: SimulatedCluster, honest: Votequorum) -> None:
    address = abstract(cluster.address(1)[1:].format(service="votequorum"))
    silent = []
    for _ in range(limits.MAX_HANDSHAKES * 2):
        silent.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        silent[-1].connect(address)
        await is_served(honest)
    async with await Votequorum.initialize(address=cluster.address(1)) as another:
        await is_served(another)
    # The oldest of them were dropped in favour of later ones.
    assert silent[0].recv(1) == b""
    for sock in silent:
        sock.close()


# --- the socket transport ---


@pytest.fixture
async def sockets() -> AsyncIterator[SimulatedCluster]:
    async with simulated_cluster(3, transport="socket") as cluster:
        yield cluster


def datagram(liar: Liar, way: str = "response") -> socket.socket:
    """The client's socket of a pair, as libqb makes it."""
    remote = {"response": "request", "event": "event-tx"}[way]
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(abstract(f"{liar.response.response}-{way}"))
    sock.connect(abstract(f"{liar.response.response}-{remote}"))
    return sock


def bound(name: bytes) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(name)
    return sock


CONTROLS: dict[str, Callable[[str], Any]] = {
    "noise": lambda path: Path(path).write_bytes(b"\xff" * 24),
    "counts": lambda path: Path(path).write_bytes(words(0x7FFFFFFF, 0) * 3),
    "a longer file": lambda path: os.truncate(path, 4096),
    "no file": lambda path: Path(path).unlink(),
}


@pytest.mark.parametrize("lie", CONTROLS)
async def test_lies_in_the_control_file_have_no_effect(sockets: SimulatedCluster, lie: str) -> None:
    honest, liar = await sockets.connect(1), await Liar.of(sockets)
    with datagram(liar) as sock:
        CONTROLS[lie](liar.response.request)
        sock.send(GETINFO)
        await is_served(honest)
        assert wire.GETINFO_RESPONSE.decode(sock.recv(9000)).nodeid == 1
    liar.close()


async def test_a_truncated_control_file_ends_only_its_own_connection(sockets: SimulatedCluster) -> None:
    honest, liar = await sockets.connect(1), await Liar.of(sockets)
    with datagram(liar) as sock:
        os.truncate(liar.response.request, 0)
        sock.send(GETINFO)
        await liar.ended()
    await is_served(honest)
    liar.close()


@pytest.mark.parametrize("size", [0, 8193, 100_000])
async def test_a_datagram_of_an_impossible_size_ends_only_its_own_connection(
    sockets: SimulatedCluster, size: int
) -> None:
    honest, liar = await sockets.connect(1), await Liar.of(sockets)
    with datagram(liar) as sock:
        sock.send(bytes(size))
        await liar.ended()
    await is_served(honest)
    liar.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may send with another user's credentials")
async def test_datagrams_of_another_user_are_dropped_and_do_not_delay_the_client(
    sockets: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fewer than the kernel queues, so that strangers can fill more than one batch.
    monkeypatch.setattr("votequorum_ipc.daemon.datagram.MAX_BATCH", 2)
    honest, liar = await sockets.connect(1), await Liar.of(sockets)
    stranger = UCRED.build({"pid": os.getpid(), "uid": 65534, "gid": 65534})
    credentials = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, stranger)]
    with datagram(liar) as sock:
        for _ in range(5):
            for _ in range(5):
                sock.sendmsg([FAREWELL], credentials)
            sock.send(GETINFO)
            await is_served(honest)
            assert wire.GETINFO_RESPONSE.decode(sock.recv(9000)).nodeid == 1
    liar.close()


async def test_bytes_on_the_setup_socket_are_dropped(sockets: SimulatedCluster) -> None:
    honest, liar = await sockets.connect(1), await Liar.of(sockets)
    liar.ring(1000)
    await is_served(honest)
    with datagram(liar) as sock:
        sock.send(GETINFO)
        await is_served(honest)
        assert sock.recv(9000)
    liar.close()


async def test_a_client_without_its_sockets_ends_alone(sockets: SimulatedCluster) -> None:
    """It asks for events but never makes the socket for them."""
    honest, liar = await sockets.connect(1), await Liar.of(sockets)
    with datagram(liar) as sock:
        sock.send(wire.TRACKSTART.encode(context=0, track_flags=2))
        await liar.ended()
    await is_served(honest)
    liar.close()


async def test_a_client_that_leaves_an_unread_event_for_another_socket_ends_at_the_next(
    sockets: SimulatedCluster,
) -> None:
    """The server's socket for events then has an error that the server has no reason to read."""
    honest, liar = await sockets.connect(1), await Liar.of(sockets)
    elsewhere = abstract(f"{liar.response.response}-elsewhere")
    with datagram(liar) as sock, datagram(liar, "event") as events, bound(elsewhere):
        sock.send(wire.TRACKSTART.encode(context=0, track_flags=2))
        await trio.lowlevel.wait_readable(events)
        events.connect(elsewhere)
        with trio.fail_after(DEADLINE):
            # The server waits; it does not spin on the error.
            await trio.testing.wait_all_tasks_blocked()
        await is_served(honest)
        sockets.partition({1}, {2, 3})
        await liar.ended()
    await is_served(honest)
    liar.close()


# --- anything at all ---


def requests(service: str) -> st.SearchStrategy[bytes]:
    """Bytes that more or less look like a service's requests."""
    sizes = [layout.fixed_size or 40 for layout in SERVICES[service] if layout.kind is Kind.REQUEST]
    header = st.builds(
        struct.Struct("=i4xi4x").pack,
        st.one_of(st.integers(-1, 15), st.integers(-(2**31), 2**31 - 1)),
        st.one_of(st.sampled_from(sizes), st.integers(-(2**31), 2**31 - 1)),
    )

    def of_size(raw: bytes) -> st.SearchStrategy[bytes]:
        size = struct.unpack_from("=8xi", raw)[0]
        body = st.binary(max_size=64).map(lambda tail: tail.ljust(min(max(size - 16, 0), 8000), b"\0"))
        return body.map(lambda tail: raw + tail)

    return st.one_of(header.flatmap(of_size), st.binary(min_size=1, max_size=600))


@pytest.mark.parametrize("transport", ["shm", "socket"])
@pytest.mark.parametrize("service", ["votequorum", "quorum", "cmap", "cfg"])
def test_whatever_a_client_sends_is_answered_once_or_ends_it(service: str, transport: Transport) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(sent=st.lists(requests(service), max_size=12))
    def holds(sent: list[bytes]) -> None:
        trio.run(_send_all, service, transport, sent)

    holds()


def has_node(cluster: SimulatedCluster) -> bool:
    return 1 in cluster.model.nodes


async def _send_all(service: str, transport: Transport, sent: list[bytes]) -> None:
    async with simulated_cluster(3, transport=transport) as cluster:
        honest = await cluster.connect(1)
        async with await connect(service, address=cluster.address(1)) as connection:
            try:
                for request in sent:
                    with trio.fail_after(DEADLINE):
                        answer = await connection.request(request)
                    assert struct.unpack_from("=8xi", answer)[0] == len(answer)
            except CsError:
                # A connection whose requests are complete ends only by a farewell or the end of the node.
                assert any(request[:4] == struct.pack("=i", -3) for request in sent) or not has_node(cluster)
        if not has_node(cluster):
            assert service == "cfg", "only cfg can be asked to end a node"
            cluster.up(1)
            honest = await cluster.connect(1)
        cluster.partition({1}, {2, 3})
        cluster.heal()
        await is_served(honest)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    header=st.lists(st.tuples(st.integers(0, 2062), st.integers(0, 0xFFFFFFFF)), max_size=6),
    fields=st.dictionaries(
        st.sampled_from(["write_pt", "read_pt", "word_size", "ref_count", "posted_sem", "flow_control"]),
        st.one_of(st.integers(0, 3100), st.integers(0, 0xFFFFFFFF)),
    ),
    data=st.binary(max_size=200),
    way=st.sampled_from(["request", "response", "event"]),
)
def test_whatever_a_client_writes_into_its_rings_others_are_served(
    header: list[tuple[int, int]], fields: dict[str, int], data: bytes, way: str
) -> None:
    trio.run(_scribble, header, fields, data, way)


async def _scribble(header: list[tuple[int, int]], fields: dict[str, int], data: bytes, way: str) -> None:
    async with simulated_cluster(3) as cluster:
        honest, liar = await cluster.connect(1), await Liar.of(cluster)
        liar.ask(wire.TRACKSTART.encode(context=0, track_flags=2))
        await is_served(honest)
        for at, value in header:
            liar.write(liar.file(way), at * 4, words(value))
        for field, value in fields.items():
            liar.poke(way, field, words(value))
        liar.write(liar.file(way, "data"), 0, data)
        liar.ring()
        await is_served(honest)
        cluster.kill(3)
        await is_served(honest)
        liar.close()
        await is_served(honest)
        await trio.testing.wait_all_tasks_blocked()
        assert cluster.server.admission.connections == 1


@pytest.mark.parametrize("service", ["votequorum", "quorum"])
async def test_unknown_track_flags_take_no_memory(cluster: SimulatedCluster, service: str) -> None:
    """An enumeration of flags keeps each unknown value it has seen, in about 400 bytes, forever."""
    rounds = 1000

    async def send(connection: Connection, numbers: range) -> None:
        layout = {"votequorum": wire.TRACKSTART, "quorum": quorum_wire.TRACKSTART}[service]
        fields = {"context": 0} if service == "votequorum" else {}
        for number in numbers:
            flags = number << 3 | (1 << 30 if service == "quorum" else 0)
            await connection.request(layout.encode(track_flags=flags, **fields))

    async with await connect(service, address=cluster.address(1)) as connection:
        tracemalloc.start()
        try:
            await send(connection, range(rounds))
            before, _ = tracemalloc.get_traced_memory()
            await send(connection, range(rounds, 2 * rounds))
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (after - before) / rounds < 40


def unread(sock: socket.socket) -> int:
    """How much of the sender's memory the unread bytes take: 0 once the other end has read all."""
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0])


async def test_doorbell_bytes_without_requests_are_dropped(liar: Liar) -> None:
    """All of them: one read takes only some, and no edge signals the rest."""
    liar.ring(1000)
    await eventually_async(lambda: not unread(liar.socket))


async def test_the_late_doorbell_of_an_answered_request_is_taken(liar: Liar) -> None:
    """Two requests, then one byte: when the second byte comes, its request is already answered."""
    ring = Ring.open(liar.response.request, liar.response.max_msg_size)
    assert ring.write(GETINFO)
    assert ring.write(GETINFO)
    ring.close()
    for _ in range(2):
        liar.ring()
        await eventually_async(lambda: not unread(liar.socket))
    answers = Ring.open(liar.response.response, liar.response.max_msg_size)
    assert answers.read()
    assert answers.read()
    assert answers.read() is None
    answers.close()


async def test_stray_bytes_do_not_use_up_the_doorbells_of_later_requests(liar: Liar) -> None:
    """The byte of each request is still read, which is what wakes a client."""
    liar.ring(3)
    await eventually_async(lambda: not unread(liar.socket))
    for _ in range(3):
        liar.ask()
        await eventually_async(lambda: not unread(liar.socket))
