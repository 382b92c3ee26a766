"""What the specification says about the daemon's behaviour, beyond the recorded frames."""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.conftest import StartCluster, StartDaemon
from tests.real.config import Config, Device, Node
from tests.real.cref import CS_OK, CMap, CQuorum, CVotequorum
from tests.real.cref.votequorum import knows_extra_info
from tests.real.daemon import Daemon
from tests.real.waiting import eventually
from votequorum_ipc.errors import CsErrorCode
from votequorum_ipc.ring import Ring
from votequorum_ipc.wire import votequorum as wire
from votequorum_ipc.wire.layout import reply_error
from votequorum_ipc.wire.setup import (
    CHUNK_HEADER,
    CONNECTION_REQUEST,
    CONNECTION_RESPONSE,
    CONTROL_BLOCK,
    RING_HEADER,
    SEM_T_SIZE,
    offset_of,
)

GETINFO = wire.GETINFO.encode(nodeid=0)
ID, SIZE = struct.Struct("=i"), struct.Struct("=8xi")
EXTRA_INFO_IDS = (wire.QDEVICE_SET_EXTRA_INFO.id, wire.QDEVICE_GET_EXTRA_INFO.id)
DEVICE_VOTES = 256
DISCONNECT = -3


def handshake(daemon: Daemon, request: bytes, service: str = "votequorum") -> tuple[socket.socket, Any]:
    """A setup socket and the decoded response; None if the server closed the socket instead."""
    connection = daemon.connect(service, timeout=10)
    connection.sendall(request)
    size = CONNECTION_RESPONSE.fixed_size or 0
    answer = connection.recv(size, socket.MSG_WAITALL)
    return connection, CONNECTION_RESPONSE.decode(answer) if answer else None


class Bare:
    """A connection over shared memory that does nothing by itself."""

    def __init__(self, daemon: Daemon, service: str = "votequorum") -> None:
        request = CONNECTION_REQUEST.encode(max_msg_size=8192)
        self.socket, self.setup = handshake(daemon, request, service)
        stems = (self.setup.request, self.setup.response, self.setup.event)
        self.request, self.response, self.event = (Ring.open(s, self.setup.max_msg_size) for s in stems)

    def send(self, message: bytes, *, doorbell: bool = True) -> None:
        assert self.request.write(message)
        if doorbell:
            self.ring_doorbell()

    def ring_doorbell(self) -> None:
        self.socket.send(b"!")

    def answer(self) -> bytes:
        return eventually(self.response.read, otherwise="an answer came") or b""

    def answer_or_end(self) -> bytes | None:
        """The answer; None if the daemon ends the connection instead."""
        answer: bytes | None = None

        def settled() -> bool:
            nonlocal answer
            answer = self.response.read()
            return answer is not None or self.ended()

        eventually(settled, otherwise="an answer or the end")
        return answer

    def ended(self) -> bool:
        """Whether the daemon has closed the setup socket."""
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()
        for ring in (self.request, self.response, self.event):
            ring.close()


@contextlib.contextmanager
def opened(daemon: Daemon) -> Iterator[tuple[CVotequorum, Path]]:
    """A C client, and the directory of its connection."""
    with daemon.namespace():
        client = CVotequorum()
    with client:
        (directory,) = daemon.connections()
        yield client, directory


# --- handshake ---


@pytest.mark.parametrize("asked", [0, 1, 4096, 8192, 12328, 100_000])
def test_the_daemon_grants_the_message_size_that_is_asked_for(shm_daemon: Daemon, asked: int) -> None:
    connection, response = handshake(shm_daemon, CONNECTION_REQUEST.encode(max_msg_size=asked))
    with connection:
        assert (response.error, response.max_msg_size) == (0, asked)
        margin, page = int(CHUNK_HEADER.sizeof()) + 4 + 1, 4096
        expected = -(-(asked + margin) // page) * page
        assert Path(f"{response.request}-data").stat().st_size == expected


def test_the_size_in_the_connection_request_is_ignored(shm_daemon: Daemon) -> None:
    request = bytearray(CONNECTION_REQUEST.encode(max_msg_size=8192))
    struct.pack_into("=i", request, SIZE.size - 4, 99)
    connection, response = handshake(shm_daemon, bytes(request))
    with connection:
        assert response.error == 0


def test_a_first_message_with_another_id_closes_the_socket(shm_daemon: Daemon) -> None:
    request = bytearray(CONNECTION_REQUEST.encode(max_msg_size=8192))
    ID.pack_into(request, 0, 0)
    connection, response = handshake(shm_daemon, bytes(request))
    with connection:
        assert response is None


def test_files_are_for_the_client_only_and_the_directory_names_both_processes(shm_daemon: Daemon) -> None:
    with opened(shm_daemon) as (_, directory):
        assert directory.name.startswith(f"qb-{shm_daemon.pid}-")
        assert directory.stat().st_mode & 0o7777 == 0o770
        assert {path.stat().st_mode & 0o7777 for path in directory.iterdir()} == {0o600}


# --- rings and their doorbell ---


def test_a_c_client_truncates_the_header_files_without_flow_control(shm_daemon: Daemon) -> None:
    whole = int(RING_HEADER.sizeof())
    with Bare(shm_daemon) as bare:
        paths = [Path(ring.paths[0]) for ring in (bare.request, bare.response, bare.event)]
        assert [path.stat().st_size for path in paths] == [whole, whole, whole]
    eventually(lambda: not shm_daemon.connections(), otherwise="the connection has ended")
    cut = -(-(offset_of(RING_HEADER, "posted_sem") + SEM_T_SIZE + 1) // 8) * 8
    with opened(shm_daemon) as (_, directory):
        sizes = {p.name.split("-")[1]: p.stat().st_size for p in directory.glob("*-header")}
        assert sizes == {"request": whole, "response": cut, "event": cut}


def test_a_response_comes_without_a_byte_and_an_event_with_one(shm_daemon: Daemon) -> None:
    with Bare(shm_daemon) as bare:
        bare.socket.setblocking(False)
        bare.send(GETINFO)
        bare.answer()
        bare.send(wire.TRACKSTART.encode(context=1, track_flags=2))
        bare.answer()
        # The daemon takes the next request only after it has sent everything that the last one caused.
        bare.send(GETINFO)
        bare.answer()
        assert bare.event.queued() == 2
        assert len(bare.socket.recv(100)) == 2


def test_a_request_without_its_byte_stops_the_whole_daemon(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config())
    with Bare(daemon) as bare, Bare(daemon) as other:
        bare.send(GETINFO, doorbell=False)
        bare.send(GETINFO)
        bare.answer()
        bare.answer()
        other.send(GETINFO)
        # The daemon waits in poll for the byte; this is visible only because it has nothing else to do.
        eventually(lambda: not daemon.answers(), otherwise="the daemon answers no client")
        assert other.response.read() is None
        bare.ring_doorbell()
        assert reply_error(other.answer()) == CS_OK


def test_a_byte_without_a_request_is_ignored(shm_daemon: Daemon) -> None:
    with Bare(shm_daemon) as bare:
        bare.ring_doorbell()
        bare.send(GETINFO)
        assert reply_error(bare.answer()) == CS_OK
        bare.send(GETINFO)
        assert reply_error(bare.answer()) == CS_OK


def test_requests_queued_ahead_are_answered_in_order(shm_daemon: Daemon) -> None:
    with Bare(shm_daemon) as bare:
        for nodeid in (0, 99, 1, 99):
            bare.send(wire.GETINFO.encode(nodeid=nodeid))
        errors = [reply_error(bare.answer()) for _ in range(4)]
        assert errors == [CS_OK, CsErrorCode.NOT_EXIST, CS_OK, CsErrorCode.NOT_EXIST]


# --- headers ---


def with_id(number: int) -> bytes:
    message = bytearray(GETINFO)
    ID.pack_into(message, 0, number)
    return bytes(message)


def with_size(size: int) -> bytes:
    message = bytearray(GETINFO)
    struct.pack_into("=i", message, SIZE.size - 4, size)
    return bytes(message)


@pytest.mark.parametrize("number", [10, 11, 99, -5, 1 << 30])
def test_an_unknown_id_is_refused_with_a_bare_header(shm_daemon: Daemon, number: int) -> None:
    if number in EXTRA_INFO_IDS and knows_extra_info():
        pytest.skip("this corosync knows the call")
    with Bare(shm_daemon) as bare:
        bare.send(with_id(number))
        answer = bare.answer()
        assert (len(answer), ID.unpack_from(answer)[0]) == (24, 0)
        assert reply_error(answer) == CsErrorCode.INVALID_PARAM


def test_a_size_that_is_too_small_is_ignored(shm_daemon: Daemon) -> None:
    with Bare(shm_daemon) as bare:
        bare.send(with_size(1))
        assert reply_error(bare.answer()) == CS_OK


@pytest.mark.parametrize(("size", "answered"), [(1 << 21, CsErrorCode.OK), (-5, CsErrorCode.INVALID_PARAM)])
def test_an_impossible_size_is_answered_or_since_libqb_2_0_10_ends_the_connection(
    shm_daemon: Daemon, size: int, answered: CsErrorCode
) -> None:
    with Bare(shm_daemon) as bare:
        bare.send(with_size(size))
        answer = bare.answer_or_end()
        assert answer is None or reply_error(answer) == answered


def test_the_id_for_disconnecting_ends_the_connection(shm_daemon: Daemon) -> None:
    with Bare(shm_daemon) as bare:
        bare.send(with_id(DISCONNECT))
        with contextlib.suppress(ConnectionResetError):
            assert bare.socket.recv(1) == b""
        eventually(lambda: not Path(bare.request.paths[0]).exists(), otherwise="its files are gone")
        assert bare.request.ref_count == 0


# --- sockets ---


def test_the_control_file_counts_unread_messages(socket_daemon: Daemon) -> None:
    with opened(socket_daemon) as (client, directory):
        path = directory / "qb-control-votequorum"

        def sent() -> tuple[int, int, int]:
            block = CONTROL_BLOCK.parse(path.read_bytes())
            return block.request.sent, block.response.sent, block.event.sent

        assert client.trackstart() == CS_OK
        assert sent() == (0, 0, 2)
        client.take()
        assert sent() == (0, 0, 0)


def test_datagram_names_are_abstract_even_if_filesystem_sockets_are_forced(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config(transport="socket", filesystem_sockets=True))
    request = CONNECTION_REQUEST.encode(max_msg_size=8192)
    with daemon.host.connect_address(str(daemon.socket_path("votequorum")), 10) as connection:
        connection.sendall(request)
        answer = connection.recv(CONNECTION_RESPONSE.fixed_size or 0, socket.MSG_WAITALL)
        base = CONNECTION_RESPONSE.decode(answer).response
        names = [line.split()[-1] for line in daemon.host.run(["cat", "/proc/net/unix"]).stdout.splitlines()]
        assert {name.rstrip("@") for name in names} >= {f"@{base}-request", f"@{base}-event-tx"}
        assert not Path(f"{base}-request").exists()


# --- flow control ---


def test_synchronising_stops_other_services_at_level_2_but_not_votequorum(
    start_cluster: StartCluster,
) -> None:
    device = Device(votes=1, sync_timeout=25_000)
    whole = start_cluster(Config(nodes=(Node(1), Node(2)), device=device))
    with whole[1].namespace():
        votequorum, quorum, cmap = CVotequorum(), CQuorum(), CMap()
    with votequorum, quorum, cmap:
        assert votequorum.qdevice_register(b"device") == CS_OK
        assert votequorum.trackstart(flags=2) == CS_OK
        ring = votequorum.take()[0][2]
        assert votequorum.qdevice_poll(b"device", 1, ring) == CS_OK
        eventually(lambda: flags(votequorum) & DEVICE_VOTES, otherwise="the device votes")
        votequorum.take()
        whole.isolate(2)
        stopped = {"votequorum": 0, "quorum": 2, "cmap": 2}
        eventually(lambda: levels(whole[1]) == stopped, otherwise=lambda: str(levels(whole[1])))
        assert votequorum.getinfo()[0] == CS_OK
        events = votequorum.take()
        assert [event[0] for event in events] == ["nodelist"]
        assert votequorum.qdevice_poll(b"device", 1, ring) == CsErrorCode.MESSAGE_ERROR
        assert votequorum.qdevice_poll(b"device", 1, events[0][2]) == CS_OK
        eventually(lambda: set(levels(whole[1]).values()) == {0}, otherwise="requests are accepted again")
        assert quorum.getquorate() == (CS_OK, 1)
        assert [event[0] for event in votequorum.take()] == ["quorum"]


def flags(client: CVotequorum) -> int:
    return int(client.getinfo()[1]["flags"])


def levels(daemon: Daemon) -> dict[str, int]:
    """The flow control level of each connection, by service."""
    headers = [path for directory in daemon.connections() for path in directory.glob("qb-request-*-header")]
    return {
        path.name.split("-")[2]: RING_HEADER.parse(path.read_bytes()).flow_control
        for path in headers
        if path.stat().st_size == RING_HEADER.sizeof()
    }


# --- the end ---


def test_a_client_of_a_dead_daemon_removes_its_files_but_not_the_directory(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config())
    with opened(daemon) as (client, directory):
        daemon.kill()
        assert list(directory.iterdir())
        assert client.getinfo()[0] == CsErrorCode.LIBRARY
    assert directory.exists()
    assert list(directory.iterdir()) == []


# --- votequorum and quorum ---


def test_a_device_belongs_to_the_node_and_not_to_its_client(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(device=Device(votes=1)))
    with opened(daemon) as (client, _):
        assert client.qdevice_register(b"device") == CS_OK
    eventually(lambda: not daemon.connections(), otherwise="the connection has ended")
    with opened(daemon) as (client, _):
        assert client.getinfo()[1]["qdevice_name"] == b"device"
        assert client.qdevice_register(b"another") == CsErrorCode.EXIST
        assert client.qdevice_unregister(b"device") == CS_OK


def test_a_device_that_is_not_configured_has_no_votes(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config())
    with opened(daemon) as (client, _):
        assert client.qdevice_register(b"device") == CS_OK
        assert client.trackstart(flags=2) == CS_OK
        ring = client.take()[0][2]
        assert client.qdevice_poll(b"device", 1, ring) == CS_OK
        eventually(lambda: flags(client) & DEVICE_VOTES, otherwise="the device votes")
        info = client.getinfo()[1]
        assert (info["qdevice_votes"], info["total_votes"]) == (0, 1)


def test_the_votes_of_node_0_are_those_of_the_device(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(device=Device(votes=1)))
    with opened(daemon) as (client, _):
        assert client.qdevice_register(b"device") == CS_OK
        assert client.trackstart(flags=2) == CS_OK
        ring = client.take()[0][2]
        assert client.qdevice_poll(b"device", 1, ring) == CS_OK
        eventually(lambda: flags(client) & DEVICE_VOTES, otherwise="the device votes")
        assert client.setvotes(0, 2) == CS_OK
        eventually(lambda: client.getinfo()[1]["qdevice_votes"] == 2, otherwise="the device has two votes")
        assert client.getinfo()[1]["node_votes"] == 1


def test_quorum_is_kept_in_8_bits(start_daemon: StartDaemon) -> None:
    with opened(start_daemon(Config())) as (client, _):
        assert client.setvotes(1, 600) == CS_OK
        eventually(lambda: client.getinfo()[1]["total_votes"] == 600, otherwise="the votes are 600")
        # This node's votes change at once; its quorum changes when the cluster has been informed.
        quorum = (600 // 2 + 1) % 256
        eventually(lambda: client.getinfo()[1]["quorum"] == quorum, otherwise=f"the quorum is {quorum}")


def test_votes_that_would_leave_a_node_without_quorum_are_refused(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(quorum={"expected_votes": 3}))
    with opened(daemon) as (client, _):
        assert client.setvotes(1, 1) == CsErrorCode.INVALID_PARAM
        assert client.setvotes(1, 2) == CS_OK


def test_expected_votes_are_reported_even_when_they_stay_the_same(start_daemon: StartDaemon) -> None:
    with opened(start_daemon(Config())) as (client, _):
        assert client.trackstart(context=7, flags=4) == CS_OK
        for _ in range(2):
            assert client.setexpected(1) == CS_OK
            assert eventually(client.take) == [("expectedvotes", 7, 1)]


def test_without_a_provider_quorum_lists_members_only_in_its_node_list(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(provider=None))
    with daemon.namespace(), CQuorum(model=0) as model0, CQuorum(model=1) as model1:
        assert (model0.quorum_type, model0.getquorate()) == (0, (CS_OK, 1))
        assert (model0.trackstart(), model1.trackstart()) == (CS_OK, CS_OK)
        assert model0.take() == [("quorum", 1, 0, ())]
        nodelist, quorum = model1.take()
        assert nodelist[0] == "nodelist"
        assert nodelist[2:] == ((1,), (), ())
        assert quorum == ("quorum", (0, 0), 1, ())


def test_keys_of_cmap_are_iterated_in_the_order_of_their_bytes(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config())
    with daemon.namespace(), CMap() as cmap:
        for key in ("b.x", "b.X", "b.1", "b.-", "b._", "b.x.y", "b.xa"):
            assert cmap.set(key, "1") == CS_OK
        error, found = cmap.items()
        assert error == CS_OK
        assert list(found) == sorted(found, key=str.encode)


@pytest.mark.skipif(sys.byteorder == "big", reason="the value of a sem_t is its second word there")
def test_a_sem_post_on_a_negative_count_carries_into_flow_control() -> None:
    sent_and_level = ctypes.create_string_buffer(struct.pack("=ii", -1, 0), SEM_T_SIZE)
    assert ctypes.CDLL(None).sem_post(sent_and_level) == 0
    assert struct.unpack_from("=ii", sent_and_level.raw) == (0, 1)
