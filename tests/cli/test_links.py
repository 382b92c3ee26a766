"""`votequorum-ipc links` on real corosyncs with two knet links each, beside corosync's own tools."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import StartCluster, StartDaemon
from tests.real.cluster import Cluster
from tests.real.config import Config, Node
from tests.real.daemon import Daemon
from tests.real.waiting import eventually
from tests.ways import LOOPS_IMPORTED, WATCH_IMPORTS
from votequorum_ipc import ClusterStatus, QuorumType, RingId
from votequorum_ipc.cli import links as command
from votequorum_ipc.cli import tables
from votequorum_ipc.explain import connectivity_remarks
from votequorum_ipc.types import ConfiguredNode, Link, LinkStatistics, LinkStatus, Member

from .command import ENVIRONMENT, Line, Monitor, status, votequorum_ipc

PAIR = Config(nodes=(Node(1, second_link=True), Node(2, second_link=True)), totem={"token": 5000})


def links(daemon: Daemon, *expected: bool) -> tuple[int, list[Line]]:
    """The exit code and the links, as soon as they are connected as expected."""

    def found() -> tuple[int, list[Line]] | None:
        result = votequorum_ipc(daemon, "links", "--json")
        shown: list[Line] = json.loads(result.stdout)["links"]
        agree = [link["connected"] for link in shown] == list(expected)
        return (result.returncode, shown) if agree else None

    answer = eventually(found, otherwise=lambda: f"links {expected}")
    assert answer
    return answer


def statistics(daemon: Daemon) -> dict[str, str]:
    """What corosync-cmapctl -m stats prints: each key and its value."""
    printed = daemon.run(["corosync-cmapctl", "-m", "stats"], check=True).stdout
    return dict(re.findall(r"^(\S+) \(\w+\) = (.*)$", printed, re.M))


def cut_second_link(pair: Cluster) -> None:
    pair[2].run(["ip", "address", "del", "198.51.100.2/24", "dev", "eth0"], check=True)


def test_links_agree_with_corosyncs_own_tools(start_cluster: StartCluster) -> None:
    pair = start_cluster(PAIR)
    code, shown = links(pair[1], True, True)
    assert code == 0
    assert [(link["node_id"], link["name"], link["member"], link["link"]) for link in shown] == [
        (2, "node2", True, 0),
        (2, "node2", True, 1),
    ]
    printed = pair[1].run(["corosync-cfgtool", "-n"], check=True).stdout
    theirs = re.findall(r"LINK: (\d) udp \((\S+?)->(\S+?)\) enabled connected mtu: (\d+)", printed)
    assert [(str(ln["link"]), ln["local"], ln["remote"], str(ln["mtu"])) for ln in shown] == theirs
    counted = statistics(pair[1])
    for link in shown:
        prefix = f"stats.knet.node2.link{link['link']}."
        assert str(link["down_count"]) == counted[prefix + "down_count"]
        assert 0 < link["latency_ave"] <= link["latency_max"] <= int(counted[prefix + "latency_max"])


def test_a_link_that_is_down_is_exit_code_2_and_the_node_is_still_a_member(
    start_cluster: StartCluster,
) -> None:
    pair = start_cluster(PAIR)
    _, before = links(pair[1], True, True)
    cut_second_link(pair)
    code, after = links(pair[1], True, False)
    assert code == 2
    assert [link["member"] for link in after] == [True, True]
    assert after[1]["down_count"] == before[1]["down_count"] + 1
    assert after[1]["lost_pings"] > before[1]["lost_pings"]
    text = votequorum_ipc(pair[1], "links").stdout
    assert [line.split()[:4] for line in text.splitlines()[1:]] == [
        ["node2", "yes", "0", "yes"],
        ["node2", "yes", "1", "no"],
    ]


def test_a_node_alone_has_no_links_and_none_is_down(shm_daemon: Daemon) -> None:
    result = votequorum_ipc(shm_daemon, "links")
    assert (result.returncode, result.stdout) == (
        0,
        "No other node is configured, so there are no links.\n",
    )


def test_a_stopped_daemon_means_unknown(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(nodes=(Node(1),)))
    with daemon.frozen():
        result = votequorum_ipc(daemon, "links", "--timeout", "1", "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["error"]["code"] == "TIMEOUT"


def test_no_event_loop_is_imported(shm_daemon: Daemon) -> None:
    script = (
        f"{WATCH_IMPORTS}from votequorum_ipc.cli.app import app\n"
        "app(['links'], standalone_mode=False)\n"
        f"assert not {LOOPS_IMPORTED}, {LOOPS_IMPORTED}\n"
    )
    result = shm_daemon.run([sys.executable, "-c", script], env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr


STATUS = ClusterStatus(
    quorum_type=QuorumType.SET,
    provider="corosync_votequorum",
    node_id=1,
    ring_id=RingId(1, 5),
    quorate=True,
    members=(Member(1, "alpha", True, None), Member(2, "", False, None)),
    info=None,
    configured=(ConfiguredNode(1, "alpha", ""), ConfiguredNode(2, "", ""), ConfiguredNode(3, "gamma", "")),
)


def link(node_id: int, connected: bool, statistics: LinkStatistics | None = None) -> Link:
    return Link(node_id, 0, LinkStatus(True, connected, False, 0, "192.0.2.1", "192.0.2.2"), statistics)


def test_unknown_figures_are_shown_as_unknown() -> None:
    assert tables.link_figures(link(2, True)) == ("?", "?", "?", "?")
    silent = LinkStatistics(0, 0, 1, 0, 4, 1, 0)
    assert tables.link_figures(link(2, True, silent)) == ("?", "?", "1", "3")


def test_a_node_without_a_name_is_shown_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    command.print_links(STATUS, [link(2, True)])
    assert capsys.readouterr().out.splitlines()[1].startswith("node 2  yes")


@pytest.mark.parametrize(
    ("links", "remark"),
    [
        ([link(2, True)], None),
        ([link(2, False)], "no link to node 2 is connected, though it is a member"),
        ([link(2, False), link(2, True)], None),
        ([link(3, False)], None),
        ([link(3, True)], "gamma is connected, but not a member: it is joining, or it and another member"),
    ],
)
def test_links_and_a_membership_that_disagree_are_remarked_on(links: list[Link], remark: str | None) -> None:
    remarks = connectivity_remarks(STATUS, links)
    assert len(remarks) == (remark is not None)
    assert all(each.startswith(remark or "") for each in remarks)


def test_status_and_monitor_show_the_links_and_what_was_counted(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    pair = start_cluster(PAIR)
    links(pair[1], True, True)
    shape = status(pair[1])
    listed = json.loads(votequorum_ipc(pair[1], "links", "--json").stdout)["links"]
    fixed = ("node_id", "name", "member", "link", "connected", "mtu", "local", "remote")
    assert [[shown[key] for key in fixed] for shown in shape["links"]] == [
        [shown[key] for key in fixed] for shown in listed
    ]
    counted = statistics(pair[1])
    lost = sum(int(value) for key, value in counted.items() if key.endswith("_token_lost"))
    assert shape["totem"]["token_losses"] == lost
    assert (shape["totem"]["retransmits"], shape["remarks"]) == (int(counted["stats.srp.mcast_retx"]), [])
    text = votequorum_ipc(pair[1], "status").stdout
    assert "\nLink information\n" in text
    assert f"\nToken losses:     {lost}\n" in text
    with Monitor(pair[1], tmp_path) as monitor:
        assert [each["connected"] for each in monitor.lines()[0]["links"]] == [True, True]
        cut_second_link(pair)
        down = monitor.wait_for("link", connected=False)
        assert (down["node_id"], down["name"], down["link"]) == (2, "node2", 1)
        pair[2].run(["ip", "address", "add", "198.51.100.2/24", "dev", "eth0"], check=True)
        up = monitor.wait_for("link", connected=True)
        assert (up["node_id"], up["link"]) == (2, 1)
