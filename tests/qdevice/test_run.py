"""The loop of a quorum device, with an embedded cluster: the effect of each kind of answer."""

from __future__ import annotations

import errno
import logging
import math
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.real.waiting import DEADLINE, eventually_async
from tests.reliability.test_descriptors import room_for
from votequorum_ipc import (
    Access,
    Cmap,
    CsError,
    Exist,
    InfoFlags,
    InvalidParam,
    Library,
    MessageError,
    NoMemory,
    NoResources,
    NoSpace,
    NotExist,
    QueueFull,
    Security,
    Timeout,
    TryAgain,
    Votequorum,
)
from votequorum_ipc.cluster import DeviceConfig
from votequorum_ipc.exception_groups import collapse_exception_group
from votequorum_ipc.qdevice import Ballot, QuorumDevice, Timeouts, View, Vote, run, run_qdevice
from votequorum_ipc.qdevice.run import CHANGED, LATE, SAID_YES
from votequorum_ipc.qdevice.settings import open_settings
from votequorum_ipc.retry import Backoff
from votequorum_ipc.testing import SimulatedCluster, simulated_cluster

from .support import ALIVE, CAST, MASTER_WINS, NONE, REGISTERED, yes

INTERVAL = 0.01


@pytest.fixture
async def pair() -> AsyncIterator[SimulatedCluster]:
    """Two nodes that accept a device with one vote, with a long timeout."""
    async with simulated_cluster(nodes=2, device=DeviceConfig(votes=1)) as cluster:
        yield cluster


@pytest.fixture
async def hasty() -> AsyncIterator[SimulatedCluster]:
    """The same with 150 ms, of which a decision gets 135. The cluster's own time stands still."""
    device = DeviceConfig(votes=1, timeout=150, sync_timeout=150)
    async with simulated_cluster(nodes=2, device=device) as cluster:
        yield cluster


async def flags(cluster: SimulatedCluster, node: int = 1) -> InfoFlags:
    async with await cluster.connect(node) as handle:
        return (await handle.getinfo()).flags


class Running:
    """A device in a task, and its reports."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.ballots: list[Ballot] = []
        self.device: QuorumDevice

    async def start(self, cluster: SimulatedCluster, vote: Vote, **options: Any) -> None:
        options = {"interval": INTERVAL, "address": cluster.address(1), **options}
        run: Any = partial(run_qdevice, "device", vote, report=self.ballots.append, **options)
        self.device = await self.nursery.start(run)

    async def until(self, vote: bool | None, reason: str = "") -> Ballot:
        """Wait until the last ballot is this one."""

        def is_it() -> bool:
            return bool(self.ballots) and self.ballots[-1].vote is vote and reason in self.ballots[-1].reason

        await eventually_async(is_it, otherwise=lambda: f"{vote} {reason}: {self.ballots[-3:]}")
        return self.ballots[-1]


class Attempts:
    """Stands in for a handle's `initialize`: counts the calls, and fails a given number of times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, handle: Any, failures: int, error: CsError) -> None:
        self.number = 0
        self._failures = failures
        self._error = error
        self._initialize = handle.initialize
        monkeypatch.setattr(handle, "initialize", self)

    async def __call__(self, **options: Any) -> Any:
        self.number += 1
        if self.number <= self._failures:
            raise self._error
        return await self._initialize(**options)


@pytest.fixture
async def running(nursery: trio.Nursery) -> Running:
    return Running(nursery)


# --- answers ---


async def test_a_view_says_what_the_decision_is_about(pair: SimulatedCluster, running: Running) -> None:
    views: list[View] = []

    async def vote(view: View) -> bool:
        views.append(view)
        assert 8 < view.time_left < 10
        return True

    await running.start(pair, vote)
    await running.until(True)
    await eventually_async(lambda: len(views) > 1)
    async with await pair.connect(1) as handle:
        await handle.trackstart()
        ring_id = (await handle.next_event()).ring_id  # type: ignore[union-attr]
    for view, total in zip(views, (2, 3), strict=False):
        assert (view.ring_id, view.members, view.node_id) == (ring_id, (1, 2), 1)
        assert (view.quorate, view.expected_votes, view.total_votes) == (True, 3, total)


async def test_the_first_decision_and_the_one_after_a_change_start_at_once() -> None:
    hour = 3600
    device = DeviceConfig(votes=1, timeout=3 * hour * 1000)
    async with simulated_cluster(nodes=2, device=device) as cluster, trio.open_nursery() as nursery:
        running = Running(nursery)
        await running.start(cluster, yes, interval=hour)
        before = await running.until(True)
        cluster.partition({1}, {2})
        await eventually_async(lambda: len(running.ballots) > 1)
        after = await running.until(True)
        assert after.ring_id != before.ring_id
        nursery.cancel_scope.cancel()


async def test_yes_votes_and_no_withdraws_the_vote(pair: SimulatedCluster, running: Running) -> None:
    answers = [True]

    async def vote(_: View) -> bool:
        return answers[-1]

    await running.start(pair, vote)
    await running.until(True, SAID_YES)
    assert await flags(pair) & (ALIVE | CAST) == ALIVE | CAST
    answers.append(False)
    await running.until(False)
    assert await flags(pair) & (ALIVE | CAST) == ALIVE


@pytest.mark.parametrize("answer", [None, 1, "yes"])
async def test_a_decision_that_is_neither_true_nor_false_is_no_vote(
    pair: SimulatedCluster, running: Running, answer: Any
) -> None:
    async def vote(_: View) -> bool:
        return answer  # type: ignore[no-any-return]

    await running.start(pair, vote)
    assert "True or False" in (await running.until(False)).reason


async def test_a_decision_that_raises_withdraws_the_vote_and_is_made_again(
    pair: SimulatedCluster, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    broken: list[bool] = []

    async def vote(_: View) -> bool:
        if broken:
            raise OSError("the disk is gone")
        return True

    await running.start(pair, vote)
    await running.until(True)
    with caplog.at_level(logging.WARNING):
        broken.append(True)
        await running.until(False, "OSError: the disk is gone")
        count = len(running.ballots)
        await eventually_async(lambda: len(running.ballots) > count + 2)
    assert await flags(pair) & (ALIVE | CAST) == ALIVE
    assert [record.message for record in caplog.records] == ["quorum device device: the decision failed"]
    broken.clear()
    await running.until(True)


async def test_a_late_decision_is_cancelled_and_casts_no_vote(
    hasty: SimulatedCluster, running: Running
) -> None:
    cancelled = 0

    async def vote(view: View) -> bool:
        nonlocal cancelled
        if cancelled == 0 or view.ring_id != running.device.ring_id:
            try:
                await trio.sleep_forever()
            finally:
                cancelled += 1
        return True

    await running.start(hasty, vote)
    await eventually_async(lambda: running.ballots)
    assert (running.ballots[0].vote, running.ballots[0].reason) == (None, LATE)
    # The device has not ended.
    await running.until(True)


async def test_without_answers_the_vote_is_lost_at_the_daemons_timeout(
    hasty: SimulatedCluster, running: Running
) -> None:
    hangs: list[bool] = []

    async def vote(_: View) -> bool:
        if hangs:
            await trio.sleep_forever()
        return True

    await running.start(hasty, vote)
    await running.until(True)
    hangs.append(True)
    await running.until(None, LATE)
    assert await flags(hasty) & (ALIVE | CAST) == ALIVE | CAST
    hasty.advance(0.149)
    assert await flags(hasty) & (ALIVE | CAST) == ALIVE | CAST
    hasty.advance(0.001)
    assert await flags(hasty) & (REGISTERED | ALIVE | CAST) == REGISTERED


async def test_a_yes_that_comes_too_late_is_not_cast_and_a_no_is(hasty: SimulatedCluster) -> None:
    """As if the process had been stopped between its decision and its vote."""
    async with QuorumDevice("device", address=hasty.address(1)) as device:
        view = await device.next_view()
        await device.cast(True, view)
        await trio.sleep_until(view.deadline + 0.001)
        with pytest.raises(Timeout):
            await device.cast(True, view)
        assert CAST in await flags(hasty)
        await device.cast(False, view)
        assert CAST not in await flags(hasty)


# --- membership changes ---


async def test_a_membership_change_cancels_the_decision_and_starts_one_about_the_new_ring(
    pair: SimulatedCluster, running: Running
) -> None:
    views: list[View] = []
    cancelled: list[View] = []
    in_time: list[bool] = []

    async def vote(view: View) -> bool:
        views.append(view)
        if view.members == (1, 2):
            try:
                await trio.sleep_forever()
            finally:
                cancelled.append(view)
                in_time.append(view.time_left > 0)
        return True

    await running.start(pair, vote)
    await eventually_async(lambda: views)
    pair.partition({1}, {2})
    await running.until(True)
    assert [ballot.vote for ballot in running.ballots[:2]] == [None, True]
    assert running.ballots[0].reason == CHANGED
    assert [view.members for view in views[:2]] == [(1, 2), (1,)]
    assert (cancelled, in_time) == (views[:1], [True])
    assert running.ballots[1].ring_id == views[1].ring_id != views[0].ring_id


async def test_a_yes_given_as_the_ring_changes_is_dropped(pair: SimulatedCluster, running: Running) -> None:
    """The network is cut during the very decision that then says yes without waiting."""
    views: list[View] = []

    async def vote(view: View) -> bool:
        views.append(view)
        if view.members == (1, 2):
            pair.partition({1}, {2})
            return True
        return False

    await running.start(pair, vote)
    await running.until(False)
    assert [(ballot.vote, ballot.ring_id) for ballot in running.ballots[:2]] == [
        (None, views[0].ring_id),
        (False, views[1].ring_id),
    ]
    assert CAST not in await flags(pair)


async def test_an_answer_in_a_hand_written_loop_is_about_the_membership_of_the_last_call(
    pair: SimulatedCluster,
) -> None:
    async with QuorumDevice("device", address=pair.address(1)) as device:
        await device.cast(True)
        assert CAST in await flags(pair)
        pair.partition({1}, {2})
        assert pair.model.is_synchronising(1)
        with pytest.raises(MessageError):
            await device.cast(True)
        assert pair.model.is_synchronising(1)
        await device.cast(True)
        assert not pair.model.is_synchronising(1)


async def test_a_missed_ring_is_fetched_when_the_daemon_refuses_the_old_one(
    pair: SimulatedCluster,
) -> None:
    async with QuorumDevice("device", address=pair.address(1)) as device:
        view = await device.next_view()
        await device.cast(True, view)
        pair.partition({1}, {2})
        while device._votequorum.connection.next_event_nowait() is not None:
            """The node list is lost."""
        assert device.ring_id == view.ring_id
        with pytest.raises(MessageError, match="is not the current ring id"):
            await device.cast(True, view)
        assert device.ring_id != view.ring_id
        await device.cast(True, await device.next_view())
        assert not pair.model.is_synchronising(1)


# --- start and end ---


async def test_cancelling_withdraws_the_vote_and_unregisters(pair: SimulatedCluster) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery)
        await running.start(pair, yes)
        await running.until(True)
        nursery.cancel_scope.cancel()
    assert await flags(pair) & (REGISTERED | CAST) == NONE


async def test_cancelled_at_any_moment_a_device_leaves_nothing(pair: SimulatedCluster) -> None:
    """At each checkpoint in turn, from the first on, until it votes before it is cancelled."""
    ballots: list[Ballot] = []
    for checkpoints in range(1000):
        run: Any = partial(run_qdevice, "device", yes, address=pair.address(1), report=ballots.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert REGISTERED not in await flags(pair)
        if ballots:
            break
    assert ballots
    assert checkpoints > 5


async def test_a_device_that_shall_stay_registered_keeps_its_vote(pair: SimulatedCluster) -> None:
    async with trio.open_nursery() as nursery:
        running = Running(nursery)
        await running.start(pair, yes, leave_registered=True, master_wins=True)
        await running.until(True)
        nursery.cancel_scope.cancel()
    everything = REGISTERED | CAST | ALIVE | MASTER_WINS
    assert await flags(pair) & everything == everything


async def test_a_device_waits_for_a_dead_daemon_and_registers_again(
    pair: SimulatedCluster, running: Running
) -> None:
    await running.start(pair, yes, master_wins=True)
    await running.until(True)
    pair.kill(1)
    await running.until(None, "cannot be reached")
    assert running.device.name == "device"
    pair.up(1)
    await running.until(True)
    assert await flags(pair) & (REGISTERED | CAST | MASTER_WINS) == REGISTERED | CAST | MASTER_WINS


async def test_the_end_of_the_daemon_ends_the_decision_and_is_reported_as_such(
    pair: SimulatedCluster, running: Running
) -> None:
    ended: list[bool] = []

    async def vote(view: View) -> bool:
        try:
            pair.kill(1)
            await trio.sleep_forever()
        finally:
            ended.append(view.time_left > 0)
        return True

    await running.start(pair, vote)
    await running.until(None)
    assert "cannot be reached" in running.ballots[0].reason
    assert ended == [True]


@pytest.mark.parametrize("error", [Library, NoMemory, NoResources, NoSpace, QueueFull])
async def test_a_temporary_failure_to_connect_again_does_not_end_a_device(
    pair: SimulatedCluster, running: Running, monkeypatch: pytest.MonkeyPatch, error: type[CsError]
) -> None:
    await running.start(pair, yes)
    await running.until(True)
    # The first failure happens at the device's end, when it looks for a daemon to withdraw the vote from.
    attempts = Attempts(monkeypatch, Votequorum, 2, error("out of something"))
    pair.kill(1)
    await running.until(None, "cannot be reached")
    pair.up(1)
    await running.until(True)
    assert attempts.number > 2
    assert any("out of something" in ballot.reason for ballot in running.ballots)


async def test_pauses_grow_while_the_daemon_is_away_and_start_over_after_its_return(
    pair: SimulatedCluster, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    class Noted(Backoff):
        def pause(self) -> float:
            pauses.append(self._next)
            return super().pause() / 100

    monkeypatch.setattr(run, "Backoff", Noted)
    await running.start(pair, yes)
    await running.until(True)
    for _ in range(2):
        pair.kill(1)
        pauses.clear()
        await eventually_async(lambda: len(pauses) >= 4)
        assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
        pair.up(1)
        await running.until(True)


@pytest.mark.parametrize("descriptors", [0, 2, 5])
async def test_a_device_without_descriptors_connects_when_some_are_free(
    pair: SimulatedCluster, running: Running, descriptors: int
) -> None:
    await running.start(pair, yes)
    await running.until(True)
    pair.kill(1)
    await running.until(None, "cannot be reached")
    pair.up(1)
    with room_for(descriptors):
        count = len(running.ballots)
        await eventually_async(lambda: len(running.ballots) > count)
        await running.until(None, "cannot be reached")
    await running.until(True)


async def test_a_running_device_can_be_renamed(pair: SimulatedCluster, running: Running) -> None:
    await running.start(pair, yes)
    await running.device.rename("another")
    count = len(running.ballots)
    await eventually_async(lambda: len(running.ballots) > count + 1)
    await running.until(True)
    async with await pair.connect(2) as handle:
        assert (await handle.getinfo()).qdevice_name == "another"


async def _raised(call: Callable[[], Awaitable[Any]]) -> CsError:
    """The error that ends a device, taken out of the nurseries' exception groups."""
    try:
        with trio.fail_after(DEADLINE), collapse_exception_group(levels=math.inf):
            await call()
    except CsError as error:
        return error
    raise AssertionError("nothing was raised")


def busy_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The daemon is busy for the first of these calls."""
    call, busy = getattr(Votequorum, name), True

    async def once(*args: Any, **options: Any) -> Any:
        nonlocal busy
        if busy:
            busy = False
            raise TryAgain
        return await call(*args, **options)

    monkeypatch.setattr(Votequorum, name, once if name != "initialize" else staticmethod(once))


@pytest.mark.parametrize("name", ["initialize", "qdevice_register", "qdevice_master_wins", "trackstart"])
async def test_registration_with_a_busy_daemon_is_repeated(
    pair: SimulatedCluster, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    busy_once(monkeypatch, name)
    async with QuorumDevice("device", address=pair.address(1), master_wins=True):
        assert await flags(pair) & (REGISTERED | MASTER_WINS) == REGISTERED | MASTER_WINS


async def test_a_new_name_that_the_cluster_never_confirms_is_a_timeout(
    hasty: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unheard(*_: Any) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(Votequorum, "qdevice_update", unheard)
    async with QuorumDevice("device", address=hasty.address(1)) as device:
        with pytest.raises(Timeout, match="has not confirmed"):
            await device.rename("other")
        assert device.name == "device"


@pytest.mark.parametrize(
    ("foreign", "error", "text"),
    [
        (lambda handle: handle.qdevice_unregister("device"), NotExist, "has been unregistered: start it"),
        (lambda handle: handle.qdevice_update("device", "theirs"), InvalidParam, "called 'theirs'; start"),
    ],
)
async def test_a_device_that_another_client_unregisters_ends_with_an_error(
    pair: SimulatedCluster, foreign: Callable[[Votequorum], Awaitable[None]], error: type[CsError], text: str
) -> None:
    async def run() -> None:
        async with trio.open_nursery() as nursery:
            running = Running(nursery)
            await running.start(pair, yes)
            await running.until(True)
            async with await pair.connect(1) as handle:
                await foreign(handle)

    raised = await _raised(run)
    assert type(raised) is error
    assert re.search(text, str(raised))


async def test_a_device_that_cannot_start_says_why(pair: SimulatedCluster) -> None:
    address = pair.address(1)
    async with QuorumDevice("device", address=address):
        refused = await _raised(lambda: run_qdevice("other", yes, address=address))
        assert type(refused) is Exist
        assert "'device', on this node: use that name, or unregister it first" in str(refused)
    assert type(await _raised(lambda: run_qdevice("", yes, address=address))) is InvalidParam
    pair.kill(1)
    assert type(await _raised(lambda: run_qdevice("device", yes, address=address))) is Library
    with pytest.raises(ValueError, match="interval"):
        await run_qdevice("device", yes, 0.0, address=address)


async def test_a_device_trusts_only_the_users_that_the_caller_names(pair: SimulatedCluster) -> None:
    address, other = pair.address(1), os.getuid() + 1
    refused = await _raised(lambda: run_qdevice("device", yes, address=address, server_uids={other}))
    assert type(refused) is Security
    async with QuorumDevice("device", address=address, server_uids={os.getuid()}) as device:
        assert device.name == "device"
    async with open_settings(address, {other}) as settings:
        with pytest.raises(Security):
            await settings._connected()


async def test_without_a_device_in_the_configuration_the_setting_is_named() -> None:
    async with simulated_cluster(nodes=2) as cluster:
        error = await _raised(lambda: run_qdevice("device", yes, address=cluster.address(1)))
        assert isinstance(error, Access)
        assert "quorum.device.model" in str(error)
        assert REGISTERED not in await flags(cluster)


async def test_a_report_that_raises_ends_the_device_and_withdraws_it(pair: SimulatedCluster) -> None:
    def report(_: Ballot) -> None:
        raise RuntimeError("full")

    with pytest.raises(RuntimeError):
        await run_qdevice("device", yes, address=pair.address(1), report=report)
    assert REGISTERED not in await flags(pair)


# --- reading cmap ---


def caused(error: CsError, number: int) -> CsError:
    error.__cause__ = OSError(number, os.strerror(number))
    return error


@pytest.mark.parametrize(
    "error",
    [
        TryAgain("corosync is still starting"),
        caused(NoResources("no socket to be had"), errno.EMFILE),
        caused(Library("no descriptors"), errno.ENFILE),
        Library("the connection broke during setup"),
    ],
)
async def test_a_cmap_that_is_unavailable_for_a_moment_is_tried_again_after_polls(
    hasty: SimulatedCluster, monkeypatch: pytest.MonkeyPatch, error: CsError
) -> None:
    attempts = Attempts(monkeypatch, Cmap, 2, error)
    async with QuorumDevice("device", address=hasty.address(1)) as device:
        assert device._schedule.timeouts == Timeouts()
        timeouts = []
        for _ in range(3):
            await device.cast(True)
            timeouts.append(device._schedule.timeouts)
        # The first failure was at the start.
        assert timeouts == [Timeouts(), Timeouts(0.15, 0.15), Timeouts(0.15, 0.15)]
    assert attempts.number == 3


async def test_a_cmap_that_was_slow_at_the_start_still_ends_a_device_without_votes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with simulated_cluster(nodes=2) as cluster:
        Attempts(monkeypatch, Cmap, 1, TryAgain("corosync is still starting"))
        error = await _raised(lambda: run_qdevice("device", yes, address=cluster.address(1)))
        assert isinstance(error, Access)
        assert "quorum.device.model" in str(error)
        assert REGISTERED not in await flags(cluster)


@pytest.mark.parametrize("address", ["@nobody-is-votequorum", "/no/such/directory/{service}"])
async def test_a_missing_cmap_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    attempts = Attempts(monkeypatch, Cmap, 0, Library())
    async with open_settings(address, None) as settings:
        for _ in range(3):
            await settings.refresh()
        assert settings.timeouts == Timeouts()
    assert attempts.number == 1


def test_ctrl_c_during_a_decision_ends_the_device_without_an_exception_group() -> None:
    async def press() -> None:
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)

    async def vote(_: View) -> bool:
        trio.lowlevel.spawn_system_task(press)
        await trio.sleep_forever()
        return True

    async def main() -> None:
        async with simulated_cluster(nodes=2, device=DeviceConfig(votes=1)) as cluster:
            await run_qdevice("device", vote, address=cluster.address(1))

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
