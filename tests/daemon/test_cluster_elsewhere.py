"""A simulated cluster in a thread or a process. The oracle is the cluster in the test's own loop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.real.host import ROOT
from tests.real.waiting import eventually
from votequorum_ipc.blocking import Quorum, Votequorum
from votequorum_ipc.cluster import Cluster
from votequorum_ipc.errors import CsError, Library
from votequorum_ipc.testing import (
    ClusterConfig,
    DeviceConfig,
    Latency,
    SimulatedCluster,
    SimulatedClusterProxy,
    simulated_cluster_in_process,
    simulated_cluster_in_thread,
)

Open = Callable[..., AbstractContextManager[SimulatedClusterProxy]]

each_place = pytest.mark.parametrize(
    "open_cluster",
    [
        pytest.param(simulated_cluster_in_thread, id="thread"),
        pytest.param(simulated_cluster_in_process, id="process"),
    ],
)


def connected(cluster: SimulatedClusterProxy, node: int) -> Votequorum:
    return Votequorum.initialize(address=cluster.address(node), timeout=30)


def quorate(cluster: SimulatedClusterProxy, node: int) -> bool:
    with connected(cluster, node) as votequorum:
        return votequorum.getinfo(timeout=30).quorate


@each_place
def test_a_change_has_taken_effect_when_the_call_returns(open_cluster: Open) -> None:
    steps: list[tuple[str, tuple[Any, ...]]] = [
        ("partition", ({1}, {2, 3})),
        ("heal", ()),
        ("kill", (3,)),
        ("leave", (2,)),
        ("up", (2,)),
        ("reform", (1,)),
        ("advance", (1.0,)),
        ("settle", ()),
    ]
    model = Cluster(ClusterConfig.of(3))
    model.up(1, 2, 3)
    with open_cluster(nodes=3) as cluster, connected(cluster, 1) as votequorum:
        quorum = Quorum.initialize(address=cluster.address(1), timeout=30)
        for name, arguments in steps:
            getattr(model, name)(*arguments)
            getattr(cluster, name)(*arguments)
            assert votequorum.getinfo(timeout=30).quorate == model.nodes[1].quorate, name
        assert quorum.getquorate(timeout=30) == model.nodes[1].quorate
        quorum.finalize()


@each_place
def test_events_have_arrived_when_the_call_that_caused_them_returns(open_cluster: Open) -> None:
    with open_cluster(nodes=3) as cluster, connected(cluster, 1) as votequorum:
        votequorum.trackstart(timeout=30)
        events = votequorum.events(timeout=30)
        before = [next(events) for _ in range(2)]
        cluster.partition({1}, {2, 3})
        after = [next(events) for _ in range(2)]
        assert [type(event) for event in before] == [type(event) for event in after]


@each_place
def test_a_reload_returns_and_shows_the_configuration_in_force(open_cluster: Open) -> None:
    with open_cluster(nodes=3) as cluster:
        cluster.reload(ClusterConfig.of(3, expected_votes=5))
        assert cluster.config == ClusterConfig.of(3, expected_votes=5)
        with connected(cluster, 1) as votequorum:
            assert votequorum.getinfo(timeout=30).node_expected_votes == 5


@each_place
def test_an_error_of_the_cluster_is_raised_here_and_the_cluster_continues(open_cluster: Open) -> None:
    with open_cluster(nodes=2) as cluster:
        with pytest.raises(ValueError, match="no such node: 7"):
            cluster.up(7)
        assert quorate(cluster, 1)


@each_place
def test_a_configuration_that_corosync_would_refuse_is_refused_here(open_cluster: Open) -> None:
    with (
        pytest.raises(ValueError, match="device"),
        open_cluster(nodes=2, two_node=True, device=DeviceConfig(votes=1)),
    ):
        pass


@each_place
def test_a_killed_node_is_gone_for_its_clients(open_cluster: Open) -> None:
    with open_cluster(nodes=2) as cluster, connected(cluster, 2) as votequorum:
        cluster.kill(2)
        with pytest.raises(Library):
            votequorum.getinfo(timeout=30)


@each_place
def test_with_keep_time_a_call_that_waits_for_the_cluster_is_answered(open_cluster: Open) -> None:
    options: dict[str, Any] = {"device": DeviceConfig(votes=1), "latency": Latency(seed=1)}
    with open_cluster(nodes=2, keep_time=True, **options) as cluster, connected(cluster, 1) as votequorum:
        votequorum.qdevice_register("d", timeout=30)
        assert votequorum.getinfo(timeout=30).qdevice_name == "d"


@each_place
def test_after_the_block_calls_say_that_the_cluster_has_ended(open_cluster: Open) -> None:
    with open_cluster(nodes=1) as cluster:
        address = cluster.address(1)
    with pytest.raises(RuntimeError, match="the simulated cluster has ended"):
        cluster.heal()
    with pytest.raises(Library):
        Votequorum.initialize(address=address)


@each_place
def test_any_number_run_side_by_side(open_cluster: Open) -> None:
    with open_cluster(nodes=2) as one, open_cluster(nodes=2) as two:
        one.partition({1}, {2})
        assert [quorate(one, 1), quorate(two, 1)] == [False, True]


@each_place
def test_it_may_be_used_from_several_threads(open_cluster: Open) -> None:
    with open_cluster(nodes=3) as cluster:
        answers: list[str] = []
        threads = [
            threading.Thread(target=lambda: answers.extend(cluster.address(1) for _ in range(50)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [cluster.address(1)] * 200


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    with simulated_cluster_in_thread(nodes=1):
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_a_process_ends_when_the_one_that_started_it_is_killed() -> None:
    program = (
        "import time\n"
        "from votequorum_ipc.testing import simulated_cluster_in_process\n"
        "with simulated_cluster_in_process(nodes=1) as cluster:\n"
        "    print(cluster.address(1), flush=True)\n"
        "    time.sleep(1000)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        address = parent.stdout.readline().decode().strip()
        Votequorum.initialize(address=address, timeout=30).finalize()
        parent.send_signal(signal.SIGKILL)

    def gone() -> bool:
        try:
            Votequorum.initialize(address=address, timeout=30).finalize()
        except CsError:
            return True
        return False

    eventually(gone, otherwise="the cluster's process has ended")


def test_a_process_that_dies_is_an_error_of_the_next_call() -> None:
    with simulated_cluster_in_process(nodes=1) as cluster:
        match = re.fullmatch(r"@vqsim-(\d+)-.*", cluster.address(1))
        assert match is not None
        os.kill(int(match[1]), signal.SIGKILL)

        def heal_for_ever() -> None:
            while True:
                cluster.heal()

        with pytest.raises(RuntimeError, match="the simulated cluster has ended: its process is gone"):
            heal_for_ever()


def test_the_proxy_has_every_method_that_changes_the_cluster() -> None:
    """No method of the simulation is missing from the proxy."""
    ours = {name for name in dir(SimulatedClusterProxy) if not name.startswith("_")}
    theirs = {name for name in dir(SimulatedCluster) if not name.startswith("_")}
    only_in_its_loop = {"aclose", "close", "connect", "connect_quorum", "happened", "keep_time", "settled"}
    assert theirs - only_in_its_loop == ours
