"""The cost of a call in interpreter steps, not in time: it is the same on every machine.

A step is a bytecode instruction in a file of this library. A transport that has the answer at once replaces
the daemon, so that each way to wait runs the same steps every time.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, Final, Literal

import pytest

import votequorum_ipc
from tests.ways import every_way
from votequorum_ipc import NodeInfo, Votequorum
from votequorum_ipc.ipc import Connection, backend, exchange
from votequorum_ipc.ipc.transport import Transport
from votequorum_ipc.ring import Ring
from votequorum_ipc.votequorum import EVENT_DECODERS
from votequorum_ipc.wire import votequorum as wire

PACKAGE: Final = str(Path(votequorum_ipc.__file__).parent)

MOST: Final = {"trio": 669, "asyncio": 682, "blocking": 669}
"""The most steps of one getinfo, without the rings: 2 % above the measured number."""

MOST_IN_RINGS: Final = 400
"""The most steps to write a message to a ring and read it, and to look once without finding one."""

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the instructions differ between versions of CPython"
)

ANSWER: Final = wire.GETINFO_RESPONSE.encode(
    nodeid=1,
    state=1,
    votes=1,
    expected_votes=3,
    highest_expected=3,
    total_votes=3,
    quorum=2,
    flags=2,
    qdevice_votes=0,
    qdevice_name="",
)


class AnsweringTransport:
    """See `Transport`. It answers each request as it is sent."""

    name: Literal["shm", "socket"] = "shm"
    response_room = 1 << 20
    max_unanswered = 128

    def __init__(self, sock: socket.socket) -> None:
        self.event_socket = sock
        self._answers: list[bytes] = []

    def cost(self, size: int) -> int:
        return size

    def check_lengths(self) -> None:
        pass

    def flow_control(self) -> int:
        return 0

    def send(self, messages: Sequence[bytes]) -> int:
        self._answers += [ANSWER] * len(messages)
        return len(messages)

    def expect_no_answer(self) -> None:
        pass

    def receive(self) -> bytes | None:
        return self._answers.pop() if self._answers else None

    def receive_event(self) -> bytes | None:
        return None

    def settle_doorbells(self) -> None:
        pass

    def answered_later(self) -> bool:
        return False

    def hang_up(self) -> None:
        pass

    def disown(self) -> None:
        pass

    def close(self, *, server_gone: bool) -> None:
        pass


class Steps:
    """Counts the instructions that the library's files run within a block."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Steps:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        # Frames that are already running would not be traced.
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if not (name.startswith(PACKAGE) or "derived" in name):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        self.count += event == "opcode"
        return self._trace


@contextlib.asynccontextmanager
async def answered_handle() -> Any:
    ours, theirs = socket.socketpair()
    epoll = select.epoll()
    transport: Transport = AnsweringTransport(theirs)
    setup: Any = SimpleNamespace(
        service="votequorum",
        socket=ours,
        server=SimpleNamespace(pid=os.getpid(), uid=0),
        response=SimpleNamespace(max_msg_size=8192),
    )
    connection = Connection(setup, transport, epoll, backend.current())
    with theirs:
        async with Votequorum(connection, EVENT_DECODERS, {}, {}) as handle:
            yield handle


@every_way()
async def test_a_call_takes_no_more_steps_than_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "LENGTH_CHECK_INTERVAL", 1e9)
    counts, answers = [], []
    async with answered_handle() as handle:
        for _ in range(3):
            with Steps() as steps:
                answers.append(await handle.getinfo())
            counts.append(steps.count)
    assert {type(answer) for answer in answers} == {NodeInfo}
    # The first call compiles codecs.
    assert counts[1] == counts[2] != 0
    assert counts[2] <= MOST[backend.current().name]


def test_a_message_takes_no_more_steps_through_a_ring_than_before(tmp_path: Path) -> None:
    writer = Ring.create("/dev/shm/qb-steps-" + tmp_path.name, 8192)
    try:
        reader = Ring.open(writer.paths[0].removesuffix("-header"), 8192, trusted=True)
        trusted_writer = Ring.open(writer.paths[0].removesuffix("-header"), 8192, trusted=True)
        with Steps() as steps:
            assert trusted_writer.write(ANSWER)
            assert reader.read() == ANSWER
            assert reader.read() is None
        reader.close()
        trusted_writer.close()
    finally:
        writer.close()
        writer.unlink()
    assert 0 < steps.count <= MOST_IN_RINGS
