"""When a watcher queries, retries and gives up: in virtual time, with the embedded daemon."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from votequorum_ipc import (
    BadHandle,
    Change,
    Connected,
    Library,
    Quorum,
    QuorumState,
    Timeout,
    TryAgain,
    Votequorum,
    cluster_status,
    watch_quorum,
)
from votequorum_ipc.follow import Follower
from votequorum_ipc.testing import simulated_cluster


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times when watchers tried to connect."""
    times: list[float] = []
    connect = Follower.connect

    async def noted(address: Any, server_uids: Collection[int] | None, record: Any) -> Follower:
        times.append(trio.current_time())
        return await connect(address, server_uids, record)

    monkeypatch.setattr(Follower, "connect", noted)
    return times


def assert_pauses_grow(attempts: list[float]) -> None:
    """The pauses double from 40 ms up to a second, each shortened at random by up to half."""
    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    longest = [min(0.04 * 2**number, 1.0) for number in range(len(pauses))]
    for pause, most in zip(pauses, longest, strict=True):
        assert 0.499 * most <= pause <= 1.001 * most


async def test_a_lost_daemon_is_looked_for_after_growing_pauses_that_start_over_each_time(
    autojump_clock: trio.testing.MockClock, attempts: list[float]
) -> None:
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        for _ in range(2):
            view = await anext(watcher)
            assert (view.state, view.changes[-1]) == (QuorumState.QUORATE, Connected())
            cluster.kill(1)
            assert (await anext(watcher)).state is QuorumState.UNKNOWN
            attempts.clear()
            with trio.move_on_after(20):
                pytest.fail(f"{await anext(watcher)}")
            assert len(attempts) > 20
            assert_pauses_grow(attempts)
            cluster.up(1)


async def test_connections_to_one_lost_daemon_wait_together_for_its_end_and_not_one_after_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with simulated_cluster(1) as cluster:
        follower = await Follower.connect(cluster.address(1), None, lambda _: None)
        await follower.read()
        # The sockets close while the process, which is this one, lives on: as in corosync's last
        # milliseconds.
        cluster.kill(1)
        await follower.wait()
        with pytest.raises(Library):
            follower.drain()
        began = trio.current_time()
        await follower.aclose()
        assert trio.current_time() - began == pytest.approx(0.03)


async def test_after_the_block_a_query_ends_at_once_even_if_the_daemon_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with simulated_cluster(1) as cluster:
        cluster.kill(1)
        async with watch_quorum(cluster.address(1)) as watcher:
            await anext(watcher)
        ended = trio.current_time()
        with pytest.raises(BadHandle):
            await anext(watcher)
        assert trio.current_time() == ended


async def test_a_daemon_that_does_not_answer_is_unknown_after_40_seconds_by_default(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any, **__: Any) -> None:
        await trio.sleep_forever()

    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        await anext(watcher)
        monkeypatch.setattr(Votequorum, "getinfo_all", hang)
        asked = trio.current_time()
        view = await watcher.current()
        assert (view.state, type(view.error), view.changes) == (QuorumState.UNKNOWN, Timeout, ())
        assert trio.current_time() - asked == pytest.approx(40)


async def test_without_a_limit_of_patience_a_query_waits_for_an_answer(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    getquorate = Quorum.getquorate

    async def slow(quorum: Quorum) -> bool:
        await trio.sleep(1000)
        return await getquorate(quorum)

    monkeypatch.setattr(Quorum, "getquorate", slow)
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1), patience=None) as watcher:
        assert (await anext(watcher)).state is QuorumState.QUORATE
        assert trio.current_time() >= 1000


async def test_a_daemon_is_queried_whenever_patience_passes_without_an_announcement(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, times = Follower.read, []

    async def noted(follower: Follower) -> Any:
        times.append(trio.current_time())
        return await read(follower)

    monkeypatch.setattr(Follower, "read", noted)
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1), patience=15) as watcher:
        await anext(watcher)
        with trio.move_on_after(50):
            pytest.fail(f"{await anext(watcher)}")
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([15, 15, 15])


async def test_a_busy_daemon_is_asked_again_every_tenth_of_a_second(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    getquorate, times = Quorum.getquorate, []

    async def busy(quorum: Quorum) -> bool:
        times.append(trio.current_time())
        if len(times) <= 3:
            raise TryAgain
        return await getquorate(quorum)

    monkeypatch.setattr(Quorum, "getquorate", busy)
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        assert (await anext(watcher)).state is QuorumState.QUORATE
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([0.1] * 3)


@pytest.mark.parametrize("patience", [0.5, 5])
async def test_a_connection_whose_answers_never_agree_is_replaced_after_patience(
    patience: float, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Follower._ask
    async with (
        simulated_cluster(2) as cluster,
        watch_quorum(cluster.address(1), patience=patience) as watcher,
    ):
        await anext(watcher)
        first = watcher._follower

        async def disagree(follower: Follower) -> Any:
            return None if follower is first else await ask(follower)

        monkeypatch.setattr(Follower, "_ask", disagree)
        lost = await watcher.current()
        assert (lost.state, type(lost.error)) == (QuorumState.UNKNOWN, Timeout)
        with trio.fail_after(100):
            view = await anext(watcher)
        assert (view.state, view.changes) == (QuorumState.QUORATE, (Connected(),))


async def test_conflicting_answers_are_requested_again_for_a_second(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []

    async def disagree(_: Follower) -> None:
        times.append(trio.current_time())

    monkeypatch.setattr(Follower, "_ask", disagree)
    async with simulated_cluster(2) as cluster:
        with pytest.raises(TryAgain):
            await cluster_status(cluster.address(1))
    assert len(times) == 50
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([0.02] * 49)


async def test_a_query_waits_until_the_quorum_of_the_membership_is_announced(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes are synchronising if votequorum has announced a membership but not its quorum."""
    changes: list[Change] = []
    async with simulated_cluster(3) as cluster:
        follower = await Follower.connect(cluster.address(1), None, changes.append)
        await follower.read()
        follower._synchronising.add(Votequorum)
        with trio.move_on_after(100):
            pytest.fail(f"{await follower.read()}")
        cluster.reform(1)
        assert (await follower.read()).quorate
        await follower.aclose()
