"""corosync's own C libraries, unmodified, get the same from the embedded daemon as from a real corosync.

A script makes the same calls on both and records each answer, including error numbers and events. A ring's
sequence is recorded as its growth, since clusters differ in how often they have met.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import trio

from tests.conftest import StartDaemon
from tests.daemon.subjects import as_model, served
from tests.real.config import Config, Device, Node
from tests.real.cref import CS_OK, CMap, CQuorum, CVotequorum
from tests.real.host import Host
from tests.real.waiting import eventually
from votequorum_ipc.cluster import ClusterConfig

Transport = Literal["shm", "socket"]
Answers = list[Any]
Script = Callable[[], Answers]

CURRENT, CHANGES, CHANGES_ONLY = 1, 2, 4
TRY_AGAIN = 6

VOTED = 256 | 2
"""A device that casts its vote, and the resulting quorum (VOTEQUORUM_INFO_*)."""

DEVICE = Config(nodes=(Node(1), Node(2, address="127.0.0.2")), device=Device(votes=1))


def in_host(host: Host, script: Script) -> Answers:
    """Run a script in the calling thread, inside the host's network namespace."""
    with host.namespace():
        return script()


async def both(
    start_daemon: StartDaemon, host: Host, config: Config, transport: Transport, script: Script
) -> tuple[Answers, Answers]:
    """A script's answers from the embedded daemon and from a real one."""
    real = start_daemon(config)
    theirs = await trio.to_thread.run_sync(in_host, real.host, script)
    async with served(as_model(config), transport, up=(1,)):
        ours = await trio.to_thread.run_sync(in_host, host, script)
    return ours, theirs


def taken(handle: CVotequorum | CQuorum, number: int) -> list[tuple[Any, ...]]:
    """The next events, exactly this many; those of a change arrive soon, not at once."""
    events: list[tuple[Any, ...]] = []

    def enough() -> bool:
        events.extend(handle.take())
        return len(events) >= number

    eventually(enough, otherwise=lambda: f"{number} events; these came: {events}")
    return [_without_sequence(event) for event in events]


def until_expected(vq: CVotequorum, expected_votes: int) -> Answers:
    """getinfo and the events, once an event reports these votes: then the whole cluster has the change."""
    events: list[tuple[Any, ...]] = []

    def said() -> bool:
        events.extend(vq.take())
        return ("expectedvotes", 7, expected_votes) in events

    eventually(said, otherwise=lambda: f"{expected_votes} votes are expected; these came: {events}")
    info = vq.getinfo()
    return [info, *events, *vq.take()]


def _without_sequence(event: tuple[Any, ...]) -> tuple[Any, ...]:
    kind, *values = event
    if kind == "nodelist":
        at = 1 if isinstance(values[0], int) else 0
        values[at] = values[at][0]
    elif kind == "quorum" and isinstance(values[0], tuple):
        values[0] = values[0][0]
    elif kind == "quorum" and len(values) == 3 and isinstance(values[2], tuple) and values[1] > 1:
        # Model 0 has only the sequence.
        values[1] = "sequence"
    return (kind, *values)


def votes_and_tracking() -> Answers:
    with CVotequorum() as vq:
        answers: Answers = [vq.getinfo(), vq.getinfo(1), vq.getinfo(9)[0]]
        answers += [vq.trackstop(), vq.trackstart(7, CHANGES), taken(vq, 2)]
        answers += [vq.trackstart(8, CURRENT), taken(vq, 2)]
        answers += [vq.setvotes(1, 3), until_expected(vq, 3)]
        answers += [vq.setvotes(9, 1), vq.setvotes(1, 0), vq.setexpected(1)]
        answers += [vq.setexpected(5), until_expected(vq, 5)]
        answers += [vq.setexpected(3), until_expected(vq, 3)]
        answers += [vq.trackstop(), vq.trackstop(), vq.trackstart(9, CHANGES_ONLY), vq.take()]
        return answers


def a_device() -> Answers:
    with CVotequorum() as vq:
        answers: Answers = [vq.qdevice_unregister(b"D"), vq.qdevice_poll(b"D", 1, (1, 1))]
        answers += [vq.qdevice_master_wins(b"D", 1), vq.qdevice_update(b"D", b"E")]
        answers += [vq.qdevice_register(b"D"), vq.qdevice_register(b"D"), vq.qdevice_register(b"E")]
        vq.trackstart(3, CURRENT)
        events = vq.take()
        ring = next(event[2] for event in events if event[0] == "nodelist")
        answers += [[_without_sequence(event) for event in events], vq.getinfo()]
        answers += [vq.qdevice_poll(b"D", 1, (ring[0], ring[1] + 1)), vq.qdevice_poll(b"E", 1, ring)]
        answers += [vq.qdevice_poll(b"D", 1, ring), settled(vq, lambda info: info["flags"] & VOTED == VOTED)]
        answers += [vq.qdevice_master_wins(b"D", 1), settled(vq, lambda info: info["flags"] & 512)]
        answers += [vq.qdevice_update(b"X", b"E"), vq.qdevice_update(b"D", b"E")]
        answers += [settled(vq, lambda info: info["qdevice_name"] == b"E")]
        answers += [vq.qdevice_poll(b"E", 0, ring), settled(vq, lambda info: not info["flags"] & VOTED)]
        answers += [vq.qdevice_unregister(b"D"), vq.qdevice_unregister(b"E"), vq.qdevice_unregister(b"E")]
        answers += [settled(vq, lambda info: not info["flags"] & 64 and not info["qdevice_name"])]
        return answers


def settled(vq: CVotequorum, condition: Callable[[dict[str, Any]], object]) -> object:
    """getinfo, once the whole cluster has the change."""
    eventually(lambda: condition(vq.getinfo()[1]), otherwise=lambda: f"settled: {vq.getinfo()}")
    return vq.getinfo()


def quorum_models() -> Answers:
    answers: Answers = []
    for model in (0, 1):
        with CQuorum(model) as quorum:
            answers += [quorum.quorum_type, quorum.getquorate()]
            answers += [quorum.trackstart(CHANGES), taken(quorum, 1 + model)]
            answers += [quorum.trackstart(CURRENT), taken(quorum, 1 + model)]
            answers += [
                quorum.trackstop(),
                quorum.trackstop(),
                quorum.trackstart(CHANGES_ONLY),
                quorum.take(),
            ]
    return answers


def keys() -> Answers:
    with CMap() as cmap:
        answers: Answers = []
        for prefix in (
            "quorum.",
            "nodelist.",
            "runtime.votequorum.",
            "runtime.members.",
            "totem.cluster",
            "x",
        ):
            error, found = cmap.items(prefix)
            answers += [error, list(found.items()), {key: cmap.get(key) for key in found}]
        return [*answers, cmap.get("no.such.key"), cmap.get("")]


SCRIPTS = [
    pytest.param(Config(), votes_and_tracking, id="votes"),
    pytest.param(Config(quorum={"two_node": 1, "expected_votes": 2}), votes_and_tracking, id="two_node"),
    pytest.param(DEVICE, a_device, id="device"),
    pytest.param(Config(), quorum_models, id="quorum"),
    pytest.param(Config(), keys, id="keys"),
    pytest.param(DEVICE, keys, id="keys_with_device"),
]


@pytest.mark.parametrize("transport", ["shm", "socket"])
@pytest.mark.parametrize(("config", "script"), SCRIPTS)
async def test_the_same_calls_get_the_same_answers(
    start_daemon: StartDaemon, host: Host, config: Config, script: Script, transport: Transport
) -> None:
    ours, theirs = await both(start_daemon, host, config, transport, script)
    assert ours == theirs


def connected(number: int) -> Answers:
    """Check that this many handles on each service all work at once."""
    handles = [make() for _ in range(number) for make in (CVotequorum, CQuorum, CMap)]
    answers = [handle.error for handle in handles]
    answers += [handle.getinfo()[0] for handle in handles if isinstance(handle, CVotequorum)]
    return [*answers, *(handle.finalize() for handle in handles)]


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_many_c_clients_are_served_at_once(host: Host, transport: Transport) -> None:
    async with served(ClusterConfig.of(3), transport):
        assert set(await trio.to_thread.run_sync(in_host, host, lambda: connected(10))) == {CS_OK}


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_c_clients_follow_a_cut_in_the_order_of_a_real_cluster(
    host: Host, transport: Transport
) -> None:
    def start() -> tuple[CVotequorum, CQuorum]:
        with host.namespace():
            handles = CVotequorum(), CQuorum()
        for handle in handles:
            assert handle.error == handle.trackstart() == CS_OK
            handle.take()
        return handles

    def finish() -> Answers:
        with host.namespace():
            return [[_without_sequence(event) for event in handle.take()] for handle in handles]

    async with served(ClusterConfig.of(3), transport) as simulation:
        handles = await trio.to_thread.run_sync(start)
        simulation.partition({1}, {2, 3})
        assert await trio.to_thread.run_sync(finish) == [
            [("nodelist", 0, 1, (1,)), ("quorum", 0, 0, ((2, 2), (3, 2), (1, 1)))],
            [("nodelist", 1, (1,), (), (2, 3)), ("quorum", 1, 0, (1,))],
        ]
        await trio.to_thread.run_sync(lambda: [handle.finalize() for handle in handles])


async def test_a_c_client_notices_that_its_node_is_gone(host: Host) -> None:
    def start() -> CVotequorum:
        with host.namespace():
            return CVotequorum()

    async with served(ClusterConfig.of(3), "shm") as simulation:
        vq = await trio.to_thread.run_sync(start)
        assert (await trio.to_thread.run_sync(vq.getinfo))[0] == CS_OK
        simulation.kill(1)
        error, _ = await trio.to_thread.run_sync(vq.getinfo)
        assert error not in (CS_OK, TRY_AGAIN)
        await trio.to_thread.run_sync(vq.finalize)
