"""`votequorum-ipc status` shows what `corosync-quorumtool -s` shows, in every state of a cluster."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.conftest import StartCluster, StartDaemon
from tests.real.cluster import Cluster
from tests.real.config import Config, Device, Node
from tests.real.cref import CS_OK, CQuorum
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE, eventually
from votequorum_ipc import (
    ClusterStatus,
    InfoFlags,
    Member,
    NodelistNotification,
    QuorumType,
    RingId,
    TrackFlags,
    Votequorum,
    cluster_status,
)
from votequorum_ipc.cli import status as status_command

from . import quorumtool
from .agreement import assert_agrees
from .command import ENVIRONMENT, status, votequorum_ipc, without_daemon
from .quorumtool import words

TWO_NODES = (Node(1), Node(2, address="192.0.2.2"))


def test_one_node_is_shown_as_quorumtool_shows_it(daemon: Daemon) -> None:
    assert_agrees(daemon)
    assert status(daemon)["quorate"] is True


def test_three_nodes_are_shown_as_quorumtool_shows_them_from_each_of_them(cluster3: Cluster) -> None:
    for daemon in cluster3:
        assert_agrees(daemon)
        assert status(daemon)["votequorum"]["total_votes"] == 3


def test_the_margin_of_three_nodes_is_in_text_and_json(cluster3: Cluster) -> None:
    text = votequorum_ipc(cluster3[1], "status").stdout
    assert re.search(
        "^Margin: +survives the loss of any one node; not of 2 and 3 together$", text, re.MULTILINE
    )
    assert status(cluster3[1])["margin"] == {
        "text": "survives the loss of any one node; not of 2 and 3 together",
        "nodes": 1,
        "fatal": [2, 3],
        "alone": [],
        "device": None,
    }


def test_the_margin_names_the_node_that_breaks_ties(start_cluster: StartCluster) -> None:
    options: dict[str, str | int] = {"auto_tie_breaker": 1, "auto_tie_breaker_node": "2 1"}
    cluster = start_cluster(Config(nodes=(Node(1), Node(2)), quorum=options))
    assert status(cluster[1])["margin"]["alone"] == [2]
    cluster.isolate(2)
    cluster.wait_agreed()
    assert [status(node)["quorate"] for node in cluster] == [False, True]


def test_both_sides_of_a_partition_are_shown_as_quorumtool_shows_them(cluster3: Cluster) -> None:
    cluster3.isolate(3)
    cluster3.wait_agreed()
    for daemon in cluster3:
        assert_agrees(daemon)
    assert votequorum_ipc(cluster3[1], "status", "--json").returncode == 0
    assert votequorum_ipc(cluster3[3], "status", "--json").returncode == 2


@pytest.mark.parametrize(
    ("nodes", "options", "flags"),
    [
        (TWO_NODES, {"two_node": 1}, {"TWONODE", "WAIT_FOR_ALL"}),
        (TWO_NODES, {"two_node": 1, "wait_for_all": 0}, {"TWONODE", "QUORATE"}),
        (TWO_NODES, {"auto_tie_breaker": 1, "wait_for_all": 1}, {"AUTO_TIE_BREAKER", "WAIT_FOR_ALL"}),
        ((Node(1),), {"last_man_standing": 1}, {"LAST_MAN_STANDING", "QUORATE"}),
        ((Node(1),), {"allow_downscale": 1}, {"ALLOW_DOWNSCALE", "QUORATE"}),
        ((Node(1, votes=5),), {}, {"QUORATE"}),
    ],
)
def test_options_of_the_quorum_section_are_shown_as_quorumtool_shows_them(
    start_daemon: StartDaemon, nodes: tuple[Node, ...], options: dict[str, int], flags: set[str]
) -> None:
    daemon = start_daemon(Config(nodes=nodes, quorum=options))
    assert_agrees(daemon)
    assert set(status(daemon)["votequorum"]["flags"]) == flags


async def test_each_state_of_a_quorum_device_is_shown_as_quorumtool_shows_it(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config(device=Device(votes=2, timeout=100_000)))
    with daemon.namespace():
        votequorum = await Votequorum.initialize()
    async with votequorum:
        assert_agrees(daemon)
        await votequorum.qdevice_register("a-device")
        await until(votequorum, lambda flags: InfoFlags.QDEVICE_REGISTERED in flags)
        assert_agrees(daemon)
        assert status(daemon)["qdevice"] == {"name": "a-device", "votes": 2, "casts_vote": False}

        ring_id = await current_ring_id(votequorum)
        await votequorum.qdevice_poll("a-device", True, ring_id)
        await until(votequorum, lambda flags: InfoFlags.QDEVICE_CAST_VOTE in flags)
        assert_agrees(daemon)
        assert status(daemon)["qdevice"] == {"name": "a-device", "votes": 2, "casts_vote": True}

        await votequorum.qdevice_master_wins("a-device", True)
        await until(votequorum, lambda flags: InfoFlags.QDEVICE_MASTER_WINS in flags)
        assert_agrees(daemon)

        await votequorum.qdevice_poll("a-device", False, ring_id)
        await until(votequorum, lambda flags: InfoFlags.QDEVICE_CAST_VOTE not in flags)
        assert_agrees(daemon)

        await votequorum.qdevice_unregister("a-device")
        await until(votequorum, lambda flags: InfoFlags.QDEVICE_REGISTERED not in flags)
        assert_agrees(daemon)
        assert status(daemon)["qdevice"] is None


def test_a_node_without_a_name_is_shown_by_what_its_address_resolves_to(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(nodes=(Node(1, name=None),)))
    text = words(votequorum_ipc(daemon, "status").stdout)
    assert text == words(quorumtool.shown(daemon))
    (member,) = status(daemon)["members"]
    assert (member["name"], member["address"]) == (None, "127.0.0.1")
    assert ["1", "1", "localhost", "(local)"] in text


def test_name_servers_that_do_not_answer_delay_the_text_by_a_moment_and_hide_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None of the lookups ends before the status is shown."""
    shown = threading.Event()

    def never(*_: object) -> tuple[str, str]:
        shown.wait()
        return "too late", ""

    monkeypatch.setattr(socket, "getnameinfo", never)
    monkeypatch.setattr(status_command, "_RESOLVE_SECONDS", 0.01)
    members = tuple(Member(node, "", node == 1, None, f"192.0.2.{node}") for node in (1, 2, 3))
    cluster = ClusterStatus(QuorumType.SET, None, 1, RingId(1, 1), True, members, None)
    assert status_command.with_resolved_names(cluster) == cluster
    shown.set()


def test_without_a_provider_the_quorum_part_is_shown_although_quorumtool_fails(
    start_daemon: StartDaemon,
) -> None:
    daemon = start_daemon(Config(provider=None))
    theirs = daemon.run(["corosync-quorumtool", "-s"])
    assert (theirs.returncode, theirs.stdout) == (1, "")

    ours = votequorum_ipc(daemon, "status")
    with daemon.namespace(), CQuorum() as quorum:
        assert quorum.getquorate() == (CS_OK, 1)
        assert quorum.trackstart(1) == CS_OK
        (_, ring_id, members, _, _), _ = quorum.take()
    shape = status(daemon)
    assert ours.returncode == theirs.returncode
    assert ["Quorum", "provider:", "Not", "configured"] in words(ours.stdout)
    assert ["Votequorum", "information"] not in words(ours.stdout)
    assert (shape["quorum_type"], shape["provider"], shape["votequorum"]) == ("FREE", None, None)
    assert (shape["ring_id"]["nodeid"], shape["ring_id"]["seq"]) == ring_id
    assert [member["node_id"] for member in shape["members"]] == list(members) == [1]
    assert (shape["node_id"], shape["quorate"]) == (1, True)


@pytest.mark.parametrize("command", [["status"], ["qdevice", "status"]])
def test_a_daemon_that_does_not_answer_in_time_is_one_line(daemon: Daemon, command: list[str]) -> None:
    with daemon.frozen():
        result = votequorum_ipc(daemon, *command, "--timeout", "0.2", "--json")
    error = json.loads(result.stdout)["error"]
    assert (result.returncode, error["code"]) == (1, "TIMEOUT")
    assert error["message"].startswith("corosync has not answered for 0.2 s: is it stopped, or waiting")
    assert result.stderr == f"votequorum-ipc: {error['message']}\n"
    assert votequorum_ipc(daemon, *command, "--timeout", str(DEADLINE)).returncode == 0


def test_a_status_imports_no_kind_of_change_and_no_table_for_programs(shm_daemon: Daemon) -> None:
    script = (
        "import sys; from votequorum_ipc.cli.app import app\n"
        "app(['status', '--json'], standalone_mode=False)\n"
        "assert not {'votequorum_ipc.types.views', 'votequorum_ipc.watch', 'rich'} & {*sys.modules}\n"
    )
    shm_daemon.run([sys.executable, "-c", script], env=ENVIRONMENT, check=True)


@pytest.mark.parametrize("address", ["@{service}", "@votequorum", "@quorum", "@cfg"])
def test_an_address_of_one_service_leads_to_all_services(shm_daemon: Daemon, address: str) -> None:
    # A busy machine adds to the statistics, and a status waits only briefly for links.
    moving = {"time": None, "totem": None, "scheduling_misses": None}

    def agree() -> bool:
        return status(shm_daemon) | moving == status(shm_daemon, "--address", address) | moving

    eventually(
        agree, otherwise=lambda: f"{status(shm_daemon)} and {status(shm_daemon, '--address', address)}"
    )


def test_the_path_of_a_socket_leads_to_the_services_beside_it(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(filesystem_sockets=True))
    shape = json.loads(
        without_daemon("status", "--json", "--address", str(daemon.socket_path("votequorum"))).stdout
    )
    (member,) = shape["members"]
    assert (shape["quorate"], shape["provider"], member["name"]) == (True, "corosync_votequorum", "node1")


def test_with_votequorum_alone_votes_and_members_are_the_same_and_the_rest_is_unknown(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    options = {"auto_tie_breaker": 1, "wait_for_all": 1}
    daemon = start_daemon(Config(filesystem_sockets=True, quorum=options))
    whole_address, alone = str(daemon.socket_path("votequorum")), tmp_path / "elsewhere"
    alone.symlink_to(whole_address)
    whole = json.loads(without_daemon("status", "--json", "--address", whole_address).stdout)
    part = json.loads(without_daemon("status", "--json", "--address", str(alone)).stdout)
    (member,) = whole["members"]
    assert {**part, "time": None} == {
        **whole,
        "time": None,
        "provider": None,
        "members": [{**member, "name": None, "address": None}],
        "margin": None,
        "links": None,
        "totem": None,
        "scheduling_misses": None,
    }
    assert whole["margin"]["alone"] == [1]
    text = without_daemon("status", "--address", str(alone)).stdout
    assert ["Quorum", "provider:", "unknown"] in words(text)


async def test_a_program_may_ask_for_the_status_as_a_value(daemon: Daemon) -> None:
    cluster = await cluster_status()
    assert isinstance(cluster, ClusterStatus)
    assert (cluster.node_id, cluster.quorate, cluster.provider) == (1, True, "corosync_votequorum")
    (member,) = cluster.members
    assert (member.name, member.local, member.info) == ("node1", True, cluster.info)
    assert cluster.device is None


async def until(votequorum: Votequorum, condition: Callable[[InfoFlags], bool]) -> None:
    """Wait until the node's flags meet a condition: they change once all nodes have been informed."""
    with trio.fail_after(DEADLINE):
        while not condition((await votequorum.getinfo()).flags):
            pass


async def current_ring_id(votequorum: Votequorum) -> RingId:
    await votequorum.trackstart(flags=TrackFlags.CURRENT)
    nodelist, _ = await votequorum.next_event(), await votequorum.next_event()
    assert isinstance(nodelist, NodelistNotification)
    return nodelist.ring_id
