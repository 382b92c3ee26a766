"""The basis of views and statuses: answers that agree. Races that are rare by chance are forced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio

from tests.conftest import StartDaemon
from tests.real.cluster import Cluster
from tests.real.config import Config, Node
from tests.real.cref import CS_OK, CVotequorum
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE, eventually
from votequorum_ipc import (
    BadHandle,
    Change,
    Cmap,
    CsError,
    ExpectedVotesChanged,
    InfoFlags,
    Library,
    MembershipChanged,
    NodeInfo,
    QuorumChanged,
    TryAgain,
    Votequorum,
    VotesChanged,
    cluster_status,
    follow,
)
from votequorum_ipc.daemon import ServerConnection
from votequorum_ipc.follow import Follower
from votequorum_ipc.testing import simulated_cluster
from votequorum_ipc.wire import message_id
from votequorum_ipc.wire.cmap import NOTIFY_CALLBACK

FIVE_VOTES = Config(nodes=(Node(1, votes=5),))
"""A node that stays quorate with up to 9 expected votes."""


def set_expected(votequorum: CVotequorum, votes: int) -> None:
    """Change expected votes, and block until corosync has announced it."""
    assert votequorum.setexpected(votes) == CS_OK
    wanted = ("expectedvotes", 0, votes)
    eventually(lambda: votequorum.dispatch() == CS_OK and wanted in votequorum.events)


def after_answers(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], Any]) -> None:
    """Hold back each of votequorum's answers until the next of `steps` is done."""
    ask, remaining = Follower._ask_votequorum, list(steps)

    async def overtaken(*args: Any) -> Any:
        answers = await ask(*args)
        if remaining:
            remaining.pop(0)()
        return answers

    monkeypatch.setattr(Follower, "_ask_votequorum", overtaken)


async def read_until(follower: Follower, wanted: Callable[[], bool]) -> None:
    with trio.fail_after(DEADLINE):
        while not wanted():
            await follower.wait()
            await follower.read()


async def test_answers_overtaken_by_an_announcement_are_requested_again(
    start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[Change] = []
    with start_daemon(FIVE_VOTES).namespace(), CVotequorum() as votequorum:
        assert votequorum.trackstart() == CS_OK
        follower = await Follower.connect(None, None, changes.append)
        await follower.read()
        after_answers(monkeypatch, *(partial(set_expected, votequorum, votes) for votes in (7, 8)))
        set_expected(votequorum, 6)
        status = await follower.read()
        await follower.aclose()
    assert status.info
    assert status.info.node_expected_votes == 8
    assert changes == [*map(ExpectedVotesChanged, (6, 7, 8)), VotesChanged(status.info)]


async def test_an_announcement_during_the_first_query_is_not_a_change(
    start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[Change] = []
    with start_daemon(FIVE_VOTES).namespace(), CVotequorum() as votequorum:
        assert votequorum.trackstart() == CS_OK
        after_answers(monkeypatch, partial(set_expected, votequorum, 6))
        follower = await Follower.connect(None, None, changes.append)
        status = await follower.read()
        await follower.aclose()
    assert status.info
    assert (status.info.node_expected_votes, changes) == (6, [])


async def test_with_votequorum_alone_joined_and_left_follow_from_the_previous_members(
    cluster3: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_addresses", lambda address: {"votequorum": address})
    changes: list[Change] = []

    def memberships() -> list[MembershipChanged]:
        return [change for change in changes if isinstance(change, MembershipChanged)]

    with cluster3[3].namespace():
        follower = await Follower.connect(None, None, changes.append)
        before = await follower.read()
        assert (before.provider, [member.name for member in before.members]) == (None, ["", "", ""])
        cluster3.isolate(3)
        await read_until(follower, lambda: QuorumChanged(False) in changes)
        cluster3.heal()
        await read_until(follower, lambda: len(memberships()[-1].members) == 3)
        await read_until(follower, lambda: QuorumChanged(True) in changes)
        await follower.aclose()
    members = {member.node_id for member in before.members}
    for change in memberships():
        # Each list follows from the one before it, however many memberships there were.
        members = members - {*change.left} | {*change.joined}
        assert {*change.members} == members
    assert memberships()[0].left == (1, 2)


async def test_names_that_cannot_be_read_do_not_hide_quorum(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles: list[Cmap] = []

    async def fail(cmap: Cmap, *_: object) -> None:
        handles.append(cmap)
        raise TryAgain

    monkeypatch.setattr(Cmap, "items", fail)
    follower = await Follower.connect(None, None, lambda _: None)
    with pytest.raises(BadHandle):
        handles[0].fileno()  # no task would take its events
    status = await follower.read()
    await follower.aclose()
    assert (status.quorate, status.members[0].name) == (True, "")


async def test_a_change_of_a_name_that_cannot_be_decoded_costs_only_the_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notify, changes = ServerConnection.notify, list[Change]()

    def cut(client: ServerConnection, message: bytes) -> None:
        notify(client, message[:-1] if message_id(message) == NOTIFY_CALLBACK.id else message)

    async with simulated_cluster(2) as cluster:
        follower = await Follower.connect(cluster.address(1), None, changes.append)
        before = await follower.read()
        cmap = follower._cmap
        assert cmap
        monkeypatch.setattr(ServerConnection, "notify", cut)
        first, second = cluster.config.nodes
        cluster.reload(replace(cluster.config, nodes=(replace(first, name="renamed"), second)))
        after = await follower.read()
        with pytest.raises(BadHandle):
            cmap.fileno()
        cluster.kill(2)
        await read_until(follower, lambda: QuorumChanged(False) in changes)
        await follower.aclose()
    assert all(member.name for member in before.members)
    assert after.quorate
    assert [(member.node_id, member.name) for member in after.members] == [(1, ""), (2, "")]


# --- conflicting answers, with the embedded daemon ---


def falsify(monkeypatch: pytest.MonkeyPatch, change: Callable[[NodeInfo, int], NodeInfo]) -> None:
    """Change each of votequorum's answers, by its number, as if the cluster had changed meanwhile."""
    getinfo_all = Votequorum.getinfo_all

    async def changed(*args: Any, **options: Any) -> list[NodeInfo]:
        answers = await getinfo_all(*args, **options)
        assert not any(isinstance(answer, CsError) for answer in answers)
        return [change(answer, number) for number, answer in enumerate(answers)]  # type: ignore[arg-type]

    monkeypatch.setattr(Votequorum, "getinfo_all", changed)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_ATTEMPT_DELAY", 0)


ALIVE = InfoFlags.QDEVICE_ALIVE

DISAGREEING: dict[str, Callable[[NodeInfo, int], NodeInfo]] = {
    "no two answers agree": lambda info, number: info._replace(total_votes=number),
    # As a device's flag does when an older message about this node is delivered after a poll.
    "a node changes between two like answers": lambda info, number: (
        info._replace(flags=info.flags | ALIVE) if number == 1 else info
    ),
    "a quorate flag contradicts the quorum service": lambda info, _: info._replace(flags=InfoFlags(0)),
}
"""How to falsify the answers to one query: takes each answer and its number."""


@pytest.mark.usefixtures("no_pauses")
async def test_if_two_other_nodes_change_between_their_answers_there_is_no_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each query for all nodes counts one more vote for node 3 than the one before."""
    collections = 0

    def change(info: NodeInfo, number: int) -> NodeInfo:
        nonlocal collections
        collections += number == 0
        return info._replace(node_votes=collections) if info.node_id == 3 else info

    falsify(monkeypatch, change)
    async with simulated_cluster(3) as cluster:
        with pytest.raises(TryAgain, match="did not agree"):
            await cluster_status(cluster.address(1))
    assert collections == 2 * follow._ATTEMPTS


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("how", DISAGREEING)
async def test_conflicting_answers_raise_try_again_and_are_never_mixed(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    falsify(monkeypatch, DISAGREEING[how])
    async with simulated_cluster(2) as cluster:
        with pytest.raises(TryAgain, match="did not agree"):
            await cluster_status(cluster.address(1))


@pytest.mark.usefixtures("no_pauses")
async def test_quorum_with_too_few_votes_gives_no_status_unless_a_flag_allows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This happens while a device's withdrawn vote no longer counts, but quorum is not yet decided again."""
    flags = InfoFlags.QUORATE
    falsify(monkeypatch, lambda info, _: info._replace(total_votes=1, quorum=2, flags=flags))
    async with simulated_cluster(2) as cluster:
        with pytest.raises(TryAgain, match="did not agree"):
            await cluster_status(cluster.address(1))
        for more in (InfoFlags.AUTO_TIE_BREAKER, InfoFlags.QDEVICE_MASTER_WINS):
            flags = InfoFlags.QUORATE | more
            assert (await cluster_status(cluster.address(1))).quorate


async def test_a_member_that_votequorum_does_not_know_has_no_info_and_the_rest_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    getinfo_all = Votequorum.getinfo_all

    async def unknown(votequorum: Votequorum, nodeids: list[int], **options: Any) -> Any:
        """Ask about a node that never existed instead of node 2."""
        return await getinfo_all(votequorum, [99 if node == 2 else node for node in nodeids], **options)

    monkeypatch.setattr(Votequorum, "getinfo_all", unknown)
    async with simulated_cluster(3) as cluster:
        status = await cluster_status(cluster.address(1))
    assert status.quorate
    assert [member.info is None for member in status.members] == [False, True, False]


async def test_there_is_no_status_if_the_daemon_ends_after_its_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with simulated_cluster(3) as cluster:
        after_answers(monkeypatch, lambda: cluster.kill(1))
        with pytest.raises(CsError) as caught:
            await cluster_status(cluster.address(1))
    assert isinstance(caught.value, Library)


async def test_if_the_membership_ends_after_its_answers_the_status_is_of_the_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with simulated_cluster(3) as cluster:
        after_answers(monkeypatch, lambda: cluster.partition({1}, {2, 3}))
        status = await cluster_status(cluster.address(1))
    assert not status.quorate
    assert [member.node_id for member in status.members] == [1]
