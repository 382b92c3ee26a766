"""The machinery that starts real daemons works as the tests assume."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from tests.conftest import StartCluster, StartDaemon
from tests.real import leftovers, namespace
from tests.real.cluster import Cluster
from tests.real.config import Config, Device, Node
from tests.real.cref import CS_OK, CMap, CQuorum, CVotequorum, in_thread
from tests.real.daemon import Daemon
from tests.real.host import ROOT
from tests.real.waiting import DeadlineError, eventually, eventually_async

NOBODY = 65534


async def test_a_daemon_answers_the_c_libraries_over_its_transport(daemon: Daemon) -> None:
    with CVotequorum() as votequorum, CQuorum() as quorum, CMap() as cmap:
        error, info = await in_thread(votequorum.getinfo, 0)
        assert error == CS_OK
        assert (info["node_id"], info["total_votes"], info["quorum"]) == (1, 1, 1)
        assert await in_thread(quorum.getquorate) == (CS_OK, 1)
        assert cmap.get("system.qb_ipc_type") == (CS_OK, daemon.config.transport)
        assert daemon.connections()
    await eventually_async(lambda: not daemon.connections(), otherwise="connections are gone")


def test_corosyncs_own_tools_run_on_the_host(daemon: Daemon) -> None:
    shown = daemon.run(["corosync-quorumtool", "-s"], check=True)
    assert "Quorate:          Yes" in shown.stdout


def test_both_models_of_the_c_quorum_library_report_the_membership(shm_daemon: Daemon) -> None:
    ring = (1, ring_seq(shm_daemon))
    with CQuorum(model=0) as model0, CQuorum(model=1) as model1:
        assert (model0.trackstart(), model1.trackstart()) == (CS_OK, CS_OK)
        assert model0.take() == [("quorum", 1, ring[1], (1,))]
        assert model1.take() == [("nodelist", ring, (1,), (), ()), ("quorum", ring, 1, (1,))]


def test_the_c_votequorum_library_reports_what_its_callbacks_receive(shm_daemon: Daemon) -> None:
    ring = (1, ring_seq(shm_daemon))
    with CVotequorum() as votequorum:
        assert votequorum.trackstart(context=7) == CS_OK
        assert votequorum.take() == [("nodelist", 7, ring, (1,)), ("quorum", 7, 1, ((1, 1),))]


def test_the_c_map_library_lists_names_and_reads_values(shm_daemon: Daemon) -> None:
    with CMap() as cmap:
        error, found = cmap.items("nodelist.node.0.")
        assert error == CS_OK
        assert set(found) >= {"nodelist.node.0.nodeid", "nodelist.node.0.name"}
        assert cmap.get("nodelist.node.0.nodeid") == (CS_OK, 1)
        assert cmap.get("nodelist.node.0.name") == (CS_OK, "node1")
        assert cmap.get("nodelist.node.9.name")[0] == 12


def test_the_c_map_library_sets_what_it_then_reads(start_daemon: StartDaemon) -> None:
    # A separate daemon: a shared one is not checked for changes to its map.
    with start_daemon(Config()).namespace(), CMap() as cmap:
        assert cmap.set("test.word", "set") == CS_OK
        assert cmap.get("test.word") == (CS_OK, "set")


def ring_seq(daemon: Daemon) -> int:
    """The sequence number of the daemon's current ring."""
    status = daemon.status()
    assert status
    return status.ring_id[1]


@pytest.mark.parametrize("change", ["votes", "death", "client"])
def test_a_shared_daemon_is_handed_out_as_configured_whatever_the_test_before_did(
    change: str, request: pytest.FixtureRequest
) -> None:
    pool = request.getfixturevalue("daemon_pool")
    daemon: Daemon = pool.one_node("shm")
    with daemon.namespace():
        client = CVotequorum()
    if change == "votes":
        assert client.setvotes(1, 5) == CS_OK
        eventually(lambda: client.getinfo(1)[1]["node_votes"] == 5, otherwise="the node has 5 votes")
    if change == "death":
        daemon.kill()
    if change != "client":
        client.finalize()
    again = pool.one_node("shm").status()
    assert again
    assert again.quorate
    assert again.info["node_votes"] == 1
    eventually(lambda: not daemon.connections(), otherwise="the previous test's client is gone")
    if change == "client":
        client.finalize()


async def test_three_nodes_lose_and_regain_each_other(cluster3: Cluster) -> None:
    cluster3.isolate(3)
    await cluster3.until_agreed()
    statuses = cluster3.statuses()
    assert {nodeid: status and status.quorate for nodeid, status in statuses.items()} == {
        1: True,
        2: True,
        3: False,
    }
    cluster3.partition([1], [2], [3])
    await cluster3.until_agreed()
    assert not any(status and status.quorate for status in cluster3.statuses().values())
    cluster3.heal()
    await cluster3.until_agreed()
    assert all(status and status.quorate for status in cluster3.statuses().values())


def test_the_shared_cluster_comes_back_from_a_cut_and_a_killed_node(
    cluster3: Cluster, request: pytest.FixtureRequest
) -> None:
    cluster3[2].kill()
    cluster3.isolate(1)
    restored: Cluster = request.getfixturevalue("daemon_pool").cluster3()
    statuses = restored.statuses()
    assert [status and (status.members, status.quorate) for status in statuses.values()] == [
        ((1, 2, 3), True)
    ] * 3


def test_two_nodes_of_a_two_node_cluster_stay_quorate_alone(start_cluster: StartCluster) -> None:
    pair = start_cluster(Config(nodes=(Node(1), Node(2)), quorum={"two_node": 1, "wait_for_all": 0}))
    pair.isolate(2)
    pair.wait_agreed()
    assert [status and status.quorate for status in pair.statuses().values()] == [True, True]


def test_a_configured_device_may_vote(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(device=Device(votes=1)))
    ring_id = (1, ring_seq(daemon))
    with daemon.namespace(), CVotequorum() as device:
        assert device.getinfo()[1]["quorum"] == 2
        assert device.qdevice_register(b"test") == CS_OK
        assert device.qdevice_poll(b"test", 1, ring_id) == CS_OK
        eventually(lambda: device.getinfo()[1]["total_votes"] == 2, otherwise="the device's vote counts")
        assert device.qdevice_master_wins(b"test", 1) == CS_OK
        assert device.qdevice_update(b"test", b"other") == CS_OK
        # corosync answers before its message about the new name has been delivered.
        eventually(lambda: device.getinfo()[1]["qdevice_name"] == b"other", otherwise="it has its new name")
        assert device.qdevice_unregister(b"other") == CS_OK


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_a_user_must_be_listed(start_daemon: StartDaemon, transport: Literal["shm", "socket"]) -> None:
    show = ["corosync-quorumtool", "-s"]
    closed = start_daemon(Config(transport=transport))
    listed = start_daemon(Config(transport=transport, uids=(NOBODY,)))
    assert closed.run(show, uid=NOBODY, gid=NOBODY).returncode != 0
    assert "Quorate" in listed.run(show, uid=NOBODY, gid=NOBODY, check=True).stdout


def test_services_may_listen_in_the_file_system(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(filesystem_sockets=True))
    assert daemon.socket_path("votequorum").is_socket()
    assert daemon.handshake("votequorum") == 0
    daemon.run(["corosync-quorumtool", "-s"], check=True)


def test_a_clean_stop_removes_everything(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config())
    pid = daemon.pid
    daemon.stop()
    assert not daemon.alive
    assert left_by([pid]) == []


def test_a_frozen_daemon_answers_again_afterwards(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config())
    with daemon.frozen():
        assert not daemon.answers()
    eventually(daemon.answers, otherwise=lambda: f"the daemon answers{daemon.log_tail()}")


def test_a_daemon_that_cannot_start_shows_its_log(start_daemon: StartDaemon) -> None:
    with pytest.raises(AssertionError, match="may not be less than"):
        start_daemon(Config(totem={"join": 1}))


def test_a_visit_ends_where_it_began(real_corosync: None, start_daemon: StartDaemon) -> None:
    home = namespace.current()
    daemon = start_daemon(Config())
    with contextlib.suppress(ZeroDivisionError), daemon.namespace():
        assert namespace.current() == daemon.host.network.identity != home
        _ = 1 / 0
    assert namespace.current() == home


def test_overlapping_visits_that_are_not_nested_are_detected(start_daemon: StartDaemon) -> None:
    home = namespace.current()
    one, two = (start_daemon(Config()).host.network.visit() for _ in range(2))
    one.__enter__()
    two.__enter__()
    for visit in (one, two):
        with pytest.raises(RuntimeError, match="overlap"):
            visit.__exit__(None, None, None)
        assert namespace.current() == home


RUN = """
import pathlib, sys, time
from tests.real.cluster import cluster, three_nodes
from tests.real.config import Config
from tests.real.cref import CVotequorum

with cluster(Config(nodes=three_nodes()), pathlib.Path(sys.argv[1])) as whole:
    with whole[1].namespace():
        client = CVotequorum()
    hosts = [whole.switch.host, *(node.host for node in whole)]
    print(*(host.pid for host in hosts), *(node.pid for node in whole), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("victim", ["run", "keepers"])
def test_a_killed_run_leaves_nothing(real_corosync: None, tmp_path: Path, victim: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        pids = [int(word) for word in run.stdout.readline().split()]
        keepers, daemons = pids[:4], pids[4:]
        networks = {network_of(pid) for pid in keepers}
        assert len(networks) == 4
        assert left_by(daemons)
        if victim == "keepers":
            for keeper in keepers:
                os.kill(keeper, signal.SIGKILL)
        run.kill()
    eventually(lambda: not any(map(network_of, pids)), otherwise=f"processes {pids} are gone")
    assert not networks & {network_of(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
    if victim == "keepers":
        leftovers.reap()
    assert left_by(daemons) == []


def network_of(pid: int) -> str | None:
    """The network namespace of a living process; None if it may not be read. Ours can be."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def left_by(daemons: list[int]) -> list[Path]:
    """The files of these daemons in /dev/shm."""
    return [path for pid in daemons for path in leftovers.SHARED_MEMORY.glob(f"*[-.]{pid}[-.]*")]


def test_leftovers_of_a_process_id_with_a_new_owner_are_not_touched() -> None:
    record = leftovers.SHARED_MEMORY / f"{leftovers.MARKER}.{os.getpid()}.1.{os.getpid()}.1"
    file = leftovers.SHARED_MEMORY / f"qb-{os.getpid()}-0-0-test"
    record.touch()
    file.touch()
    try:
        leftovers.reap()
        assert not record.exists()
        assert file.exists()
    finally:
        file.unlink(missing_ok=True)
        record.unlink(missing_ok=True)


async def test_waiting_ends_with_the_value_or_with_the_expectation() -> None:
    values = iter([0, 0, 3])
    assert await eventually_async(lambda: next(values)) == 3
    with pytest.raises(DeadlineError, match="never: it stays 0"):
        eventually(lambda: 0, within=0, otherwise=lambda: "never: it stays 0")
