"""`votequorum-ipc links` on real corosyncs with two knet links each, beside corosync's own tools."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from tests.conftest import StartCluster, StartDaemon
from tests.exporter.scraping import Scrape, parsed, value
from tests.real.cluster import Cluster
from tests.real.config import Config, Node
from tests.real.daemon import Daemon
from tests.real.faulty_cable import CUT, SOUND, Faults, FaultyCable
from tests.real.waiting import eventually
from tests.ways import LOOPS_IMPORTED, WATCH_IMPORTS
from votequorum_ipc import ClusterStatus, Cmap, QuorumType, RingId
from votequorum_ipc.cli import links as command
from votequorum_ipc.cli import tables
from votequorum_ipc.explain import connectivity_remarks
from votequorum_ipc.links import Statistics, read_statistics
from votequorum_ipc.types import ConfiguredNode, Link, LinkStatistics, LinkStatus, Member

from .command import ENVIRONMENT, Line, Monitor, status, votequorum_ipc

PAIR = Config(nodes=(Node(1, second_link=True), Node(2, second_link=True)), totem={"token": 5000})


def links(daemon: Daemon, *expected: bool) -> tuple[int, list[Line]]:
    """The exit code and the links, once they are connected as expected."""

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

    def agreed() -> list[Line] | None:
        # knet is still measuring the MTU after the links are connected.
        _, shown = links(pair[1], True, True)
        printed = pair[1].run(["corosync-cfgtool", "-n"], check=True).stdout
        theirs = re.findall(r"LINK: (\d) udp \((\S+?)->(\S+?)\) enabled connected mtu: (\d+)", printed)
        ours = [(str(ln["link"]), ln["local"], ln["remote"], str(ln["mtu"])) for ln in shown]
        return shown if ours == theirs else None

    for link in eventually(agreed, otherwise="links agree with corosync-cfgtool") or []:
        counted = statistics(pair[1])
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


def test_a_single_node_has_no_links_and_none_is_down(shm_daemon: Daemon) -> None:
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


@pytest.mark.parametrize("lie", [float("inf"), float("nan"), "12", b"12"])
async def test_statistics_that_are_not_finite_numbers_are_unknown(lie: float | str | bytes) -> None:
    class Lying:
        async def get_all(self, keys: Sequence[str]) -> dict[str, float | str | bytes]:
            return dict.fromkeys(keys, lie)

    told, (counted,) = await read_statistics(cast(Cmap, Lying()), [link(2, True)])
    assert (told, counted.statistics) == (Statistics(None, ()), None)


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
def test_links_that_disagree_with_the_membership_are_pointed_out(
    links: list[Link], remark: str | None
) -> None:
    remarks = connectivity_remarks(STATUS, links)
    assert len(remarks) == (remark is not None)
    assert all(each.startswith(remark or "") for each in remarks)


def test_status_and_monitor_show_the_links_and_their_statistics(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    pair = start_cluster(PAIR)
    links(pair[1], True, True)
    fixed = ("node_id", "name", "member", "link", "connected", "mtu", "local", "remote")

    def agreed() -> Line | None:
        # A status waits only briefly for links, and knet is still measuring the MTU after they are connected.
        shape, (_, listed) = status(pair[1]), links(pair[1], True, True)
        ours, theirs = (
            [[link[key] for key in fixed] for link in them or []] for them in (shape["links"], listed)
        )
        return shape if ours == theirs and shape["totem"] else None

    shape = eventually(agreed, otherwise=lambda: f"what links says: {status(pair[1])}")
    assert shape
    counted = statistics(pair[1])
    lost = sum(int(value) for key, value in counted.items() if key.endswith("_token_lost"))
    assert shape["totem"]["token_losses"] == lost
    assert (shape["totem"]["retransmits"], shape["remarks"]) == (int(counted["stats.srp.mcast_retx"]), [])
    text = eventually(
        lambda: shown if "\nTotem " in (shown := votequorum_ipc(pair[1], "status").stdout) else "",
        otherwise="a status with links and statistics",
    )
    assert "\nLink information\n" in text
    assert f"\nToken losses:     {lost}\n" in text
    with Monitor(pair[1], tmp_path) as monitor:
        at_first = monitor.lines()[0]["links"]  # it waits only briefly for them too
        assert at_first is None or [each["connected"] for each in at_first] == [True, True]
        cut_second_link(pair)
        down = monitor.wait_for("link", connected=False)
        assert (down["node_id"], down["name"], down["link"]) == (2, "node2", 1)
        pair[2].run(["ip", "address", "add", "198.51.100.2/24", "dev", "eth0"], check=True)
        up = monitor.wait_for("link", connected=True)
        assert (up["node_id"], up["link"]) == (2, 1)


# --- bad links ---

UNEQUAL = replace(
    PAIR,
    totem={
        "token": 5000,
        "interface": [("linknumber", 1), ("knet_ping_interval", 200), ("knet_ping_timeout", 2500)],
    },
)
"""The second link has frequent heartbeats, so that the statistics react quickly."""

SECOND = "stats.knet.node2.link1."


def connected_by_cfgtool(daemon: Daemon) -> list[bool]:
    """Whether each link to the other node is connected, according to corosync-cfgtool."""
    printed = daemon.run(["corosync-cfgtool", "-n"], check=True).stdout
    return [bool(found[1]) for found in re.finditer(r"LINK: \d udp \(\S+\) enabled( connected)?", printed)]


def metrics(daemon: Daemon) -> Scrape:
    """The exporter's metrics for a daemon."""
    return parsed(votequorum_ipc(daemon, "exporter", "--once").stdout)


def known(daemon: Daemon, until: Callable[[Line, Line], bool]) -> tuple[Line, dict[str, int]]:
    """The second link once both are as expected, and corosync's own statistics of it right afterwards."""

    def found() -> tuple[Line, dict[str, int]] | None:
        shown = status(daemon)
        if not shown.get("links"):  # a status waits only briefly for them
            return None
        first, second = shown["links"]
        own = {key.removeprefix(SECOND): value for key, value in statistics(daemon).items()}
        return (
            (second, {k: int(v) for k, v in own.items() if v.isdecimal()}) if until(first, second) else None
        )

    answer = eventually(found, otherwise=lambda: f"links as expected, not {status(daemon)}")
    assert answer
    return answer


def test_delayed_lossy_and_flapping_links_are_reported_as_by_corosyncs_own_tools(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    pair = start_cluster(UNEQUAL)
    node, labels = pair[1], {"node_id": "2", "node": "node2", "link": "1"}
    with FaultyCable(pair.switch, 1, 2) as cable, Monitor(node, tmp_path) as monitor:
        links(node, True, True)

        # These are averages, so this takes some heartbeats; on a busy machine the first link is slow as well.
        cable.set(1, Faults(delay=0.4))
        slow, counted = known(
            node, lambda one, two: (two["latency_ave"] or 0) - (one["latency_ave"] or 0) > 100_000
        )
        assert 100_000 < counted["latency_ave"] <= counted["latency_max"]
        assert (value(metrics(node), "link_latency_seconds", **labels) or 0) > 0.1

        cable.set(1, Faults(loss=0.3))
        lossy, counted = known(node, lambda _, two: two["lost_pings"] >= slow["lost_pings"] + 5)
        # One heartbeat may have been in flight.
        assert counted["tx_ping_packets"] - counted["rx_pong_packets"] >= lossy["lost_pings"] - 1
        scrape = metrics(node)
        sent = value(scrape, "link_pings_sent_total", **labels) or 0
        answered = value(scrape, "link_pongs_received_total", **labels) or 0
        assert sent - answered >= lossy["lost_pings"] - 1

        cable.set(1, SOUND)
        _, listed = links(node, True, True)
        for _ in range(2):
            cable.set(1, CUT)
            assert links(node, True, False)[0] == 2
            assert connected_by_cfgtool(node) == [True, False]
            cable.set(1, SOUND)
            links(node, True, True)
            eventually(lambda: connected_by_cfgtool(node) == [True, True], otherwise="both links connected")
        flapped, counted = known(node, lambda _, two: bool(two["connected"]))
        assert flapped["down_count"] >= listed[1]["down_count"] + 2
        assert flapped["down_count"] == counted["down_count"]
        assert value(metrics(node), "link_down_total", **labels) == flapped["down_count"]
        assert status(node)["quorate"]
        # A link starts down, which is counted; it was up before monitor looked.
        eventually(
            lambda: sum(line["times_down"] for line in told(monitor)) == flapped["down_count"] - 1,
            otherwise=lambda: f"{flapped['down_count'] - 1} times down in {told(monitor)}",
        )
        eventually(lambda: told(monitor)[-1]["connected"], otherwise=lambda: f"up again in {told(monitor)}")


def told(monitor: Monitor) -> list[Line]:
    """Monitor's lines about the second link."""
    return [line for line in monitor.lines() if line["event"] == "link" and line["link"] == 1]
