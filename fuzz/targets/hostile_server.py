"""Whatever a server does, each call of a client ends with a result, a `CsError` or the caller's deadline.

The server lies in any field of any message, answers late, twice, in another's place or not at all, floods
with events, closes at any byte, names files that are missing, too short, too long or no files, and writes
over every word of the memory that both share. Afterwards the client has closed its descriptors and
mappings, and the process lives on.

Server and client are tasks of one trio run on a clock that jumps ahead when both wait, so a deadline costs no
time. The server is a script (`strategies.handshakes`); where the script ends, it is honest.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import trio
import trio.testing

from fuzz.target import Target
from votequorum_ipc import CsError, DispatchFlags, Quorum, TrackFlags, Votequorum
from votequorum_ipc.ipc import exchange
from votequorum_ipc.ring import WORD, Ring, create_shared_file
from votequorum_ipc.sockets import abstract
from votequorum_ipc.strategies import handshakes
from votequorum_ipc.strategies.handshakes import (
    Act,
    Action,
    Damage,
    Say,
    SendEvent,
    ServerScript,
    server_scripts,
)
from votequorum_ipc.strategies.messages import bytes_of
from votequorum_ipc.strategies.rings import ControlLie
from votequorum_ipc.wire import Layout, message_id, quorum, votequorum
from votequorum_ipc.wire.setup import (
    CONNECTION_REQUEST,
    CONNECTION_RESPONSE,
    CONTROL_BLOCK,
    RING_HEADER,
    TRANSPORT_SHM,
    TRANSPORT_SOCKET,
    offset_of,
)

MESSAGE_SIZE: Final = 8192
DEADLINE: Final = 1.0
"""Seconds of the jumping clock that a client waits for an answer."""

FLOOD: Final = 400
"""Events in a flood, if there is room for them."""

_WORD: Final = struct.Struct("=I")


def _answer(layout: Layout) -> bytes:
    nothing = {"qdevice_name": "", "extra_info": b""}
    return layout.encode(
        **{name: nothing.get(name, 0) for name in layout.record._fields if name != "error"},
    )


_STATUS: Final = _answer(votequorum.STATUS_RESPONSE)

ANSWERS: Final = {
    "votequorum": {0: _answer(votequorum.GETINFO_RESPONSE)},
    "quorum": {
        message.id: _answer(answer)
        for message, answer in (
            (quorum.GETQUORATE, quorum.GETQUORATE_RESPONSE),
            (quorum.TRACKSTART, quorum.TRACKSTART_RESPONSE),
            (quorum.TRACKSTOP, quorum.TRACKSTOP_RESPONSE),
            (quorum.GETTYPE, quorum.GETTYPE_RESPONSE),
            (quorum.MODEL_GETTYPE, quorum.MODEL_GETTYPE_RESPONSE),
        )
    },
}
"""An honest server's answer to each request; to those left out, a status."""

_EVENT: Final = votequorum.EXPECTEDVOTES_NOTIFICATION.encode(context=0, expected_votes=1)


class Side(Protocol):
    """The server's end of a transport."""

    paths: tuple[str, str, str]
    connection_type: int

    def requests(self) -> list[bytes]:
        """What has come."""

    def respond(self, message: bytes) -> None: ...

    def notify(self, message: bytes) -> bool:
        """Send an event; whether there was room."""

    def damage(self, damage: Damage) -> None: ...

    def flow_control(self, level: int) -> None: ...

    async def wait(self) -> None:
        """Until something may have come, or the client is gone."""

    def close(self) -> None: ...


def _overwrite(path: str, offset: int, value: int) -> None:
    with contextlib.suppress(FileNotFoundError), Path(path).open("r+b") as file:
        if offset + WORD <= os.fstat(file.fileno()).st_size:
            file.seek(offset)
            file.write(_WORD.pack(value & 0xFFFFFFFF))


@contextlib.contextmanager
def _whole(ring: Ring) -> Iterator[None]:
    """Raises `MessageError` instead of touching a ring whose files this server has cut."""
    ring.check_length()
    yield


class ShmSide:
    """Three rings; a byte on the setup socket for each event."""

    connection_type = TRANSPORT_SHM

    def __init__(self, sock: trio.socket.SocketType, directory: str, service: str) -> None:
        self.socket = sock
        stems = [f"{directory}/qb-{way}-{service}" for way in ("request", "response", "event")]
        self.paths = (stems[0], stems[1], stems[2])
        self.request, self.response, self.event = (Ring.create(stem, MESSAGE_SIZE) for stem in stems)

    def requests(self) -> list[bytes]:
        requests = []
        with contextlib.suppress(CsError), _whole(self.request):
            while (request := self.request.read()) is not None:
                requests.append(request)
        return requests

    def respond(self, message: bytes) -> None:
        with contextlib.suppress(CsError), _whole(self.response):
            self.response.write(message)

    def notify(self, message: bytes) -> bool:
        with contextlib.suppress(CsError, OSError), _whole(self.event):
            return self.event.write(message) and bool(self.socket._sock.send(b"\0"))  # type: ignore[attr-defined]
        return False

    def damage(self, damage: Damage) -> None:
        lie = damage.lie
        if isinstance(lie, ControlLie):
            return
        if lie.part == "length":
            os.truncate(f"{self._stem(damage.way)}-{lie.where}", lie.value)
            return
        offset = offset_of(RING_HEADER, lie.where) if isinstance(lie.where, str) else lie.where * WORD
        _overwrite(f"{self._stem(damage.way)}-{lie.part}", offset, lie.value)

    def _stem(self, way: str) -> str:
        return self.paths[("request", "response", "event").index(way)]

    def flow_control(self, level: int) -> None:
        with contextlib.suppress(CsError), _whole(self.request):
            self.request.flow_control = level

    async def wait(self) -> None:
        if not await self.socket.recv(100):
            raise BrokenPipeError

    def close(self) -> None:
        for ring in (self.request, self.response, self.event):
            ring.close(count_out=False)


class SocketSide:
    """Two datagram sockets, and the control block."""

    connection_type = TRANSPORT_SOCKET

    def __init__(self, sock: trio.socket.SocketType, directory: str, service: str) -> None:
        self.socket = sock
        self.control = f"{directory}/qb-control-{service}"
        base = f"{directory}/qb-{service}"
        self.paths = (self.control, base, "")
        os.close(create_shared_file(self.control, int(CONTROL_BLOCK.sizeof())))
        self._base = base
        self._requests = self._bound("request")
        self._events = self._bound("event-tx")

    def _bound(self, name: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind(abstract(f"{self._base}-{name}"))
        return sock

    def requests(self) -> list[bytes]:
        requests = []
        with contextlib.suppress(OSError):
            while True:
                requests.append(self._requests.recv(MESSAGE_SIZE))
        return requests

    def respond(self, message: bytes) -> None:
        self._send(self._requests, "response", message)

    def notify(self, message: bytes) -> bool:
        return self._send(self._events, "event", message)

    def _send(self, sock: socket.socket, name: str, message: bytes) -> bool:
        try:
            sock.sendto(message, abstract(f"{self._base}-{name}"))
        except OSError:
            return False
        return True

    def damage(self, damage: Damage) -> None:
        lie = damage.lie
        if isinstance(lie, ControlLie):
            _overwrite(self.control, offset_of(CONTROL_BLOCK, lie.way, lie.field), lie.value)
        elif lie.part == "length":
            os.truncate(self.control, lie.value)

    def flow_control(self, level: int) -> None:
        _overwrite(self.control, offset_of(CONTROL_BLOCK, "request", "flow_control"), level)

    async def wait(self) -> None:
        async with trio.open_nursery() as nursery:

            async def until(sock: Any) -> None:
                await trio.lowlevel.wait_readable(sock)
                nursery.cancel_scope.cancel()

            nursery.start_soon(until, self._requests)
            nursery.start_soon(until, self.socket._sock)  # type: ignore[attr-defined]
        with contextlib.suppress(BlockingIOError):
            if not self.socket._sock.recv(100):  # type: ignore[attr-defined]
                raise BrokenPipeError

    def close(self) -> None:
        self._requests.close()
        self._events.close()


class Server:
    """One connection's server, by a script."""

    def __init__(self, script: ServerScript, service: str, directory: str, sock: socket.socket) -> None:
        self.script = script
        self.service = service
        self.directory = directory
        self.socket = trio.socket.from_stdlib_socket(sock)
        self.actions: list[Action] = list(script.actions)
        self.late: list[bytes] = []

    async def serve(self) -> None:
        """Until the client is gone, or the script says that this server goes."""
        with self.socket, contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            await self.socket.recv(CONNECTION_REQUEST.fixed_size or 0)
            kinds: dict[str, Callable[..., Side]] = {"shm": ShmSide, "socket": SocketSide}
            side = kinds[self.script.transport](self.socket, self.directory, self.service)
            stack.callback(side.close)
            await self._answer_connection(side)
            while True:
                await side.wait()
                for request in side.requests():
                    self._react(side, request)

    async def _answer_connection(self, side: Side) -> None:
        response = self.script.response
        data = self._true_response(side) if response is None else bytes_of(response)
        if self.script.cut is None:
            await _send_all(self.socket, data)
            return
        await _send_all(self.socket, data[: self.script.cut])
        raise BrokenPipeError

    def _true_response(self, side: Side) -> bytes:
        paths = [
            _lead(kind, path, f"{self.directory}/{way}")
            for kind, path, way in zip(
                self.script.paths, side.paths, ("request", "response", "event"), strict=True
            )
        ]
        return CONNECTION_RESPONSE.encode(
            error=0,
            connection_type=side.connection_type,
            max_msg_size=MESSAGE_SIZE,
            connection=0,
            request=paths[0],
            response=paths[1],
            event=paths[2],
        )

    def _react(self, side: Side, request: bytes) -> None:
        with contextlib.suppress(CsError):
            answer = ANSWERS[self.service].get(message_id(request), _STATUS)
            action = self.actions.pop(0) if self.actions else Act.ANSWER
            late, self.late = self.late, []
            for message in (*late, *self._answers(action, side, answer)):
                side.respond(message)
            if action is Act.CLOSE or action is Act.ANSWER_AND_CLOSE:
                raise BrokenPipeError

    def _answers(self, action: Action, side: Side, answer: bytes) -> list[bytes]:
        """Do what the action says, and give what to answer."""
        match action:
            case Say():
                return [bytes_of(action.message)]
            case SendEvent():
                side.notify(bytes_of(action.message))
            case Damage():
                side.damage(action)
            case Act.LATE:
                self.late.append(answer)
            case Act.FLOOD:
                for _ in range(FLOOD):
                    if not side.notify(_EVENT):
                        break
            case Act.FLOW_CONTROL:
                side.flow_control(2)
        answers: dict[Act, list[bytes]] = {
            Act.LATE: [],
            Act.NEVER: [],
            Act.CLOSE: [],
            Act.TWICE: [answer, answer],
            Act.SWAP: [_STATUS],
        }
        return answers.get(action, [answer]) if isinstance(action, Act) else [answer]


async def _send_all(sock: trio.socket.SocketType, data: bytes) -> None:
    # In two halves, so that the client sees a part first.
    for part in (data[: len(data) // 2], data[len(data) // 2 :]):
        while part:
            part = part[await sock.send(part) :]
        await trio.lowlevel.checkpoint()


def _lead(kind: handshakes.Path, path: str, elsewhere: str) -> str:
    """A path that leads where the script says."""
    header = Path(f"{elsewhere}-header")
    match kind:
        case handshakes.Path.GOOD:
            return path
        case handshakes.Path.OUTSIDE:
            return "/proc/self/fuzz"
        case handshakes.Path.DIRECTORY:
            header.mkdir()
        case handshakes.Path.LINK:
            header.symlink_to(f"{path}-header")
        case handshakes.Path.PIPE:
            os.mkfifo(header)
        case handshakes.Path.SHORT:
            header.write_bytes(bytes(100))
        case handshakes.Path.LONG:
            header.write_bytes(_contents(f"{path}-header") + bytes(8192))
    return elsewhere


def _contents(path: str) -> bytes:
    return Path(path).read_bytes() if Path(path).exists() else b""


# --- the client ---


class Client:
    """A program that uses a handle, and goes on after calls that fail."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.outcomes: list[str] = []
        """What became of the calls: "done", "deadline", or the name of a `CsError`."""

    async def use_votequorum(self) -> None:
        """Most calls of `Votequorum`, some of them at the same time."""
        async with await Votequorum.initialize(address=self.socket) as vq:
            await self.attempt(vq.getinfo)
            await self.attempt(vq.trackstart)
            await self.attempt(vq.next_event)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(self.attempt, vq.getinfo)
                nursery.start_soon(self.attempt, vq.next_event)
            await self.attempt(lambda: vq.setvotes(1, 1))
            await self.attempt(lambda: vq.qdevice_register("device"))
            await self.attempt(lambda: vq.dispatch(DispatchFlags.ALL))
            with contextlib.suppress(CsError):
                vq.fileno()
            await self.attempt(vq.getinfo)

    async def use_quorum(self) -> None:
        """The calls of `Quorum`."""
        async with await Quorum.initialize(address=self.socket) as q:
            await self.attempt(q.getquorate)
            await self.attempt(lambda: q.trackstart(TrackFlags.CURRENT))
            await self.attempt(q.next_event)
            await self.attempt(q.trackstop)

    async def attempt(self, call: Callable[[], Awaitable[Any]]) -> None:
        """One call, with a deadline."""
        outcome = "deadline"
        with trio.move_on_after(DEADLINE):
            try:
                await call()
                outcome = "done"
            except CsError as error:
                outcome = type(error).__name__
        self.outcomes.append(outcome)


USES: Final = {"votequorum": Client.use_votequorum, "quorum": Client.use_quorum}


class HostileServer:
    """A session."""

    def check(self, case: ServerScript) -> None:
        """Let each kind of client use the server, and look what it has left."""
        for service in USES:
            before = _holdings()
            meet(case, service)
            assert _holdings() == before


def meet(case: ServerScript, service: str) -> list[str]:
    """Let a client use a server by this script; what became of the client's calls."""
    return trio.run(_meet, case, service, clock=trio.testing.MockClock(autojump_threshold=0))


async def _meet(case: ServerScript, service: str) -> list[str]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    theirs.setblocking(False)
    client = Client(ours)
    with tempfile.TemporaryDirectory(prefix="qb-fuzz-", dir="/dev/shm") as directory:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Server(case, service, directory, theirs).serve)
            try:
                with contextlib.suppress(CsError), trio.move_on_after(20 * DEADLINE):
                    await USES[service](client)
            finally:
                with trio.move_on_after(DEADLINE):
                    await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert ours.fileno() == -1, "the client has not closed its socket"
    return client.outcomes


def _holdings() -> tuple[int, int]:
    """Open descriptors, and mappings of shared memory."""
    maps = Path("/proc/self/maps").read_text()
    return len(list(Path("/proc/self/fd").iterdir())), maps.count("/dev/shm/qb-fuzz-")


@contextlib.contextmanager
def _session() -> Iterator[HostileServer]:
    # For some microseconds the client takes the files' lengths for granted, and dies of a cut in them. Server
    # and client are one process here: so it asks every time, and a cut comes between two looks.
    before = exchange.LENGTH_CHECK_INTERVAL
    exchange.LENGTH_CHECK_INTERVAL = 0.0  # type: ignore[misc]
    try:
        yield HostileServer()
    finally:
        exchange.LENGTH_CHECK_INTERVAL = before  # type: ignore[misc]


TARGETS = [
    Target(
        name="hostile-server",
        property=__doc__ or "",
        cases=server_scripts(),
        session=_session,
        examples=120,
    )
]
