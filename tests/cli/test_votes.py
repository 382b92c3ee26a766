"""`setexpected` and `setvotes` change what corosync-quorumtool shows, or say why not."""

from __future__ import annotations

import json

import pytest

from tests.conftest import StartDaemon
from tests.real.cluster import Cluster
from tests.real.config import Config
from tests.real.daemon import Daemon
from tests.real.waiting import eventually

from . import quorumtool
from .agreement import assert_agrees
from .command import votequorum_ipc


def test_setexpected_changes_the_expected_votes_of_every_node(cluster3: Cluster) -> None:
    result = votequorum_ipc(cluster3[2], "setexpected", "4")
    assert (result.returncode, result.stdout, result.stderr) == (0, "Expected votes: 4\n", "")
    for daemon in cluster3:
        eventually(lambda daemon=daemon: expected_votes(daemon) == 4, otherwise="quorumtool shows 4")  # type: ignore[misc]
        assert_agrees(daemon)


def test_setvotes_changes_the_votes_of_a_node_for_every_node(cluster3: Cluster) -> None:
    result = votequorum_ipc(cluster3[1], "setvotes", "2", "3", "--json")
    assert result.returncode == 0
    assert {**json.loads(result.stdout), "time": None} == {"node_id": 2, "votes": 3, "time": None}
    for daemon in cluster3:
        eventually(lambda daemon=daemon: votes(daemon)[2] == 3, otherwise="quorumtool shows 3")  # type: ignore[misc]
        assert_agrees(daemon)


def test_setvotes_takes_a_nodes_name(daemon: Daemon) -> None:
    result = votequorum_ipc(daemon, "setvotes", "node1", "2")
    assert (result.returncode, result.stdout, result.stderr) == (0, "Votes of node 1: 2\n", "")
    assert votes(daemon)[1] == 2


@pytest.mark.parametrize("words", [["setvotes", "1", "1"], ["setvotes", "node1", "1"], ["setexpected", "1"]])
def test_a_stopped_daemon_is_not_waited_for_forever(start_daemon: StartDaemon, words: list[str]) -> None:
    daemon = start_daemon(Config())
    with daemon.frozen():
        result = votequorum_ipc(daemon, *words, "--timeout", "0.5")
    assert result.returncode == 1
    assert "corosync has not answered for 0.5 s" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "number", "reason"),
    [
        (
            ["setexpected", "3"],
            "INVALID_PARAM",
            7,
            "3 expected votes need a quorum of 2, and 1 vote is present, so quorum would be lost",
        ),
        (
            ["setvotes", "99", "1"],
            "NAME_NOT_FOUND",
            17,
            "this node does not know a node 99: votequorum-ipc status lists",
        ),
        (
            ["setvotes", "nod1", "1"],
            "NAME_NOT_FOUND",
            17,
            "no node is called 'nod1': the node list has 1 (node1)",
        ),
        (["setvotes", "1", "0"], "INVALID_PARAM", 7, "0 votes for node 1 would lose quorum: bring up more"),
    ],
)
def test_a_refusal_is_one_line_with_the_reason_and_exit_code_1(
    daemon: Daemon, arguments: list[str], code: str, number: int, reason: str
) -> None:
    before = quorumtool.figures(daemon)
    people, programs = votequorum_ipc(daemon, *arguments), votequorum_ipc(daemon, *arguments, "--json")
    assert (people.returncode, people.stdout, programs.returncode) == (1, "", 1)
    assert people.stderr.startswith("votequorum-ipc: ")
    assert people.stderr.count("\n") == 1
    assert reason in people.stderr
    error = json.loads(programs.stdout)["error"]
    assert (error["code"], error["number"]) == (code, number)
    assert reason in error["message"]
    assert programs.stderr == people.stderr
    assert quorumtool.figures(daemon) == before


def test_refused_expected_votes_say_whether_they_are_below_the_votes_present_or_would_lose_quorum(
    cluster3: Cluster,
) -> None:
    below, above = (votequorum_ipc(cluster3[1], "setexpected", votes) for votes in ("2", "6"))
    assert below.stderr == "votequorum-ipc: 2 is below the 3 votes present: expect 3 or more\n"
    assert above.stderr == (
        "votequorum-ipc: 6 expected votes need a quorum of 4, and 3 votes are present, so quorum would be "
        "lost: expect at most 5, or bring up more nodes first\n"
    )
    assert (below.returncode, above.returncode) == (1, 1)
    assert votequorum_ipc(cluster3[1], "setexpected", "3").returncode == 0
    assert votequorum_ipc(cluster3[1], "setexpected", "5").returncode == 0


def test_without_votequorum_the_line_says_what_to_configure(start_daemon: StartDaemon) -> None:
    result = votequorum_ipc(start_daemon(Config(provider=None)), "setexpected", "3")
    assert (result.returncode, result.stdout) == (1, "")
    assert "provider: corosync_votequorum" in result.stderr


def expected_votes(daemon: Daemon) -> int:
    return int(quorumtool.figures(daemon)["votequorum"]["expected_votes"])


def votes(daemon: Daemon) -> dict[int, int]:
    return {member["node_id"]: member["votes"] for member in quorumtool.figures(daemon)["members"]}
