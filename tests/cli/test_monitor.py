"""`votequorum-ipc monitor` prints what corosync announces: all of it, once, in order.

The reference is corosync's own C library, which follows the same daemon meanwhile: totem may pass through
intermediate memberships, and then both must report them.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import StartCluster, StartDaemon
from tests.real.cluster import Cluster, three_nodes
from tests.real.config import Config, Device
from tests.real.cref import CS_OK, CQuorum, CVotequorum
from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE, eventually

from . import quorumtool
from .agreement import assert_agrees
from .command import COMMAND, ENVIRONMENT, Line, Monitor

ANNOUNCED = ("membership", "quorum")


@contextlib.contextmanager
def reference(daemon: Daemon) -> Iterator[CQuorum]:
    """libquorum, following a daemon; its first notifications are already consumed."""
    with daemon.namespace():
        quorum = CQuorum()
    with quorum:
        assert quorum.trackstart() == CS_OK
        eventually(lambda: quorum.dispatch() == CS_OK and len(quorum.events) == 2)
        quorum.take()
        yield quorum


def expected(events: list[tuple[Any, ...]], quorate: bool) -> list[Line]:
    """The lines that monitor must print for libquorum's notifications: quorum only where it changed."""
    lines: list[Line] = []
    for kind, ring_id, *rest in events:
        if kind == "nodelist":
            members, joined, left = (list(nodes) for nodes in rest)
            lines.append(membership(ring_id, members, joined, left))
        elif bool(rest[0]) != quorate:
            quorate = bool(rest[0])
            lines.append({"event": "quorum", "quorate": quorate})
    return lines


def membership(ring_id: tuple[int, int], members: list[int], joined: list[int], left: list[int]) -> Line:
    nodeid, seq = ring_id
    return {
        "event": "membership",
        "ring_id": {"text": f"{nodeid:x}.{seq:x}", "nodeid": nodeid, "seq": seq},
        "members": members,
        "joined": joined,
        "left": left,
    }


def announced(monitor: Monitor) -> list[Line]:
    return [event for event in monitor.events() if event["event"] in ANNOUNCED]


def memberships(monitor: Monitor) -> list[Line]:
    return [event for event in monitor.events() if event["event"] == "membership"]


def test_the_first_line_is_the_current_state(daemon: Daemon, tmp_path: Path) -> None:
    with Monitor(daemon, tmp_path) as monitor:
        (first,) = monitor.lines()
    assert first.pop("event") == "status"
    assert quorumtool.comparable(first) == quorumtool.figures(daemon)


def test_a_partition_and_its_healing_are_the_lines_that_corosync_announces(
    cluster3: Cluster, tmp_path: Path
) -> None:
    with (
        reference(cluster3[1]) as on_1,
        reference(cluster3[3]) as on_3,
        Monitor(cluster3[1], tmp_path) as majority,
        Monitor(cluster3[3], tmp_path) as minority,
    ):
        cluster3.isolate(3)
        cluster3.wait_agreed()
        wait_until_told(majority, on_1, total_votes=2)
        wait_until_told(minority, on_3, total_votes=1)
        assert announced(minority)[-1] == {"event": "quorum", "quorate": False}
        assert [3] in [line["left"] for line in memberships(majority)]

        cluster3.heal()
        cluster3.wait_agreed()
        wait_until_told(majority, on_1, total_votes=3)
        wait_until_told(minority, on_3, total_votes=3)
        assert announced(minority)[-1] == {"event": "quorum", "quorate": True}
        assert memberships(majority)[-1]["members"] == memberships(minority)[-1]["members"] == [1, 2, 3]
        # corosync does not announce votes; they follow the announcement that they came with.
        assert majority.events()[-1]["event"] == minority.events()[-1]["event"] == "votes"


def wait_until_told(monitor: Monitor, quorum: CQuorum, total_votes: int) -> None:
    """Block until monitor has printed everything that libquorum was notified of, and the current votes."""

    def told() -> bool:
        assert quorum.dispatch() == CS_OK
        votes = [line["total_votes"] for line in monitor.events() if line["event"] == "votes"]
        return announced(monitor) == expected(quorum.events, quorate=True) and votes[-1:] == [total_votes]

    eventually(told, otherwise=lambda: f"{monitor.events()} are {quorum.events}, {total_votes} votes")


def test_expected_votes_are_printed_for_each_change_followed_by_the_resulting_votes(
    cluster3: Cluster, tmp_path: Path
) -> None:
    with cluster3[1].namespace():
        votequorum = CVotequorum()
    with votequorum, Monitor(cluster3[2], tmp_path) as monitor:
        for votes in (4, 5, 5, 4):
            assert votequorum.setexpected(votes) == CS_OK
            wait_until_last(monitor, event="votes", expected_votes=votes)
        votes_line = {"event": "votes", "total_votes": 3, "flags": ["QUORATE"]}
        assert monitor.events() == [
            {"event": "expected_votes", "expected_votes": 4},
            {**votes_line, "expected_votes": 4, "highest_expected": 4, "quorum": 3},
            {"event": "expected_votes", "expected_votes": 5},
            {**votes_line, "expected_votes": 5, "highest_expected": 5, "quorum": 3},
            {"event": "expected_votes", "expected_votes": 4},
            {**votes_line, "expected_votes": 4, "highest_expected": 4, "quorum": 3},
        ]


def wait_until_last(monitor: Monitor, **values: Any) -> None:
    """Block until the last line has these values."""
    eventually(
        lambda: monitor.events()[-1:] and monitor.events()[-1].items() >= values.items(),
        otherwise=lambda: f"{values} in the last line of {monitor.lines()}",
    )


def test_a_nodes_votes_are_reported_with_the_next_announcement(cluster3: Cluster, tmp_path: Path) -> None:
    with cluster3[1].namespace():
        votequorum = CVotequorum()
    with votequorum, Monitor(cluster3[1], tmp_path) as monitor:
        # Expected votes rise with the votes present, and corosync announces that.
        assert votequorum.setvotes(2, 3) == CS_OK
        last = monitor.wait_for("votes")
        assert monitor.events() == [
            {"event": "expected_votes", "expected_votes": 5},
            {"event": "node_votes", "node_id": 2, "votes": 3},
            {key: value for key, value in last.items() if key != "time"},
        ]
        assert (last["total_votes"], last["quorum"]) == (5, 3)


def test_memberships_are_reported_while_the_cluster_waits_for_a_quorum_device_and_quorum_is_unknown(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    # If the wait ended by timeout, the device would be dead, and the lines would differ.
    device = Device(timeout=100_000, sync_timeout=100_000)
    cluster = start_cluster(Config(nodes=three_nodes(), device=device))
    with cluster[1].namespace():
        votequorum = CVotequorum()
    with votequorum, Monitor(cluster[1], tmp_path, "--patience", "1") as monitor:
        assert votequorum.qdevice_register(b"dev") == CS_OK
        assert votequorum.qdevice_poll(b"dev", 1, ring_of(monitor.lines()[0])) == CS_OK
        eventually(lambda: quorumtool.figures(cluster[1])["votequorum"]["total_votes"] == 4)
        for node in (cluster[1], cluster[2]):
            assert_agrees(node)

        # Until the device polls with the last ring id, corosync answers no request.
        cluster.isolate(3)
        monitor.wait_for("membership", members=[1, 2])
        assert monitor.wait_for("unknown")["error"]["code"] == "TIMEOUT"
        cluster.partition([1], [2], [3])
        wait_until_last(monitor, event="membership", members=[1])
        assert votequorum.qdevice_poll(b"dev", 1, ring_of(monitor.events()[-1])) == CS_OK

        # Once quorum is known again, the full state is shown.
        wait_until_last(monitor, event="status", quorate=False)
        assert monitor.events()[-1]["votequorum"]["total_votes"] == 2
        flags = ["QDEVICE_REGISTERED", "QDEVICE_ALIVE", "QDEVICE_CAST_VOTE"]
        assert {"event": "qdevice", "node_id": 1, "name": "dev", "flags": flags} in monitor.events()
        announced_last, quorum_line = announced(monitor)[-2:]
        assert announced_last["members"] == [1]
        assert quorum_line == {"event": "quorum", "quorate": False}


def ring_of(line: Line) -> tuple[int, int]:
    return line["ring_id"]["nodeid"], line["ring_id"]["seq"]


def test_it_follows_through_a_restart_of_corosync(start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon = start_daemon(Config())
    with Monitor(daemon, tmp_path) as monitor:
        daemon.kill()
        error = monitor.wait_for("lost")["error"]
        assert (error["code"], error["number"]) == ("LIBRARY", 2)
        daemon.start()
        daemon.wait_ready()
        eventually(lambda: [line for line in monitor.events() if line["event"] == "status"])
        assert monitor.interrupt() == 0
    assert [line["event"] for line in monitor.lines()[:3]] == ["status", "lost", "status"]
    assert monitor.errors() == ""


def test_if_nothing_listens_it_says_what_to_do_and_keeps_looking() -> None:
    argv = [*COMMAND, "monitor", "--json", "--address", "@nothing-listens-here"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout
        line = json.loads(process.stdout.readline())
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0
    assert line["event"] == "lost"
    assert "nothing listens on the abstract socket 'nothing-listens-here'" in line["error"]["message"]


def test_ctrl_c_ends_it_quietly_with_exit_code_0(daemon: Daemon, tmp_path: Path) -> None:
    with Monitor(daemon, tmp_path) as monitor:
        assert monitor.interrupt() == 0
        assert (len(monitor.lines()), monitor.errors()) == (1, "")


def test_without_a_provider_memberships_are_still_followed(start_daemon: StartDaemon, tmp_path: Path) -> None:
    with Monitor(start_daemon(Config(provider=None)), tmp_path) as monitor:
        (first,) = monitor.lines()
    assert (first["quorate"], first["quorum_type"], first["votequorum"]) == (True, "FREE", None)
