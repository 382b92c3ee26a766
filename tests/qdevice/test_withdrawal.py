"""The end of a device: every step is tried, and what could not be withdrawn is reported."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import trio

from tests.conftest import StartCluster
from tests.real.cluster import Cluster
from tests.real.config import Config, Device, Node
from tests.real.waiting import eventually_async
from votequorum_ipc import (
    Access,
    Cmap,
    CsError,
    Exist,
    InfoFlags,
    Library,
    MessageError,
    QueueFull,
    TryAgain,
    Votequorum,
)
from votequorum_ipc.cluster import DeviceConfig
from votequorum_ipc.qdevice import QuorumDevice, withdrawal
from votequorum_ipc.testing import SimulatedCluster, simulated_cluster

from .support import CAST, MASTER_WINS, NONE, REGISTERED, log_times, watch

EVERYTHING = REGISTERED | CAST | MASTER_WINS

Failing = Callable[..., Awaitable[None]]


@pytest.fixture
async def pair() -> AsyncIterator[SimulatedCluster]:
    """Two nodes that accept a device with one vote."""
    async with simulated_cluster(nodes=2, device=DeviceConfig(votes=1)) as cluster:
        yield cluster


async def flags(cluster: SimulatedCluster) -> InfoFlags:
    async with await cluster.connect(1) as handle:
        return (await handle.getinfo()).flags


def raising(error: CsError) -> Failing:
    async def call(*_: Any, **__: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    return call


async def hanging(*_: Any) -> None:
    await trio.sleep_forever()


# --- with a real corosync ---


async def test_if_a_reload_has_excluded_devices_the_vote_is_withdrawn_and_the_rest_is_reported(
    start_cluster: StartCluster, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(nodes=(Node(1), Node(2)), device=Device(model="votequorum-ipc", votes=1, timeout=60_000))
    pair = start_cluster(config)
    async with watch(pair[1]) as (one,):
        with pair[1].namespace():
            device = await QuorumDevice("device", master_wins=True).__aenter__()
        await device.cast(True)
        await one.until_flags(EVERYTHING)
        # Two expected votes leave no room for a device that has one of them.
        reload(pair, replace(config, quorum={"expected_votes": 2}))
        await eventually_async(lambda: log_times(pair[1], "disabling quorum device operations"))
        with pytest.raises(Access, match="must exceed"):
            await device.cast(True)
        await device.__aexit__(None, None, None)
        assert (await one.info()).flags & EVERYTHING == NONE
        with pair[1].namespace():
            cmap = await Cmap.initialize()
        async with cmap:
            assert await cmap.get("runtime.votequorum.qdevice_master_wins") == 1
    [left] = device.left_behind
    assert "let the partition with a device's vote win" in left
    assert "leaves no room for a quorum device" in left
    assert f"quorum device device has ended, but {left}" in caplog.messages


def reload(cluster: Cluster, config: Config) -> None:
    """Give each node another configuration, and reload it."""
    for node in cluster:
        text = replace(config, nodes=node.config.nodes).render(node.directory / "state")
        (node.directory / "corosync.conf").write_text(text)
    cluster[1].run(["corosync-cfgtool", "-R"], check=True)


async def test_a_daemon_that_does_not_answer_is_not_reported_to_have_released_the_vote(
    start_cluster: StartCluster,
) -> None:
    pair = start_cluster(Config(nodes=(Node(1), Node(2)), device=Device(model="votequorum-ipc", votes=1)))
    with pair[1].namespace():
        device = await QuorumDevice("device").__aenter__()
    await device.cast(True)
    with pair[1].frozen():
        await device.__aexit__(None, None, None)
    [left] = device.left_behind
    assert "counts its vote until quorum.device.timeout" in left
    assert "no answer" in left


# --- cases that a real one cannot be made to show ---


@pytest.mark.parametrize(
    "failing",
    [raising(Access()), raising(MessageError("garbled", field="x")), raising(TryAgain()), hanging],
    ids=["refused", "garbled", "busy", "hangs"],
)
async def test_the_vote_is_withdrawn_whatever_happens_to_master_wins(
    pair: SimulatedCluster, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    monkeypatch.setattr(withdrawal, "STEP_SECONDS", 0.1)
    async with QuorumDevice("device", address=pair.address(1), master_wins=True) as device:
        await device.cast(True)
        monkeypatch.setattr(Votequorum, "qdevice_master_wins", failing)
    assert await flags(pair) & (REGISTERED | CAST) == NONE
    assert len(device.left_behind) == 1


async def test_a_vote_that_cannot_be_withdrawn_is_reported(
    pair: SimulatedCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(withdrawal, "STEP_SECONDS", 0.1)
    async with QuorumDevice("device", address=pair.address(1), master_wins=True) as device:
        await device.cast(True)
        monkeypatch.setattr(Votequorum, "qdevice_unregister", hanging)
    assert await flags(pair) & EVERYTHING == REGISTERED | CAST
    [left] = device.left_behind
    assert left.startswith("corosync counts its vote until quorum.device.timeout has passed: no answer")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_a_lost_connection_to_a_living_daemon_leaves_no_vote(pair: SimulatedCluster) -> None:
    async with QuorumDevice("device", address=pair.address(1), master_wins=True) as device:
        await device.cast(True)
        # As if the kernel, or a person through /proc, had closed the socket.
        device._votequorum.connection._socket.shutdown(socket.SHUT_RDWR)
        await eventually_async(lambda: not pair_is_connected(device))
    assert await flags(pair) & EVERYTHING == NONE
    assert device.left_behind == ()


def pair_is_connected(device: QuorumDevice) -> bool:
    try:
        device._votequorum.connection.queued_events()
    except CsError:
        return False
    return True


async def test_a_connection_that_ended_because_its_events_were_not_taken_leaves_no_vote(
    pair: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with QuorumDevice("device", address=pair.address(1)) as device:
        await device.cast(True)
        monkeypatch.setattr(device._votequorum, "qdevice_unregister", raising(QueueFull()))
    assert REGISTERED not in await flags(pair)


async def test_a_dead_daemon_needs_no_withdrawal(
    pair: SimulatedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with QuorumDevice("device", address=pair.address(1), master_wins=True) as device:
        await device.cast(True)
        pair.kill(1)
    assert (device.left_behind, caplog.messages) == ((), [])


async def test_leftovers_are_forgotten_when_the_device_is_registered_again(
    pair: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = QuorumDevice("device", address=pair.address(1))
    async with device:
        with monkeypatch.context() as patch:
            patch.setattr(Votequorum, "qdevice_unregister", raising(Access()))
            await device.__aexit__(None, None, None)
        assert device.left_behind
    async with device:
        assert device.left_behind == ()


async def test_a_device_that_was_refused_has_left_nothing_behind(pair: SimulatedCluster) -> None:
    async with await pair.connect(1) as other:
        await other.qdevice_register("other")
        device = QuorumDevice("device", address=pair.address(1))
        with pytest.raises(Exist):
            await device.__aenter__()
        assert device.left_behind == ()


# --- a device that is refused when it registers again ---


@pytest.fixture(params=[{"device": None}, {"expected_votes": 2}], ids=["no device", "no room"])
async def shut_out(pair: SimulatedCluster, request: pytest.FixtureRequest) -> AsyncIterator[SimulatedCluster]:
    """Two nodes whose reload has excluded devices; one called "device" is still registered on node 1."""
    async with await pair.connect(1) as handle:
        await handle.qdevice_register("device")
        await handle.qdevice_master_wins("device", True)
        pair.reload(replace(pair.config, **request.param))
        yield pair


async def test_a_device_that_a_reload_has_excluded_withdraws_its_old_registration(
    shut_out: SimulatedCluster,
) -> None:
    device = QuorumDevice("device", address=shut_out.address(1))
    with pytest.raises(Access):
        await device.__aenter__()
    assert await flags(shut_out) & EVERYTHING == NONE
    # Without a device in the configuration, corosync still allows master_wins to be turned off.
    refused = shut_out.config.device is not None
    assert ["this node stays set" in sentence for sentence in device.left_behind] == [True] * refused


async def test_an_old_registration_that_cannot_be_withdrawn_is_reported(
    shut_out: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(withdrawal, "STEP_SECONDS", 0.1)
    monkeypatch.setattr(Votequorum, "qdevice_unregister", hanging)
    device = QuorumDevice("device", address=shut_out.address(1))
    with pytest.raises(Access):
        await device.__aenter__()
    assert REGISTERED in await flags(shut_out)
    assert "corosync counts its vote until quorum.device.timeout has passed" in device.left_behind[-1]


@pytest.mark.parametrize(("name", "stays"), [("another", False), ("device", True)])
async def test_a_refused_device_leaves_a_foreign_registration_and_one_that_shall_stay(
    shut_out: SimulatedCluster, name: str, stays: bool
) -> None:
    device = QuorumDevice(name, address=shut_out.address(1), leave_registered=stays)
    with pytest.raises(Access):
        await device.__aenter__()
    assert REGISTERED in await flags(shut_out)
    assert device.left_behind == ()


async def leaving_its_vote(cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch) -> QuorumDevice:
    """A device that has ended while its vote still counts."""
    device = QuorumDevice("device", address=cluster.address(1))
    with monkeypatch.context() as patch:
        patch.setattr(Votequorum, "qdevice_unregister", raising(Access()))
        async with device:
            pass
    assert device.left_behind
    return device


async def test_leftovers_are_still_reported_while_registering_again_fails(
    pair: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await leaving_its_vote(pair, monkeypatch)
    before = device.left_behind
    monkeypatch.setattr(Votequorum, "initialize", raising(Access()))
    with pytest.raises(Access):
        await device.__aenter__()
    assert device.left_behind == before


async def test_nothing_is_left_behind_once_the_daemon_is_gone(
    pair: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await leaving_its_vote(pair, monkeypatch)
    pair.kill(1)
    with pytest.raises(Library):
        await device.__aenter__()
    assert device.left_behind == ()


async def test_nothing_is_left_behind_once_another_client_has_unregistered_it(
    pair: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await leaving_its_vote(pair, monkeypatch)
    async with await pair.connect(1) as handle:
        await handle.qdevice_unregister("device")
    pair.reload(replace(pair.config, device=None))
    with pytest.raises(Access):
        await device.__aenter__()
    assert device.left_behind == ()
