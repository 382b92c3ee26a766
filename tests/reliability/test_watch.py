"""`watch_quorum`: a view has the current state and all changes, or it is UNKNOWN."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal

import pytest
import trio
import trio.testing

from tests.client.support import holdings, nothing_left
from tests.conftest import StartCluster, StartDaemon
from tests.qdevice.support import start_device, yes
from tests.real.cluster import Cluster
from tests.real.config import Config, Device, Node
from tests.real.cref import CS_OK, CQuorum, CVotequorum
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE, eventually, eventually_async
from votequorum_ipc import (
    BadHandle,
    Busy,
    Change,
    Cmap,
    Connected,
    CsError,
    DeviceChanged,
    ExpectedVotesChanged,
    InfoFlags,
    InvalidParam,
    Library,
    Lost,
    MembershipChanged,
    MessageError,
    NameChanged,
    NodeState,
    NodeVotesChanged,
    NotExist,
    QueueFull,
    Quorum,
    QuorumChanged,
    QuorumState,
    QuorumType,
    QuorumView,
    QuorumWatcher,
    RingId,
    Timeout,
    TryAgain,
    Votequorum,
    VotesChanged,
    cluster_status,
    follow,
    watch,
    watch_quorum,
)
from votequorum_ipc.follow import Follower
from votequorum_ipc.ipc import exchange
from votequorum_ipc.ipc.connection import Connection
from votequorum_ipc.testing import DeviceConfig, simulated_cluster

QUORATE, NOT_QUORATE, UNKNOWN = QuorumState.QUORATE, QuorumState.NOT_QUORATE, QuorumState.UNKNOWN

FIVE_VOTES = (Node(1, votes=5),)
"""A node that stays quorate with up to 9 expected votes."""


async def until(watcher: QuorumWatcher, wanted: Callable[[QuorumView], bool]) -> list[QuorumView]:
    """Take views until one is as wanted."""
    views: list[QuorumView] = []
    with trio.fail_after(DEADLINE):
        async for view in watcher:
            views.append(view)
            if wanted(view):
                return views
    raise AssertionError("unreachable")


def is_unknown(view: QuorumView) -> bool:
    return view.state is UNKNOWN


def has_members(*members: int) -> Callable[[QuorumView], bool]:
    return lambda view: tuple(sorted(member.node_id for member in view.members)) == members


def changes_of(views: list[QuorumView]) -> list[Change]:
    assert not any(view.dropped for view in views)
    return [change for view in views for change in view.changes]


def test_only_quorate_is_true() -> None:
    assert [bool(state) for state in QuorumState] == [True, False, False]


# --- with a real daemon ---


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_a_killed_and_restarted_daemon_is_unknown_meanwhile_and_then_followed_again(
    start_daemon: StartDaemon, transport: Literal["shm", "socket"]
) -> None:
    daemon = start_daemon(Config(nodes=FIVE_VOTES, transport=transport))
    with nothing_left(), daemon.namespace():
        async with watch_quorum() as watcher:
            first = await anext(watcher)
            assert (first.state, first.expected_votes, first.changes) == (QUORATE, 5, (Connected(),))
            (member,) = first.members
            assert (member.node_id, member.name, member.address, member.local) == (
                1,
                "node1",
                "127.0.0.1",
                True,
            )
            assert first.info == member.info
            assert member.info
            assert (member.info.node_votes, member.info.node_state) == (5, NodeState.MEMBER)
            for _ in range(2):
                daemon.kill()
                lost = await anext(watcher)
                assert (lost.state, lost.status, lost.ring_id, lost.members) == (UNKNOWN, None, None, ())
                assert isinstance(lost.error, Library)
                assert lost.changes == (Lost(lost.error),)
                assert first.since < lost.since <= trio.current_time()
                daemon.start()
                # corosync accepts clients before it has formed its membership.
                *_, again = await until(watcher, lambda view: bool(view.state))
                assert again.since > lost.since
                await daemon.until_ready()
                with CVotequorum() as votequorum:
                    assert votequorum.setexpected(6) == CS_OK
                *_, changed = await until(watcher, lambda view: view.expected_votes == 6)
                assert (changed.changes[0], changed.state) == (ExpectedVotesChanged(6), QUORATE)


async def test_what_a_daemon_reported_before_it_died_is_reported_before_its_loss(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config(nodes=FIVE_VOTES))
    with daemon.namespace():
        async with watch_quorum() as watcher:
            await anext(watcher)
            with CVotequorum() as votequorum:
                assert votequorum.trackstart() == CS_OK
                for votes in (6, 7, 8):
                    assert votequorum.setexpected(votes) == CS_OK
                    wanted = ("expectedvotes", 0, votes)
                    eventually(lambda: votequorum.dispatch() == CS_OK and wanted in votequorum.events)  # noqa: B023
                daemon.kill()
            view = await anext(watcher)
    *reported, lost = view.changes
    assert reported == [*map(ExpectedVotesChanged, (6, 7, 8))]
    assert (view.state, type(lost)) == (UNKNOWN, Lost)


async def test_each_change_that_the_daemon_reports_is_given_once_and_in_order(cluster3: Cluster) -> None:
    node = cluster3[3]
    with node.namespace(), CQuorum() as reference:
        async with watch_quorum() as watcher:
            assert has_members(1, 2, 3)(await anext(watcher))
            reference.events.clear()
            assert reference.trackstart(4) == CS_OK  # changes only
            views: list[QuorumView] = []
            for _ in range(2):
                cluster3.isolate(3)
                views += await until(watcher, lambda view: view.state is NOT_QUORATE)
                cluster3.heal()
                views += await until(watcher, lambda view: bool(view.state))
            await cluster3.until_agreed()
            views.append(await watcher.current())
            assert has_members(1, 2, 3)(views[-1])
            assert reference.dispatch() == CS_OK
    changes = changes_of(views)
    memberships = [
        ("nodelist", tuple(change.ring_id), change.members, change.joined, change.left)
        for change in changes
        if isinstance(change, MembershipChanged)
    ]
    assert [as_tuple(event) for event in reference.events if event[0] == "nodelist"] == memberships
    quorate = [bool(event[2]) for event in reference.events if event[0] == "quorum"]
    turns = [now for before, now in zip([True, *quorate], quorate, strict=False) if now != before]
    assert [change.quorate for change in changes if isinstance(change, QuorumChanged)] == turns
    for earlier, later in pairwise(views):
        assert (later.since == earlier.since) == (later.state is earlier.state)


def as_tuple(event: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(tuple(part) if isinstance(part, list | tuple) else part for part in event)


async def test_a_missing_daemon_is_unknown_at_once_and_found_when_it_starts(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config())
    daemon.kill()
    with nothing_left(), daemon.namespace():
        async with watch_quorum() as watcher:
            view = await anext(watcher)
            assert view.state is UNKNOWN
            assert "not running here" in str(view.error)
            # Each query makes one attempt, and the daemon's continued absence is not a change.
            assert (await watcher.current()).changes == ()
            with trio.move_on_after(0.5):
                pytest.fail(f"{await anext(watcher)}")
            daemon.start()
            *_, found = await until(watcher, lambda view: bool(view.state))
            assert found.error is None


async def test_a_hanging_daemon_is_unknown_until_it_continues_and_no_change_is_missed(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config(nodes=FIVE_VOTES))
    with daemon.namespace(), CVotequorum() as votequorum:
        async with watch_quorum(patience=0.3) as watcher:
            await anext(watcher)
            daemon.signal(signal.SIGSTOP)
            hung = await anext(watcher)
            assert (hung.state, hung.changes, type(hung.error)) == (UNKNOWN, (), Timeout)
            assert (await watcher.current()).state is UNKNOWN
            daemon.signal(signal.SIGCONT)
            *_, view = await until(watcher, lambda view: not is_unknown(view))
            assert (view.state, view.error) == (QUORATE, None)
            # corosync may form a new membership after a pause, but the connection is the same.
            assert not any(isinstance(change, Connected | Lost) for change in view.changes)
            assert votequorum.setexpected(6) == CS_OK
            *_, view = await until(watcher, lambda view: view.expected_votes == 6)
            assert ExpectedVotesChanged(6) in view.changes


async def test_a_daemon_that_hangs_from_the_start_is_unknown_until_it_continues(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config())
    with nothing_left(), daemon.namespace():
        async with watch_quorum(patience=0.3) as watcher:
            with daemon.frozen():
                view = await anext(watcher)
                assert (view.state, type(view.error)) == (UNKNOWN, Timeout)
            *_, found = await until(watcher, lambda view: not is_unknown(view))
            assert (found.state, found.changes) == (QUORATE, (Connected(),))


async def test_a_daemon_without_a_provider_is_unknown_even_though_it_calls_itself_quorate(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config(nodes=(Node(1), Node(2), Node(3)), provider=None))
    with daemon.namespace():
        assert (await cluster_status()).quorate
        async with watch_quorum() as watcher:
            view = await anext(watcher)
            assert (view.state, view.status, type(view.error)) == (UNKNOWN, None, NotExist)
            assert "provider: corosync_votequorum" in str(view.error)
        async with watch_quorum(require_provider=False) as watcher:
            view = await anext(watcher)
            assert view.status
            assert (view.state, view.status.quorum_type) == (QUORATE, QuorumType.FREE)
            assert (view.status.node_id, view.status.members[0].local) == (1, True)
        with pytest.raises(Library, match="corosync runs, but without votequorum"):
            await Votequorum.initialize()


async def test_a_reload_that_renames_a_node_is_a_change_without_reading_cmap_again(
    start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = start_daemon(Config())
    with daemon.namespace():
        async with watch_quorum() as watcher:
            assert [member.name for member in (await anext(watcher)).members] == ["node1"]

            async def fail(*_: object, **__: object) -> None:
                raise AssertionError("cmap was asked again")

            monkeypatch.setattr(Cmap, "_call", fail)
            file = daemon.directory / "corosync.conf"
            file.write_text(file.read_text().replace("name: node1", "name: renamed"))
            result = daemon.run(["corosync-cfgtool", "-R"])
            assert result.returncode == 0, result.stderr
            *_, view = await until(watcher, lambda view: NameChanged(1, "renamed") in view.changes)
            assert [member.name for member in view.members] == ["renamed"]


async def test_a_status_never_contradicts_itself_while_a_devices_vote_comes_and_goes(
    start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two nodes and its device: quorate with the device's vote, and not without it."""
    # Conflicting answers are requested again at once: more reads coincide with a vote.
    monkeypatch.setattr(follow, "_ATTEMPT_DELAY", 0.001)
    monkeypatch.setattr(follow, "_ATTEMPTS", 10_000)
    nodes = (Node(1), Node(2, address="192.0.2.2"))
    daemon = start_daemon(Config(nodes=nodes, device=Device(timeout=100_000)))
    seen: set[bool] = set()
    with daemon.namespace():
        async with await Votequorum.initialize() as votequorum, trio.open_nursery() as nursery:
            await votequorum.qdevice_register("flips")
            await votequorum.trackstart()
            ring_id = (await cluster_status()).ring_id

            async def flip() -> None:
                while True:
                    for vote in (True, False):
                        await votequorum.qdevice_poll("flips", vote, ring_id)
                        await trio.sleep(0.002)

            async def ask() -> None:
                for _ in range(100):
                    status = await cluster_status()
                    assert status.info
                    assert status.info.quorate == status.quorate
                    assert status.members[0].info == status.info
                    # Not the other way round: corosync counts a vote before it has decided about quorum.
                    assert status.info.total_votes >= status.info.quorum or not status.quorate
                    seen.add(status.quorate)

            async def watch() -> None:
                async with watch_quorum() as watcher:
                    for _ in range(1000):
                        view = await watcher.current()
                        assert view.info
                        assert view.info.quorate == bool(view.state)
                        assert view.info.total_votes >= view.info.quorum or not view.state
                        seen.add(bool(view.state))

            nursery.start_soon(flip)
            async with trio.open_nursery() as askers:
                for asker in (ask, ask, watch, watch):
                    askers.start_soon(asker)
            nursery.cancel_scope.cancel()
    assert seen == {True, False}


async def test_when_two_nodes_are_cut_apart_only_the_one_with_the_devices_vote_is_quorate(
    start_cluster: StartCluster,
) -> None:
    pair = start_cluster(Config(nodes=(Node(1), Node(2)), device=Device(model="votequorum-ipc", votes=1)))
    voting = InfoFlags.QDEVICE_CAST_VOTE

    def votes(view: QuorumView) -> bool:
        return bool(view.info and view.info.flags & voting)

    async with trio.open_nursery() as nursery, watch_quorum() as one, watch_quorum() as two:
        for node, watcher in ((pair[1], one), (pair[2], two)):
            with node.namespace():
                assert (await anext(watcher)).state is QUORATE
        await start_device(nursery, pair[1], yes)
        await until_current(one, votes)
        pair.partition([1], [2])
        for watcher, member, state in ((two, 2, NOT_QUORATE), (one, 1, QUORATE)):
            *_, cut = await until(watcher, has_members(member))
            assert cut.state is state
            assert votes(cut) == (member == 1)
        pair.heal()
        for watcher in (one, two):
            *_, healed = await until(watcher, has_members(1, 2))
            assert healed.state is QUORATE
        nursery.cancel_scope.cancel()


async def until_current(watcher: QuorumWatcher, wanted: Callable[[QuorumView], bool]) -> None:
    """Query until a view is as wanted, for changes that corosync does not announce."""
    with trio.fail_after(DEADLINE):
        while not wanted(await watcher.current()):
            await trio.sleep(0.01)


async def test_nothing_is_left_after_the_block(daemon: Daemon) -> None:
    with nothing_left():
        for _ in range(3):
            async with watch_quorum() as watcher:
                await anext(watcher)
            with pytest.raises(BadHandle):
                await anext(watcher)
            with pytest.raises(BadHandle):
                await watcher.current()
        with trio.move_on_after(0.001):
            async with watch_quorum() as watcher:
                await trio.sleep_forever()
    await eventually_async(lambda: not holdings().files)


async def test_nothing_runs_between_two_questions(daemon: Daemon) -> None:
    def running() -> tuple[int, int]:
        return trio.lowlevel.current_statistics().tasks_living, threading.active_count()

    before = running()
    async with watch_quorum() as watcher:
        await anext(watcher)
        assert running() == before
        await watcher.current()
        assert running() == before


async def test_a_watcher_has_three_connections_and_sends_one_request_per_member_and_four_more(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = holdings()
    async with watch_quorum() as watcher, await Votequorum.initialize() as other:
        await other.getinfo()
        idle = holdings().descriptors - before.descriptors
        await anext(watcher)
        held = holdings().descriptors - before.descriptors - idle
        # Over shared memory 8 each, of which the mappings' are counted here; over sockets fewer.
        assert held <= 24
        requests = 0
        prepared = Connection._prepared

        def counted(connection: Connection, *args: Any) -> Any:
            nonlocal requests
            requests += connection is not other.connection
            return prepared(connection, *args)

        monkeypatch.setattr(Connection, "_prepared", counted)
        await other.setvotes(1, 5)
        await until(watcher, lambda view: view.expected_votes == 5)
        assert requests
        assert requests % (1 + 4) == 0
        requests = 0
        await watcher.current()
        assert requests == 1 + 4


# --- with the embedded daemon ---


async def test_a_view_of_16_members_costs_20_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, requests = Connection._prepared, 0

    def counted(connection: Connection, *args: Any) -> Any:
        nonlocal requests
        requests += 1
        return prepared(connection, *args)

    async with simulated_cluster(16) as cluster, watch_quorum(cluster.address(1)) as watcher:
        await anext(watcher)
        monkeypatch.setattr(Connection, "_prepared", counted)
        cluster.reform(1)
        view = await anext(watcher)
    assert [type(change) for change in view.changes] == [MembershipChanged]
    assert (len(view.members), requests) == (16, 16 + 4)


async def test_new_expected_votes_of_16_members_cost_20_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, requests = Connection._prepared, 0

    def counted(connection: Connection, *args: Any) -> Any:
        nonlocal requests
        requests += connection is not operator.connection
        return prepared(connection, *args)

    async with (
        simulated_cluster(16) as cluster,
        watch_quorum(cluster.address(1)) as watcher,
        await Votequorum.initialize(address=cluster.address(2)) as operator,
    ):
        await anext(watcher)
        monkeypatch.setattr(Connection, "_prepared", counted)
        await operator.setexpected(17)
        views = await until(watcher, lambda view: view.expected_votes == 17)
    assert [ExpectedVotesChanged(17) in view.changes for view in views] == [True]
    assert requests == 16 + 4


async def test_a_view_taken_late_has_the_current_state_and_every_change() -> None:
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        await anext(watcher)
        for _ in range(3):
            cluster.partition({1}, {2, 3})
            cluster.heal()
        cluster.partition({1}, {2, 3})
        view = await anext(watcher)
        assert view.state is NOT_QUORATE
        turns = [change.quorate for change in view.changes if isinstance(change, QuorumChanged)]
        assert turns == [False, True, False, True, False, True, False]
        left = [change.left for change in view.changes if isinstance(change, MembershipChanged)]
        assert left == [(2, 3), ()] * 3 + [(2, 3)]
        cluster.kill(1)
        assert (await watcher.current()).state is UNKNOWN


async def test_votes_that_are_not_announced_are_found_by_the_next_question() -> None:
    async with simulated_cluster(3, expected_votes=4) as cluster, watch_quorum(cluster.address(1)) as watcher:
        assert (await anext(watcher)).state is QUORATE
        other = await cluster.connect(2)
        await other.setvotes(2, 2)
        view = await watcher.current()
        assert view.info
        assert view.changes == (NodeVotesChanged(2, 2), VotesChanged(view.info))
        assert (view.info.node_votes, view.info.total_votes) == (1, 4)


async def test_a_device_is_reported_when_it_registers_votes_and_unregisters() -> None:
    device = DeviceConfig(votes=1)
    async with simulated_cluster(2, device=device) as cluster, watch_quorum(cluster.address(1)) as watcher:
        first = await anext(watcher)
        assert first.changes == (Connected(),)
        other = await cluster.connect(2)
        registered = InfoFlags.QDEVICE_REGISTERED
        voting = registered | InfoFlags.QDEVICE_ALIVE | InfoFlags.QDEVICE_CAST_VOTE
        told: list[Change] = []
        await other.qdevice_register("D")
        told += (await watcher.current()).changes
        await other.qdevice_poll("D", True, first.ring_id or RingId(0, 0))
        told += (await watcher.current()).changes
        await other.qdevice_unregister("D")
        told += (await watcher.current()).changes
        devices = [(change.node_id, change.flags) for change in told if isinstance(change, DeviceChanged)]
        assert devices == [(2, registered), (2, voting), (2, InfoFlags(0))]
        assert len(told) == len(devices)


async def test_only_a_member_never_seen_before_reports_its_votes_as_a_change() -> None:
    async with simulated_cluster(4) as cluster:
        cluster.kill(4)
        async with watch_quorum(cluster.address(1)) as watcher:
            await anext(watcher)
            kinds = []
            for change in (cluster.up, cluster.kill, cluster.up):
                change(4)
                kinds.append([type(change) for change in (await anext(watcher)).changes])
    assert kinds == [
        [MembershipChanged, NodeVotesChanged, VotesChanged],
        [MembershipChanged, VotesChanged],
        [MembershipChanged, VotesChanged],
    ]


async def test_current_returns_a_view_even_if_nothing_has_changed() -> None:
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        first = await watcher.current()
        second = await watcher.current()
        assert (first.changes, second.changes) == ((Connected(),), ())
        assert first.status == second.status


async def test_a_healthy_daemon_is_queried_after_each_patience_and_does_not_become_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, reads = Follower.read, 0

    async def counted(follower: Follower) -> Any:
        nonlocal reads
        reads += 1
        return await read(follower)

    monkeypatch.setattr(Follower, "read", counted)
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1), patience=0.2) as watcher:
        await anext(watcher)
        with trio.move_on_after(DEADLINE):
            async with trio.open_nursery() as nursery:

                async def fail_with_a_view() -> None:
                    pytest.fail(f"{await anext(watcher)}")

                nursery.start_soon(fail_with_a_view)
                await eventually_async(lambda: reads > 4)
                nursery.cancel_scope.cancel()
        assert reads > 4


async def test_a_change_that_is_not_announced_is_found_after_patience() -> None:
    nodes = simulated_cluster(2)
    async with nodes as cluster, watch_quorum(cluster.address(1), patience=0.1) as watcher:
        *_, first = await until(watcher, lambda view: view.info is not None)
        votequorum = await cluster.connect(1)
        await votequorum.setvotes(2, 1)  # the same as before
        cluster.reform(1)
        # On a busy machine a view may be UNKNOWN meanwhile.
        *_, last = await until(watcher, lambda view: view.info is not None and view.ring_id != first.ring_id)
        assert last.info == first.info


async def test_changes_beyond_the_limit_are_dropped_and_counted_and_the_state_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "CHANGE_LIMIT", 5)
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        await anext(watcher)
        for _ in range(10):
            cluster.reform(1)
        cluster.partition({1}, {2, 3})
        view = await anext(watcher)
        assert view.state is NOT_QUORATE
        assert len(view.changes) == 5
        memberships = [change for change in view.changes if isinstance(change, MembershipChanged)]
        assert memberships[-1].members == (1,)
        # Ten memberships; then one more, with its quorum and votes.
        assert view.dropped == 10 + 3 - 5
        assert (await watcher.current()).dropped == 0


async def test_events_beyond_the_connections_limit_are_a_loss_and_a_fresh_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange, "MAX_UNREAD_EVENT_BYTES", 3000)
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        await anext(watcher)
        for _ in range(100):
            cluster.reform(1)
        lost = await anext(watcher)
        assert (lost.state, type(lost.error)) == (UNKNOWN, QueueFull)
        *reported, last = lost.changes
        assert isinstance(last, Lost)
        assert all(isinstance(change, MembershipChanged) for change in reported)
        assert reported
        view = await anext(watcher)
        assert (view.state, view.changes) == (QUORATE, (Connected(),))


@pytest.mark.parametrize("error", [MessageError("nonsense"), Library("gone")])
async def test_a_question_that_fails_is_unknown_and_then_asked_again(
    monkeypatch: pytest.MonkeyPatch, error: CsError
) -> None:
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        await anext(watcher)

        async def fail(*_: object, **__: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Votequorum, "getinfo_all", fail)
            lost = await watcher.current()
        assert (lost.state, lost.error, lost.changes) == (UNKNOWN, error, (Lost(error),))
        view = await anext(watcher)
        assert (view.state, view.changes) == (QUORATE, (Connected(),))


async def test_a_daemon_too_busy_to_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    getquorate, refusals = Quorum.getquorate, iter(range(2))

    async def busy(quorum: Quorum) -> bool:
        if next(refusals, None) is not None:
            raise TryAgain
        return await getquorate(quorum)

    monkeypatch.setattr(Quorum, "getquorate", busy)
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        assert [(await anext(watcher)).state, next(refusals, None)] == [QUORATE, None]


@pytest.mark.parametrize("handle", ["_quorum", "_votequorum", "_cmap"])
async def test_if_one_connection_ends_the_state_is_unknown_and_then_known_again(handle: str) -> None:
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        await anext(watcher)
        getattr(watcher._follower, handle).connection._socket.shutdown(2)
        lost = await anext(watcher)
        assert (lost.state, type(lost.error)) == (UNKNOWN, Library)
        view = await anext(watcher)
        assert (view.state, view.changes) == (QUORATE, (Connected(),))


async def test_a_question_cancelled_at_each_checkpoint_loses_no_change() -> None:
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        before = (await anext(watcher)).members
        assert len(before) == 3
        steps, cancelled = 0, True
        while cancelled:
            cluster.partition({1}, {2, 3})
            cluster.heal()
            view, cancelled = await ask_and_be_cancelled_after(watcher, steps)
            if view is None:
                view = await anext(watcher)
            turns = [change.quorate for change in view.changes if isinstance(change, QuorumChanged)]
            left = [change.left for change in view.changes if isinstance(change, MembershipChanged)]
            assert (turns, left, view.dropped) == ([False, True], [(2, 3), ()], 0)
            steps += 1
    assert steps >= 2


async def ask_and_be_cancelled_after(watcher: QuorumWatcher, steps: int) -> tuple[QuorumView | None, bool]:
    view = None
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:

            async def cancel() -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(cancel)
            view = await anext(watcher)
            nursery.cancel_scope.cancel()
    return view, scope.cancelled_caught


async def test_the_second_of_two_tasks_that_use_a_watcher_at_once_gets_an_error() -> None:
    async with simulated_cluster(3) as cluster, watch_quorum(cluster.address(1)) as watcher:
        await anext(watcher)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, watcher)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Busy, match="its own watcher"):
                await watcher.current()
            nursery.cancel_scope.cancel()
        assert (await watcher.current()).state is QUORATE


async def test_a_task_that_queries_when_the_block_ends_gets_a_bad_handle() -> None:
    caught: list[CsError] = []

    async def ask(watcher: QuorumWatcher) -> None:
        with pytest.raises(BadHandle) as info:
            await anext(watcher)
        caught.append(info.value)

    async with (
        simulated_cluster(3) as cluster,
        trio.open_nursery() as nursery,
        watch_quorum(cluster.address(1)) as watcher,
    ):
        await anext(watcher)
        nursery.start_soon(ask, watcher)
        await trio.testing.wait_all_tasks_blocked()
    assert len(caught) == 1


async def test_an_exception_from_the_block_comes_out_unchanged() -> None:
    async def fail(error: Exception, address: str) -> None:
        async with watch_quorum(address) as watcher:
            async for _ in watcher:
                raise error

    async with simulated_cluster(1) as cluster:
        with pytest.raises(LookupError, match="of the program"):
            await fail(LookupError("of the program"), cluster.address(1))
        with pytest.raises(ExceptionGroup, match="of the program too"):
            await fail(ExceptionGroup("of the program too", [ValueError()]), cluster.address(1))


@pytest.mark.parametrize(
    "arguments", [{"address": ""}, {"patience": 0}, {"patience": -1.0}, {"patience": float("nan")}]
)
async def test_invalid_arguments_are_refused_at_the_block(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidParam):
        async with watch_quorum(**arguments):
            pytest.fail("let in")


@pytest.mark.parametrize("transport", ["shm", "socket"])
async def test_partitions_and_restarts_of_the_embedded_daemon(transport: Literal["shm", "socket"]) -> None:
    async with (
        simulated_cluster(3, transport=transport) as cluster,
        watch_quorum(cluster.address(1)) as watcher,
    ):
        await anext(watcher)
        for _ in range(3):
            cluster.partition({1}, {2, 3})
            cut = await anext(watcher)
            assert (cut.state, has_members(1)(cut)) == (NOT_QUORATE, True)
            cluster.kill(1)
            lost = await anext(watcher)
            assert lost.state is UNKNOWN
            cluster.heal()
            cluster.up(1)
            found = await anext(watcher)
            assert (found.state, has_members(1, 2, 3)(found)) == (QUORATE, True)
            assert found.since > lost.since > cut.since
