"""Quorum devices with a real corosync: whose vote counts, when it is lost, and for which ring it is."""

from __future__ import annotations

import contextlib
import fcntl
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from tests.conftest import StartCluster, StartDaemon, _unless_unbuildable
from tests.qdevice.support import (
    ALIVE,
    CAST,
    MASTER_WINS,
    NONE,
    REGISTERED,
    Watch,
    devices,
    log_times,
    no,
    start_device,
    watch,
    yes,
)
from tests.real.cluster import Cluster, cluster, three_nodes
from tests.real.config import Config, Device, Node
from tests.real.daemon import Daemon
from tests.real.host import ROOT
from tests.real.waiting import DEADLINE, eventually, eventually_async
from votequorum_ipc import (
    Access,
    Cmap,
    Exist,
    InfoFlags,
    InvalidParam,
    Library,
    MessageError,
    NotExist,
    RingId,
    Timeout,
    Votequorum,
)
from votequorum_ipc.qdevice import Ballot, QuorumDevice, Timeouts, View, Vote, run_qdevice
from votequorum_ipc.qdevice.run import CHANGED

TIMEOUT = 1.5
"""quorum.device.timeout of the daemon whose device falls silent, in seconds."""

PATIENCE = 15.0
"""Both timeouts of the pair, longer than its nodes take to notice that they cannot hear each other."""


def device(timeout: float) -> Device:
    milliseconds = int(timeout * 1000)
    return Device(model="votequorum-ipc", votes=1, timeout=milliseconds, sync_timeout=milliseconds)


TICKS = 0.02
"""Seconds that corosync may seem early: its timers and its log have the resolution of a kernel tick."""

SLACK = 3.0
"""Seconds by which a busy machine may delay corosync's timed actions."""


@pytest.fixture(scope="module")
def shared_pair(real_corosync: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with contextlib.ExitStack() as stack:
        config = Config(nodes=(Node(1), Node(2)), device=device(PATIENCE))
        whole = cluster(config, tmp_path_factory.mktemp("pair"))
        yield _unless_unbuildable(lambda: stack.enter_context(whole))


@pytest.fixture
def pair(shared_pair: Cluster) -> Cluster:
    """Two nodes that accept a device with one vote, healed, without a device."""
    shared_pair.restore()
    return shared_pair


@pytest.fixture
def single(start_daemon: StartDaemon) -> Daemon:
    """One node that needs its device's vote for quorum."""
    return start_daemon(Config(nodes=(Node(1),), device=device(TIMEOUT)))


# --- whose vote counts ---


async def test_the_side_with_the_devices_vote_stays_quorate_and_the_other_does_not(pair: Cluster) -> None:
    async with watch(*pair) as (one, two), devices(pair[1], vote=lambda _: yes):
        info = await one.until_flags(CAST)
        assert (info.node_expected_votes, info.quorum) == (3, 2)
        # Each node counts the vote of its own device, and of no other.
        assert (info.total_votes, (await two.info()).total_votes) == (3, 2)
        pair.partition([1], [2])
        assert (await one.settled(1), await two.settled(2)) == (True, False)


async def test_of_three_nodes_the_one_with_the_vote_continues_alone_if_the_device_has_two(
    start_cluster: StartCluster,
) -> None:
    three = start_cluster(Config(nodes=three_nodes(), device=Device(model="votequorum-ipc", votes=2)))
    async with watch(*three) as (one, two, third), devices(three[1], vote=lambda _: yes):
        await one.until_flags(CAST)
        three.partition([1], [2, 3])
        # Five votes are expected, so quorum is three: one node and the device, but not two nodes.
        assert (await one.settled(1), await two.settled(2, 3), await third.settled(2, 3)) == (
            True,
            False,
            False,
        )


async def test_the_trap_a_decision_that_both_sides_can_make_lets_both_continue(pair: Cluster) -> None:
    async with watch(*pair) as (one, two), devices(*pair, vote=lambda _: yes):
        await one.until_flags(CAST)
        await two.until_flags(CAST)
        pair.partition([1], [2])
        assert (await one.settled(1), await two.settled(2)) == (True, True)


async def test_with_an_exclusive_decision_one_side_continues(pair: Cluster, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:

        def decision(_: Daemon) -> Vote:
            file = stack.enter_context((tmp_path / "lock").open("w"))

            async def vote(_: View) -> bool:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                return True

            return vote

        async with watch(*pair) as (one, two), devices(*pair, vote=decision):
            await one.until_flags(CAST)
            await two.until_flags(ALIVE, unset=CAST)
            pair.partition([1], [2])
            assert (await one.settled(1), await two.settled(2)) == (True, False)


async def test_master_wins_is_on_while_a_device_asks_for_it_and_off_afterwards(pair: Cluster) -> None:
    key = "runtime.votequorum.qdevice_master_wins"
    with pair[1].namespace():
        cmap = await Cmap.initialize()
    async with cmap, watch(pair[1]) as (one,):
        async with devices(pair[1], vote=lambda _: yes, master_wins=True):
            await one.until_flags(CAST | MASTER_WINS)
            assert await cmap.get(key) == 1
        await one.until_flags(NONE, unset=REGISTERED | MASTER_WINS)
        assert await cmap.get(key) == 0


async def test_with_master_wins_any_part_with_the_vote_continues(start_cluster: StartCluster) -> None:
    """Without it, one node and the device have two votes of four, and quorum is three."""
    three = start_cluster(Config(nodes=three_nodes(), device=Device(model="votequorum-ipc", votes=1)))
    async with watch(*three) as (one, two, _), devices(three[1], vote=lambda _: yes, master_wins=True):
        await one.until_flags(CAST | MASTER_WINS)
        three.partition([1], [2, 3])
        assert await one.settled(1)
        assert (await one.info()).total_votes < (await one.info()).quorum
        # Two votes of four: without the device even the larger part stops.
        assert not await two.settled(2, 3)


# --- when the vote is lost ---


@contextlib.contextmanager
def voting(node: Daemon, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = node.host.command([sys.executable, "-m", "tests.qdevice.voter", "device", *arguments])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def casts(process: subprocess.Popen[str], count: int) -> tuple[float, float]:
    """Wait for this many votes, then return the times around the last one."""
    assert process.stdout
    asked = 0.0
    for line in process.stdout:
        word, when = line.split()
        if word == "asked":
            asked = float(when)
        elif word == "cast":
            count -= 1
            if count == 0:
                return asked, float(when)
    raise AssertionError("the voter has ended")


@pytest.mark.parametrize("how", ["killed", "stopped", "hangs"])
async def test_a_device_that_falls_silent_loses_its_vote_at_the_daemons_timeout(
    single: Daemon, how: str
) -> None:
    with voting(single, *(["4"] if how == "hangs" else [])) as process:
        before, after = casts(process, 4)
        if how != "hangs":
            process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        [lost] = eventually(lambda: log_times(single, "lost contact with quorum device device"))
        assert lost >= before + TIMEOUT - TICKS
        # Up to one more vote may have been cast before the signal arrived.
        assert lost <= after + TIMEOUT + SLACK
        async with watch(single) as (one,):
            await one.until_flags(REGISTERED, unset=ALIVE | CAST)
            assert not await one.quorate()
            assert "NA,NV,NMW" in single.run(["corosync-quorumtool", "-s"]).stdout
            if how == "stopped":
                process.send_signal(signal.SIGCONT)
                await one.until_flags(ALIVE | CAST)


async def test_a_decision_that_says_no_withdraws_the_vote_and_keeps_the_device_alive(single: Daemon) -> None:
    answers = [True]

    async def vote(_: View) -> bool:
        return answers[-1]

    async with watch(single) as (one,), devices(single, vote=lambda _: vote):
        await one.until_flags(ALIVE | CAST)
        answers.append(False)
        await one.until_flags(ALIVE, unset=CAST)
        assert not await one.quorate()
        answers.append(True)
        await one.until_flags(ALIVE | CAST)
    assert log_times(single, "lost contact") == []


async def test_cancelling_withdraws_the_vote_unless_the_device_shall_stay_registered(single: Daemon) -> None:
    async with watch(single) as (one,):
        async with devices(single, vote=lambda _: yes):
            await one.until_flags(CAST)
        assert (await one.info()).flags & (REGISTERED | CAST) == NONE
        async with devices(single, vote=lambda _: yes, leave_registered=True):
            await one.until_flags(CAST)
        assert (await one.info()).flags & (REGISTERED | CAST) == REGISTERED | CAST
        # A successor takes over, and the vote was there all the time.
        async with devices(single, vote=lambda _: yes):
            assert CAST in (await one.info()).flags
    assert log_times(single, "lost contact") == []


# --- membership changes ---


async def test_a_membership_change_during_a_decision_casts_no_old_answer(pair: Cluster) -> None:
    """The decision about the old ring is under way until the new ring is there; the decision about that is
    held too."""
    asked: list[View] = []
    cancelled: list[RingId] = []
    ballots: list[Ballot] = []
    release = trio.Event()

    async def vote(view: View) -> bool:
        asked.append(view)
        if view.members == (1,):
            await release.wait()
            return False
        if len(asked) > 2:
            try:
                await trio.sleep_forever()
            finally:
                cancelled.append(view.ring_id)
        return True

    async with watch(pair[1]) as (one,), trio.open_nursery() as nursery:
        await start_device(nursery, pair[1], vote, report=ballots.append)
        await eventually_async(lambda: len(asked) == 3)
        pair.partition([1], [2])
        await eventually_async(lambda: asked[-1].members == (1,))
        old, new = asked[2].ring_id, asked[-1].ring_id
        assert cancelled[0] == old != new
        assert (ballots[-1].vote, ballots[-1].reason, ballots[-1].ring_id) == (None, CHANGED, old)
        # The daemon still waits for an answer about its new ring: it did not take the old one for it.
        with trio.move_on_after(3 * TICKS) as waiting:
            await one.quorate()
        assert waiting.cancelled_caught
        release.set()
        assert await one.settled(1) is False
        await eventually_async(lambda: ballots[-1].ring_id == new)
        assert {ballot.vote for ballot in ballots if ballot.ring_id == new} == {False}
        nursery.cancel_scope.cancel()


async def test_corosync_itself_refuses_a_vote_for_a_ring_that_is_just_gone(pair: Cluster) -> None:
    begun = "waiting for quorum device device poll"
    before = len(log_times(pair[1], begun))
    async with contextlib.AsyncExitStack() as stack:
        with pair[1].namespace():
            voter = await stack.enter_async_context(QuorumDevice("device"))
            raw = await stack.enter_async_context(await Votequorum.initialize())
        view = await voter.next_view()
        await voter.cast(True, view)
        pair.partition([1], [2])
        await eventually_async(lambda: len(log_times(pair[1], begun)) > before)
        with pytest.raises(MessageError, match="is not the current ring id"):
            await raw.qdevice_poll("device", True, view.ring_id)
        await voter.changed()
        with pytest.raises(MessageError, match="membership has changed"):
            await voter.cast(True, view)
        await voter.cast(False)


async def test_the_vote_is_cast_at_once_after_a_membership_change(pair: Cluster) -> None:
    """From corosync's line that it waits for the device, to its answer to the poll."""
    begun = "waiting for quorum device device poll"
    skip = len(log_times(pair[1], begun))
    accepted: list[tuple[RingId | None, float]] = []

    def report(ballot: Ballot) -> None:
        if ballot.vote and (not accepted or accepted[-1][0] != ballot.ring_id):
            accepted.append((ballot.ring_id, time.time()))

    async with watch(pair[1]) as (one,), devices(pair[1], vote=lambda _: yes, interval=2.0, report=report):
        await one.until_flags(CAST)
        for _ in range(2):
            pair.partition([1], [2])
            assert await one.settled(1)
            pair.heal()
            assert await one.settled(1, 2)
        # The device learns that its vote was accepted a moment after the vote has let the nodes settle.
        await eventually_async(lambda: accepted[-1][1] >= log_times(pair[1], begun)[-1] - TICKS)
    starts = log_times(pair[1], begun)[skip:]
    took = [min(when for _, when in accepted if when >= start - TICKS) - start for start in starts]
    # Each line was answered by the ballot that the new ring called for.
    assert len(took) >= 4


async def test_a_device_that_starts_while_the_nodes_wait_for_its_predecessor_answers(pair: Cluster) -> None:
    """Until then cmap does not answer, and the device must not wait for it."""
    begun, given_up = "waiting for quorum device device poll", "lost contact with quorum device device"
    before, lost = len(log_times(pair[1], begun)), len(log_times(pair[1], given_up))
    with voting(pair[1]) as process:
        casts(process, 1)
        process.kill()
    async with watch(pair[1]) as (one,):
        pair.partition([1], [2])
        await eventually_async(lambda: len(log_times(pair[1], begun)) > before)
        async with devices(pair[1], vote=lambda _: yes):
            assert await one.settled(1)
            # corosync logs this when it continues because the device's time is up.
            assert len(log_times(pair[1], given_up)) == lost


async def test_a_timeout_changed_while_the_device_runs_takes_effect(start_daemon: StartDaemon) -> None:
    config = Config(nodes=(Node(1),), device=device(TIMEOUT))
    node = start_daemon(config)
    with node.namespace():
        async with QuorumDevice("device") as voter:
            assert (await voter.next_view()).time_left <= TIMEOUT
            await voter.cast(True)
            changed = replace(config, device=device(PATIENCE))
            (node.directory / "corosync.conf").write_text(changed.render(node.directory / "state"))
            node.run(["corosync-cfgtool", "-R"], check=True)
            with trio.fail_after(DEADLINE):
                while (await voter.next_view(0.01)).time_left <= TIMEOUT:
                    await voter.cast(True)


async def test_a_device_waits_for_a_dead_daemon_and_votes_again(single: Daemon) -> None:
    ballots: list[Ballot] = []
    with single.namespace():
        async with devices(single, vote=lambda _: yes, report=ballots.append):
            await eventually_async(lambda: ballots and ballots[-1].vote)
            single.kill()
            await eventually_async(lambda: ballots[-1].vote is None)
            assert "cannot be reached" in ballots[-1].reason
            single.start()
            await eventually_async(lambda: ballots[-1].vote)
            async with watch(single) as (one,):
                await one.until_flags(CAST)


# --- names and owners ---


async def test_another_name_and_foreign_changes_are_errors(single: Daemon) -> None:
    with single.namespace():
        async with QuorumDevice("device") as device:
            await device.cast(True)
            with pytest.raises(Exist):
                await QuorumDevice("other").__aenter__()
            # The refused device has not removed the first one's registration.
            await device.cast(True)
            await device.rename("renamed")
            assert device.name == "renamed"
            await device.cast(True)
            async with await Votequorum.initialize() as vq:
                assert (await vq.getinfo()).qdevice_name == "renamed"
                await vq.qdevice_update("renamed", "theirs")
                with trio.fail_after(DEADLINE):
                    while (await vq.getinfo()).qdevice_name != "theirs":
                        await trio.sleep(0.005)
                with pytest.raises(InvalidParam):
                    await cast_in_time(device)
                await vq.qdevice_unregister("theirs")
            with pytest.raises(NotExist):
                await cast_in_time(device)


async def test_after_a_split_an_unused_device_name_is_remembered_until_a_device_of_that_name_ends(
    pair: Cluster,
) -> None:
    # Other tests of this cluster may have left the name that they all use.
    async with watch(*pair) as (one, two):
        async with device_on(pair[1], "device"):
            await until_name(two, "device")
            pair.partition([1], [2])
            await one.settled(1)
            await two.settled(2)
        await until_name(one, "")
        # The unregistration has not reached node 2, so the name comes back with node 2.
        assert (await two.info()).qdevice_name == "device"
        pair.heal()
        await one.settled(1, 2)
        await until_name(one, "device")
        assert not (await one.info()).flags & REGISTERED
        with pytest.raises(
            Exist, match=r"'device', on another node, or .* start and stop a device of that name"
        ):
            async with device_on(pair[1], "another"):
                pass
        async with device_on(pair[1], "device"):
            pass
        await until_name(one, "")
        await until_name(two, "")
        async with device_on(pair[1], "another"):
            await until_name(two, "another")


@contextlib.asynccontextmanager
async def device_on(node: Daemon, name: str) -> AsyncIterator[QuorumDevice]:
    """A device that never votes and lives as long as the block."""
    device = QuorumDevice(name)
    with node.namespace():
        await device.__aenter__()
    try:
        yield device
    finally:
        await device.__aexit__(None, None, None)


async def until_name(node: Watch, name: str) -> None:
    """Wait until a node knows the device by this name."""
    with trio.fail_after(DEADLINE):
        while (await node.info()).qdevice_name != name:
            await trio.sleep(0.005)


async def cast_in_time(device: QuorumDevice) -> None:
    """Vote until a vote is in time; on a busy machine one may be late."""
    while True:
        try:
            return await device.cast(True)
        except Timeout:
            continue


async def test_without_corosync_a_device_does_not_wait(single: Daemon) -> None:
    single.kill()
    with single.namespace(), pytest.raises(Library):
        await run_qdevice("device", yes)


async def test_a_daemon_without_a_model_is_refused_with_the_settings_name(shm_daemon: Daemon) -> None:
    with pytest.raises(Access, match=r"quorum\.device\.model"):
        await run_qdevice("device", no)
    async with watch(shm_daemon) as (one,):
        assert REGISTERED not in (await one.info()).flags


@pytest.mark.parametrize("model", ["net", "none-of-corosync's", "votequorum-ipc"])
def test_corosync_accepts_any_model_name(start_daemon: StartDaemon, model: str) -> None:
    node = start_daemon(Config(nodes=(Node(1), Node(2)), device=Device(model=model, votes=None)))
    status = node.status()
    assert status
    # Without an explicit number, the device has one vote less than the nodes.
    assert (status.info["qdevice_votes"], status.info["node_expected_votes"]) == (1, 3)


LOADED_LATER = {
    "two_node": {"two_node": 1},
    "last_man_standing": {"last_man_standing": 1},
    "auto_tie_breaker": {"auto_tie_breaker": 1, "wait_for_all": 1},
    "allow_downscale": {"allow_downscale": 1},
    "device.votes is not": {"expected_votes": 2},
    "must exceed": {"expected_votes": 2},
}
"""The initial configuration, to which a device is then loaded, and the setting that the refusal names."""


def load(node: Daemon, config: Config) -> None:
    """Give a daemon another configuration, and reload it."""
    (node.directory / "corosync.conf").write_text(config.render(node.directory / "state"))
    node.run(["corosync-cfgtool", "-R"], check=True)


@pytest.mark.parametrize("setting", LOADED_LATER)
async def test_the_refusal_of_a_device_that_the_configuration_excludes_names_the_setting(
    start_daemon: StartDaemon, setting: str
) -> None:
    nodes = (Node(1), Node(2))
    votes = None if setting == "device.votes is not" else 1
    node = start_daemon(Config(nodes=nodes, quorum=LOADED_LATER[setting]))
    load(node, Config(nodes=nodes, quorum=LOADED_LATER[setting], device=Device(model="x", votes=votes)))
    with node.namespace():
        await eventually_async(lambda: log_times(node, "configuration error"), otherwise=node.log_tail)
        with pytest.raises(Access, match=re.escape(setting)):
            await run_qdevice("device", yes)


async def test_modes_loaded_into_a_daemon_with_a_device_do_not_exclude_it(
    start_daemon: StartDaemon,
) -> None:
    """votequorum reads these modes only when it starts."""
    modes = {"last_man_standing": 1, "auto_tie_breaker": 1, "wait_for_all": 1, "allow_downscale": 1}
    config = Config(nodes=(Node(1), Node(2)), device=device(TIMEOUT))
    node = start_daemon(config)
    load(node, replace(config, quorum=modes))
    async with watch(node) as (one,), devices(node, vote=lambda _: yes):
        await one.until_flags(CAST)
    # A refusal for another reason is not attributed to these modes.
    load(node, replace(config, quorum=modes | {"expected_votes": 2}))
    with node.namespace():
        await eventually_async(lambda: log_times(node, "configuration error"), otherwise=node.log_tail)
        with pytest.raises(Access, match="must exceed"):
            await run_qdevice("device", yes)


@pytest.mark.parametrize("mode", ["two_node", "last_man_standing", "auto_tie_breaker", "allow_downscale"])
async def test_corosync_does_not_start_with_such_a_mode_and_a_device(
    start_daemon: StartDaemon, mode: str
) -> None:
    with pytest.raises(AssertionError, match="has died"):
        start_daemon(Config(nodes=(Node(1), Node(2)), quorum={mode: 1}, device=device(TIMEOUT)))


async def test_with_an_odd_number_of_votes_the_tie_breaker_yields_to_a_device(
    start_daemon: StartDaemon,
) -> None:
    nodes = (Node(1), Node(2), Node(3))
    node = start_daemon(Config(nodes=nodes, quorum={"auto_tie_breaker": 1}, device=device(TIMEOUT)))
    async with watch(node) as (one,), devices(node, vote=lambda _: yes):
        assert InfoFlags.AUTO_TIE_BREAKER not in (await one.until_flags(CAST)).flags


@pytest.mark.parametrize("number", [1, 2, 2**31, 2**32 - 1])
async def test_any_number_but_0_is_a_vote_as_in_c(single: Daemon, number: int) -> None:
    async with watch(single) as (one,):
        with single.namespace():
            handle = await Votequorum.initialize()
        async with handle:
            await handle.qdevice_register("device")
            await handle.trackstart()
            ring_id = (await handle.next_event()).ring_id  # type: ignore[union-attr]
            await handle.qdevice_poll("device", number, ring_id)
            await one.until_flags(CAST)
            await handle.qdevice_poll("device", 0, ring_id)
            await one.until_flags(ALIVE, unset=CAST)
            await handle.qdevice_unregister("device")


@pytest.mark.parametrize("number", [-1, 2**32])
async def test_a_vote_that_is_not_a_uint32_is_refused(single: Daemon, number: int) -> None:
    with single.namespace():
        async with await Votequorum.initialize() as handle:
            with pytest.raises(InvalidParam, match="cast_vote is 0 to 4294967295"):
                await handle.qdevice_poll("device", number, RingId(1, 1))


async def test_a_daemon_without_configured_timeouts_waits_as_long_as_a_device_assumes(
    start_daemon: StartDaemon,
) -> None:
    node = start_daemon(Config(nodes=(Node(1),), device=Device(model="votequorum-ipc", votes=1)))
    with voting(node) as process:
        before, after = casts(process, 1)
        process.kill()
    with trio.fail_after(Timeouts().timeout + DEADLINE):
        while not (lost := log_times(node, "lost contact with quorum device device")):
            await trio.sleep(0.05)
    assert before + Timeouts().timeout - TICKS <= lost[0] <= after + Timeouts().timeout + SLACK
