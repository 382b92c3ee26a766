"""The same random calls get the same answers and events from a real corosync and from the embedded daemon.

The effect of a call reaches the whole cluster a moment after its answer. So after each call the test waits
until the real nodes report the same state as ours and have sent the same events. A lasting difference fails
the test.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import trio

from tests.conftest import StartCluster, StartDaemon
from tests.daemon.subjects import as_model, served
from tests.real.config import PATIENT_TOTEM, Config, Device, Node
from tests.real.daemon import Daemon
from tests.real.host import Host
from tests.real.waiting import DEADLINE
from votequorum_ipc import CsError, Quorum, RingId, TrackFlags, Votequorum

Transport = Literal["shm", "socket"]
Draw = random.Random
Call = Callable[["Subject"], Awaitable[Any]]

CALLS = 40
TIRELESS = Device(votes=1, timeout=600_000, sync_timeout=600_000)
"""A device that stays alive for the whole test: no virtual time passes here."""


@dataclass
class Subject:
    """A node's two handles, and their events."""

    vq: Votequorum
    quorum: Quorum
    ring_id: RingId
    """It stays the same: nodes neither join nor leave."""
    events: list[Any] = field(default_factory=list)

    @classmethod
    async def of(cls, address: str | None = None) -> Subject:
        async with await Quorum.initialize(address=address) as quorum:
            await quorum.trackstart(flags=TrackFlags.CURRENT)
            event: Any = await quorum.next_event()
        vq = await Votequorum.initialize(address=address)
        return cls(vq, await Quorum.initialize(address=address), event.ring_id)

    def take(self) -> None:
        """Take the events that have arrived, without ring sequences, which differ between clusters."""
        for handle in (self.vq, self.quorum):
            while (raw := handle.connection.next_event_nowait()) is not None:
                self.events.append((type(handle).__name__, _without_sequence(handle._decode_event(raw))))


def _without_sequence(event: Any) -> Any:
    text = repr(event)
    ring = getattr(event, "ring_id", None)
    return text.replace(f"seq={ring.seq}", "seq=...") if ring else text


async def outcome(call: Awaitable[Any]) -> Any:
    """The result of a call, or the code of its error."""
    try:
        return await call
    except CsError as error:
        return error.code


# --- calls ---


def getinfo(draw: Draw) -> Call:
    nodeid = draw.choice([0, 1, 2, 3, 9])
    return lambda on: on.vq.getinfo(nodeid)


def setexpected(draw: Draw) -> Call:
    votes = draw.randrange(0, 9)
    return lambda on: on.vq.setexpected(votes)


def setvotes(draw: Draw) -> Call:
    nodeid, votes = draw.choice([1, 1, 2, 3, 9]), draw.randrange(0, 5)
    return lambda on: on.vq.setvotes(nodeid, votes)


def trackstart(draw: Draw) -> Call:
    flags, context = TrackFlags(draw.randrange(0, 8)), draw.randrange(1 << 64)
    return lambda on: on.vq.trackstart(context, flags)


def trackstop(draw: Draw) -> Call:
    return lambda on: on.vq.trackstop()


def register(draw: Draw) -> Call:
    name = draw.choice("DDE")
    return lambda on: on.vq.qdevice_register(name)


def unregister(draw: Draw) -> Call:
    name = draw.choice("DE")
    return lambda on: on.vq.qdevice_unregister(name)


def update(draw: Draw) -> Call:
    names = draw.choice("DE"), draw.choice("DE")
    return lambda on: on.vq.qdevice_update(*names)


def poll(draw: Draw) -> Call:
    name, cast_vote, later = draw.choice("DDE"), draw.random() < 0.7, draw.choice([0, 0, 0, 1])

    return lambda on: on.vq.qdevice_poll(name, cast_vote, RingId(on.ring_id.nodeid, on.ring_id.seq + later))


def master_wins(draw: Draw) -> Call:
    name, allow = draw.choice("DDE"), draw.random() < 0.5
    return lambda on: on.vq.qdevice_master_wins(name, allow)


def getquorate(draw: Draw) -> Call:
    return lambda on: on.quorum.getquorate()


def quorum_trackstart(draw: Draw) -> Call:
    flags = TrackFlags(draw.randrange(0, 8))
    return lambda on: on.quorum.trackstart(flags)


def quorum_trackstop(draw: Draw) -> Call:
    return lambda on: on.quorum.trackstop()


VOTES = [
    getinfo, setexpected, setexpected, setvotes, setvotes, trackstart, trackstop,
    getquorate, quorum_trackstart, quorum_trackstop,
]  # fmt: skip
DEVICE = [*VOTES, register, register, unregister, update, poll, poll, poll, master_wins]


async def state(subjects: list[Subject]) -> Any:
    """The state that each node reports of every node, and the number of events sent."""
    for subject in subjects:
        subject.take()
    seen = [await outcome(subject.vq.getinfo(nodeid)) for subject in subjects for nodeid in (1, 2, 3)]
    return seen, [await subject.quorum.getquorate() for subject in subjects], [s.events for s in subjects]


async def compare(real: list[Subject], ours: list[Subject], kinds: list[Any], seed: int) -> None:
    draw = random.Random(seed)
    done: list[str] = []
    for _ in range(CALLS):
        kind, at = draw.choice(kinds), draw.randrange(len(ours))
        call = kind(draw)
        expected = await outcome(call(ours[at]))
        done.append(f"{kind.__name__} on node {at + 1}: {expected}")
        assert await outcome(call(real[at])) == expected, done
        expected = await state(ours)
        with trio.move_on_after(DEADLINE):
            while await state(real) != expected:
                await trio.sleep(0.002)
        assert await state(real) == expected, done


@contextlib.asynccontextmanager
async def handles(*subjects: Subject) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for subject in subjects:
            await stack.enter_async_context(subject.vq)
            await stack.enter_async_context(subject.quorum)
        yield


CONFIGS = [
    (Config(), VOTES),
    (Config(nodes=(Node(1, votes=2),), quorum={"expected_votes": 3, "wait_for_all": 1}), VOTES),
    (Config(nodes=(Node(1), Node(2, address="127.0.0.2")), quorum={"two_node": 1}), VOTES),
    (Config(nodes=(Node(1),), quorum={"auto_tie_breaker": 1, "wait_for_all": 1}), VOTES),
    (Config(nodes=(Node(1), Node(2, address="127.0.0.2")), device=TIRELESS), DEVICE),
    (Config(device=TIRELESS, quorum={"expected_votes": 3}), DEVICE),
]


@pytest.mark.parametrize("seed", range(12))
async def test_one_node_answers_like_corosync(start_daemon: StartDaemon, host: Host, seed: int) -> None:
    config, kinds = CONFIGS[seed % len(CONFIGS)]
    transport: Transport = "shm" if seed % 2 else "socket"
    daemon = start_daemon(config)
    async with served(as_model(config), transport, up=(1,)):
        ours, real = await Subject.of(), await subject_of(daemon)
        async with handles(ours, real):
            await compare([real], [ours], kinds, seed)


async def subject_of(daemon: Daemon) -> Subject:
    with daemon.namespace():
        return await Subject.of()


@pytest.mark.parametrize("device", [None, TIRELESS], ids=["votes", "device"])
async def test_three_nodes_answer_like_corosync(
    start_cluster: StartCluster, host: Host, device: Device | None
) -> None:
    nodes = (Node(1), Node(2), Node(3, votes=2))
    real = start_cluster(Config(nodes=nodes, device=device, totem=PATIENT_TOTEM))
    async with served(as_model(real[1].config), "shm") as simulation:
        theirs = [await subject_of(node) for node in real]
        ours = [await Subject.of(simulation.address(nodeid)) for nodeid in (1, 2, 3)]
        async with handles(*ours, *theirs):
            await compare(theirs, ours, DEVICE if device else VOTES, seed=1)
